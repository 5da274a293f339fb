"""Classifier commands: `livespt train classifier` and `livespt evaluate classifier`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from livespt.tools.cli.command import PATH, POSITIVE, SEED, Command, Finite, report


@click.command("classifier", cls=Command)
@click.option("--tracks", type=PATH, required=True, help="CSV: frame, particle, y, x[, z], label.")
@click.option("--labels", type=PATH, help="CSV: particle, label[, group], in place of a column.")
@click.option("--out", type=PATH, required=True, help="Model to write (.onnx).")
@click.option("--pixel-size-um", type=POSITIVE, required=True)
@click.option("--frame-interval-s", type=POSITIVE, required=True)
@click.option("--z-step-um", type=POSITIVE, help="Of `z`; default: the pixel size.")
@click.option("--label", default="label", show_default=True, help="Column of labels.")
@click.option("--group", help="Column of what belongs together (cell, movie). Default: the track.")
@click.option(
    "--window", type=click.IntRange(min=0), default=0, show_default=True, help="Points; 0: tracks."
)
@click.option("--min-points", type=click.IntRange(min=1), default=5, show_default=True)
@click.option("--folds", type=click.IntRange(min=2), default=5, show_default=True)
@click.option(
    "--learner",
    type=click.Choice(["linear", "network", "auto"]),
    default="linear",
    show_default=True,
    help="auto: the one that an inner cross-validation finds better.",
)
@click.option("--positive", help="Class told of where there is room for one. Default: the last.")
@click.option("--accuracy", type=Finite(0, 1), help="Wanted of answers; less sure ones abstain.")
@click.option("--segmenter", type=PATH, help="Motion model (.onnx). Default: shipped.")
@click.option("--seed", type=SEED, default=1, show_default=True)
@click.option("--overwrite", is_flag=True)
def train_classifier(tracks: Path, **values: Any) -> None:
    """Tell tracks apart that you labelled: by identity, place, treatment, ..."""
    from livespt.tools.train.classifier import train

    report(train(tracks, **values))


@click.command("classifier", cls=Command)
@click.option("--simulated", type=click.IntRange(min=50), default=1000, show_default=True)
@click.option("--folds", type=click.IntRange(min=2), default=5, show_default=True)
@click.option("--learner", type=click.Choice(["linear", "network", "auto"]), default="linear")
@click.option("--seed", type=SEED, default=0, show_default=True)
@click.option("--tracks", type=PATH, help="Real ones (.csv, .mdf): only describe these.")
@click.option("--pixel-size-um", type=POSITIVE, help="Of --tracks.")
@click.option("--frame-interval-s", type=POSITIVE, help="Likewise.")
@click.option("--report", "folder", type=PATH, help="Folder for tables and pictures.")
def evaluate_classifier(
    tracks: Path | None,
    pixel_size_um: float | None,
    frame_interval_s: float | None,
    folder: Path | None,
    simulated: int,
    **values: Any,
) -> None:
    """Two classes that differ in D alone, beside what is possible; or features of real tracks."""
    from livespt.tools.evaluate.classifier import (
        describe_real,
        evaluate_classifier as two_class_test,
    )
    from livespt.tools.evaluate.classifier_report import distributions, write_report

    if tracks is None:
        figures = two_class_test(simulated, **values)
        if folder is not None:
            figures["files"] = write_report(figures, folder)
        report(figures)
        return
    if pixel_size_um is None or frame_interval_s is None:
        raise click.UsageError("--tracks needs --pixel-size-um and --frame-interval-s")
    figures, features = describe_real(tracks, pixel_size_um, frame_interval_s)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        figures["file"] = f"{tracks.stem}.png"
        distributions(folder / f"{tracks.stem}.png", tracks.stem, features)
    report(figures)
