"""Pictures of the two-class test, and of the distributions of features of real tracks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.models.fingerprint.classifier_graph import LENGTHS
from livespt.models.fingerprint.definitions import FEATURES
from livespt.tools.evaluate.classifier import describe_real, evaluate_classifier


def report_two_classes(folder: Path | None, **settings: Any) -> dict[str, Any]:
    """Run the two-class test; write its figures and pictures into `folder`, if there is one.

    `settings` are those of `evaluate_classifier`.
    """
    figures = evaluate_classifier(**settings)
    if folder is not None:
        figures["files"] = write_report(figures, folder)
    return figures


def report_real_tracks(
    tracks: Path, pixel_size_um: float, frame_interval_s: float, folder: Path | None
) -> dict[str, Any]:
    """Describe the tracks of a file; draw their features into `folder`, if there is one."""
    figures, features = describe_real(tracks, pixel_size_um, frame_interval_s)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        figures["file"] = f"{tracks.stem}.png"
        distributions(folder / f"{tracks.stem}.png", tracks.stem, features)
    return figures


def write_report(figures: dict[str, Any], folder: Path) -> list[str]:
    """Write `figures.json` and a picture of every set into `folder`; return their names."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "figures.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    names = ["figures.json"]
    for name, rows in figures.items():
        if name.endswith(": accuracy"):
            names.append(f"{name.split(':')[0]}.png")
            _overlaps(folder / names[-1], name, rows)
    return names


def _overlaps(path: Path, title: str, rows: list[dict[str, Any]]) -> None:
    """Draw accuracy against overlap, with limits as lines and results as points."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.5, 4.5), layout="constrained")
    axis = figure.subplots()
    at = [row["overlap"] for row in rows]
    for key, style in (("limit_D", "k-"), ("limit_track", "k--")):
        if rows[0][key] is not None:
            axis.plot(at, [row[key] for row in rows], style, label=key.replace("_", " given "))
    accuracy = [row["classifier"] for row in rows]
    axis.errorbar(at, accuracy, [row["sd"] for row in rows], fmt="o-", label="40 features")
    for key in rows[0]:
        if key.startswith("msd"):
            axis.plot(at, [row[key] for row in rows], ".:", label=key)
    axis.set(xlabel="overlap coefficient of D", ylabel="accuracy", title=title)
    axis.legend(fontsize=8)
    FigureCanvasAgg(figure)
    figure.savefig(path)


def distributions(path: Path, title: str, features: NDArray[np.float32]) -> None:
    """Draw a histogram of each feature over tracks (n, 40); lengths on a logarithmic scale."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(16, 10), layout="constrained")
    figure.suptitle(f"{title}: {len(features)} tracks")
    for j, axis in enumerate(figure.subplots(5, 8).ravel()):
        value = features[:, j].astype(np.float64)
        feature = FEATURES[j]
        unit = "" if feature.unit == "1" else f" ({feature.unit})"
        if LENGTHS[j] and (value > 0).mean() > 0.9:
            value, unit = np.log10(value[value > 0]), f" (log10 {feature.unit})"
        axis.hist(value, 40, color="tab:blue")
        axis.set_title(f"{feature.name}{unit}", fontsize=8)
        axis.tick_params(labelsize=6)
    FigureCanvasAgg(figure)
    figure.savefig(path)
