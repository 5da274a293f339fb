"""The centre of radial symmetry of a particle, which may have any radial profile.

In an image without noise of a radially symmetric particle, every gradient points through its centre
(Parthasarathy 2012, Nat. Methods 9:724).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.stream.compiled import njit

Floats = NDArray[np.float64]


@njit(error_model="numpy")
def radial_symmetry(frame: NDArray[Any], points: Floats, radius: float) -> Floats:
    """Refined positions (n, 2) y, x: the point nearest to all gradient lines around each point.

    Gradients are taken at pixel corners and smoothed over 3 x 3. The weight of a line is its
    squared gradient divided by its distance to the centroid of the gradients (Parthasarathy 2012,
    equations 1 to 7). A point is returned unchanged if its window extends beyond the frame, or if
    the result lies outside the window.
    """
    half = max(math.ceil(radius), 2)
    n = 2 * half  # corners along a side of 2 half + 1 pixels
    down, right = np.empty((n, n)), np.empty((n, n))
    centres = points.copy()
    for p in range(len(points)):
        top, left = round(points[p, 0]) - half, round(points[p, 1]) - half
        if top < 0 or left < 0 or top + n >= frame.shape[0] or left + n >= frame.shape[1]:
            continue
        for i in range(n):
            for j in range(n):
                a, b = float(frame[top + i, left + j]), float(frame[top + i, left + j + 1])
                c, d = float(frame[top + i + 1, left + j]), float(frame[top + i + 1, left + j + 1])
                down[i, j], right[i, j] = (c + d - a - b) / 2, (b + d - a - c) / 2
        y, x = _crossing(_smooth(down), _smooth(right))
        if abs(y) <= half and abs(x) <= half:
            centres[p, 0], centres[p, 1] = top + half + y, left + half + x
    return centres


@njit(error_model="numpy")
def _smooth(field: Floats) -> Floats:
    """Means over 3 x 3 values, or fewer at the edges."""
    n = len(field)
    out = np.empty((n, n))
    for i in range(n):
        for j in range(n):
            out[i, j] = field[max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2].mean()
    return out


@njit(error_model="numpy")
def _crossing(down: Floats, right: Floats) -> tuple[float, float]:
    """Least-squares crossing of gradient lines, relative to the middle; NaN if there is none."""
    n = len(down)
    middle = (n - 1) / 2
    total, my, mx = 0.0, 0.0, 0.0
    for i in range(n):
        for j in range(n):
            square = down[i, j] ** 2 + right[i, j] ** 2
            total += square
            my += square * (i - middle)
            mx += square * (j - middle)
    if not total > 0:
        return math.nan, math.nan
    my, mx = my / total, mx / total
    yy, yx, xx, by, bx = 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(n):
        for j in range(n):
            y, x = i - middle, j - middle
            square = down[i, j] ** 2 + right[i, j] ** 2
            if not square > 0:
                continue
            weight = 1.0 / max(math.hypot(y - my, x - mx), 0.5)  # square / square
            # the distance of a point to the line: along its normal
            ny, nx = right[i, j], -down[i, j]
            along = ny * y + nx * x
            yy += weight * ny * ny
            yx += weight * ny * nx
            xx += weight * nx * nx
            by += weight * ny * along
            bx += weight * nx * along
    determinant = yy * xx - yx * yx
    if not determinant > 1e-12 * (yy + xx) ** 2:
        return math.nan, math.nan
    return (by * xx - bx * yx) / determinant, (bx * yy - by * yx) / determinant
