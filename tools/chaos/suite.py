"""Chaos: the promises that nothing is lost, tried out: what `livespt chaos` runs, and its verdict.

A part is a function `run(times, folder, say) -> dict`. What it returns are figures, tables of
them in dicts. Wherever a promise was kept or broken stands `held`, true or false, or `failed`, a
list of what went wrong. What was promised within a time, and came later, stands in a list `late`
of its own, because a busy machine can be the reason.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from livespt.stream.errors import LiveSptError, StoreError


class Part(NamedTuple):
    """A kind of accident."""

    times: int  # what is promised is shown by so many
    about: str


PARTS = {
    "kills": Part(100, "analyzer, writer and capture are killed"),
    "power": Part(20, "the power fails"),
    "disk": Part(1, "the disk fills up or breaks, memory is short"),
    "subscribers": Part(200, "subscribers are late, stall or die"),
    "latency": Part(5, "subscribers in the way of the publisher"),
    "messages": Part(100_000, "messages that make no sense"),
    "soak": Part(60, "minutes at 100 frames/s"),
    "files": Part(2000, "stores and models with damage in them"),
}


def chaos(
    what: Sequence[str],
    *,
    times: int | None = None,
    out: Path | None = None,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Run parts of `PARTS`; none named: all.

    Parameters
    ----------
    what : sequence of str
    times : int, optional
        How often, in place of what each part's promise asks for.
    out : Path, optional
        Folder to make and leave what was written there.
    say : callable
        Takes lines meant for a person.

    Returns
    -------
    dict
        What each part found.

    Raises
    ------
    StoreError
        `out` exists.
    """
    if out is not None:
        if out.exists():
            raise StoreError(f"'{out}' exists already: choose another --out")
        out.mkdir(parents=True)
        return _run(what, times, out, say)
    with tempfile.TemporaryDirectory(prefix="livespt-chaos-") as folder:
        return _run(what, times, Path(folder), say)


def _run(
    what: Sequence[str], times: int | None, out: Path, say: Callable[[str], None]
) -> dict[str, Any]:
    found, runs = {}, _runs()
    for name in what or PARTS:
        part = PARTS[name]
        folder = out / name
        folder.mkdir()
        found[name] = runs[name](times or part.times, folder, say)
    return found


def _runs() -> dict[str, Callable[[int, Path, Callable[[str], None]], dict[str, Any]]]:
    """What runs each part; loaded when it is wanted, for the command line needs the names only."""
    from livespt.tools.chaos import disk, files, kills, latency, messages, power, soak, subscribers

    return {
        "kills": kills.run,
        "power": power.run,
        "disk": disk.run,
        "subscribers": subscribers.run,
        "latency": latency.run,
        "messages": messages.run,
        "soak": soak.run,
        "files": files.run,
    }


def check_held(found: dict[str, Any]) -> None:
    """Raise LiveSptError if a promise was broken, or kept too late."""
    broken = [name for name, figures in found.items() if _any(figures, _is_broken)]
    late = [name for name, figures in found.items() if _any(figures, _is_late)]
    if broken:
        raise LiveSptError(f"not all that is promised held: see {', '.join(broken)} above")
    if late:
        raise LiveSptError(
            f"all that is promised held, but not in time: see `late` of {', '.join(late)} above, "
            "and try again with nothing else running"
        )


def _is_broken(figures: dict[str, Any]) -> bool:
    return figures.get("held", True) is False or bool(figures.get("failed"))


def _is_late(figures: dict[str, Any]) -> bool:
    return bool(figures.get("late"))


def _any(figures: Any, holds: Callable[[dict[str, Any]], bool]) -> bool:
    """Whether it holds for these figures or for a table within them."""
    if not isinstance(figures, dict):
        return False
    return holds(figures) or any(_any(value, holds) for value in figures.values())
