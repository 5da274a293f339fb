"""The command line: `livespt COMMAND`, its arguments and how results and errors are printed.

Every command takes `--help`, `--config FILE.toml`, `--json FILE` and `key=value` words, whose keys
are the option names with underscores. Results go to stdout, one error line and at most one hint to
stderr. Exit code: 0 done, 1 it could not be done, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from livespt.stream.errors import LiveSptError, SettingError
from livespt.stream.wire import ENDPOINT
from livespt.tools.command import FINITE, PATH, POSITIVE, SEED, Finite, Group, Kept, report


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


def analysis_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options of every command that analyzes frames."""
    options = [
        click.option("--localizer", type=PATH, help="Localizer model (.onnx). Default: shipped."),
        click.option("--segmenter", type=PATH, help="Motion model (.onnx). Default: shipped."),
        click.option("--uncoating", type=PATH, help="Uncoating model (.onnx). Default: shipped."),
        click.option("--search-range", type=FINITE, help="Pixels a particle may move a frame. [5]"),
        click.option("--memory", type=int, help="Frames a particle may be missed. [3]"),
        click.option(
            "--provider",
            type=click.Choice(["cpu", "cuda", "auto"]),
            default="cpu",
            show_default=True,
            help="Where the networks run.",
        ),
        click.option("--threads", type=int, default=1, show_default=True, help="Of the networks."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def _options(values: dict[str, Any]) -> Any:
    from livespt.tools.compose import Options

    names = Options.__dataclass_fields__
    return Options(**{name: values.pop(name) for name in names})


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="livespt")
def livespt() -> None:
    """Watch particles while the microscope is still recording."""


@livespt.command()
@click.option("--out", type=PATH, default=Path("demo"), show_default=True, help="Folder to make.")
@click.option("--headless", is_flag=True, help="Open no window.")
@click.option("--seed", type=SEED, default=1, show_default=True, help="Of the simulated sample.")
@click.option("--frames", type=click.IntRange(min=50), help="Length of the movie.")
@click.option("--endpoint", default=ENDPOINT, show_default=True)
@analysis_options
def demo(**values: Any) -> None:
    """Simulated virus entry through the real Micro-Manager core and the whole chain."""
    from livespt.tools.demo import demo, lines

    result = demo(options=_options(values), say=click.echo, **values)
    report(result, lines(result))


@livespt.command()
@click.option(
    "--out", type=PATH, default=Path("live.zarr"), show_default=True, help="Run to write."
)
@click.option("--frames", type=click.IntRange(min=1), default=1000, show_default=True)
@click.option("--interval-ms", type=Finite(min=0), default=0.0, show_default=True)
@click.option("--exposure-ms", type=Finite(min=0.01), help="Default: as the camera is set.")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=4827,
    show_default=True,
    help="Of the running Micro-Manager.",
)
@click.option("--mm-dir", type=PATH, help="Micro-Manager folder: start its core here instead.")
@click.option("--mm-config", type=PATH, help="Hardware configuration (.cfg) for --mm-dir.")
@click.option(
    "--java", is_flag=True, help="With --mm-dir: headless Java instead of the Python core."
)
@click.option("--demo-camera", is_flag=True, help="Micro-Manager's demo hardware, no microscope.")
@click.option(
    "--pixel-size-um",
    type=POSITIVE,
    help="In place of what Micro-Manager says.",
)
@click.option("--endpoint", default=ENDPOINT, show_default=True)
@analysis_options
def live(**values: Any) -> None:
    """Analyze what Micro-Manager records, while it records."""
    from livespt.tools.live import live

    report(live(options=_options(values), say=click.echo, **values))


