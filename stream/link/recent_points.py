"""The points of the last frames, in the order of the frames, and how they are linked.

Each has a row in three tables: `ints` (n, 4), `reals` (n, 7) and `filters` (n, TRACK_WIDTH).
Positions are in px, variances in px^2, times in mean frame intervals.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.stream.compiled import njit
from livespt.stream.link import track_columns as c
from livespt.stream.link.kalman import Point

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
SlotNumbers = NDArray[np.int32]

# columns of `ints`: frame, slot of the track, and the rows of the track's points before and after
FRAME, SLOT, BEFORE, AFTER = 0, 1, 2, 3
NONE, OVER = -1, -2  # no such row; no row to come, because the track was given up
# columns of `reals`: position z, y, x; variances, lateral and axial; log of intensity; time
AT, NOISE, LIGHT, CLOCK = 0, 3, 5, 6

LOOK = 3  # points before and after an event
GUESSES = 50.0  # changes of intensity that the starting value of their scatter counts for


class History(NamedTuple):
    """The points of the last frames, in the order of the frames."""

    ints: Ints  # (n, 4) frame, slot, the point before and the point after
    reals: Floats  # (n, 7) position, variances, intensity and time
    filters: Floats  # (n, TRACK_WIDTH) the track's row after each point


@njit(nogil=True)
def append(
    ints: Ints,
    reals: Floats,
    filters: Floats,
    n: int,
    frame: int,
    clock: float,
    slots: SlotNumbers,
    at: Floats,
    noise: Floats,
    light: Floats,
    rows: Floats,
    newest: Ints,
) -> None:
    """Add the points of a frame to the history, each behind the newest point of its slot.

    Parameters
    ----------
    ints, reals, filters
        The fields of `History`, with room for more points than the `n` that they hold.
    frame, clock
        Number and time of the frame.
    slots, at, noise, light, rows
        Of its points: slot, position, variances, logarithm of the intensity, row of the track.
    newest : (slots,)
        The newest point of each slot, or `NONE`; changed in place.
    """
    for j in range(len(slots)):
        p, before = n + j, newest[slots[j]]
        ints[p, FRAME], ints[p, SLOT], ints[p, BEFORE], ints[p, AFTER] = (
            frame, slots[j], before, NONE,
        )  # fmt: skip
        if before >= 0:
            ints[before, AFTER] = p
        newest[slots[j]] = p
        reals[p, LIGHT], reals[p, CLOCK] = light[j], clock
        for axis in range(3):
            reals[p, AT + axis] = at[j, axis]
        for part in range(2):
            reals[p, NOISE + part] = noise[j, part]
        for k in range(c.TRACK_WIDTH):
            filters[p, k] = rows[j, k]


@njit(nogil=True)
def drop(ints: Ints, reals: Floats, filters: Floats, n: int, gone: int, newest: Ints) -> None:
    """Forget the first `gone` of `n` points; the others move to the front, see `append`."""
    for p in range(gone, n):
        for k in range(ints.shape[1]):
            ints[p - gone, k] = ints[p, k]
        for k in range(reals.shape[1]):
            reals[p - gone, k] = reals[p, k]
        for k in range(c.TRACK_WIDTH):
            filters[p - gone, k] = filters[p, k]
        for k in (BEFORE, AFTER):
            if ints[p - gone, k] >= 0:
                ints[p - gone, k] = max(ints[p - gone, k] - gone, NONE)
    for s in range(len(newest)):
        if newest[s] >= 0:
            newest[s] = max(newest[s] - gone, NONE)


@njit(nogil=True, error_model="numpy")
def point_at(history: History, p: int) -> Point:
    """Point number `p` of the history."""
    reals = history.reals
    return Point(
        reals[p, AT], reals[p, AT + 1], reals[p, AT + 2],
        reals[p, NOISE], reals[p, NOISE + 1], reals[p, LIGHT], reals[p, CLOCK],
    )  # fmt: skip


@njit(nogil=True)
def push_points(
    count: Ints,
    frames: Ints,
    points: Floats,
    lights: Floats,
    slots: NDArray[np.int32],
    frame: int,
    point: Floats,
    light: Floats,
    scatter: Floats,
) -> None:
    """Add a point to each slot, and learn how intensities scatter from one point to the next.

    `count` (slots,), `frames` (slots, depth), `points` (slots, depth, 3) and `lights` (slots,
    depth) are the rings of `Lineage`. `slots` (n,), `point` (n, 3) and `light` (n,) are those of
    the points of a frame. `scatter` (2,) is the sum of the variances of intensities, and what it
    counts for.
    """
    depth = frames.shape[1]
    scatter *= 0.99 if scatter[1] > GUESSES else 1.0
    for i in range(len(slots)):
        s = slots[i]
        at = count[s] % depth
        if count[s] > 0:
            change = light[i] - lights[s, (count[s] - 1) % depth]
            if abs(change) < 2.0:  # NaN is not
                scatter[0] += 0.5 * change * change
                scatter[1] += 1.0
        frames[s, at], lights[s, at], points[s, at] = frame, light[i], point[i]
        count[s] += 1


@njit(nogil=True)
def mean_intensity(
    count: Ints, frames: Ints, lights: Floats, s: int, frame: int, later: bool
) -> tuple[float, int]:
    """Mean of the `LOOK` intensities of a slot nearest before a frame, or from it on.

    Returns their number too; it is smaller where fewer are known.
    """
    depth = frames.shape[1]
    total, n = 0.0, 0
    held = min(count[s], depth)
    for k in range(held):
        back = held - k if later else k + 1
        at = (count[s] - back) % depth
        if (frames[s, at] >= frame) == later and not math.isnan(lights[s, at]):
            total += lights[s, at]
            n += 1
            if n == LOOK:
                break
    return (total / n if n else math.nan), n


@njit(nogil=True)
def means_before(
    count: Ints, frames: Ints, lights: Floats, slots: NDArray[np.int32], frame: Ints
) -> tuple[Floats, Ints]:
    """Mean of the last intensities before `frame` (n,) of `slots` (n,), and their numbers."""
    mean, number = np.empty(len(slots)), np.empty(len(slots), np.int64)
    for i in range(len(slots)):
        mean[i], number[i] = mean_intensity(count, frames, lights, slots[i], frame[i], False)
    return mean, number
