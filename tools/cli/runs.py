"""Commands on runs: made, replayed, finished, watched, followed and checked."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import click

from livespt.stream.wire.codec import ENDPOINT
from livespt.tools.cli.command import (
    FINITE,
    PATH,
    POSITIVE,
    SEED,
    Command,
    Finite,
    RecordedOutput,
    report,
)
from livespt.tools.cli.options import DURABILITY, KEY, analysis_options, options
from livespt.tools.runs.options import MODEL_CHOICES, RECORDED


@click.command(cls=Command)
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

    result = demo(options=options(values), say=click.echo, **values)
    report(result, lines(result))


@click.command(cls=Command)
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
    from livespt.tools.runs.live import live

    report(live(options=options(values), say=click.echo, **values))


@click.command(cls=Command)
@click.argument("movie", type=PATH)
@click.option("--out", type=PATH, required=True, help="Run to write (RUN.zarr).")
@click.option("--pixel-size-um", type=FINITE, help="In place of what the movie says.")
@click.option("--frame-interval-s", type=FINITE, help="In place of what the movie says.")
@click.option("--rate", type=click.Choice(["max", "realtime"]), default="max", show_default=True)
@click.option("--no-movie", is_flag=True, help="Do not store the frames again.")
@click.option("--all-frames", is_flag=True, help="Also those that the live run had to skip.")
@click.option(
    "--models",
    type=click.Choice(MODEL_CHOICES),
    default=RECORDED,
    show_default=True,
    help="Networks for a run that is replayed: those that it recorded, or, where a later release "
    "replaced one, the one that is shipped now. The settings are those of the run.",
)
@click.option("--endpoint", default=ENDPOINT, show_default=True)
@click.option("--keys", type=PATH, help="Folder of keys: who has one may follow. [loopback: all]")
@DURABILITY
@analysis_options
def replay(movie: Path, out: Path, no_movie: bool, **values: Any) -> None:
    """Analyze a recorded MOVIE through the path of a live run."""
    from livespt.tools.runs.replay import replay

    chosen = options(values)
    report(replay(movie, out, chosen, keep_movie=not no_movie, say=click.echo, **values))


@click.command(cls=Command)
@click.argument("target", default=ENDPOINT)
@click.option("--render", type=PATH, help="Draw to FILE.png or FILE.mp4, without a screen.")
@click.option("--frame", type=int, help="Of a stored run. Default: a telling one.")
@KEY
def watch(target: str, render: Path | None, frame: int | None, key: Path | None) -> None:
    """The overlay: live from an endpoint (TARGET), or of a stored RUN.zarr."""
    from livespt.tools.overlay.watch import watch

    report(watch(target, render=render, frame=frame, key=key))


@click.command(cls=Command)
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

    kept = RecordedOutput()
    told = partial(click.echo, err=True) if sys.stderr.isatty() else lambda text: None
    listen(target, kinds=kinds, since=since, wait_s=wait_s, key=key, out=kept, say=told)
    report([json.loads(line) for line in kept.lines], lines=())


@click.command(cls=Command)
@click.argument("folder", type=PATH)
@click.argument("name")
def keys(folder: Path, name: str) -> None:
    """Make the key NAME.key of one who may follow runs published with --keys FOLDER."""
    from livespt.stream.wire.keys import make

    report({"made": ", ".join(map(str, make(folder, name))), "secret": f"{folder / name}.key"})


@click.command(cls=Command)
@click.argument("run", type=PATH)
def verify(run: Path) -> None:
    """Check every byte of RUN.zarr against what was written."""
    from livespt.stream.errors import InputError
    from livespt.stream.store.verify import verify

    faults = 0
    for fault in verify(run):
        click.echo(f"fault       {fault.where}: {fault.what}")
        faults += 1
    report({"run": str(run), "faults": faults})
    if faults:
        raise InputError(f"{run} is damaged in {faults} places: copy it again from a good disk")


@click.command(cls=Command)
@click.argument("run", type=PATH)
@click.option("--movie", type=PATH, help="What RUN replays, where it is not found by its name.")
@click.option("--close", is_flag=True, help="Analyze nothing: end the run with what it has.")
def resume(run: Path, movie: Path | None, close: bool) -> None:
    """Finish RUN.zarr, which was cut short."""
    from livespt.tools.runs.resume import resume

    report(resume(run, movie=movie, close=close, say=click.echo))


COMMANDS = (demo, live, replay, watch, listen, resume, verify, keys)