@livespt.command()
@click.argument("movie", type=PATH)
@click.option("--out", type=PATH, required=True, help="Run to write (RUN.zarr).")
@click.option("--pixel-size-um", type=FINITE, help="In place of what the movie says.")
@click.option("--frame-interval-s", type=FINITE, help="In place of what the movie says.")
@click.option("--rate", type=click.Choice(["max", "realtime"]), default="max", show_default=True)
@click.option("--no-movie", is_flag=True, help="Do not store the frames again.")
@click.option("--all-frames", is_flag=True, help="Also those that the live run had to skip.")
@click.option("--endpoint", default=ENDPOINT, show_default=True)
@analysis_options
def replay(movie: Path, out: Path, no_movie: bool, **values: Any) -> None:
    """Analyze a recorded MOVIE through the path of a live run."""
    from livespt.tools.replay import replay

    options = _options(values)
    report(replay(movie, out, options, keep_movie=not no_movie, say=click.echo, **values))


@livespt.command()
@click.argument("target", default=ENDPOINT)
@click.option("--render", type=PATH, help="Draw to FILE.png or FILE.mp4, without a screen.")
@click.option("--frame", type=int, help="Of a stored run. Default: a telling one.")
def watch(target: str, render: Path | None, frame: int | None) -> None:
    """The overlay: live from an endpoint (TARGET), or of a stored RUN.zarr."""
    from livespt.tools.watch import watch

    report(watch(target, render=render, frame=frame))


@livespt.command()
@click.argument("target", default=ENDPOINT)
@click.option("--kind", "kinds", multiple=True, help="Only events of this kind; may be repeated.")
@click.option("--since", type=click.IntRange(min=0), default=0, help="First event wanted.")
def listen(target: str, kinds: tuple[str, ...], since: int) -> None:
    """Print events as JSON lines, complete from --since on."""
    from livespt.tools.listen import listen

    kept = Kept()
    listen(target, kinds=kinds, since=since, out=kept)
    report([json.loads(line) for line in kept.lines], lines=())


@livespt.command()
@click.argument("run", type=PATH)
@click.argument("out", type=PATH)
@click.option("--overwrite", is_flag=True)
def export(run: Path, out: Path, overwrite: bool) -> None:
    """Write the tracks of RUN.zarr to OUT: .csv, .parquet, .xml (TrackMate) or .geff."""
    from livespt.tools.export import export_run

    report(export_run(run, out, overwrite=overwrite))


@livespt.command()
@click.argument("spots", type=PATH)
@click.argument("out", type=PATH)
@click.option("--search-range", type=FINITE, default=5.0, show_default=True)
@click.option("--memory", type=int, default=0, show_default=True)
@click.option("--overwrite", is_flag=True)
def link(spots: Path, out: Path, **values: Any) -> None:
    """Link the localizations of SPOTS.csv (frame, y, x[, z]): adds `particle`."""
    from livespt.tools.link import link_table

    report(link_table(spots, out, **values))


@livespt.command()
@click.argument("tracks", type=PATH)
@click.argument("out", type=PATH)
@click.option("--pixel-size-um", type=POSITIVE, required=True)
@click.option("--frame-interval-s", type=POSITIVE, required=True)
@click.option("--z-step-um", type=FINITE, help="Of `z`; default: the pixel size.")
@click.option("--lag", type=int, help="Look-ahead, frames. Default: the settled lag.")
@click.option("--offline", is_flag=True, help="Look both ways along whole tracks.")
@click.option("--segmenter", type=PATH, help="Motion model (.onnx). Default: shipped.")
@click.option("--uncoating", type=PATH, help="Uncoating model (.onnx). Default: shipped.")
@click.option("--overwrite", is_flag=True)
def analyze(tracks: Path, out: Path, **values: Any) -> None:
    """Motion states of the tracks in TRACKS.csv (frame, particle, y, x[, z])."""
    from livespt.tools.analyze import analyze_table

    report(analyze_table(tracks, out, **values))


@livespt.group(cls=Group)
def train() -> None:
    """Make models."""


