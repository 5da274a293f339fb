"""Commands that train models: `livespt train NAME`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from livespt.tools.cli.command import Group
from livespt.tools.cli.options import COLUMNS, OVERWRITE, SEGMENTER, together
from livespt.tools.cli.parameters import (
    COUNT,
    FINITE,
    INDEX,
    PATH,
    POINT,
    POSITIVE,
    SEED,
    Integer,
    Number,
    Numbers,
    option,
)
from livespt.tools.cli.printing import report

OUT = option("--out", type=PATH, required=True, help="Model to write (.onnx).")
DEVICE = option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    help="Where to train; auto uses CUDA if it works.",
)
RANDOM = option("--seed", type=SEED, default=1, help="Seed of the random numbers.")
NETS = click.Choice(["light", "wide", "paper"])
LEARNERS = click.Choice(["linear", "network", "auto"])


@click.group(cls=Group)
def train() -> None:
    """Train a model."""


@train.command("localizer")
@click.argument("movie", type=PATH)
@option("--frame", type=INDEX, help="Number of the frame with the particles, counted from 0.")
@option("--at", multiple=True, type=POINT, help="Centre of a particle, pixels.")
@option(
    "--clicks", type=PATH, help="Table (.csv) of particles in whole frames: frame, y, x; pixels."
)
@option(
    "--size",
    type=Integer(5),
    help="Side of the crop around a particle, pixels; needed without --preset.",
)
@OUT
@option(
    "--fast",
    is_flag=True,
    help="Distil the result into a smaller network that needs a tenth of the time.",
)
@option(
    "--preset",
    type=click.Choice(["fast", "crowd"]),
    help="Train a shipped network on simulated spots; MOVIE is 'simulated', with --fast.",
)
@option("--resume", is_flag=True, help="Continue from the checkpoint; needs --preset.")
@option(
    "--net",
    type=NETS,
    default="light",
    help="Architecture of the network: light is fast and separates neighbours, wide is for larger "
    "and asymmetric particles, paper is that of Midtvedt et al. 2022.",
)
@option("--steps", type=COUNT, unset="as the network needs", help="Number of training steps.")
@option(
    "--gain",
    type=Numbers("LOW,HIGH", 2),
    unset="signals of 4 to 100 times the noise, at least 0.4,2.5",
    help="Range of brightness to expect, relative to the crop.",
)
@option(
    "--zoom",
    type=Number(1),
    default=1.15,
    help="Greatest factor by which particles are larger or smaller than in the crop.",
)
@option(
    "--noise",
    type=Number(0),
    default=1.0,
    help="Most noise to expect in addition, relative to that of the crop.",
)
@option(
    "--neighbours",
    type=Number(0, 1),
    default=0.5,
    help="Share of training images with a second particle nearby; 0 is more precise for "
    "isolated particles.",
)
@option(
    "--others",
    type=Number(0),
    default=0.0,
    help="Weight of learning to reject what is not the particle, such as 0.1; 0 as in the paper.",
)
@option(
    "--centre",
    type=click.Choice(["auto", "symmetry", "click", "none"]),
    default="auto",
    help="Centre of the particle: its centre of symmetry, the point given by --at or --clicks, or "
    "none, which leaves it to the network; auto chooses among them.",
)
@option(
    "--alpha",
    type=Number(0),
    default=0.5,
    help="Exponent of the weight map in the detection score.",
)
@option("--cutoff", type=Number(0), unset="measured", help="Least score of a detected particle.")
@option(
    "--quantile",
    type=Number(0),
    unset="none",
    help="Quantile of the scores in a frame above which particles are detected, in place of a "
    "cutoff.",
)
@DEVICE
@RANDOM
@OVERWRITE
def train_localizer(movie: Path, **values: Any) -> None:
    """Train a localizer on one or several images of a particle.

    MOVIE is of a format that `replay` reads. Its particles are marked by --frame and --at, or by
    --clicks. A MOVIE named `simulated` is a simulated frame of bright spots.
    """
    from livespt.tools.train_localizer.recipes import make_localizer

    report(make_localizer(movie, **values))


_network_options = together(
    option(
        "--preset",
        type=click.Choice(["quick", "cpu", "full"]),
        default="cpu",
        help="Length of the training: quick is a test, full needs a GPU or a night.",
    ),
    OUT,
    RANDOM,
    DEVICE,
    option("--resume", is_flag=True, help="Continue from the checkpoint next to --out."),
    option(
        "--only",
        type=click.Choice(["both", "follow", "whole"]),
        default="both",
        help="Train only the network for growing tracks (follow) or for whole tracks.",
    ),
)


@train.command("segmenter")
@_network_options
def train_segmenter(**values: Any) -> None:
    """Train the network of motion states on simulated tracks."""
    from livespt.tools.train.segmenter import train

    report(train(**values))


@train.command("ranges")
@click.argument("model", type=PATH, required=False, metavar="[MODEL.onnx]")
def train_ranges(model: Path | None) -> None:
    """Describe the simulated tracks of the motion model in its card.

    A run whose tracks are unlike them says so. MODEL.onnx is the shipped model, or one that `train
    segmenter` made; only its card changes.
    """
    from livespt.tools.train.segmenter import write_ranges

    report(write_ranges(model))


@train.command("uncoating")
@_network_options
@option("--runs", type=PATH, multiple=True, help="Table (.csv) of your own labelled tracks.")
@click.argument("more", type=PATH, nargs=-1)
@option("--pixel-size-um", type=POSITIVE, help="Size of a pixel in these tables, micrometres.")
@option(
    "--frame-interval-s",
    type=POSITIVE,
    help="Time between frames in these tables, seconds; noted on the card.",
)
@option(
    "--z-step-um",
    type=POSITIVE,
    unset="pixel size",
    help="What 1 in column z of these tables is, micrometres.",
)
@option(
    "--from",
    "source",
    type=PATH,
    unset="shipped with --runs, otherwise none",
    help="Model (NAME.onnx) whose training is continued, with NAME_whole.onnx.",
)
def train_uncoating(runs: tuple[Path, ...], more: tuple[Path, ...], **values: Any) -> None:
    """Train the uncoating model on simulated virus entry.

    With --runs LABELS.csv [MORE.csv ...], tables written by `label colocalization`, the training of
    the shipped model is continued on your own tracks.
    """
    from livespt.tools.train.uncoating import train_on_tables

    if more and not runs:
        raise click.UsageError("own tracks are given with --runs: --runs LABELS.csv [MORE.csv ...]")
    report(train_on_tables((*runs, *more), **values))


@train.command("hologram")
@click.argument("field", type=PATH)
@option("--at", type=POINT, help="Centre of the particle, pixels.")
@option("--size", type=Integer(32), default=64, help="Side of the crop, pixels.")
@option(
    "--z-um",
    type=FINITE,
    unset="found by refocusing",
    help="Height of the particle above the focal plane, micrometres.",
)
@option(
    "--noise",
    type=POSITIVE,
    unset="measured in the field",
    help="Standard deviation of the noise in the real and in the imaginary part.",
)
@option("--radius-um", type=POSITIVE, default=0.228, help="Radius of the particle, micrometres.")
@option("--refractive-index", type=POSITIVE, default=1.58, help="Refractive index of the particle.")
@option("--pixel-um", type=POSITIVE, default=0.115, help="Size of a pixel, micrometres.")
@option(
    "--wavelength-um", type=POSITIVE, default=0.633, help="Wavelength of the light, micrometres."
)
@option("--na", type=POSITIVE, default=1.3, help="Numerical aperture of the objective.")
@option("--medium", type=Number(1), default=1.333, help="Refractive index of the medium.")
@option("--steps", type=Integer(40), default=12_000, help="Number of training steps.")
@OUT
@RANDOM
@OVERWRITE
def train_hologram(field: Path, **values: Any) -> None:
    """Train a localizer of holograms on one particle.

    It measures height and polarizability as well. FIELD.npy holds a reconstructed complex field; a
    FIELD named `simulated` is a simulated sphere.
    """
    from livespt.models.optics.holograms import HolographicMicroscope
    from livespt.tools.train_localizer.hologram import train

    optics = HolographicMicroscope(
        values.pop("wavelength_um"), values.pop("na"), values.pop("medium"), values.pop("pixel_um")
    )
    report(train(field, microscope=optics, **values))


@train.command("classifier")
@option(
    "--tracks",
    type=PATH,
    required=True,
    help="Table (.csv) of tracks: frame, particle, y, x[, z], label.",
)
@option(
    "--labels",
    type=PATH,
    unset="a column of --tracks",
    help="Table (.csv) of labels: particle, label[, group].",
)
@OUT
@option("--pixel-size-um", type=POSITIVE, required=True, help="Size of a pixel, micrometres.")
@option(
    "--frame-interval-s",
    type=POSITIVE,
    required=True,
    help="Time from one frame to the next, seconds.",
)
@option(
    "--z-step-um", type=POSITIVE, unset="pixel size", help="What 1 in column z is, micrometres."
)
@option("--label", default="label", help="Name of the column of labels.")
@option(
    "--group",
    unset="each track by itself",
    help="Name of the column that tells which tracks belong together, such as cell or movie.",
)
@option("--window", type=INDEX, default=0, help="Points of a window; 0: classify whole tracks.")
@option("--min-points", type=COUNT, default=5, help="Least number of points of a track or window.")
@option("--folds", type=Integer(2), default=5, help="Number of folds of the cross-validation.")
@option(
    "--learner",
    type=LEARNERS,
    default="linear",
    help="Kind of classifier; auto takes the better one in an inner cross-validation.",
)
@option(
    "--positive",
    unset="the last by name",
    help="Class whose probability is reported in the column p_task.",
)
@option(
    "--accuracy",
    type=Number(0, 1),
    unset="none",
    help="Accuracy to reach by leaving uncertain predictions undecided.",
)
@COLUMNS
@SEGMENTER
@RANDOM
@OVERWRITE
def train_classifier(tracks: Path, **values: Any) -> None:
    """Train a classifier on tracks that you have labelled.

    The labels may be anything, such as a treatment, a place or a kind of particle.
    """
    from livespt.tools.train.classifier import train

    report(train(tracks, say=click.echo, **values))
