"""Commands on this machine: what it can do, and whether accidents lose anything on it."""

from __future__ import annotations

from pathlib import Path

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


COMMANDS = (doctor, chaos)
