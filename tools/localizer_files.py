"""Localizer files: model, card and picture of a trained localizer, written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.models.localize import Localizer
from livespt.models.session import card_path, write_card
from livespt.stream.errors import SettingError


def check(out: Path, overwrite: bool) -> None:
    """Refuse a place that cannot be written to, before the work.

    Raises
    ------
    ModelError : the name does not end in .onnx.
    SettingError : no such folder, or a file that would be overwritten.
    """
    card_path(out)
    if not out.parent.is_dir():
        raise SettingError(f"there is no folder {out.parent} to write {out.name} to: make it")
    made = [p for p in (out, out.with_suffix(".json"), out.with_suffix(".png")) if p.exists()]
    if made and not overwrite:
        raise SettingError(f"{made[0]} exists: choose another name or give --overwrite")


def write(
    out: Path,
    content: bytes,
    facts: dict[str, Any],
    metrics: dict[str, Any],
    converged: bool,
    image: NDArray[Any],
    at: tuple[float, float],
) -> dict[str, Any]:
    """Model, card and picture, complete before the first appears; the card's metrics."""
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".training-") as folder:
        model = Path(folder) / out.name
        model.write_bytes(content)
        write_card(model, metrics=metrics, converged=converged, **facts)
        spots = Localizer(model, provider="cpu")(image)
        near = np.hypot(spots["y"] - at[0], spots["x"] - at[1])
        itself = bool((near <= max(3.0, facts["fwhm_px"])).any())
        metrics = metrics | {"found_in_frame": len(spots), "found_itself": itself}
        write_card(model, metrics=metrics, converged=converged and itself, **facts)
        _picture(model.with_suffix(".png"), image, spots, at, facts)
        for path in (model, model.with_suffix(".json"), model.with_suffix(".png")):
            os.replace(path, out.with_name(path.name))
    return metrics | {"converged": converged and itself}


def _picture(
    path: Path,
    image: NDArray[Any],
    spots: NDArray[np.void],
    at: tuple[float, float],
    facts: dict[str, Any],
) -> None:
    """The frame with a ring around every particle found and a square around the crop."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    height, width = image.shape
    figure = Figure(figsize=(10, 10 * height / width + 0.4), dpi=100)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1 - 0.4 / (10 * height / width + 0.4)))
    low, high = np.percentile(image, [0.5, 99.8])
    axes.imshow(image, cmap="gray", vmin=low, vmax=max(high, low + 1e-6))
    diameter_pt = 2 * facts["radius_px"] * 720 / width
    axes.scatter(spots["x"], spots["y"], s=diameter_pt**2, lw=0.9, edgecolors="tab:orange",
                 facecolors="none")  # fmt: skip
    size = facts["training"]["size_px"]
    corner = (round(at[1]) - size // 2 - 0.5, round(at[0]) - size // 2 - 0.5)
    axes.add_patch(Rectangle(corner, size, size, ec="tab:cyan", fc="none"))
    axes.set_axis_off()
    figure.suptitle(f"{path.stem}: {len(spots)} particles found; square: trained on", y=0.995)
    FigureCanvasAgg(figure)
    figure.savefig(path)
