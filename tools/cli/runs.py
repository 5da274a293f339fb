"""Commands that make runs, finish, check, publish and show them."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import click

from livespt.stream.errors import SettingError
from livespt.stream.types import KINDS
from livespt.stream.wire.codec import ENDPOINT
from livespt.tools.cli.command import Command
from livespt.tools.cli.options import (
    KEY,
    OVERWRITE_RUN,
    analysis_options,
    movie_options,
    options,
    publish_options,
    stated_of,
)
from livespt.tools.cli.parameters import COUNT, INDEX, PATH, POSITIVE, SEED, Integer, Number, option
from livespt.tools.cli.printing import RecordedOutput, report
from livespt.tools.runs.options import MODEL_CHOICES, RECORDED


@click.command(cls=Command)
@option("--out", type=PATH, default=Path("demo"), help="Folder to write the results to.")
@option("--headless", is_flag=True, help="Do not open the overlay window.")
@option("--seed", type=SEED, default=1, help="Seed of the simulated sample.")
@option("--frames", type=Integer(50), unset="1000", help="Length of the movie in frames.")
@publish_options
@analysis_options
def demo(**values: Any) -> None:
    """Analyze a simulated virus entry live; compare with the truth.

    A camera in the real Micro-Manager core plays the movie. No microscope is needed.
    """
    from livespt.tools.demo import demo, lines

    result = demo(options=options(values), say=click.echo, **values)
    report(result, lines(result))


@click.command(cls=Command)
@option("--out", type=PATH, default=Path("live.zarr"), help="Run to write (RUN.zarr).")
@option("--frames", type=COUNT, default=1000, help="Number of frames to record.")
@option(
    "--interval-ms",
    type=Number(0),
    default=0.0,
    help="Time between frames, milliseconds; 0: no waiting.",
)
@option(
    "--exposure-ms",
    type=Number(0.01),
    unset="as set in Micro-Manager",
    help="Exposure time, milliseconds.",
)
@option(
    "--port",
    type=Integer(1, 65535),
    default=4827,
    help="Port of a running Micro-Manager, as set in its Tools > Options > Run server on port.",
)
@option(
    "--mm-dir",
    type=PATH,
    help="Folder in which Micro-Manager is installed; its core is started without the program.",
)
@option("--mm-config", type=PATH, help="With --mm-dir: its hardware configuration (.cfg).")
@option("--java", is_flag=True, help="With --mm-dir: start headless Java, not the Python core.")
@option(
    "--demo-camera",
    is_flag=True,
    help="Use the simulated demo hardware of Micro-Manager; no microscope is needed.",
)
@option(
    "--pixel-size-um",
    type=POSITIVE,
    unset="as set in Micro-Manager",
    help="Size of a pixel, micrometres.",
)
@publish_options
@analysis_options
@OVERWRITE_RUN
def live(out: Path, overwrite: bool, **values: Any) -> None:
    """Record from Micro-Manager, and analyze while it records.

    A running Micro-Manager is used, unless --mm-dir or --demo-camera is given. `livespt watch` and
    `livespt listen` show meanwhile what is found.
    """
    from livespt.tools.runs.live import live
    from livespt.tools.runs.overwrite import replacing

    with replacing(out, overwrite) as path:
        result = live(options=options(values), out=path, say=click.echo, **values)
    report(result | {"run": str(out)})


@click.command(cls=Command)
@click.argument("movie", type=PATH)
@click.argument("run", type=PATH, required=False, metavar="[RUN.zarr]")
@option("--out", type=PATH, help="Run to write (RUN.zarr), if it is not given after MOVIE.")
@movie_options
@option(
    "--rate",
    type=click.Choice(["max", "realtime"]),
    default="max",
    help="Speed of the replay; realtime waits for the time of each frame.",
)
@option("--no-movie", is_flag=True, help="Do not store the frames again.")
@option("--all-frames", is_flag=True, help="Also analyze frames that the live run skipped.")
@option(
    "--models",
    type=click.Choice(MODEL_CHOICES),
    default=RECORDED,
    help="Networks for a run that is replayed: those that it recorded, or, where a later release "
    "replaced one, the one that is shipped now. The settings are those of the run.",
)
@publish_options
@analysis_options
@OVERWRITE_RUN
def replay(
    movie: Path,
    run: Path | None,
    out: Path | None,
    no_movie: bool,
    overwrite: bool,
    **values: Any,
) -> None:
    """Analyze a recorded MOVIE in the same way as a live run.

    MOVIE is OME-TIFF, ImageJ or plain TIFF, NDTiff, OME-Zarr or a Zarr array, a livespt run, a
    folder of images (TIFF or PNG), a film, ND2, or whatever a bioio plugin reads (CZI, LIF, ...);
    docs/recordings.md describes each. A replayed run keeps its models and settings, except for
    those given here.
    """
    from livespt.tools.runs.overwrite import replacing
    from livespt.tools.runs.replay import replay

    if run is not None and out is not None and run != out:
        raise SettingError(f"two runs to write, {run} and {out}: give one")
    target = run or out
    if target is None:
        raise click.UsageError("the run to write is missing: livespt replay MOVIE RUN.zarr")
    chosen, stated = options(values), stated_of(values)
    with replacing(target, overwrite) as path:
        result = replay(
            movie, path, chosen, stated, keep_movie=not no_movie, say=click.echo, **values
        )
    report(result | {"run": str(target)})


@click.command(cls=Command)
@click.argument("target", default=ENDPOINT)
@option("--render", type=PATH, help="Draw to FILE.png or FILE.mp4 in place of a window.")
@option(
    "--frame",
    type=int,
    unset="one with many uncoatings",
    help="Time point of a stored run to begin with or to draw.",
)
@KEY
def watch(target: str, render: Path | None, frame: int | None, key: Path | None) -> None:
    """Show the overlay of a run that is published or stored.

    TARGET is the address of a published run, or the folder of a stored one. Without it, the run
    that is published on this computer is shown.
    """
    from livespt.tools.overlay.watch import watch

    report(watch(target, render=render, frame=frame, key=key))


@click.command(cls=Command)
@click.argument("target", default=ENDPOINT)
@option(
    "--kind",
    "kinds",
    multiple=True,
    unset="all",
    help=f"Print only events of this kind: {', '.join(KINDS)}.",
)
@option("--since", type=INDEX, default=0, help="Number of the first event to print.")
@option(
    "--wait-s", type=Number(0), default=5.0, help="Time to wait for a run to be published, seconds."
)
@KEY
def listen(
    target: str, kinds: tuple[str, ...], since: int, wait_s: float, key: Path | None
) -> None:
    """Print the events of a run, one line of JSON each.

    TARGET is the address of a published run, or the folder of a stored one. Without it, the run
    that is published on this computer is used. No event is left out, also after an interrupted
    connection.
    """
    from livespt.tools.listen import listen

    kept = RecordedOutput()
    told = partial(click.echo, err=True) if sys.stderr.isatty() else lambda text: None
    listen(target, kinds=kinds, since=since, wait_s=wait_s, key=key, out=kept, say=told)
    report([json.loads(line) for line in kept.lines], lines=())


@click.command(cls=Command)
@click.argument("folder", type=PATH)
@click.argument("name")
def keys(folder: Path, name: str) -> None:
    """Make a key for a subscriber on another computer.

    FOLDER holds the keys of all subscribers and is made if it is missing; NAME names the new key.
    Copy FOLDER/NAME.key to that computer. Publish with `--keys FOLDER`. To withdraw the key, delete
    FOLDER/known/NAME.public.
    """
    from livespt.stream.wire.keys import make

    report({"made": ", ".join(map(str, make(folder, name))), "secret": f"{folder / name}.key"})


@click.command(cls=Command)
@click.argument("run", type=PATH)
def verify(run: Path) -> None:
    """Check every byte of RUN.zarr against the stored checksums.

    Nothing is changed. Each file or frame that was changed, cut, deleted or exchanged is named.
    """
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
@option(
    "--movie",
    type=PATH,
    unset="searched by its name",
    help="Movie that RUN.zarr replays.",
)
@option("--close", is_flag=True, help="End the run with what it has; analyze nothing.")
def resume(run: Path, movie: Path | None, close: bool) -> None:
    """Finish RUN.zarr, which was interrupted.

    Frames that are stored but not analyzed are analyzed. What the run holds does not change.
    """
    from livespt.tools.runs.resume import resume

    report(resume(run, movie=movie, close=close, say=click.echo))


COMMANDS = (demo, live, replay, resume, watch, listen, verify, keys)