@train.command("localizer")
@click.argument("movie", type=PATH)
@click.option("--frame", type=click.IntRange(min=0), required=True, help="Counted from 0.")
@click.option("--at", required=True, callback=_pair, metavar="Y,X", help="Centre of the particle.")
@click.option("--size", type=click.IntRange(min=5), required=True, help="Side of the crop, pixels.")
@click.option("--out", type=PATH, required=True, help="Model to write (.onnx).")
@click.option("--net", type=click.Choice(["light", "paper"]), default="light", show_default=True)
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
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto")
@click.option("--seed", type=SEED, default=1, show_default=True)
@click.option("--overwrite", is_flag=True)
def train_localizer(movie: Path, **values: Any) -> None:
    """A localizer from one particle of MOVIE ("simulated": how the shipped one is made)."""
    from livespt.tools.train_localizer import train

    report(train(movie, **values))


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
def train_uncoating(**values: Any) -> None:
    """The uncoating classifier, on simulated virus entry."""
    from livespt.tools.train_uncoating import train

    report(train(**values))


@livespt.group(cls=Group)
def evaluate() -> None:
    """Judge models on data they were not made with."""


@evaluate.command("localizer")
@click.argument("model", type=PATH, required=False)
@click.option("--frames", type=click.IntRange(min=1), default=10, show_default=True, help="A case.")
@click.option("--write", is_flag=True, help="Put the figures on the model's card.")
def evaluate_localizer(model: Path | None, **values: Any) -> None:
    """Recall, precision and error on simulated spots (MODEL.onnx; default: the shipped one)."""
    from livespt.models.session import shipped
    from livespt.tools.evaluate_localizer import evaluate

    report(evaluate(model or shipped("spots"), **values))


@evaluate.command("bulk-water")
@click.argument("run", type=PATH)
@click.argument("movie", type=PATH)
def evaluate_bulk_water(run: Path, movie: Path) -> None:
    """Diffusion of microspheres in RUN.zarr, a replay of trackpy's bulk-water MOVIE."""
    from livespt.tools.evaluate_localizer import evaluate_bulk_water

    report(evaluate_bulk_water(run, movie))


def _judge_options(function: Callable[..., Any]) -> Callable[..., Any]:
    options = [
        click.argument("model", type=PATH, required=False),
        click.option("--tracks", type=click.IntRange(min=10), default=2000, show_default=True),
        click.option("--seed", type=SEED, default=0, show_default=True),
    ]
    for option in reversed(options):
        function = option(function)
    return function


@evaluate.command("segmenter")
@_judge_options
def evaluate_segmenter(**values: Any) -> None:
    """Accuracy against lag on simulated tracks (MODEL.onnx; default: the shipped one)."""
    from livespt.tools.evaluate_motion import evaluate_segmenter

    report(evaluate_segmenter(**values))


@evaluate.command("uncoating")
@_judge_options
def evaluate_uncoating(**values: Any) -> None:
    """Accuracy and announced events on simulated virus entry (MODEL.onnx; default: shipped)."""
    from livespt.tools.evaluate_motion import evaluate_uncoating

    report(evaluate_uncoating(**values))


@livespt.command()
def doctor() -> None:
    """Say what this machine can do."""
    from livespt.tools.doctor import examine, lines

    findings = examine()
    report(findings, lines(findings))


def main() -> None:
    """Run the command line; never show a traceback for an error that was meant."""
    sys.exit(run(sys.argv[1:]))


def run(words: Sequence[str]) -> int:
    """Run one command line; return its exit code."""
    try:
        livespt.main(args=list(words), prog_name="livespt", standalone_mode=False)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        _complain(error.format_message(), _help_hint(error))
        return 2
    except SettingError as error:
        _complain(str(error))
        return 2
    except (LiveSptError, OSError) as error:
        _complain(str(error))
        return 1
    except (KeyboardInterrupt, click.Abort):
        _complain("interrupted")
        return 130
    return 0


def _complain(message: str, hint: str = "") -> None:
    click.echo(f"error: {' '.join(message.split())}", err=True)
    if hint:
        click.echo(f"hint: {hint}", err=True)


def _help_hint(error: click.ClickException) -> str:
    ctx = getattr(error, "ctx", None)
    return f"{ctx.command_path} --help" if ctx is not None else "livespt --help"


if __name__ == "__main__":
    main()
