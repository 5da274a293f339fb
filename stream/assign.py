"""Assignment: which point continues which track, at the least total cost, in one compiled call.

Minimizes the sum of squared distances of the links plus reach^2 for each track without one.
Candidates come from a grid of cells of the reach; the assignment is exact, by shortest augmenting
paths (Jonker and Volgenant, Computing 38, 325 (1987)) on the sparse graph of candidates. A search
never leaves its connected component, and ends at cost reach^2 at the latest.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

# px: a distance equal to the reach links whatever its rounding, as in trackpy
SLACK = 1e-7


@njit(cache=True, nogil=True)
def match(old, last, oldest, new, reach):  # type: ignore[no-untyped-def]
    """Assign points to tracks.

    Parameters
    ----------
    old
        (m, 3) float64: where each track was last seen.
    last, oldest
        (m,) int64: frame it was seen in; tracks seen before `oldest` take no part.
    new
        (n, 3) float64: points of this frame, finite.
    reach
        Largest distance of a link.

    Returns
    -------
    (n,) int64: row in `old` of each point, -1 where it continues none. Of equally cheap answers one
    is taken by rules that depend on the arguments alone; a link is preferred to none.
    """
    row_of = np.full(len(new), -1, np.int64)
    if len(old) == 0 or len(new) == 0:
        return row_of
    first, col, cost = candidates(old, last, oldest, new, reach)
    augment(first, col, cost, reach * reach, row_of)
    return row_of


@njit(cache=True, nogil=True)
def candidates(old, last, oldest, new, reach):  # type: ignore[no-untyped-def]
    """Pairs within reach: those of track i are `col[first[i]:first[i + 1]]`, squared distances."""
    per_px = 1.0 / (1.001 * reach + SLACK)  # a little wider: pairs stay in adjacent cells
    low, size, wraps = _grid(new, per_px)
    start, order, place = _sort(new, per_px, low, size, wraps)
    m = len(old)
    first = np.zeros(m + 1, np.int64)
    col = np.empty(2 * m + 16, np.int32)
    cost = np.empty(2 * m + 16, np.float64)
    limit = (reach + SLACK) ** 2
    found = 0
    span = np.empty((3, 3), np.int64)  # cells of an axis to look into, -1: none
    for i in range(m):
        if last[i] >= oldest and _around(old[i], per_px, low, size, wraps, span):
            for z in span[0]:
                for y in span[1]:
                    if z < 0 or y < 0:
                        continue
                    row = (z * size[1] + y) * size[2]
                    for x in span[2]:
                        if x < 0:
                            continue
                        a, b = start[row + x], start[row + x + 1]
                        if found + b - a > len(col):
                            col = _longer(col, found + b - a)
                            cost = _longer(cost, found + b - a)
                        for k in range(a, b):
                            square = (
                                (place[k, 0] - old[i, 0]) ** 2
                                + (place[k, 1] - old[i, 1]) ** 2
                                + (place[k, 2] - old[i, 2]) ** 2
                            )
                            if square < limit:
                                col[found] = order[k]
                                cost[found] = min(square, reach * reach)
                                found += 1
        first[i + 1] = found
    return first, col[:found], cost[:found]


@njit(cache=True, nogil=True)
def _grid(new, per_px):  # type: ignore[no-untyped-def]
    """Lowest cell, number of cells and whether they repeat, for each axis.

    A field too wide for about 4 cells a point is wrapped like a torus: far points may then share a
    cell, which costs a look but cannot link them.
    """
    low = np.empty(3)
    width = np.empty(3)
    for axis in range(3):
        low[axis] = math.floor(new[:, axis].min() * per_px)
        width[axis] = math.floor(new[:, axis].max() * per_px) - low[axis] + 1.0
    wraps = np.zeros(3, np.bool_)
    most = 4.0 * len(new) + 64.0
    while width[0] * width[1] * width[2] > most:
        axis = width.argmax()
        width[axis] = math.floor(width[axis] / 2.0)
        wraps[axis] = True
    size = width.astype(np.int64)
    for axis in range(3):
        # no small factors: the period of a lattice of points must not be that of the cells
        while wraps[axis] and (size[axis] < 3 or math.gcd(size[axis], 210) > 1):
            size[axis] += 1
    return low, size, wraps


@njit(cache=True, nogil=True)
def _cell(value, per_px, low, size, wraps):  # type: ignore[no-untyped-def]
    """Cell of a coordinate on one axis; -2 or size + 1 when it is far outside."""
    cell = math.floor(value * per_px) - low
    if wraps:
        return int(cell % size)
    return int(min(max(cell, -2.0), size + 1.0))


@njit(cache=True, nogil=True)
def _sort(new, per_px, low, size, wraps):  # type: ignore[no-untyped-def]
    """Points in the order of their cells: where each cell starts, their indices, their places."""
    n = len(new)
    cells = size[0] * size[1] * size[2]
    home = np.empty(n, np.int64)
    start = np.zeros(cells + 1, np.int64)
    for j in range(n):
        z = _cell(new[j, 0], per_px, low[0], size[0], wraps[0])
        y = _cell(new[j, 1], per_px, low[1], size[1], wraps[1])
        x = _cell(new[j, 2], per_px, low[2], size[2], wraps[2])
        home[j] = (z * size[1] + y) * size[2] + x
        start[home[j] + 1] += 1
    for cell in range(cells):
        start[cell + 1] += start[cell]
    order = np.empty(n, np.int64)
    place = np.empty((n, 3))
    fill = start.copy()
    for j in range(n):
        k = fill[home[j]]
        fill[home[j]] += 1
        order[k] = j
        place[k] = new[j]
    return start, order, place


@njit(cache=True, nogil=True)
def _around(point, per_px, low, size, wraps, span):  # type: ignore[no-untyped-def]
    """Fill `span` with the cells next to a point; False when there are none."""
    for axis in range(3):
        cell = _cell(point[axis], per_px, low[axis], size[axis], wraps[axis])
        some = False
        for step in range(3):
            near = cell + step - 1
            if wraps[axis]:
                near = (near + size[axis]) % size[axis]
            elif near < 0 or near >= size[axis]:
                near = -1
            span[axis, step] = near
            some = some or near >= 0
        if not some:
            return False
    return True


@njit(cache=True, nogil=True)
def _longer(array, least):  # type: ignore[no-untyped-def]
    grown = np.empty(max(least, 2 * len(array)), array.dtype)
    grown[: len(array)] = array
    return grown


@njit(cache=True, nogil=True)
def augment(first, col, cost, alone, row_of):  # type: ignore[no-untyped-def]
    """Fill `row_of`: the assignment of least total cost; a row without a column costs `alone`.

    Rows come one by one. Each takes its cheapest column, and where that is taken, the cheapest
    chain of changes that ends at a free column or leaves a row alone. `u` and `v` are the duals:
    cost - u - v >= 0 for each pair, 0 for the chosen ones; v <= 0, 0 for free columns.
    """
    m, n = len(first) - 1, len(row_of)
    col_of = np.full(m, -1, np.int64)
    u = np.full(m, alone)
    v = np.zeros(n)
    far = np.empty(n)  # length of the shortest path to a column
    via = np.empty(n, np.int64)  # row it comes from
    seen = np.full(n, -1, np.int64)  # row whose search reached it
    done = np.full(n, -1, np.int64)  # ... and has its final length
    trail = np.empty(n, np.int64)  # columns done, in order
    keys = np.empty(len(col))
    items = np.empty(len(col), np.int64)
    for s in range(m):
        best, end_row, end_col = _cheapest(first, col, cost, v, row_of, s, alone)
        if end_col == -1:
            continue
        if row_of[end_col] < 0:
            u[s] = best
            row_of[end_col] = s
            col_of[s] = end_col
            continue
        best, end_row, end_col = alone, s, -1
        row, base, heap, steps = s, 0.0, 0, 0
        u[s] = 0.0
        while True:
            for e in range(first[row], first[row + 1]):
                j = col[e]
                length = base + cost[e] - u[row] - v[j]
                if length > best or done[j] == s:
                    continue
                if row_of[j] < 0:
                    if length < best or end_col < 0:
                        best, end_row, end_col = length, row, j
                elif length < best and (seen[j] != s or length < far[j]):
                    seen[j], far[j], via[j] = s, length, row
                    heap = _push(keys, items, heap, length, j)
            near = -1
            while heap > 0 and near < 0:
                key, j, heap = _pop(keys, items, heap)
                if done[j] != s and key == far[j]:
                    near = j
            if near < 0 or far[near] >= best:
                break
            done[near] = s
            trail[steps] = near
            steps += 1
            row, base = row_of[near], far[near]
            if base + alone - u[row] < best:
                best, end_row, end_col = base + alone - u[row], row, -1
        u[s] = best
        for k in range(steps):
            j = trail[k]
            v[j] += far[j] - best
            u[row_of[j]] += best - far[j]
        _flip(row_of, col_of, via, s, end_row, end_col)


@njit(cache=True, nogil=True)
def _cheapest(first, col, cost, v, row_of, s, alone):  # type: ignore[no-untyped-def]
    """Cheapest column of a row, a free one where costs are equal; -1 when it has none."""
    best, at = alone, -1
    for e in range(first[s], first[s + 1]):
        j = col[e]
        length = cost[e] - v[j]
        if length < best or (length == best and (at < 0 or row_of[j] < 0)):
            best, at = length, j
    return best, s, at


@njit(cache=True, nogil=True)
def _flip(row_of, col_of, via, s, row, j):  # type: ignore[no-untyped-def]
    """Make the changes of the path that ends with `row` taking column `j` (-1: none)."""
    while True:
        before = col_of[row]
        col_of[row] = j
        if j >= 0:
            row_of[j] = row
        if row == s:
            return
        j, row = before, via[before]


@njit(cache=True, nogil=True)
def _push(keys, items, size, key, item):  # type: ignore[no-untyped-def]
    at = size
    while at > 0 and keys[(at - 1) >> 1] > key:
        up = (at - 1) >> 1
        keys[at], items[at] = keys[up], items[up]
        at = up
    keys[at], items[at] = key, item
    return size + 1


@njit(cache=True, nogil=True)
def _pop(keys, items, size):  # type: ignore[no-untyped-def]
    top, item = keys[0], items[0]
    size -= 1
    key, last = keys[size], items[size]
    at = 0
    while 2 * at + 1 < size:
        down = 2 * at + 1
        if down + 1 < size and keys[down + 1] < keys[down]:
            down += 1
        if keys[down] >= key:
            break
        keys[at], items[at] = keys[down], items[down]
        at = down
    keys[at], items[at] = key, last
    return top, item, size
