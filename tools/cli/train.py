"""Train commands: `livespt train NAME`, their arguments."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from livespt.tools.cli.command import PATH, POSITIVE, SEED, Finite, Group, report


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
        from livespt.tools.train_localizer import student

        own = {key: values[key] for key in ("out", "steps", "seed", "device", "overwrite")}
        report(student.train(preset=preset, resume=resume, **own))
        return
    if size is None or resume:
        raise click.UsageError("--resume goes with --preset" if resume else "Missing option --size")
    from livespt.tools.train_localizer.localizer import train

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
    from livespt.tools.train.segmenter import train

    report(train(**values))


@train.command("uncoating")
@_preset_options
@click.option("--runs", type=PATH, multiple=True, help="Own labelled tracks (.csv) to learn from.")
@click.argument("more", type=PATH, nargs=-1)
@click.option("--pixel-size-um", type=POSITIVE, help="Of own tracks.")
@click.option("--frame-interval-s", type=POSITIVE, help="Of own tracks, for the card.")
@click.option("--z-step-um", type=POSITIVE, help="Of own tracks; default: the pixel size.")
@click.option("--from", "source", type=PATH, help="Learn on from this model and its _whole.")
def train_uncoating(
    runs: tuple[Path, ...],
    more: tuple[Path, ...],
    pixel_size_um: float | None,
    frame_interval_s: float | None,
    z_step_um: float | None,
    source: Path | None,
    **values: Any,
) -> None:
    """The uncoating classifier, on simulated virus entry.

    With --runs LABELS.csv [MORE.csv ...], made by `label colocalization`, the shipped one learns
    on from own tracks.
    """
    from livespt.tools.train.own_tracks import read_own
    from livespt.tools.train.uncoating import train

    sizes = {"frame_interval_s": frame_interval_s, "z_step_um": z_step_um}
    if not runs and (more or pixel_size_um or any(sizes.values())):
        raise click.UsageError("own tracks are named by --runs: --runs LABELS.csv [MORE.csv ...]")
    files = (*runs, *more)
    own = read_own(files, pixel_size_um, seed=values["seed"], **sizes) if files else None
    begin = None
    if source is not None:
        begin = {"follow": source, "whole": source.with_name(f"{source.stem}_whole.onnx")}
    report(train(own=own, begin=begin, **values))


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
    from livespt.models.optics.holograms import HolographicMicroscope
    from livespt.tools.train_localizer.hologram import train

    optics = HolographicMicroscope(
        values.pop("wavelength_um"), values.pop("na"), values.pop("medium"), values.pop("pixel_um")
    )
    report(train(field, microscope=optics, **values))


@train.command("classifier")
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
