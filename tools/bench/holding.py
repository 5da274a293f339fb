"""Holding rate: how many frames a second a replay takes in without falling behind.

A rate is held when all frames of a paced run are taken with nothing given up (level 0) and never
more than `MOST_BEHIND` waiting behind the one in work. It is bisected; every try is a new process
and a new run, as a person would start it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from livespt.tools.bench.turns import BuildWorker, Side, turn

FRAMES = 2000  # of a try
MOST_BEHIND = 3
LOW, HIGH = 0.25, 1.1  # first bounds, in units of the rate of an unpaced run
TRIES = 6  # leave bounds 2.5 % apart


class Bounds(NamedTuple):
    """What is known of a side's holding rate, frames a second."""

    held: float  # held in a try; 0: none was
    missed: float  # not held

    def next_rate(self, unpaced: float) -> float:
        """Rate of the next try: the geometric mean of the bounds."""
        return float(((self.held or LOW * unpaced) * self.missed) ** 0.5)


def holding_rates(
    sides: Sequence[Side],
    job: dict[str, Any],
    folder: Path,
    *,
    frames: int = FRAMES,
    warm_up: int,
    tries: int = TRIES,
) -> list[Bounds]:
    """Bisect the rate of each side, try by try in turns.

    Parameters
    ----------
    frames
        Of a try.
    warm_up
        Frames before, as fast as they come.
    """
    unpaced = [_try(side, job, folder, warm_up, 0, 0.0)[1] for side in sides]
    bounds = [Bounds(0.0, HIGH * rate) for rate in unpaced]
    for at in range(tries):
        for i in turn(len(sides), at):
            rate = bounds[i].next_rate(unpaced[i])
            held, _ = _try(sides[i], job, folder, warm_up, frames, rate)
            bounds[i] = bounds[i]._replace(**{"held" if held else "missed": rate})
    return bounds


def _try(
    side: Side, job: dict[str, Any], folder: Path, warm_up: int, frames: int, rate_hz: float
) -> tuple[bool, float]:
    """Whether a paced run of `frames` held, and the rate of the unpaced ones before."""
    with (
        tempfile.TemporaryDirectory(dir=folder) as own,
        BuildWorker(side, {**job, "folder": own}) as worker,
    ):
        worker.hear()
        worker.ask(frames=warm_up)
        unpaced = worker.ask(frames=warm_up)
        held = False
        if frames:
            paced = worker.ask(frames=frames, rate_hz=rate_hz, most_behind=MOST_BEHIND)
            held = holds(paced, frames)
        worker.ask(end=True)
    return held, warm_up / unpaced["wall_s"]


def holds(paced: dict[str, Any], frames: int) -> bool:
    """Whether a paced run passed all its frames, nothing given up, and never far behind."""
    return bool(
        paced["passed"] == frames and paced["behind"] <= MOST_BEHIND and paced["level"] == 0
    )
