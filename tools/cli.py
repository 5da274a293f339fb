"""The command line: `livespt COMMAND`, its arguments and how results and errors are printed.

Every command takes `--help`, `--config FILE.toml`, `--json FILE` and `key=value` words, whose keys
are the option names with underscores. Results go to stdout, one error line and at most one hint to
stderr. Exit code: 0 done, 1 it could not be done, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from livespt.stream.crash_log import crashes_to_stderr
from livespt.stream.errors import LiveSptError, SettingError
from livespt.stream.files import DURABILITIES
from livespt.stream.wire import ENDPOINT
from livespt.tools.chaos import PARTS
from livespt.tools.command import FINITE, PATH, POSITIVE, SEED, Finite, Group, Kept, report
from livespt.tools.evaluate_commands import evaluate
from livespt.tools.label_commands import label
from livespt.tools.train_commands import train

KEY = click.option("--key", type=PATH, help="Your key file, for an endpoint that needs one.")
DURABILITY = click.option(
    "--durability",
    type=click.Choice(DURABILITIES),
    default="second",
    show_default=True,
    help="When what is stored is safe from a power cut.",
)
MOTION = click.Choice(["none", "brownian", "velocity", "auto"])


def analysis_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options of every command that analyzes frames."""
    options = [
        click.option("--localizer", type=PATH, help="Localizer (.onnx, or `crowd`). [fast]"),
        click.option("--segmenter", type=PATH, help="Motion model (.onnx). Default: shipped."),
        click.option("--uncoating", type=PATH, help="Uncoating model (.onnx). Default: shipped."),
        click.option("--classifier", type=PATH, help="A classifier of your own (.onnx). [none]"),
        click.option("--search-range", type=FINITE, help="Pixels a particle may move a frame. [5]"),
        click.option("--memory", type=int, help="Frames a particle may be missed. [3]"),
        click.option("--motion", type=MOTION, help="How the linker foresees motion. [none]"),
        click.option("--refine", type=int, help="Judge links anew after so many frames. [0]"),
        click.option(
            "--read-intensity/--no-read-intensity",
            default=None,
            help="Uncoating shows in the intensity: the label is lost with the coat. [no]",
        ),
        click.option("--lineage/--no-lineage", default=None, help="Tell merges and splits. [no]"),
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
    return Options(**{name: values.pop(name) for name in names if name in values})


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
@click.option("--keys", type=PATH, help="Folder of keys: who has one may follow. [loopback: all]")
@DURABILITY
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
@click.option("--keys", type=PATH, help="Folder of keys: who has one may follow. [loopback: all]")
@DURABILITY
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
@click.option(
    "--models",
    type=click.Choice(["as-recorded", "shipped"]),
    default="as-recorded",
    show_default=True,
    help="Networks of a replayed run: the files it recorded or, where a later release replaced "
    "one, that which is shipped today; the run's settings stay.",
)
@click.option("--endpoint", default=ENDPOINT, show_default=True)
@click.option("--keys", type=PATH, help="Folder of keys: who has one may follow. [loopback: all]")
@DURABILITY
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
@KEY
def watch(target: str, render: Path | None, frame: int | None, key: Path | None) -> None:
    """The overlay: live from an endpoint (TARGET), or of a stored RUN.zarr."""
    from livespt.tools.watch import watch

    report(watch(target, render=render, frame=frame, key=key))


@livespt.command()
@click.argument("target", default=ENDPOINT)
@click.option("--kind", "kinds", multiple=True, help="Only events of this kind; may be repeated.")
@click.option("--since", type=click.IntRange(min=0), default=0, help="First event wanted.")
@click.option("--wait-s", type=click.FloatRange(min=0), default=5.0, show_default=True,
              help="How long to wait for a run that publishes there.")  # fmt: skip
@KEY
def listen(
    target: str, kinds: tuple[str, ...], since: int, wait_s: float, key: Path | None
) -> None:
    """Print events as JSON lines, complete from --since on."""
    from livespt.tools.listen import listen

    kept = Kept()
    told = partial(click.echo, err=True) if sys.stderr.isatty() else lambda text: None
    listen(target, kinds=kinds, since=since, wait_s=wait_s, key=key, out=kept, say=told)
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
@click.option("--motion", type=MOTION, default="none", show_default=True, help="What is foreseen.")
@click.option("--refine", type=int, default=0, show_default=True, help="Judge links again after.")
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
@click.option("--classifier", type=PATH, help="Task classifier (.onnx): adds p_CLASS and task.")
@click.option("--read-intensity", is_flag=True, help="Uncoating shows in the column `intensity`.")
@click.option("--overwrite", is_flag=True)
def analyze(tracks: Path, out: Path, **values: Any) -> None:
    """Motion states of the tracks in TRACKS.csv (frame, particle, y, x[, z])."""
    from livespt.tools.analyze import analyze_table

    report(analyze_table(tracks, out, **values))


@livespt.command()
@click.argument("source", type=PATH)
@click.argument("out", type=PATH)
@click.option("--min-points", type=int, default=5, show_default=True, help="Of a segment.")
@click.option("--pixel-size-um", type=POSITIVE, help="Of a table; a run knows its own.")
@click.option("--frame-interval-s", type=POSITIVE, help="Likewise.")
@click.option("--overwrite", is_flag=True)
def segments(source: Path, out: Path, **values: Any) -> None:
    """Stretches of one motion of every track in SOURCE: a run, or a .csv with states."""
    from livespt.tools.segments import segment_table

    report(segment_table(source, out, **values))


@livespt.command()
@click.argument("folder", type=PATH)
@click.argument("name")
def keys(folder: Path, name: str) -> None:
    """Make the key NAME.key of one who may follow runs published with --keys FOLDER."""
    from livespt.stream.keys import make

    report({"made": ", ".join(map(str, make(folder, name))), "secret": f"{folder / name}.key"})


@livespt.command()
@click.argument("run", type=PATH)
def verify(run: Path) -> None:
    """Check every byte of RUN.zarr against what was written."""
    from livespt.stream.errors import InputError
    from livespt.stream.verify import verify

    faults = 0
    for fault in verify(run):
        click.echo(f"fault       {fault.where}: {fault.what}")
        faults += 1
    report({"run": str(run), "faults": faults})
    if faults:
        raise InputError(f"{run} is damaged in {faults} places: copy it again from a good disk")


@livespt.command()
@click.argument("run", type=PATH)
@click.option("--movie", type=PATH, help="What RUN replays, where it is not found by its name.")
@click.option("--close", is_flag=True, help="Analyze nothing: end the run with what it has.")
def resume(run: Path, movie: Path | None, close: bool) -> None:
    """Finish RUN.zarr, which was cut short."""
    from livespt.tools.resume import resume

    report(resume(run, movie=movie, close=close, say=click.echo))


@livespt.command()
@click.option("--what", multiple=True, type=click.Choice(list(PARTS)), help="Part. [all]")
@click.option("--times", type=click.IntRange(min=1), help="How often, in place of what is due.")
@click.option("--out", type=PATH, help="Folder to make and leave what was written. [none]")
def chaos(what: tuple[str, ...], times: int | None, out: Path | None) -> None:
    """Kill, cut, fill and damage runs, and count what is lost."""
    from livespt.tools.chaos import chaos, check_held

    found = chaos(what, times=times, out=out, say=click.echo)
    report(found)
    check_held(found)


@livespt.command()
def doctor() -> None:
    """Say what this machine can do."""
    from livespt.tools.doctor import examine, lines

    findings = examine()
    report(findings, lines(findings))


@livespt.command("warm-up")
def warm_up() -> None:
    """Compile ahead what the first run would wait for."""
    from livespt.tools.warm_up import warm_up

    report(warm_up(say=click.echo))


livespt.add_command(label)
livespt.add_command(train)
livespt.add_command(evaluate)


def main() -> None:
    """Run the command line; never show a traceback for an error that was meant."""
    crashes_to_stderr()
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
