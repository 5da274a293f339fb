"""Commands that evaluate models: `livespt evaluate NAME`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from livespt.tools.cli.command import Group
from livespt.tools.cli.options import PROVIDER, together
from livespt.tools.cli.parameters import COUNT, PATH, POSITIVE, SEED, Integer, option
from livespt.tools.cli.printing import report

MODEL = click.argument("model", type=PATH, required=False)
WRITE = option("--write", is_flag=True, help="Add the figures to the card of the model.")
REPORT = option("--report", "folder", type=PATH, help="Folder for tables and pictures.")
RANDOM = option("--seed", type=SEED, default=0, help="Seed of the random numbers.")


@click.group(cls=Group)
def evaluate() -> None:
    """Evaluate a model on data that it was not trained on."""


@evaluate.command("localizer")
@MODEL
@option("--frames", type=COUNT, default=10, help="Number of simulated frames per case.")
@WRITE
@REPORT
@option(
    "--judges/--no-judges",
    default=True,
    help="Also run other localizers that are installed on the same frames.",
)
@PROVIDER
def evaluate_localizer(model: Path | None, folder: Path | None, **values: Any) -> None:
    """Count found spots and measure their errors, next to others.

    MODEL.onnx (default: the shipped one) localizes simulated frames: crowds, widths, backgrounds,
    cameras, rings, cosmic rays. Errors are compared with the Cramer-Rao bound.
    """
    from livespt.models.runtime.session import shipped
    from livespt.tools.evaluate_localizer.localizer import evaluate

    report(evaluate(model or shipped("fast"), report=folder, **values))


@evaluate.command("fields")
@MODEL
@option("--frames", type=COUNT, default=16, help="Number of simulated frames per case.")
@WRITE
@option("--judges/--no-judges", default=True, help="Also run trackpy on the same frames.")
@PROVIDER
def evaluate_fields(model: Path | None, **values: Any) -> None:
    """Count false and missed spots on real fields and in other noise.

    MODEL.onnx (default: the shipped one) localizes simulated cell edges, haze, masks, filaments and
    noise that neighbours share. Recall is compared with that on flat frames.
    """
    from livespt.models.runtime.session import shipped
    from livespt.tools.evaluate_localizer.fields import evaluate

    report(evaluate(model or shipped("fast"), **values))


@evaluate.command("beads")
@click.argument("movie", type=PATH)
@MODEL
@option("--diameter", type=Integer(3), default=7, help="Diameter for trackpy in pixels, odd.")
@REPORT
def evaluate_beads(movie: Path, model: Path | None, folder: Path | None, **values: Any) -> None:
    """Compare the scatter of immobile beads with the stated precision.

    MOVIE shows the beads. MODEL.onnx (default: the shipped one) and trackpy localize them.
    """
    from livespt.models.runtime.session import shipped
    from livespt.tools.evaluate_localizer.beads import evaluate

    report(evaluate(movie, model or shipped("fast"), report=folder, **values))


@evaluate.command("stacks")
@MODEL
@option("--stacks", type=COUNT, default=20, help="Number of simulated stacks per case.")
def evaluate_stacks(model: Path | None, **values: Any) -> None:
    """Measure errors in z, y and x on simulated stacks.

    MODEL.onnx (default: the shipped one) localizes them.
    """
    from livespt.models.runtime.session import shipped
    from livespt.tools.evaluate_localizer.stacks import evaluate

    report(evaluate(model or shipped("fast"), **values))


@evaluate.command("shapes")
@option("--images", type=Integer(35), default=10_000, help="Number of images, over all shapes.")
@option(
    "--net",
    type=click.Choice(["light", "wide", "paper"]),
    default="wide",
    help="Architecture of the network.",
)
@option("--steps", type=Integer(10), default=5000, help="Number of training steps per shape.")
@option(
    "--out",
    type=PATH,
    unset="a temporary folder",
    help="Folder for the models; those that are there are evaluated.",
)
@option("--seed", type=SEED, default=1, help="Seed of the random numbers.")
def evaluate_shapes(**values: Any) -> None:
    """Train LodeSTAR on five shapes, and compare with its paper.

    Reported are the error against SNR and the consistency of predictions.
    """
    from livespt.tools.evaluate_localizer.shapes import evaluate

    report(evaluate(**values))


@evaluate.command("one-crop")
@option(
    "--shape",
    "shapes",
    multiple=True,
    type=click.Choice(["1.3", "2", "3", "4", "5", "ring"]),
    unset="all",
    help="Sigma of a bead, pixels, or a ring.",
)
@option("--snr", type=POSITIVE, default=10.0, help="Peak of the particle over the noise.")
@option("--frames", type=COUNT, default=20, help="Number of simulated frames per case.")
@option("--fast", is_flag=True, help="Evaluate the distilled networks.")
@option(
    "--net",
    type=click.Choice(["light", "wide", "paper"]),
    default="light",
    help="Architecture of the network.",
)
@option("--steps", type=Integer(10), unset="as the network needs", help="Steps per shape.")
@option(
    "--out",
    type=PATH,
    unset="a temporary folder",
    help="Folder for the models; those that are there are evaluated.",
)
@option("--seed", type=SEED, default=1, help="Seed of the crop and of the training.")
def evaluate_one_crop(shapes: tuple[str, ...], **values: Any) -> None:
    """Train on one noisy crop; count what is found at other noise.

    Reported are recall and false detections at half, equal, double and a tenth of the noise, and at
    half and double brightness.
    """
    from livespt.tools.evaluate_localizer.one_crop import CROP_PX, evaluate

    report(evaluate(shapes=shapes or tuple(CROP_PX), **values))


@evaluate.command("holograms")
@MODEL
@option("--frames", type=Integer(2), default=200, help="Number of simulated frames per case.")
@WRITE
def evaluate_holograms(model: Path | None, **values: Any) -> None:
    """Measure errors of height and polarizability of spheres.

    MODEL.onnx (default: the shipped one) localizes simulated spheres.
    """
    from livespt.models.runtime.session import shipped
    from livespt.tools.evaluate_localizer.holograms import evaluate

    report(evaluate(model or shipped("hologram"), **values))


@evaluate.command("bulk-water")
@click.argument("run", type=PATH)
@click.argument("movie", type=PATH)
def evaluate_bulk_water(run: Path, movie: Path) -> None:
    """Measure the diffusion of microspheres in water.

    RUN.zarr is a replay of MOVIE, the bulk-water movie of the trackpy tutorial.
    """
    from livespt.tools.evaluate_localizer.bulk_water import evaluate_bulk_water

    report(evaluate_bulk_water(run, movie))


@evaluate.command("controls")
@option("--frames", type=Integer(20), default=300, help="Number of frames of each movie.")
@option(
    "--data",
    type=PATH,
    envvar="LIVESPT_DATA",
    unset="LIVESPT_DATA of the environment, if it is set",
    help="Folder of real recordings; bulk_water/bulk_water.ome.tif in it is a control, too.",
)
@RANDOM
def evaluate_controls(**values: Any) -> None:
    """Count false uncoatings and changepoints where nothing uncoats.

    The shipped models analyze simulated beads, receptors, fields without particles, particles that
    exchange their names, merging spots and immobile particles, and virus entry for comparison.
    """
    from livespt.tools.evaluate.controls import evaluate

    report(evaluate(**values))


_network_options = together(
    MODEL,
    option("--tracks", type=Integer(10), default=2000, help="Number of simulated tracks per set."),
    RANDOM,
    option("--whole", type=PATH, help="Network for whole tracks (.onnx) to evaluate as well."),
)


@evaluate.command("segmenter")
@_network_options
@REPORT
@option(
    "--baselines",
    is_flag=True,
    help="Compare with rolling MSD, an LSTM and a U-Net, which are trained first in about 15 "
    "minutes.",
)
@WRITE
def evaluate_segmenter(model: Path | None, folder: Path | None, **values: Any) -> None:
    """Measure the accuracy of motion states at each lag.

    MODEL.onnx (default: the shipped ones) classifies simulated tracks.
    """
    from livespt.tools.evaluate.segmenter import evaluate

    report(evaluate(model, report=folder, **values))


@evaluate.command("uncoating")
@_network_options
def evaluate_uncoating(**values: Any) -> None:
    """Measure accuracy and announced events of uncoating.

    MODEL.onnx (default: the shipped ones) classifies simulated virus entry.
    """
    from livespt.tools.score.uncoating import evaluate_uncoating

    report(evaluate_uncoating(**values))


@evaluate.command("tracks")
@option("--tracks", type=Integer(10), default=2000, help="Number of tracks per set.")
@option("--threads", type=COUNT, default=1, help="Threads of the simulator.")
@RANDOM
def evaluate_tracks(**values: Any) -> None:
    """Measure how many tracks per second are simulated."""
    from livespt.tools.evaluate.simulator_speed import evaluate

    report(evaluate(**values))


@evaluate.command("linker")
@option(
    "--judges/--no-judges",
    default=True,
    help="Also run trackpy, laptrack and btrack, if installed.",
)
@option("--scenario", "scenarios", multiple=True, unset="all", help="Kind of scene to simulate.")
@option(
    "--frames",
    type=Integer(10),
    unset="100, 60 or 40, fewer in dense scenes",
    help="Number of frames per movie.",
)
@option(
    "--trackmate",
    type=PATH,
    help="Folder of spots and edges (.csv) linked by TrackMate, to compare with.",
)
@option(
    "--length",
    type=Integer(2200),
    default=100_000,
    help="Frames of the run in which the time per frame is measured.",
)
@option("--report", "folder", type=PATH, help="Folder for every figure (.json, .csv).")
@option("--tune", is_flag=True, help="Only search the best range of each linker.")
def evaluate_linker(folder: Path | None, tune: bool, **values: Any) -> None:
    """Measure quality and speed of the linker, next to others.

    The scenes are simulated. Links are also compared one by one with those of trackpy.
    """
    from livespt.tools.evaluate import linker

    report(linker.tune() if tune else linker.evaluate(report=folder, **values))


@evaluate.command("classifier")
@option("--simulated", type=Integer(50), default=1000, help="Number of simulated tracks.")
@option("--folds", type=Integer(2), default=5, help="Number of folds of the cross-validation.")
@option(
    "--learner",
    type=click.Choice(["linear", "network", "auto"]),
    default="linear",
    help="Kind of classifier; auto takes the better one in an inner cross-validation.",
)
@RANDOM
@option("--tracks", type=PATH, help="Real tracks (.csv, .mdf); only their features are described.")
@option("--pixel-size-um", type=POSITIVE, help="Size of a pixel of --tracks, micrometres.")
@option("--frame-interval-s", type=POSITIVE, help="Time between frames of --tracks, seconds.")
@REPORT
def evaluate_classifier(
    tracks: Path | None,
    pixel_size_um: float | None,
    frame_interval_s: float | None,
    simulated: int,
    **values: Any,
) -> None:
    """Separate two classes of tracks that differ only in D.

    The accuracy is compared with the greatest possible one. With --tracks, the features of real
    tracks are described instead.
    """
    from livespt.tools.evaluate.classifier_report import report_real_tracks, report_two_classes

    if tracks is None:
        report(report_two_classes(tracks=simulated, **values))
    elif pixel_size_um is None or frame_interval_s is None:
        raise click.UsageError("--tracks needs --pixel-size-um and --frame-interval-s")
    else:
        report(report_real_tracks(tracks, pixel_size_um, frame_interval_s, values["folder"]))
