"""Model commands: `livespt train NAME` and `livespt evaluate NAME`, their arguments."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from livespt.tools.classifier_commands import evaluate_classifier, train_classifier
from livespt.tools.command import PATH, POSITIVE, SEED, Finite, Group, report


def _pair(
    ctx: click.Context, param: click.Parameter, text: str | None
) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        first, second = (float(part) for part in text.split(","))
        if not math.isfinite(first + second):
            raise ValueError
    except ValueError:
        shape = param.make_metavar(ctx)
        raise click.BadParameter(f"'{text}' is not {shape}: two numbers, as in 104.5,88") from None
    return first, second


def _pairs(
    ctx: click.Context, param: click.Parameter, texts: tuple[str, ...]
) -> list[tuple[float, float]]:
    found = (_pair(ctx, param, text) for text in texts)
    return [pair for pair in found if pair is not None]


@click.group(cls=Group)
def train() -> None:
    """Make models."""


@train.command("localizer")
@click.argument("movie", type=PATH)
@click.option("--frame", type=click.IntRange(min=0), help="Of the particles, counted from 0.")
@click.option(
    "--at",
    multiple=True,
    callback=_pairs,
    metavar="Y,X",
    help="Centre of the particle; may be repeated for several.",
)
@click.option("--clicks", type=PATH, help="Particles in whole frames: CSV with frame, y, x.")
@click.option("--size", type=click.IntRange(min=5), help="Side of the crop, pixels.")
@click.option("--out", type=PATH, required=True, help="Model to write (.onnx).")
@click.option("--fast", is_flag=True, help="A small network that takes a tenth of the time.")
@click.option(
    "--preset",
    type=click.Choice(["fast", "crowd"]),
    help="Of spots of light instead of a particle: MOVIE is 'simulated', with --fast.",
)
@click.option("--resume", is_flag=True, help="With --preset: go on from the checkpoint.")
@click.option(
    "--net", type=click.Choice(["light", "wide", "paper"]), default="light", show_default=True
)
@click.option("--steps", type=click.IntRange(min=1), help="Of training. Default: as the net needs.")
@click.option(
    "--gain",
    default="0.4,2.5",
    callback=_pair,
    metavar="LOW,HIGH",
    show_default=True,
    help="Amplitudes to expect, times that of the crop.",
)
@click.option(
    "--zoom",
    type=Finite(min=1),
    default=1.15,
    show_default=True,
    help="Sizes to expect, times and over that of the crop.",
)
@click.option(
    "--noise",
    type=Finite(min=0),
    default=1.0,
    show_default=True,
    help="Noise to expect beyond the crop's, in units of it.",
)
@click.option(
    "--neighbours",
    type=Finite(min=0, max=1),
    default=0.5,
    show_default=True,
    help="Share of copies with another particle near; 0 is more precise for single ones.",
)
@click.option(
    "--others",
    type=Finite(min=0),
    default=0.0,
    show_default=True,
    help="How much to learn of what is not the particle (0.1: picky); 0: the paper's way.",
)
@click.option(
    "--centre",
    type=click.Choice(["auto", "symmetry", "click", "none"]),
    default="auto",
    show_default=True,
    help="What the particle's centre is.",
)
@click.option("--alpha", type=Finite(min=0), default=0.5, show_default=True, help="Of the score.")
@click.option("--cutoff", type=Finite(min=0), help="Least score. Default: as measured.")
@click.option("--quantile", type=Finite(min=0), help="Cutoff by a quantile of a frame's scores.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto")
@click.option("--seed", type=SEED, default=1, show_default=True)
@click.option("--overwrite", is_flag=True)
def train_localizer(
    movie: Path, size: int | None, preset: str | None, resume: bool, **values: Any
) -> None:
    """A localizer from a particle of MOVIE, or several ("simulated": as the shipped ones are)."""
    if preset is not None:
        given = [key for key in ("frame", "at", "clicks") if values[key] not in (None, [])]
        if str(movie) != "simulated" or not values["fast"] or given or size is not None:
            raise click.UsageError("--preset goes with 'simulated --fast' and with no particle")
        from livespt.tools import train_student

        own = {key: values[key] for key in ("out", "steps", "seed", "device", "overwrite")}
        report(train_student.train(preset=preset, resume=resume, **own))
        return
    if size is None or resume:
        raise click.UsageError("--resume goes with --preset" if resume else "Missing option --size")
    from livespt.tools.train_localizer import train

    report(train(movie, size=size, **values))


def _preset_options(function: Callable[..., Any]) -> Callable[..., Any]:
    options = [
        click.option(
            "--preset",
            type=click.Choice(["quick", "cpu", "full"]),
            default="cpu",
            show_default=True,
        ),
        click.option("--out", type=PATH, required=True, help="Model to write (.onnx)."),
        click.option("--seed", type=SEED, default=1, show_default=True),
        click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto"),
        click.option("--resume", is_flag=True, help="Go on from the checkpoint beside --out."),
        click.option(
            "--only",
            type=click.Choice(["both", "follow", "whole"]),
            default="both",
            help="Of the network that follows tracks and the one that reads whole ones.",
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function


@train.command("segmenter")
@_preset_options
def train_segmenter(**values: Any) -> None:
    """The motion model, on simulated tracks."""
    from livespt.tools.train_segmenter import train

    report(train(**values))


@train.command("uncoating")
@_preset_options
@click.option("--runs", type=PATH, multiple=True, help="Own labelled tracks (.csv) to learn from.")
@click.argument("more", type=PATH, nargs=-1)
@click.option("--pixel-size-um", type=POSITIVE, help="Of own tracks.")
@click.option("--frame-interval-s", type=POSITIVE, help="Of own tracks, for the card.")
@click.option("--z-step-um", type=POSITIVE, help="Of own tracks; default: the pixel size.")
def train_uncoating(
    runs: tuple[Path, ...],
    more: tuple[Path, ...],
    pixel_size_um: float | None,
    frame_interval_s: float | None,
    z_step_um: float | None,
    **values: Any,
) -> None:
    """The uncoating classifier, on simulated virus entry.

    With --runs LABELS.csv [MORE.csv ...], made by `label colocalization`, the shipped one learns
    on from own tracks.
    """
    from livespt.tools.own_tracks import read_own
    from livespt.tools.train_uncoating import train

    sizes = {"frame_interval_s": frame_interval_s, "z_step_um": z_step_um}
    if not runs and (more or pixel_size_um or any(sizes.values())):
        raise click.UsageError("own tracks are named by --runs: --runs LABELS.csv [MORE.csv ...]")
    files = (*runs, *more)
    own = read_own(files, pixel_size_um, seed=values["seed"], **sizes) if files else None
    report(train(own=own, **values))


@train.command("hologram")
@click.argument("field", type=PATH)
@click.option("--at", callback=_pair, metavar="Y,X", help="Centre of the particle.")
@click.option("--size", type=click.IntRange(min=32), default=64, show_default=True, help="Pixels.")
@click.option("--z-um", type=Finite(), help="Where it is. Default: found by refocusing.")
@click.option("--noise", type=POSITIVE, help="Of either part. Default: measured in the field.")
@click.option("--radius-um", type=POSITIVE, default=0.228, show_default=True)
@click.option("--refractive-index", type=POSITIVE, default=1.58, show_default=True)
@click.option("--pixel-um", type=POSITIVE, default=0.115, show_default=True)
@click.option("--wavelength-um", type=POSITIVE, default=0.633, show_default=True)
@click.option("--na", type=POSITIVE, default=1.3, show_default=True)
@click.option("--medium", type=Finite(min=1), default=1.333, show_default=True, help="Its index.")
@click.option("--steps", type=click.IntRange(min=40), default=12_000, show_default=True)
@click.option("--out", type=PATH, required=True, help="Model to write (.onnx).")
@click.option("--seed", type=SEED, default=1, show_default=True)
@click.option("--overwrite", is_flag=True)
def train_hologram(field: Path, **values: Any) -> None:
    """A localizer of height and polarizability from one particle of FIELD.npy ("simulated")."""
    from livespt.models.hologram import Microscope
    from livespt.tools.train_hologram import train

    optics = Microscope(
        values.pop("wavelength_um"), values.pop("na"), values.pop("medium"), values.pop("pixel_um")
    )
    report(train(field, microscope=optics, **values))


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
    from livespt.models.session import shipped
    from livespt.tools.evaluate_localizer import evaluate

    report(evaluate(model or shipped("fast"), report=folder, **values))


@evaluate.command("beads")
@click.argument("movie", type=PATH)
@click.argument("model", type=PATH, required=False)
@click.option("--diameter", type=click.IntRange(min=3), default=7, help="Of trackpy, odd. [7]")
@click.option("--report", "folder", type=PATH, help="Folder for a picture.")
def evaluate_beads(movie: Path, model: Path | None, folder: Path | None, **values: Any) -> None:
    """How far stuck beads in MOVIE seem to move, beside the stated precision and trackpy."""
    from livespt.models.session import shipped
    from livespt.tools.evaluate_beads import evaluate

    report(evaluate(movie, model or shipped("fast"), report=folder, **values))


@evaluate.command("stacks")
@click.argument("model", type=PATH, required=False)
@click.option("--stacks", type=click.IntRange(min=1), default=20, show_default=True, help="A case.")
def evaluate_stacks(model: Path | None, **values: Any) -> None:
    """Error in z, y, x on simulated stacks (MODEL.onnx; default: the shipped one)."""
    from livespt.models.session import shipped
    from livespt.tools.evaluate_stack import evaluate

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
    from livespt.tools.evaluate_shapes import evaluate

    report(evaluate(**values))


@evaluate.command("holograms")
@click.argument("model", type=PATH, required=False)
@click.option("--frames", type=click.IntRange(min=2), default=200, show_default=True)
@click.option("--write", is_flag=True, help="Put the figures on the model's card.")
def evaluate_holograms(model: Path | None, **values: Any) -> None:
    """Height and polarizability of simulated spheres (MODEL.onnx; default: the shipped one)."""
    from livespt.models.session import shipped
    from livespt.tools.evaluate_hologram import evaluate

    report(evaluate(model or shipped("hologram"), **values))


@evaluate.command("bulk-water")
@click.argument("run", type=PATH)
@click.argument("movie", type=PATH)
def evaluate_bulk_water(run: Path, movie: Path) -> None:
    """Diffusion of microspheres in RUN.zarr, a replay of trackpy's bulk-water MOVIE."""
    from livespt.tools.evaluate_bulk_water import evaluate_bulk_water

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
    from livespt.tools.evaluate_segmenter import evaluate_segmenter
    from livespt.tools.learning import choose_device
    from livespt.tools.motion_report import write_figures, write_report

    if baselines:
        choose_device("cpu")  # no torch: said before minutes of work
    figures = evaluate_segmenter(**values)
    if baselines:
        from livespt.tools.baselines import compare

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
    from livespt.tools.evaluate_tracks import evaluate

    report(evaluate(**values))


@evaluate.command("uncoating")
@_judge_options
def evaluate_uncoating(**values: Any) -> None:
    """Accuracy and announced events on simulated virus entry (MODEL.onnx; default: shipped)."""
    from livespt.tools.evaluate_uncoating import evaluate_uncoating

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
    from livespt.tools import evaluate_linker

    if tune:
        report(evaluate_linker.tune())
    else:
        report(evaluate_linker.evaluate(report=folder, **values))


train.add_command(train_classifier)
evaluate.add_command(evaluate_classifier)
