"""Picture of the cross-validation of a user's classifier."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np


def picture(
    path: Path, title: str, metrics: dict[str, Any], names: Sequence[str], abstain_below: float
) -> None:
    """Draw accuracy, recalls and share of decisions against the threshold, and the confusion."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    figure.suptitle(
        f"{title}: accuracy {metrics['accuracy']:.3f}, ECE {metrics['ece']:.3f} (cross-validation)"
    )
    _curve(left, metrics["curve"], names, abstain_below)
    _confusion(right, np.array(metrics["confusion"], float), names)
    FigureCanvasAgg(figure)
    figure.savefig(path)


def _curve(axis: Any, rows: list[dict[str, Any]], names: Sequence[str], at: float) -> None:
    rows = [row for row in rows if row["accuracy"] is not None]
    threshold = [row["threshold"] for row in rows]
    axis.plot(threshold, [row["accuracy"] for row in rows], "ko-", label="accuracy")
    for name in names:
        recall = [
            np.nan if row[f"recall_{name}"] is None else row[f"recall_{name}"] for row in rows
        ]
        axis.plot(threshold, recall, ".-", label=f"recall {name}")
    axis.plot(threshold, [row["answered"] for row in rows], color="grey", ls=":", label="answered")
    axis.axvline(at, color="grey", lw=0.8)
    axis.set(xlabel="least confidence", ylabel="share", ylim=(0, 1.02))
    axis.legend(fontsize=7)


def _confusion(axis: Any, count: Any, names: Sequence[str]) -> None:
    share = count / np.maximum(count.sum(axis=1, keepdims=True), 1)
    axis.imshow(share, vmin=0, vmax=1, cmap="Blues")
    for i, j in np.ndindex(*share.shape):
        ink = "white" if share[i, j] > 0.5 else "black"
        axis.text(
            j, i, f"{share[i, j]:.2f}\n{count[i, j]:.0f}", ha="center", va="center", color=ink
        )
    axis.set(xlabel="predicted", ylabel="labelled")
    axis.set_xticks(range(len(names)), names, rotation=30)
    axis.set_yticks(range(len(names)), names)
