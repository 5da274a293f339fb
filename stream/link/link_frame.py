"""Link one frame: its points become the next points of tracks, in one compiled call.

A call from Python costs as much as linking some ten particles, and a NamedTuple of arrays that is
passed in from Python costs as much as thirty. So `plain` and `moving` are called once a frame, take
flat arguments and group them at once. Within compiled code groups of numbers cost nothing; to take
an array out of a group counts a reference. Loops over particles therefore take arrays out before
they begin, and what they call for each particle takes arrays, the number of a row, and numbers.

The tables of the living tracks belong to the linker.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.stream.compiled import njit
from livespt.stream.link.assignment import assign
from livespt.stream.link.candidates import neighbors
from livespt.stream.link.forecast import Moment, TrackFilters, expect, learn, price
from livespt.stream.link.motion_model import LinkSettings, Points

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
SlotNumbers = NDArray[np.int32]
Flags = NDArray[np.bool_]
# what a frame did to the tracks, see `plain`
Followed = tuple[Ints, SlotNumbers, Ints, Ints, SlotNumbers, Ints, SlotNumbers, Ints, Floats]


class Living(NamedTuple):
    """Tracks that may go on: those of the last frame in the order of its points, then the gaps."""

    id: Ints  # (m,)
    slot: SlotNumbers  # (m,)
    last_frame: Ints  # (m,) frame in which each was last seen
    position: Floats  # (m, 3) z, y, x there; px


class Slots(NamedTuple):
    """Rows of tables beside the linker, and who has them."""

    free: SlotNumbers  # stack of those given back, with room for all
    n_free: int
    used: int  # slots ever handed out


@njit(nogil=True)
def first_bad(position: Floats) -> int:
    """First row with a coordinate that is not finite, or whose square overflows; -1: none."""
    for i in range(position.shape[0]):
        for axis in range(position.shape[1]):
            if not abs(position[i, axis]) < 1e100:
                return i
    return -1


@njit(nogil=True)
def measured(
    n: int, precision: Floats, intensity: Floats, usual: float, most: float
) -> tuple[Floats, Floats]:
    """Variances of localizations (n, 2), lateral and axial, and logarithms of intensities (n,).

    Parameters
    ----------
    precision : (n, 2), (n, 3) or (0, 2)
        Standard deviations y, x or z, y, x; px.
    intensity : (n,) or (0,)
    usual
        Variance where a standard deviation is unknown, px^2.
    most
        Largest variance, px^2.
    """
    noise, light = np.full((n, 2), usual), np.zeros(n)
    for j in range(len(precision)):
        y, x = precision[j, -2], precision[j, -1]
        noise[j, 0] = 0.5 * (y * y + x * x)
        if precision.shape[1] == 3:
            noise[j, 1] = precision[j, 0] * precision[j, 0]
        for part in range(2):
            known = math.isfinite(noise[j, part]) and noise[j, part] > 0.0
            noise[j, part] = min(max(noise[j, part], 1e-3 * usual), most) if known else usual
    for j in range(len(intensity)):
        light[j] = math.log(intensity[j] if intensity[j] > 1e-9 else 1e-9)  # also where NaN
    return noise, light


@njit(nogil=True)
def plain(
    at: Floats,
    frame: int,
    ids: Ints,
    slot_of: SlotNumbers,
    last_frame: Ints,
    last_at: Floats,
    free: SlotNumbers,
    n_free: int,
    used: int,
    next_id: int,
    memory: int,
    kept: int,
    search_range: float,
) -> tuple[Followed, int]:
    """Link a frame by distance alone.

    Parameters
    ----------
    at : (n, 3)
        Points of the frame z, y, x; px.
    frame
        Its number.
    ids, slot_of, last_frame, last_at
        The fields of `Living`, before the frame.
    free, n_free, used
        The fields of `Slots`, before the frame; `free` is changed in place.
    next_id
        Id of the next track.
    memory
        Frames that a track may be missing and be linked again.
    kept
        Frames that a track may be missing and still be kept.
    search_range
        Largest distance of a link, px.

    Returns
    -------
    followed : tuple
        Ids and slots of the points (n,); ids born, in the order of their points; ids lost and
        their slots; then the fields of `Living` after the frame.
    degraded : int
        Points whose links may not be the best, see `assign`.
    """
    living, slots = Living(ids, slot_of, last_frame, last_at), Slots(free, n_free, used)
    m = len(ids)
    radius = np.empty(m)
    for i in range(m):
        radius[i] = search_range if frame - last_frame[i] <= memory + 1 else -1.0
    row_of, degraded = np.full(len(at), -1, np.int64), 0
    if m > 0 and len(at) > 0:
        first, col, cost, capped = neighbors(last_at, radius, at, search_range)
        alone = np.full(m, search_range * search_range)
        row_of, degraded = assign(first, col, cost, alone, capped, len(at))
    return _continue(row_of, at, frame, frame - kept, next_id, slots, living), degraded


@njit(nogil=True)
def moving(
    at: Floats,
    noise: Floats,
    log_intensity: Floats,
    frame: int,
    clock: float,
    ids: Ints,
    slot_of: SlotNumbers,
    last_frame: Ints,
    last_at: Floats,
    filters: Floats,
    free: SlotNumbers,
    n_free: int,
    used: int,
    next_id: int,
    population: Floats,
    model: int,
    ndim: int,
    memory: int,
    kept: int,
    search_range: float,
    intensity_weight: float,
) -> tuple[Followed, int, Floats]:
    """Link a frame by a motion model.

    Parameters
    ----------
    at, noise, log_intensity
        The fields of `motion_model.Points`.
    frame
        Number of the frame.
    clock
        Its time, in mean frame intervals.
    ids, slot_of, last_frame, last_at
        The fields of `Living`, before the frame.
    filters : (m, TRACK_WIDTH)
        Rows of these tracks, see `track_columns`.
    free, n_free, used
        The fields of `Slots`, before the frame; `free` is changed in place.
    next_id
        Id of the next track.
    population : (POPULATION_WIDTH,)
        Sums over all tracks, changed in place, see `track_columns`.
    model, ndim, memory, search_range, intensity_weight
        The fields of `motion_model.LinkSettings`.
    kept
        Frames that a track may be missing and still be kept.

    Returns
    -------
    followed : tuple
        As `plain` returns it.
    degraded : int
        Points whose links may not be the best, see `assign`.
    filters : (living, TRACK_WIDTH)
        Rows of the living tracks after the frame.
    """
    living, slots = Living(ids, slot_of, last_frame, last_at), Slots(free, n_free, used)
    points, tracks = Points(at, noise, log_intensity, clock), TrackFilters(filters, last_frame)
    settings = LinkSettings(model, ndim, search_range, memory, intensity_weight)
    moment = Moment(frame, clock, frame - memory - 1, frame - kept)
    ahead = expect(tracks, moment, noise, population, settings)
    row_of, degraded = np.full(len(at), -1, np.int64), 0
    if len(ids) > 0 and len(at) > 0:
        found = neighbors(ahead.position, ahead.radius, at, ahead.cell)
        price(ahead.filters, found, points, population, settings)
        row_of, degraded = assign(
            found.first, found.col, found.cost, ahead.cost_of_none, found.capped, len(at)
        )
    linked = _continue(row_of, at, frame, moment.kept, next_id, slots, living)
    filters = learn(
        tracks, ahead.filters, row_of, points, moment, len(linked[5]), population, settings
    )
    return linked, degraded, filters


@njit(nogil=True)
def _continue(
    row_of: Ints, at: Floats, frame: int, kept: int, next_id: int, slots: Slots, living: Living
) -> Followed:
    """Continue tracks with the points that were assigned to them, start tracks with the others.

    `row_of` (n,) is the living track that each point continues, -1: none. Tracks last seen before
    the frame `kept` are given up; their slots are free from the next frame on.
    """
    ids, slot_of, last_frame, last_at = living
    free, n_free, used = slots
    n, m = len(at), len(ids)
    track, slot, born = np.empty(n, np.int64), np.empty(n, np.int32), np.empty(n, np.int64)
    linked = np.zeros(m, np.bool_)
    births = 0
    for j in range(n):
        i = row_of[j]
        if i >= 0:
            linked[i] = True
            track[j], slot[j] = ids[i], slot_of[i]
            continue
        track[j] = born[births] = next_id + births
        if births < n_free:
            slot[j] = free[n_free - 1 - births]
        else:
            slot[j] = used + births - n_free
        births += 1
    n_free = max(n_free - births, 0)
    alive = n
    for i in range(m):
        alive += not linked[i] and last_frame[i] >= kept
    lost = np.empty(m + births - alive, np.int64)
    lost_slot = np.empty(len(lost), np.int32)
    new_ids, new_slot = np.empty(alive, np.int64), np.empty(alive, np.int32)
    new_last, new_at = np.full(alive, frame, np.int64), np.empty((alive, 3))
    new_ids[:n], new_slot[:n], new_at[:n] = track, slot, at
    k, gone = n, 0
    for i in range(m):
        if linked[i]:
            continue
        if last_frame[i] >= kept:
            new_ids[k], new_slot[k], new_last[k], new_at[k] = (
                ids[i], slot_of[i], last_frame[i], last_at[i],
            )  # fmt: skip
            k += 1
        else:
            lost[gone], lost_slot[gone] = ids[i], slot_of[i]
            free[n_free + gone] = slot_of[i]
            gone += 1
    return (
        track, slot, born[:births], lost, lost_slot,
        new_ids, new_slot, new_last, new_at,
    )  # fmt: skip
