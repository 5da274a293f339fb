"""Write model, card and picture of a trained localizer, all of them or none."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.models.localize.localizer import Localizer
from livespt.models.runtime.card import card_path, write_card
from livespt.stream.errors import SettingError

LABELLED = 300  # most spots whose scores are written in the picture


def check_out(out: Path, overwrite: bool) -> None:
    """Refuse a path that cannot be written, before any work is done.

    Raises
    ------
    ModelError : the name does not end in .onnx.
    SettingError : the folder does not exist, or a file would be overwritten.
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
    centres: list[tuple[float, float]],
) -> dict[str, Any]:
    """Write model, card and picture, all complete before the first gets its name; return metrics.

    `image` holds the particles of the training at `centres` (y, x), which the model must find.
    """
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".training-") as folder:
        model = Path(folder) / out.name
        model.write_bytes(content)
        write_card(model, metrics=metrics, converged=converged, **facts)
        spots = Localizer(model, provider="cpu")(image)
        near = [np.hypot(spots["y"] - y, spots["x"] - x).min(initial=1e9) for y, x in centres]
        itself = bool(np.mean(np.array(near) <= max(3.0, facts["fwhm_px"])) > 0.5)
        metrics = metrics | {"found_in_frame": len(spots), "found_itself": itself}
        write_card(model, metrics=metrics, converged=converged and itself, **facts)
        _picture(model.with_suffix(".png"), image, spots, centres, facts)
        for path in (model, model.with_suffix(".json"), model.with_suffix(".png")):
            os.replace(path, out.with_name(path.name))
    return metrics | {"converged": converged and itself}


def _picture(
    path: Path,
    image: NDArray[Any],
    spots: NDArray[np.void],
    centres: list[tuple[float, float]],
    facts: dict[str, Any],
) -> None:
    """Draw the frame, with a ring and score for every detection and squares for crops; the crop."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    height, width = image.shape
    tall = 10 * height / width + 0.4
    figure = Figure(figsize=(10, tall), dpi=100)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1 - 0.4 / tall))
    low, high = np.percentile(image, [0.5, 99.8])
    axes.imshow(image, cmap="gray", vmin=low, vmax=max(high, low + 1e-6))
    diameter_pt = 2 * facts["radius_px"] * 720 / width
    axes.scatter(spots["x"], spots["y"], s=diameter_pt**2, lw=0.9, edgecolors="tab:orange",
                 facecolors="none")  # fmt: skip
    for spot in spots[:LABELLED]:
        axes.annotate(
            f"{spot['score']:.2f}", (spot["x"], spot["y"]), (0, diameter_pt / 2 + 1), fontsize=6,
            textcoords="offset points", ha="center", color="tab:orange", annotation_clip=True,
        )  # fmt: skip
    size = facts["training"]["size_px"]
    for y, x in centres:
        corner = (round(x) - size // 2 - 0.5, round(y) - size // 2 - 0.5)
        axes.add_patch(Rectangle(corner, size, size, ec="tab:cyan", fc="none"))
    axes.set_axis_off()
    if facts.get("crop") is not None:
        inset = figure.add_axes((0.0, 0.0, 0.2, 0.2 * 10 / tall))
        inset.imshow(facts["crop"], cmap="gray")
        inset.set(xticks=[], yticks=[])
        for edge in inset.spines.values():
            edge.set_color("tab:cyan")
    figure.suptitle(
        f"{path.stem}: {len(spots)} particles found, with scores (cutoff {facts['cutoff']:.2f}); "
        "square: trained on",
        y=0.995,
    )
    FigureCanvasAgg(figure)
    figure.savefig(path)
