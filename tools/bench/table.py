"""The table of a benchmark: what was measured, as values for JSON and as lines for a person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from livespt.tools.bench.holding import Bounds
from livespt.tools.bench.turns import Series, TurnPlan, differing, ratios, spread

# name, width and form of each column; those that need another build
COLUMNS = (
    ("row", 18, "s"),
    ("frames", 7, "d"),
    ("this_ms", 9, ".3f"),
    ("other_ms", 9, ".3f"),
    ("ratio", 7, ".3f"),
    ("least", 7, ".3f"),
    ("greatest", 9, ".3f"),
    ("results", 8, "s"),
    ("other_load", 11, ".2f"),
    ("floor_ms", 9, ".3f"),
    ("over_floor", 11, ".1f"),
)
COMPARED = ("other_ms", "ratio", "least", "greatest", "results")


def row_result(name: str, plan: TurnPlan, series: Sequence[Series]) -> dict[str, Any]:
    """Values of a row.

    `ratio` is the median over the pairs of this build's CPU in units of the other's, `least` and
    `greatest` its range; `pairs` holds the CPU of a frame in each chunk, milliseconds, and
    `orders` who came first: 0 this build, 1 the other.
    """
    ours = series[0]
    result: dict[str, Any] = {
        "row": name,
        "frames": plan.pairs * plan.frames,
        "warm_up": plan.warm_up,
        "launches": plan.launches,
        "this_ms": spread(ours.cpu_ms)["median"],
    }
    if len(series) > 1:
        theirs = series[1]
        seen = spread(ratios(ours, theirs))
        unlike = differing(ours, theirs)
        result |= {
            "other_ms": spread(theirs.cpu_ms)["median"],
            "ratio": seen["median"],
            "least": seen["least"],
            "greatest": seen["greatest"],
            "results": "differ" if unlike else "equal",
            "differing": unlike,
            "orders": ours.order,
        }
    result["pairs"] = [list(pair) for pair in zip(*(one.cpu_ms for one in series), strict=True)]
    return result


def beside_result(row: str, program: str, series: Sequence[Series]) -> dict[str, Any]:
    """Values of another program: its CPU of a frame, and in units of this build's."""
    ours, theirs = series
    seen = spread(ratios(theirs, ours))
    return {
        "row": row,
        "program": program,
        "version": theirs.facts["versions"],
        "ms": spread(theirs.cpu_ms)["median"],
        "times_this": seen["median"],
        "least": seen["least"],
        "greatest": seen["greatest"],
    }


def beside_skipped(row: str, program: str, why: str) -> dict[str, Any]:
    """A program that is left out."""
    return {"row": row, "program": program, "skipped": why}


def holding_result(row: str, frames: int, rates: Sequence[Bounds]) -> dict[str, Any]:
    """Rates that each side held and did not hold, frames a second."""
    names = ("this", "other")
    result: dict[str, Any] = {"row": row, "frames": frames}
    for name, bounds in zip(names, rates, strict=False):
        result |= {f"{name}_hz": bounds.held, f"{name}_missed_hz": bounds.missed}
    return result


def head(sides: int) -> str:
    """Names of the columns; milliseconds are CPU a frame."""
    return _joined([name for name, _, _ in _columns(sides)], sides)


def line(row: dict[str, Any], sides: int) -> str:
    """One row as text."""
    if "skipped" in row:
        return f"{row['row']:<18}  skipped: {row['skipped']}"
    cells = []
    for name, _, form in _columns(sides):
        value = row[name]
        cells.append("-" if value is None else format(value, form))
    text = _joined(cells, sides)
    return text + (f"  {', '.join(row['differing'])}" if row.get("differing") else "")


def tail(found: dict[str, Any]) -> list[str]:
    """What follows the table: other programs, rates, the machine, notes."""
    lines = []
    for one in found["beside"]:
        start = f"beside  {one['row']:<18}{one['program']:<22}"
        if "skipped" in one:
            lines.append(f"{start}skipped: {one['skipped']}")
        else:
            between = f"{one['least']:.1f} to {one['greatest']:.1f}"
            lines.append(f"{start}{one['ms']:9.3f} ms, {one['times_this']:.1f} times ({between})")
    for one in found["holding"]:
        text = f"{one['this_hz']:.1f} frames/s"
        if "other_hz" in one:
            text += f", the other build {one['other_hz']:.1f}"
        lines.append(f"holds   {one['row']:<18}{text} over {one['frames']} frames")
    speeds = found["machine"]
    lines.append(
        f"floor   copies {speeds['copy_bytes_per_s'] / 1e9:.1f} GB/s, "
        f"multiplies matrices at {speeds['flops'] / 1e9:.0f} GFLOP/s, one thread"
    )
    return [*lines, *(f"note    {note}" for note in found["notes"])]


def _columns(sides: int) -> list[tuple[str, int, str]]:
    return [column for column in COLUMNS if sides > 1 or column[0] not in COMPARED]


def _joined(cells: Sequence[str], sides: int) -> str:
    widths = [width for _, width, _ in _columns(sides)]
    first, *rest = zip(cells, widths, strict=True)
    return f"{first[0]:<{first[1]}}" + "".join(f"{cell:>{width + 1}}" for cell, width in rest)
