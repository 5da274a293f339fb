"""Segmenter report: the figures of a segmenter's evaluation as pictures and tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from livespt.models.runtime.card import add_metrics
from livespt.models.runtime.session import shipped


def write_report(figures: dict[str, Any], folder: Path) -> list[str]:
    """Write `figures.json` and a picture for each set into `folder`; return their names."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "figures.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    names = ["figures.json"]
    for name in figures:
        if f"{name}: reliability" in figures:
            file = f"{name.replace(' ', '_')}.png"
            _picture(name, figures, folder / file)
            names.append(file)
    return names


def write_figures(figures: dict[str, Any], model: Path | None, whole: Path | None) -> None:
    """Put `figures` on the cards of the models they are of; None: the shipped ones."""
    models = [path for path in (model, whole) if path] or [
        shipped("segmenter"),
        shipped("segmenter_whole"),
    ]
    for path in models:
        add_metrics(path, figures)


def _picture(name: str, figures: dict[str, Any], path: Path) -> None:
    """Accuracy against lag, reliability, accuracy by length and by localization error."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 8), layout="constrained")
    axes = figure.subplots(2, 2)
    figure.suptitle(f"{name}: motion state of each point")
    _against_lag(axes[0, 0], figures[name])
    _reliability(axes[0, 1], figures[f"{name}: reliability"])
    _lines(axes[1, 0], figures[f"{name}: accuracy by length"], "points")
    axes[1, 0].set_xlabel("points of the track")
    errors = figures.get(f"{name}: accuracy by localization error")
    if errors:
        _lines(axes[1, 1], errors, "error_in_steps")
        axes[1, 1].set(xscale="log", xlabel="localization error / diffusive step")
    else:
        axes[1, 1].set_axis_off()
    FigureCanvasAgg(figure)
    figure.savefig(path)


def _against_lag(axis: Any, rows: list[dict[str, Any]]) -> None:
    live = [(int(row["reading"].split()[1]), row) for row in rows if "lag" in row["reading"]]
    for key in ("accuracy", "macro_f1", "track_mean"):
        axis.plot([lag for lag, _ in live], [row[key] for _, row in live], "o-", label=key)
    for row in rows:
        if row["reading"] == "offline":
            axis.axhline(row["accuracy"], color="grey", ls=":", label="accuracy, both ways")
    axis.set(xlabel="lag (frames)", ylabel="share right")
    axis.legend()


def _reliability(axis: Any, tables: dict[str, list[dict[str, float]]]) -> None:
    axis.plot([0.25, 1], [0.25, 1], color="grey", ls=":")
    for reading, rows in tables.items():
        some = [row for row in rows if row["share"] > 0.001]
        sure, right = ([row[key] for row in some] for key in ("confidence", "right"))
        axis.plot(sure, right, "o-", label=reading)
    axis.set(xlabel="confidence", ylabel="share right")
    axis.legend()


def _lines(axis: Any, rows: list[dict[str, Any]], over: str) -> None:
    for key in rows[0]:
        if key != over:
            axis.plot([row[over] for row in rows], [row[key] for row in rows], "o-", label=key)
    axis.set(ylabel="accuracy")
    axis.legend(fontsize=7)
