"""Fit a Gaussian to the pixels of one spot by Fisher scoring.

The model of a pixel is A exp(-r^2 / 2 w^2) + b, with w^2 = sigma^2 + 1/12. Its parameters are y and
x (relative to the first pixel of the box), A, b (relative to the mean of the box) and t = ln w^2.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.stream.compiled import njit

HALF_BOX = 4  # the box is 9 x 9 pixels
SIDE = 2 * HALF_BOX + 1
ROW = np.repeat(np.arange(SIDE, dtype=np.float32), SIDE)
COLUMN = np.tile(np.arange(SIDE, dtype=np.float32), SIDE)
MIN_T, MAX_T = math.log(0.04), math.log(36.0)
CONVERGED = 0.05  # squared step divided by its variance

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]


class Boxes(NamedTuple):
    """The pixels around n spots, and the parameters fitted to them."""

    values: Singles  # (n, SIDE * SIDE) counts, relative to those of `corner`
    inside: Singles  # (n, SIDE * SIDE) 1: used; 0: outside the frame, or belongs to a neighbour
    corner: Floats  # (n, 3) y and x of the first pixel of the box, and its offset in counts
    theta: Floats  # (n, 5) y, x, A, b, t; NaN: no fit
    inverse: Floats  # (n, 5, 5) inverse of the information matrix of theta
    square: Floats  # (n,) sum of squared residuals divided by their variances


@njit(error_model="numpy")
def cut_boxes(frame: NDArray[Any], points: Floats) -> Boxes:
    """Cut the boxes around `points` (n, 2) out of a frame."""
    n = len(points)
    boxes = Boxes(
        np.zeros((n, SIDE * SIDE), np.float32),
        np.zeros((n, SIDE * SIDE), np.float32),
        np.empty((n, 3)),
        np.full((n, 5), np.nan),
        np.full((n, 5, 5), np.nan),
        np.zeros(n),
    )
    height, width = frame.shape
    for p in range(n):
        top, left = round(points[p, 0]) - HALF_BOX, round(points[p, 1]) - HALF_BOX
        total, count = np.float32(0.0), np.float32(0.0)
        for y in range(max(top, 0), min(top + SIDE, height)):
            for x in range(max(left, 0), min(left + SIDE, width)):
                k = SIDE * (y - top) + x - left
                boxes.values[p, k] = frame[y, x]
                boxes.inside[p, k] = 1.0
                total += boxes.values[p, k]
                count += 1
        mean = total / max(count, np.float32(1.0))
        for k in range(SIDE * SIDE):
            boxes.values[p, k] -= mean
        boxes.corner[p, 0], boxes.corner[p, 1], boxes.corner[p, 2] = top, left, mean
    return boxes


@njit(error_model="numpy")
def exclude_neighbours(boxes: Boxes, points: Floats, reach: float) -> None:
    """Exclude pixels within `reach` of a neighbour from each box; `points` are sorted by y."""
    n = len(points)
    for p in range(n):
        for step in (-1, 1):
            other = p + step
            while 0 <= other < n and abs(points[other, 0] - points[p, 0]) < HALF_BOX + 1 + reach:
                if abs(points[other, 1] - points[p, 1]) < HALF_BOX + 1 + reach:
                    y = points[other, 0] - boxes.corner[p, 0]
                    x = points[other, 1] - boxes.corner[p, 1]
                    for i in range(SIDE):
                        for j in range(SIDE):
                            if (i - y) ** 2 + (j - x) ** 2 < reach * reach:
                                boxes.inside[p, SIDE * i + j] = 0.0
                other += step


@njit(error_model="numpy")
def draw_gaussian(theta: Floats, shape: Singles) -> None:
    """Write exp(-r^2 / 2 w^2) at the pixels of the box; along a line by a recurrence of ratios."""
    half = 0.5 * math.exp(-theta[4])
    change = math.exp(-2.0 * half)
    down = math.exp(-half * theta[0] * theta[0])
    right = math.exp(-half * theta[1] * theta[1])
    by_row = math.exp(-half * (1.0 - 2.0 * theta[0]))
    by_column = math.exp(-half * (1.0 - 2.0 * theta[1]))
    for j in range(SIDE):
        shape[j] = right
        right *= by_column
        by_column *= change
    first = np.float32(down)
    for i in range(1, SIDE):
        down *= by_row
        by_row *= change
        here = np.float32(down)
        for j in range(SIDE):
            shape[SIDE * i + j] = here * shape[j]
    for j in range(SIDE):
        shape[j] *= first


@njit(error_model="numpy")
def _sum(
    box: Singles,
    inside: Singles,
    theta: Floats,
    counts: float,
    camera: Floats,
    shape: Singles,
    sums: Floats,
) -> None:
    """Sums over the box for the normal equations; w is the inverse variance of a pixel."""
    cy, cx = np.float32(theta[0]), np.float32(theta[1])
    amplitude, background = np.float32(theta[2]), np.float32(theta[3])
    gain = np.float32(camera[1])
    flat = np.float32(camera[0] + camera[1] * (theta[3] + counts - camera[2]))
    least = np.float32(0.25 * camera[0])
    a0 = a1 = a2 = a3 = a4 = a5 = a6 = a7 = a8 = np.float32(0.0)
    b0 = b1 = b2 = b3 = c0 = np.float32(0.0)
    r0 = r1 = r2 = r3 = r4 = r5 = np.float32(0.0)
    for k in range(SIDE * SIDE):
        m = shape[k]
        u, v = ROW[k] - cy, COLUMN[k] - cx
        d = u * u + v * v
        signal = amplitude * m
        w = inside[k] / max(flat + gain * signal, least)
        r = box[k] - background - signal
        c0 += w
        r4 += w * r
        r5 += w * r * r
        w *= m
        b0 += w
        b1 += w * u
        b2 += w * v
        b3 += w * d
        r0 += w * r
        r1 += w * r * u
        r2 += w * r * v
        r3 += w * r * d
        w *= m
        a0 += w
        a1 += w * u
        a2 += w * v
        a3 += w * u * u
        a4 += w * u * v
        a5 += w * v * v
        w *= d
        a6 += w * u
        a7 += w * v
        a8 += w * d
    sums[0], sums[1], sums[2], sums[3], sums[4], sums[5] = a0, a1, a2, a3, a4, a5
    sums[6], sums[7], sums[8] = a6, a7, a8
    sums[9], sums[10], sums[11], sums[12], sums[13] = b0, b1, b2, b3, c0
    sums[14], sums[15], sums[16], sums[17], sums[18], sums[19] = r0, r1, r2, r3, r4, r5


@njit(error_model="numpy")
def _heights(box: Singles, inside: Singles, shape: Singles, theta: Floats) -> None:
    """Fit A and b of a given shape by least squares; NaN if the box does not determine them."""
    ss = s1 = n = sr = r1 = np.float32(0.0)
    for k in range(SIDE * SIDE):
        w, m = inside[k], shape[k]
        n += w
        s1 += w * m
        r1 += w * box[k]
        ss += w * m * m
        sr += w * m * box[k]
    determinant = ss * n - s1 * s1
    theta[2] = (sr * n - r1 * s1) / determinant if determinant > 0 else np.nan
    theta[3] = (r1 - s1 * theta[2]) / n if n > 0 else np.nan


@njit(error_model="numpy")
def start_fits(boxes: Boxes, which: NDArray[np.int64], points: Floats, t: float) -> None:
    """Start fits at `points`, with one width and the best A and b for it."""
    shape = np.empty(SIDE * SIDE, np.float32)
    for p in which:
        theta = boxes.theta[p]
        theta[0] = points[p, 0] - boxes.corner[p, 0]
        theta[1] = points[p, 1] - boxes.corner[p, 1]
        theta[4] = t
        draw_gaussian(theta, shape)
        _heights(boxes.values[p], boxes.inside[p], shape, theta)


@njit(error_model="numpy")
def fit_boxes(
    boxes: Boxes, which: NDArray[np.int64], camera: Floats, prior: Floats, steps: int
) -> None:
    """Fit the boxes `which` by Fisher scoring, with at most `steps` steps.

    A fit ends with a small step or the last one allowed. `inverse` and `square` are those of the
    parameters before this step. A theta without information becomes NaN.

    Parameters
    ----------
    camera : variance of a background pixel, counts per photo-electron, counts of the background
    prior : mean and standard deviation of t
    """
    shape = np.empty(SIDE * SIDE, np.float32)
    sums, right = np.empty(20), np.empty(5)
    for p in which:
        theta, inverse = boxes.theta[p], boxes.inverse[p]
        moved = 0.0
        for _ in range(steps):
            draw_gaussian(theta, shape)
            counts = boxes.corner[p, 2]
            _sum(boxes.values[p], boxes.inside[p], theta, counts, camera, shape, sums)
            _normal(sums, theta, prior, inverse, right)
            moved = _solve(inverse, right)
            if not moved >= 0.0:
                break
            for a in range(4):
                theta[a] += min(max(right[a], -1.0), 1.0) if a < 2 else right[a]
            theta[4] = min(max(theta[4] + min(max(right[4], -0.7), 0.7), MIN_T), MAX_T)
            if moved < CONVERGED:
                break
        if moved >= 0.0:
            _invert(inverse)
            boxes.square[p] = sums[19]
        else:
            for a in range(5):
                theta[a] = np.nan


@njit(error_model="numpy")
def _normal(sums: Floats, theta: Floats, prior: Floats, matrix: Floats, right: Floats) -> None:
    """Information matrix and score of y, x, A, b, t, including the prior of t."""
    a, w = theta[2], math.exp(-theta[4])
    s = a * w  # of the slopes along y and x: A m u / width^2
    t = 0.5 * a * w  # of the slope along t: A m d / (2 width^2)
    matrix[0, 0] = s * s * sums[3]
    matrix[1, 0] = s * s * sums[4]
    matrix[1, 1] = s * s * sums[5]
    matrix[2, 0], matrix[2, 1], matrix[2, 2] = s * sums[1], s * sums[2], sums[0]
    matrix[3, 0], matrix[3, 1] = s * sums[10], s * sums[11]
    matrix[3, 2], matrix[3, 3] = sums[9], sums[13]
    matrix[4, 0], matrix[4, 1] = s * t * sums[6], s * t * sums[7]
    matrix[4, 2], matrix[4, 3] = t * (sums[3] + sums[5]), t * sums[12]
    known = 1.0 / (prior[1] * prior[1])
    matrix[4, 4] = t * t * sums[8] + known
    right[0], right[1], right[2] = s * sums[15], s * sums[16], sums[14]
    right[3], right[4] = sums[18], t * sums[17] - known * (theta[4] - prior[0])


@njit(error_model="numpy")
def _solve(matrix: Floats, right: Floats) -> float:
    """Cholesky factor and solution in place (lower triangle; the diagonal holds reciprocals).

    Return the squared step of y, x and t divided by its variance, or -1 if there is no solution.
    """
    one, two, five = matrix[0, 0], matrix[1, 1], matrix[4, 4]
    for i in range(5):
        for j in range(i + 1):
            value = matrix[i, j]
            for k in range(j):
                value -= matrix[i, k] * matrix[j, k]
            if i > j:
                matrix[i, j] = value * matrix[j, j]
            elif value > 1e-30:
                matrix[i, i] = 1.0 / math.sqrt(value)
            else:
                return -1.0
    for i in range(5):
        for k in range(i):
            right[i] -= matrix[i, k] * right[k]
        right[i] *= matrix[i, i]
    for i in range(4, -1, -1):
        for k in range(i + 1, 5):
            right[i] -= matrix[k, i] * right[k]
        right[i] *= matrix[i, i]
    return float(one * right[0] ** 2 + two * right[1] ** 2 + five * right[4] ** 2)


@njit(error_model="numpy")
def _invert(matrix: Floats) -> None:
    """Invert the matrix in place, from the factor that `_solve` leaves."""
    for i in range(5):
        for j in range(i):
            value = 0.0
            for k in range(j, i):
                value -= matrix[i, k] * matrix[k, j]
            matrix[i, j] = value * matrix[i, i]
    for i in range(5):
        for j in range(i + 1):
            value = 0.0
            for k in range(i, 5):
                value += matrix[k, i] * matrix[k, j]
            matrix[i, j] = value
            matrix[j, i] = value
