"""Candidates: the points of a frame that lie near enough to each track, from a grid of cells.

The work and the memory of a frame are bounded. Where pairs are more than `PAIRS`, each track keeps
its nearest ones and is marked. Below that nothing is left out.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.stream.compiled import njit
from livespt.stream.link.heap import heapify, sift_down

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Columns = NDArray[np.int32]
Flags = NDArray[np.bool_]

# px: a distance equal to the radius links whatever its rounding, as in trackpy
SLACK = 1e-7
PAIRS = 1 << 20  # of a frame; beyond them each track keeps its share of nearest points
LOOKS = 1 << 24  # distances computed to find these
GROW = 4.0  # largest side of the cells where points are few, in units of the side asked for


class Candidates(NamedTuple):
    """Pairs of tracks and points; those of track i are `[first[i]:first[i + 1]]`."""

    first: Ints  # (m + 1,)
    col: Columns  # (pairs,) index of the point
    cost: Floats  # (pairs,) squared distance, px^2, at most the squared radius
    capped: Flags  # (m,) tracks that have more neighbors than were kept


class Search(NamedTuple):
    """The balls that are searched."""

    position: Floats  # (m, 3) their centres z, y, x; px
    radius: Floats  # (m,) px; negative: no search


class Grid(NamedTuple):
    """Cells of a frame, and how they lie on each axis z, y, x."""

    per_px: float  # cells in a pixel
    low: Floats  # (3,) lowest cell
    size: Ints  # (3,) number of cells
    wraps: Flags  # (3,) whether they repeat


class Cells(NamedTuple):
    """Points in the order of their cells."""

    start: Ints  # (cells + 2,) first point of each cell
    order: Columns  # (n,) index of each point in the frame
    position: Floats  # (n, 3)


@njit(nogil=True)
def neighbors(position: Floats, radius: Floats, new: Floats, cell: float) -> Candidates:
    """Find all pairs of tracks and points within the tracks' radii.

    Parameters
    ----------
    position : (m, 3)
        Where each track is expected, z, y, x; px.
    radius : (m,)
        Largest distance of its point from there, px; negative: the track takes no part.
    new : (n, 3)
        Points of this frame, finite; px.
    cell
        Side of the cells, px: of the order of the radii.
    """
    m = len(position)
    search, grid = Search(position, radius), _grid(new, cell)
    cells = _sort(new, grid)
    first = np.zeros(m + 1, np.int64)
    col = np.empty(2 * m + 16, np.int32)
    square = np.empty(2 * m + 16, np.float64)
    capped = np.zeros(m, np.bool_)
    begin: Any = np.int64(0)  # of its final type: a literal would be compiled for too
    while True:
        begin, need = _fill(begin, first, col, square, search, grid, cells)
        if begin == m:
            break
        if need > PAIRS:
            first, col, square = _nearest(search, grid, cells, capped)
            break
        col, square = _longer(col, need), _longer(square, need)
    return Candidates(first, col[: first[m]], square[: first[m]], capped)


@njit(nogil=True)
def _fill(
    begin: int, first: Ints, col: Columns, square: Floats, search: Search, grid: Grid, cells: Cells
) -> tuple[int, int]:
    """Find the pairs of the tracks from `begin` on.

    Returns the track whose pairs may not fit, or the number of tracks; and the room it needs.
    """
    position, radii = search
    start, order, where = cells
    per_px, low, size, wraps = grid
    planes, rows, columns = size[0], size[1], size[2]
    for i in range(begin, len(radii)):
        found, radius = first[i], radii[i]
        if radius >= 0.0:
            z, y, x = position[i, 0], position[i, 1], position[i, 2]
            limit, most = (radius + SLACK) ** 2, radius * radius
            reach = 1.001 * radius + SLACK
            cz, nz = _span(z, reach, per_px, low[0], planes, wraps[0])
            y0, ny = _span(y, reach, per_px, low[1], rows, wraps[1])
            x0, nx = _span(x, reach, per_px, low[2], columns, wraps[2])
            for _ in range(nz):
                cy = y0
                for _ in range(ny):
                    row = (cz * rows + cy) * columns
                    a, b, rest = x0, min(x0 + nx, columns), x0 + nx - columns
                    while a < b:  # cells of a row lie side by side: their points are one range
                        here, end = start[row + a], start[row + b]
                        if found + end - here > len(col):
                            return i, found + end - here
                        for k in range(here, end):
                            far = (
                                (where[k, 0] - z) ** 2
                                + (where[k, 1] - y) ** 2
                                + (where[k, 2] - x) ** 2
                            )
                            if far < limit:
                                col[found], square[found] = order[k], min(far, most)
                                found += 1
                        a, b, rest = 0, rest, 0
                    cy = cy + 1 if cy + 1 < rows else 0
                cz = cz + 1 if cz + 1 < planes else 0
        first[i + 1] = found
    return len(radii), 0


@njit(nogil=True)
def _nearest(
    search: Search, grid: Grid, cells: Cells, capped: Flags
) -> tuple[Ints, Columns, Floats]:
    """Find at most a share of the pairs for each track: the nearest points that it looks at.

    Where even the looks are too many, a track looks at a share of the points around, and each at
    another: points at one position are shared out.
    """
    position, radii = search
    start, order, where = cells
    m = len(radii)
    share, looks_each = max(16, PAIRS // m), max(64, LOOKS // m)
    first = np.zeros(m + 1, np.int64)
    col = np.empty(m * share, np.int32)
    square = np.empty(m * share, np.float64)
    lines = np.empty((16, 2), np.int64)
    for i in range(m):
        begin = found = first[i]
        radius = radii[i]
        if radius >= 0.0:
            limit, most = (radius + SLACK) ** 2, radius * radius
            z, y, x = position[i, 0], position[i, 1], position[i, 2]
            lines, n, looks = _lines(position[i], radius, grid, start, lines)
            line = 0
            skip = looks * i // m
            while n > 0 and skip >= lines[line, 1] - lines[line, 0]:
                skip -= lines[line, 1] - lines[line, 0]
                line = (line + 1) % n
            k = lines[line, 0] + skip if n > 0 else 0
            capped[i] = looks > looks_each
            for _ in range(min(looks, looks_each)):
                far = (where[k, 0] - z) ** 2 + (where[k, 1] - y) ** 2 + (where[k, 2] - x) ** 2
                if far < limit:
                    far = min(far, most)
                    if found - begin < share:
                        col[found], square[found] = order[k], far
                        found += 1
                        if found - begin == share:
                            heapify(square[begin:found], col[begin:found])
                    else:
                        capped[i] = True
                        if far < square[begin]:
                            square[begin], col[begin] = far, order[k]
                            sift_down(square[begin:found], col[begin:found], 0)
                k += 1
                while k == lines[line, 1]:  # the next line that is not empty, round and round
                    line = (line + 1) % n
                    k = lines[line, 0]
                    if lines[line, 0] < lines[line, 1]:
                        break
        first[i + 1] = found
    return first, col, square


@njit(nogil=True)
def _lines(
    position: Floats, radius: float, grid: Grid, start: Ints, lines: Ints
) -> tuple[Ints, int, int]:
    """Ranges of points in the cells within a radius: cells of a row lie side by side.

    Returns the ranges that are not empty (first and end of each), their number, and the number of
    points in them. `lines` (k, 2) is room for the ranges; a longer array is made where needed.
    """
    per_px, low, size, wraps = grid
    reach = 1.001 * radius + SLACK
    z0, nz = _span(position[0], reach, per_px, low[0], size[0], wraps[0])
    y0, ny = _span(position[1], reach, per_px, low[1], size[1], wraps[1])
    x0, nx = _span(position[2], reach, per_px, low[2], size[2], wraps[2])
    n = points = 0
    right = min(x0 + nx, size[2])
    for dz in range(nz):
        for dy in range(ny):
            row = ((z0 + dz) % size[0] * size[1] + (y0 + dy) % size[1]) * size[2]
            for piece in range(2):  # the second one from the other end of a row that wraps
                a = x0 if piece == 0 else 0
                b = right if piece == 0 else x0 + nx - size[2]
                if b > a and start[row + b] > start[row + a]:
                    if n == len(lines):
                        more = np.empty((2 * n, 2), np.int64)
                        for k in range(n):  # assigned slices would take seconds to compile
                            more[k, 0], more[k, 1] = lines[k, 0], lines[k, 1]
                        lines = more
                    lines[n, 0], lines[n, 1] = start[row + a], start[row + b]
                    points += lines[n, 1] - lines[n, 0]
                    n += 1
    return lines, n, points


@njit(nogil=True)
def _span(
    value: float, reach: float, per_px: float, low: float, size: int, wraps: bool
) -> tuple[int, int]:
    """First cell of an axis within reach of a coordinate, and the number of such cells."""
    a = np.floor((value - reach) * per_px) - low
    b = np.floor((value + reach) * per_px) - low
    if not wraps:
        a, b = min(max(a, 0.0), float(size)), min(max(b, -1.0), size - 1.0)
        return int(a), max(int(b - a) + 1, 0)
    count = b - a + 1.0
    if count >= size:
        return 0, size
    rest = a - size * np.floor(a / size)  # faster than %
    return int(rest if 0 <= rest < size else a % size), int(count)


@njit(nogil=True)
def _grid(new: Floats, cell: float) -> Grid:
    """Lay a grid over the points (n, 3) of a frame.

    Where points are few the cells grow to a few times the side asked for, until there are about 4
    a point. A field still too wide is wrapped like a torus: far points may then share a cell, which
    costs a look but cannot link them.
    """
    least, most = np.full(3, np.inf), np.full(3, -np.inf)
    for j in range(len(new)):
        for axis in range(3):
            least[axis] = min(least[axis], new[j, axis])
            most[axis] = max(most[axis], new[j, axis])
    limit = 4.0 * len(new) + 64.0
    side = 1.001 * cell + SLACK  # a little wider: pairs stay in adjacent cells
    low, width = _cells(least, most, 1.0 / side)
    if width.prod() > limit:
        each = (width.prod() / limit) ** (1.0 / (width > 1.0).sum())
        side *= min(1.05 * each, GROW)
        low, width = _cells(least, most, 1.0 / side)
    wraps = np.zeros(3, np.bool_)
    while width.prod() > limit:
        widest = width.argmax()
        width[widest] = np.floor(width[widest] / 2.0)
        low[widest], wraps[widest] = 0.0, True
    size = width.astype(np.int64)
    for axis in range(3):
        # no small factors: the period of a lattice of points must not be that of the cells
        while wraps[axis] and (size[axis] < 3 or math.gcd(size[axis], 210) > 1):
            size[axis] += 1
    return Grid(1.0 / side, low, size, wraps)


@njit(nogil=True)
def _cells(least: Floats, most: Floats, per_px: float) -> tuple[Floats, Floats]:
    """Lowest cell and number of cells of each axis."""
    low = np.floor(least * per_px)
    return low, np.floor(most * per_px) - low + 1.0


@njit(nogil=True)
def _cell(value: float, per_px: float, low: float, size: int, wraps: bool) -> int:
    """Cell of a coordinate on one axis; -2 or size + 1 when it is far outside."""
    cell = np.floor(value * per_px) - low
    if wraps:
        rest = cell - size * np.floor(cell / size)  # faster than %
        return int(rest if 0 <= rest < size else cell % size)
    return int(min(max(cell, -2.0), size + 1.0))


@njit(nogil=True)
def _sort(new: Floats, grid: Grid) -> Cells:
    """Sort points (n, 3) into their cells."""
    per_px, low, size, wraps = grid
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
    position = np.empty((n, 3))
    for j in range(n):
        k = start[home[j] + 1]
        start[home[j] + 1] = k + 1
        order[k] = j
        position[k, 0], position[k, 1], position[k, 2] = new[j, 0], new[j, 1], new[j, 2]
    return Cells(start, order, position)


@njit(nogil=True)
def _longer(array: NDArray[Any], need: int) -> NDArray[Any]:
    """Give an array with at least `need` elements that starts with those of `array`."""
    grown = np.empty(max(2 * len(array), need), array.dtype)
    for k in range(len(array)):
        grown[k] = array[k]
    return grown
