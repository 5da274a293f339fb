"""Contacts: which points of two sets of tracks lie close to each other."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Paths(NamedTuple):
    """Concatenated tracks: track i is rows `offset[i]:offset[i + 1]` of the fields by row."""

    name: Ints  # (n,) ids
    offset: Ints  # (n + 1,)
    track: Ints  # (total,) index of the track
    frame: Ints  # (total,) rising in a track
    point: Floats  # (total, 3) um: z, y, x


def paths(frame: Ints, particle: Ints, point: Floats) -> tuple[Paths, Ints]:
    """Make tracks of rows in any order; also return the order in which `Paths` has these rows."""
    order = np.lexsort((frame, particle))
    name, track, count = np.unique(particle[order], return_inverse=True, return_counts=True)
    offset = np.concatenate([[0], np.cumsum(count)]).astype(np.int64)
    return Paths(name, offset, track, frame[order], point[order].astype(np.float64)), order


def contacts(a: Paths, b: Paths, within_um: float) -> tuple[Ints, Ints]:
    """Rows of `a` and `b`, (n,) each, of all pairs in one frame nearer than `within_um`."""
    rows = np.lexsort((b.point[:, 1], b.frame))
    # y within its frame and the frame in one number, so that one search finds a strip of y
    low = min(a.point[:, 1].min(initial=0), b.point[:, 1].min(initial=0)) - within_um
    high = max(a.point[:, 1].max(initial=0), b.point[:, 1].max(initial=0)) + within_um
    number = np.unique(np.concatenate([a.frame, b.frame]), return_inverse=True)[1]
    height = high - low + within_um
    key = number * height + np.concatenate([a.point[:, 1], b.point[:, 1]]) - low
    mine, theirs = key[: len(a.frame)], key[len(a.frame) :][rows]
    begin = np.searchsorted(theirs, mine - within_um)
    end = np.searchsorted(theirs, mine + within_um, side="right")
    none = np.empty(0, np.int64)
    n = _near(begin, end, rows, a.point, b.point, within_um, none, none)
    row_a, row_b = np.empty(n, np.int64), np.empty(n, np.int64)
    _near(begin, end, rows, a.point, b.point, within_um, row_a, row_b)
    return row_a, row_b


@njit(cache=True)
def _near(
    begin: Ints,
    end: Ints,
    rows: Ints,
    a: Floats,
    b: Floats,
    within: float,
    row_a: Ints,
    row_b: Ints,
) -> int:
    """Count pairs of row i of `a` and a near row of `b` among `rows[begin[i]:end[i]]`.

    The rows of each pair are written to `row_a` and `row_b` unless these are empty.
    """
    n = 0
    for i in range(len(a)):
        for k in range(begin[i], end[i]):
            j = rows[k]
            square = 0.0
            for axis in range(3):
                square += (a[i, axis] - b[j, axis]) ** 2
            if square < within * within:
                if len(row_a):
                    row_a[n], row_b[n] = i, j
                n += 1
    return n
