"""Evaluation of the segmenters: accuracy at each lag, next to baselines, as report and on cards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from livespt.tools.evaluate.segmenter_report import write_figures, write_report
from livespt.tools.score.segmenter import evaluate_segmenter
from livespt.tools.train.loop import choose_device


def evaluate(
    model: Path | None = None,
    *,
    whole: Path | None = None,
    tracks: int = 2000,
    seed: int = 0,
    baselines: bool = False,
    write: bool = False,
    report: Path | None = None,
) -> dict[str, Any]:
    """Evaluate segmenters (default: the shipped ones) on simulated tracks.

    Parameters
    ----------
    model, whole : Path, optional
        Network that follows tracks, and network for whole tracks.
    tracks, seed : int
        See `evaluate_segmenter` of score/segmenter.py.
    baselines : bool
        Compare with rolling MSD, an LSTM and a U-Net, which are trained first.
    write : bool
        Add the figures, without those of the baselines, to the cards of the models.
    report : Path, optional
        Folder for tables and pictures; it keeps the baselines in `baselines`.

    Raises
    ------
    MissingError
        The baselines need torch, and it is not installed.
    """
    if baselines:
        choose_device("cpu")  # raises now, not after minutes of evaluation
    figures = evaluate_segmenter(model, tracks=tracks, seed=seed, whole=whole)
    if write:
        write_figures(figures, model, whole)
    if baselines:
        from livespt.tools.evaluate.baselines import compare

        compare(figures, tracks, seed, report and report / "baselines")
    if report is not None:
        figures["files"] = write_report(figures, report)
    return figures
