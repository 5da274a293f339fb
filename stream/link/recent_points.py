"""The points of the last frames, in the order of the frames, and how they are linked.

Each has a row in three tables: `ints` (n, 4), `reals` (n, 7) and `filters` (n, TRACK_WIDTH).
Positions are in px, variances in px^2, times in mean frame intervals.
"""

from __future__ import annotations

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
