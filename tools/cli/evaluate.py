"""Evaluate commands: `livespt evaluate NAME`, their arguments."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from livespt.tools.cli.command import PATH, POSITIVE, SEED, Group, report


@click.group(cls=Group)
def evaluate() -> None:
    """Judge models on data they were not made with."""


@evaluate.command("localizer")
@click.argument("model", type=PATH, required=False)
@click.option("--frames", type=click.IntRange(min=1), default=10, show_default=True, help="A case.")
@click.option("--write", is_flag=True, help="Put the figures on the model's card.")
@click.option("--report", "folder", type=PATH, help="Folder for tables and pictures.")
@click.option(
    "--judges/--no-judges", default=True, show_default=True, help="Run others' localizers too."
)
@click.option("--provider", type=click.Choice(["cpu", "cuda", "auto"]), default="cpu")
def evaluate_localizer(model: Path | None, folder: Path | None, **values: Any) -> None:
    """Spots found, error and precision beside the bound and others (MODEL.onnx; default: shipped).

    Frames are simulated: crowds, widths, backgrounds, cameras, rings, cosmic rays.
    """
    from livespt.models.runtime.session import shipped
    from livespt.tools.evaluate_localizer.localizer import evaluate

    report(evaluate(model or shipped("fast"), report=folder, **values))


@evaluate.command("beads")
@click.argument("movie", type=PATH)
@click.argument("model", type=PATH, required=False)
@click.option("--diameter", type=click.IntRange(min=3), default=7, help="Of trackpy, odd. [7]")
@click.option("--report", "folder", type=PATH, help="Folder for a picture.")
def evaluate_beads(movie: Path, model: Path | None, folder: Path | None, **values: Any) -> None:
    """How far stuck beads in MOVIE seem to move, beside the stated precision and trackpy."""
    from livespt.models.runtime.session import shipped
    from livespt.tools.evaluate_localizer.beads import evaluate

    report(evaluate(movie, model or shipped("fast"), report=folder, **values))


@evaluate.command("stacks")
@click.argument("model", type=PATH, required=False)
@click.option("--stacks", type=click.IntRange(min=1), default=20, show_default=True, help="A case.")
def evaluate_stacks(model: Path | None, **values: Any) -> None:
    """Error in z, y, x on simulated stacks (MODEL.onnx; default: the shipped one)."""
    from livespt.models.runtime.session import shipped
    from livespt.tools.evaluate_localizer.stacks import evaluate

    report(evaluate(model or shipped("fast"), **values))


@evaluate.command("shapes")
@click.option("--images", type=click.IntRange(min=35), default=10_000, show_default=True)
@click.option(
    "--net", type=click.Choice(["light", "wide", "paper"]), default="wide", show_default=True
)
@click.option("--steps", type=click.IntRange(min=10), default=5000, show_default=True)
@click.option("--out", type=PATH, help="Folder for the models; those already there are judged.")
@click.option("--seed", type=SEED, default=1, show_default=True)
def evaluate_shapes(**values: Any) -> None:
    """LodeSTAR on five shapes as in its paper: error against SNR, and self-consistency."""
    from livespt.tools.evaluate_localizer.shapes import evaluate

    report(evaluate(**values))


@evaluate.command("holograms")
@click.argument("model", type=PATH, required=False)
@click.option("--frames", type=click.IntRange(min=2), default=200, show_default=True)
@click.option("--write", is_flag=True, help="Put the figures on the model's card.")
def evaluate_holograms(model: Path | None, **values: Any) -> None:
    """Height and polarizability of simulated spheres (MODEL.onnx; default: the shipped one)."""
    from livespt.models.runtime.session import shipped
    from livespt.tools.evaluate_localizer.holograms import evaluate

    report(evaluate(model or shipped("hologram"), **values))


@evaluate.command("bulk-water")
@click.argument("run", type=PATH)
@click.argument("movie", type=PATH)
def evaluate_bulk_water(run: Path, movie: Path) -> None:
    """Diffusion of microspheres in RUN.zarr, a replay of trackpy's bulk-water MOVIE."""
    from livespt.tools.evaluate_localizer.bulk_water import evaluate_bulk_water

    report(evaluate_bulk_water(run, movie))


def _judge_options(function: Callable[..., Any]) -> Callable[..., Any]:
    options = [
        click.argument("model", type=PATH, required=False),
        click.option("--tracks", type=click.IntRange(min=10), default=2000, show_default=True),
        click.option("--seed", type=SEED, default=0, show_default=True),
        click.option("--whole", type=PATH, help="Network that reads whole tracks (.onnx)."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


@evaluate.command("segmenter")
@_judge_options
@click.option("--report", "folder", type=PATH, help="Folder for tables and pictures.")
@click.option(
    "--baselines",
    is_flag=True,
    help="Beside rolling MSD, an LSTM and a U-Net (trained first, some 15 minutes).",
)
@click.option("--write", is_flag=True, help="Put the figures on the models' cards.")
def evaluate_segmenter(folder: Path | None, baselines: bool, write: bool, **values: Any) -> None:
    """Accuracy against lag on simulated tracks (MODEL.onnx; default: the shipped ones)."""
    from livespt.tools.evaluate.segmenter_report import write_figures, write_report
    from livespt.tools.score.segmenter import evaluate_segmenter
    from livespt.tools.train.loop import choose_device

    if baselines:
        choose_device("cpu")  # no torch: said before minutes of work
    figures = evaluate_segmenter(**values)
    if baselines:
        from livespt.tools.evaluate.baselines import compare

        compare(figures, values["tracks"], values["seed"], folder and folder / "baselines")
    if write:
        write_figures(figures, values["model"], values["whole"])
    if folder is not None:
        figures["files"] = write_report(figures, folder)
    report(figures)


@evaluate.command("tracks")
@click.option(
    "--tracks", type=click.IntRange(min=10), default=2000, show_default=True, help="Each."
)
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--seed", type=SEED, default=0, show_default=True)
def evaluate_tracks(**values: Any) -> None:
    """How many tracks the simulator makes in a second."""
    from livespt.tools.evaluate.simulator_speed import evaluate

    report(evaluate(**values))


@evaluate.command("uncoating")
@_judge_options
def evaluate_uncoating(**values: Any) -> None:
    """Accuracy and announced events on simulated virus entry (MODEL.onnx; default: shipped)."""
    from livespt.tools.score.uncoating import evaluate_uncoating

    report(evaluate_uncoating(**values))


@evaluate.command("linker")
@click.option(
    "--judges/--no-judges", default=True, show_default=True, help="trackpy, laptrack, btrack too."
)
@click.option("--scenario", "scenarios", multiple=True, help="Only this one; may be repeated.")
@click.option("--frames", type=click.IntRange(min=10), help="Of each movie. Default: 100, 60, 40.")
@click.option("--trackmate", type=PATH, help="Folder of TrackMate's spots and edges (.csv).")
@click.option(
    "--length",
    type=click.IntRange(min=2200),
    default=100_000,
    show_default=True,
    help="Frames of the run whose cost per frame is followed.",
)
@click.option("--report", "folder", type=PATH, help="Folder for every figure (.json, .csv).")
@click.option("--tune", is_flag=True, help="Only search each linker's best range.")
def evaluate_linker(folder: Path | None, tune: bool, **values: Any) -> None:
    """Quality beside other linkers on simulated scenes, exactness and speed."""
    from livespt.tools.evaluate import linker

    if tune:
        report(linker.tune())
    else:
        report(linker.evaluate(report=folder, **values))


@evaluate.command("classifier")
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
