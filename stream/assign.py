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
    m = len(old)
    per_px = 1.0 / (1.001 * reach + SLACK)  # a little wider: pairs stay in adjacent cells
    grid = _grid(new, per_px)
    cells = _sort(new, per_px, grid)
    first = np.zeros(m + 1, np.int64)
    col = np.empty(2 * m + 16, np.int32)
    cost = np.empty(2 * m + 16, np.float64)
    i = _fill(0, first, col, cost, old, last, oldest, reach, per_px, grid, cells)
    while i < m:
        col, cost = _longer(col), _longer(cost)
        i = _fill(i, first, col, cost, old, last, oldest, reach, per_px, grid, cells)
    return first, col[: first[m]], cost[: first[m]]


@njit(cache=True, nogil=True)
def _fill(  # type: ignore[no-untyped-def]
    begin, first, col, cost, old, last, oldest, reach, per_px, grid, cells
):
    """Find the pairs of the tracks from `begin` on; stops at the track whose pairs may not fit."""
    low, size, wraps = grid
    start, order, place = cells
    limit, most = (reach + SLACK) ** 2, reach * reach
    for i in range(begin, len(old)):
        found = first[i]
        z, y, x = old[i, 0], old[i, 1], old[i, 2]
        cz = _cell(z, per_px, low[0], size[0], wraps[0])
        cy = _cell(y, per_px, low[1], size[1], wraps[1])
        cx = _cell(x, per_px, low[2], size[2], wraps[2])
        left, right, beyond = max(cx - 1, 0), min(cx + 1, size[2] - 1), -1
        if wraps[2] and cx == 0:
            beyond = size[2] - 1
        elif wraps[2] and cx == size[2] - 1:
            beyond = 0
        for step in range(9 if last[i] >= oldest else 0):
            nz = _beside(cz + step // 3 - 1, size[0], wraps[0])
            ny = _beside(cy + step % 3 - 1, size[1], wraps[1])
            if nz < 0 or ny < 0:
                continue
            row = (nz * size[1] + ny) * size[2]
            a, b, rest = left, right, beyond
            while 0 <= a <= b:  # cells of a row lie side by side: their points are one range
                here, end = start[row + a], start[row + b + 1]
                if found + end - here > len(col):
                    return i
                for k in range(here, end):
                    square = (
                        (place[k, 0] - z) ** 2 + (place[k, 1] - y) ** 2 + (place[k, 2] - x) ** 2
                    )
                    if square < limit:
                        col[found], cost[found] = order[k], min(square, most)
                        found += 1
                a, b, rest = rest, rest, -1
        first[i + 1] = found
    return len(old)


@njit(cache=True, nogil=True)
def _grid(new, per_px):  # type: ignore[no-untyped-def]
    """Lowest cell, number of cells and whether they repeat, for each axis.

    A field too wide for about 4 cells a point is wrapped like a torus: far points may then share a
    cell, which costs a look but cannot link them.
    """
    low = np.empty(3)
    width = np.empty(3)
    for axis in range(3):
        least = most = new[0, axis]
        for j in range(1, len(new)):
            least, most = min(least, new[j, axis]), max(most, new[j, axis])
        low[axis] = np.floor(least * per_px)
        width[axis] = np.floor(most * per_px) - low[axis] + 1.0
    wraps = np.zeros(3, np.bool_)
    while width[0] * width[1] * width[2] > 4.0 * len(new) + 64.0:
        widest = width.argmax()
        width[widest] = np.floor(width[widest] / 2.0)
        low[widest], wraps[widest] = 0.0, True
    size = width.astype(np.int64)
    for axis in range(3):
        # no small factors: the period of a lattice of points must not be that of the cells
        while wraps[axis] and (size[axis] < 3 or math.gcd(size[axis], 210) > 1):
            size[axis] += 1
    return low, size, wraps


@njit(cache=True, nogil=True)
def _cell(value, per_px, low, size, wraps):  # type: ignore[no-untyped-def]
    """Cell of a coordinate on one axis; -2 or size + 1 when it is far outside."""
    cell = np.floor(value * per_px) - low
    if wraps:
        rest = cell - size * np.floor(cell / size)  # faster than %
        return int(rest if 0 <= rest < size else cell % size)
    return int(min(max(cell, -2.0), size + 1.0))


@njit(cache=True, nogil=True)
def _beside(cell, size, wraps):  # type: ignore[no-untyped-def]
    """A neighbouring cell of an axis, -1 where there is none."""
    if 0 <= cell < size:
        return cell
    if wraps:
        return size - 1 if cell < 0 else 0
    return -1


@njit(cache=True, nogil=True)
def _sort(new, per_px, grid):  # type: ignore[no-untyped-def]
    """Points in the order of their cells: where each cell starts, their indices, their places."""
    low, size, wraps = grid
    n = len(new)
    cells = size[0] * size[1] * size[2]
    home = np.empty(n, np.int64)
    start = np.zeros(cells + 2, np.int64)  # of cell c: first at c + 2, in the end at c
    for j in range(n):
        z = _cell(new[j, 0], per_px, low[0], size[0], wraps[0])
        y = _cell(new[j, 1], per_px, low[1], size[1], wraps[1])
        x = _cell(new[j, 2], per_px, low[2], size[2], wraps[2])
        home[j] = (z * size[1] + y) * size[2] + x
        start[home[j] + 2] += 1
    for cell in range(2, cells + 2):
        start[cell] += start[cell - 1]
    order = np.empty(n, np.int32)
    place = np.empty((n, 3))
    for j in range(n):
        k = start[home[j] + 1]
        start[home[j] + 1] = k + 1
        order[k] = j
        place[k, 0], place[k, 1], place[k, 2] = new[j, 0], new[j, 1], new[j, 2]
    return start, order, place


@njit(cache=True, nogil=True)
def _longer(array):  # type: ignore[no-untyped-def]
    grown = np.empty(2 * len(array), array.dtype)
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
