"""What the tail of a track costs behind a head, by all points that are known of it.

The cost is -2 log of the densities that the filters expect at the tail's points, and of the
probabilities that the track is seen or missed in each frame.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.stream.compiled import njit
from livespt.stream.link import recent_points as recent, track_columns as c
from livespt.stream.link.motion_model import LinkSettings, advance, begin, link_cost, update
from livespt.stream.link.population import Typical, chances_of, return_class, typical_of
from livespt.stream.link.recent_points import History, point_at

Floats = NDArray[np.float64]

NEVER = 1e9  # more than any link costs


class Judging(NamedTuple):
    """The motion model as it is when links are judged."""

    population: Floats  # (POPULATION_WIDTH,)
    typical: Typical
    chances: Floats  # (GAPS * AGES,) that a track of each class is seen
    settings: LinkSettings
    now: int  # the last frame that is known


@njit(nogil=True, error_model="numpy")
def judging_of(population: Floats, settings: LinkSettings, now: int) -> Judging:
    """The motion model at the frame `now`."""
    return Judging(population, typical_of(population), chances_of(population), settings, now)


@njit(nogil=True, error_model="numpy")
def scratch_row() -> tuple[Floats, Floats]:
    """Room for a track's row and its prediction."""
    return np.empty((1, c.TRACK_WIDTH)), np.empty((1, c.TRACK_WIDTH))


@njit(nogil=True, error_model="numpy")
def cost_of_gap(points: float, frames: int, chances: Floats) -> float:
    """Cost of a track of so many points not being seen in so many frames."""
    cost = 0.0
    for missed in range(frames):
        cost -= 2.0 * math.log(1.0 - chances[return_class(points, missed)])
    return cost


@njit(nogil=True, error_model="numpy")
def tail_cost(
    history: History,
    p: int,
    q: int,
    judging: Judging,
    scratch: tuple[Floats, Floats],
    max_first: float,
    keep: bool,
) -> float:
    """Cost of the tail that starts with point `q` behind point `p`, over all frames known.

    Parameters
    ----------
    history
        The points of the last frames.
    p, q
        Rows of points. Where `p` is `NONE` the tail starts a track, and the cost is that of its
        other points.
    judging
        The motion model.
    scratch
        Room for a track's row and its prediction.
    max_first
        If the first link alone costs more than this, the answer is `NEVER`.
    keep
        Whether the filters are stored in the history.
    """
    ints, filters = history.ints, history.filters
    population, typical, chances, settings, now = judging
    row, ahead = scratch
    cost, last = 0.0, ints[q, recent.FRAME]
    if p >= 0:
        last = ints[p, recent.FRAME]
        for k in range(c.TRACK_WIDTH):
            row[0, k] = filters[p, k]
    else:
        begin(row, 0, point_at(history, q), typical.speed_variance, population, settings.model)
        if keep:
            _store(row, filters, q)
        q = ints[q, recent.AFTER]
    while q >= 0:
        point, points = point_at(history, q), row[0, c.POINTS]
        missed = ints[q, recent.FRAME] - last - 1
        cost += cost_of_gap(points, missed, chances)
        cost -= 2.0 * math.log(chances[return_class(points, missed)])
        advance(row, ahead, 0, point.clock, typical, settings)
        cost += link_cost(
            ahead, 0, point, settings.intensity_weight, typical.intensity_variance, settings.ndim
        )
        if cost > max_first:
            return NEVER
        max_first = NEVER
        update(row, 0, ahead, 0, point, typical.step_variance, settings)
        if keep:
            _store(row, filters, q)
        last, q = ints[q, recent.FRAME], ints[q, recent.AFTER]
    return cost + cost_of_gap(row[0, c.POINTS], min(now - last, settings.memory + 1), chances)


@njit(nogil=True)
def _store(row: Floats, filters: Floats, q: int) -> None:
    """Write a track's row after point `q`."""
    for k in range(c.TRACK_WIDTH):
        filters[q, k] = row[0, k]
