"""Commands about this computer: what it can do, how fast, and whether accidents lose anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from livespt.tools.chaos.suite import PARTS
from livespt.tools.cli.command import Command
from livespt.tools.cli.parameters import COUNT, PATH, option
from livespt.tools.cli.printing import report


@click.command(cls=Command)
@option(
    "--what",
    multiple=True,
    type=click.Choice(list(PARTS)),
    unset="all",
    help="Kind of accident: killed processes, power cuts, full or broken disks, subscribers that "
    "stall or die, subscribers that slow the publisher (latency), invalid messages, a long run "
    "(soak), damaged files.",
)
@option(
    "--times",
    type=COUNT,
    unset="100 kills, 20 power cuts and so on, as in docs/benchmarks.md",
    help="Number of accidents of each kind; for soak, minutes.",
)
@option(
    "--out", type=PATH, unset="a temporary folder", help="New folder that keeps the damaged runs."
)
def chaos(what: tuple[str, ...], times: int | None, out: Path | None) -> None:
    """Test reliability: kill, cut, fill and damage runs.

    Runs of its own are damaged, never yours. docs/reliability.md says what has to hold.
    """
    from livespt.tools.chaos.suite import chaos, check_held

    found = chaos(what, times=times, out=out, say=click.echo)
    report(found)
    check_held(found)


@click.command(cls=Command)
def doctor() -> None:
    """Test what this computer provides, and how fast it is."""
    from livespt.tools.doctor import examine, lines

    findings = examine()
    report(findings, lines(findings))


@click.command("warm-up", cls=Command)
def warm_up() -> None:
    """Compile now what the first run would wait for.

    Compiled code is kept for all later runs.
    """
    from livespt.tools.warm_up import warm_up

    report(warm_up(say=click.echo))


@click.command(cls=Command)
@option(
    "--against",
    type=PATH,
    unset="none",
    help="Python interpreter of an environment with another build of livespt, to compare with.",
)
@option(
    "--rows",
    multiple=True,
    unset="all",
    help="What to measure: localizer, linker, states, replay or overlay, or one size of it, such "
    "as states-1000 (docs/benchmarks.md).",
)
@option(
    "--pairs", type=COUNT, unset="10", help="Number of chunks of frames that each build analyzes."
)
@option("--frames", type=COUNT, unset="200", help="Number of frames per chunk.")
@option("--quick", is_flag=True, help="Measure roughly, with 4 pairs of 40 frames.")
@option("--busy", is_flag=True, help="Measure although other programs are running.")
@option("--others/--no-others", default=True, help="Also measure trackpy and other programs.")
@option(
    "--holding",
    is_flag=True,
    help="Also find the highest rate of frames that replays hold; takes an hour.",
)
def bench(**values: Any) -> None:
    """Measure the CPU time per frame, next to other programs."""
    from livespt.tools.bench import table
    from livespt.tools.bench.bench import Choices, bench

    found = bench(Choices(**values), say=click.echo)
    report(found, table.tail(found))


@click.command(cls=Command)
@click.argument("run", type=PATH)
@option("--plot", type=PATH, unset="RUN_latency.png", help="Picture to write (.png).")
@option("--worst", type=COUNT, default=5, help="Number of slowest frames to list.")
def latency(run: Path, plot: Path | None, worst: int) -> None:
    """Show where the time of each frame of RUN.zarr went."""
    from livespt.tools.bench.latency import latency

    report(latency(run, plot=plot, worst=worst))


COMMANDS = (doctor, warm_up, bench, latency, chaos)
