"""Commands on this machine: what it can do, and whether accidents lose anything on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from livespt.tools.chaos.suite import PARTS
from livespt.tools.cli.command import PATH, Command, report


@click.command(cls=Command)
@click.option("--what", multiple=True, type=click.Choice(list(PARTS)), help="Part. [all]")
@click.option("--times", type=click.IntRange(min=1), help="How often, in place of what is due.")
@click.option("--out", type=PATH, help="Folder to make and leave what was written. [none]")
def chaos(what: tuple[str, ...], times: int | None, out: Path | None) -> None:
    """Kill, cut, fill and damage runs, and count what is lost."""
    from livespt.tools.chaos.suite import chaos, check_held

    found = chaos(what, times=times, out=out, say=click.echo)
    report(found)
    check_held(found)


@click.command(cls=Command)
def doctor() -> None:
    """Say what this machine can do."""
    from livespt.tools.doctor import examine, lines

    findings = examine()
    report(findings, lines(findings))


@click.command("warm-up", cls=Command)
def warm_up() -> None:
    """Compile ahead what the first run would wait for."""
    from livespt.tools.warm_up import warm_up

    report(warm_up(say=click.echo))


@click.command(cls=Command)
@click.option("--against", type=PATH, help="Python of an environment with another build. [none]")
@click.option("--rows", multiple=True, help="Row, or job of several; may be repeated. [all]")
@click.option("--pairs", type=click.IntRange(min=1), help="Chunks of each build and row. [10]")
@click.option("--frames", type=click.IntRange(min=1), help="Frames of a chunk. [200]")
@click.option("--quick", is_flag=True, help="A rough look: 4 pairs of 40 frames.")
@click.option("--busy", is_flag=True, help="Measure although other programs run.")
@click.option("--others/--no-others", default=True, show_default=True, help="trackpy and others.")
@click.option("--holding", is_flag=True, help="Also the rate that replays hold (an hour).")
def bench(**values: Any) -> None:
    """CPU of a frame, compared with another build, other programs and the floor."""
    from livespt.tools.bench import table
    from livespt.tools.bench.bench import Choices, bench

    found = bench(Choices(**values), say=click.echo)
    report(found, table.tail(found))


@click.command(cls=Command)
@click.argument("run", type=PATH)
@click.option("--plot", type=PATH, help="Picture to write. [RUN_latency.png]")
@click.option("--worst", type=click.IntRange(min=1), default=5, show_default=True, help="Frames.")
def latency(run: Path, plot: Path | None, worst: int) -> None:
    """Where the time of each frame of RUN.zarr went."""
    from livespt.tools.bench.latency import latency

    report(latency(run, plot=plot, worst=worst))


COMMANDS = (doctor, warm_up, bench, latency, chaos)
