"""Fit overlapping spots together.

The model is that of gaussian_fit.py, with a position and an amplitude for each of up to MOST spots
on a common background, and with the width of the other spots in the frame. If the pixels alone do
not resolve two spots, priors decide: positions of the network have an error of `POSITION_SD_PX`
pixels, and amplitudes are similar to those of other spots in the frame. The inverse of the
information matrix gives the variance of each position, including the uncertainty of its neighbours.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.stream.compiled import njit

MAX_CLUSTER = 6  # spots; larger clusters keep the positions of the network
HALF_BOX = 4  # pixels around each spot
POSITION_SD_PX = 0.5  # of the prior of a position
STEPS = 6
MAX_STEP_PX = 0.5  # of a spot

Floats = NDArray[np.float64]


@njit(error_model="numpy")
def clusters(points: Floats, reach: float) -> NDArray[np.int64]:
    """Index (n,) of the first member of the cluster of each point.

    A cluster is a chain of neighbours closer than `reach`. `points` (n, 2) are sorted by y.
    """
    n = len(points)
    root = np.arange(n)
    for i in range(n):
        for j in range(i + 1, n):
            if points[j, 0] - points[i, 0] >= reach:
                break
            if (points[j, 0] - points[i, 0]) ** 2 + (
                points[j, 1] - points[i, 1]
            ) ** 2 < reach * reach:
                a, b = _root(root, i), _root(root, j)
                root[max(a, b)] = min(a, b)
    for i in range(n):
        root[i] = _root(root, i)
    return root


@njit(error_model="numpy")
def _root(root: NDArray[np.int64], i: int) -> int:
    while root[i] != i:
        i = root[i]
    return i


@njit(error_model="numpy")
def fit_together(
    frame: NDArray[Any],
    points: Floats,
    root: NDArray[np.int64],
    camera: Floats,
    width: float,
    height: float,
    reach: float,
) -> Floats:
    """Fit the clusters of 2 to MOST members: rows (n, 7), which are NaN for other spots.

    They hold y, x, their variances, A, b, and the mean squared residual over its variance.

    Parameters
    ----------
    camera : variance of a background pixel, counts per photo-electron, counts of the background
    width : width of a spot including the extent of a pixel, pixels
    height : typical amplitude of a spot
    reach : pixels nearer than this to a spot outside the cluster are not used
    """
    n = len(points)
    table = np.full((n, 7), np.nan)
    size = np.zeros(n, np.int64)
    for i in range(n):
        size[root[i]] += 1
    member = np.empty(MAX_CLUSTER, np.int64)
    for first in range(n):
        if root[first] != first or not 2 <= size[first] <= MAX_CLUSTER:
            continue
        count, i = 0, first
        while count < size[first]:
            if root[i] == first:
                member[count] = i
                count += 1
            i += 1
        y, x, value = _pixels(frame, points, member[:count], reach)
        if len(y) > 3 * count + 8:
            _fit_cluster(points, member[:count], y, x, value, camera, width, height, table)
    return table


@njit(error_model="numpy")
def _pixels(
    frame: NDArray[Any], points: Floats, member: NDArray[np.int64], reach: float
) -> tuple[Floats, Floats, Floats]:
    """Coordinates y and x of the pixels around the members of a cluster, and their counts."""
    low, high = points[member[0]].copy(), points[member[0]].copy()
    for p in member:
        for axis in range(2):
            low[axis] = min(low[axis], points[p, axis])
            high[axis] = max(high[axis], points[p, axis])
    top, left = max(round(low[0]) - HALF_BOX, 0), max(round(low[1]) - HALF_BOX, 0)
    bottom = min(round(high[0]) + HALF_BOX + 1, frame.shape[0])
    right = min(round(high[1]) + HALF_BOX + 1, frame.shape[1])
    near = np.flatnonzero(
        (points[:, 0] > top - reach)
        & (points[:, 0] < bottom + reach)
        & (points[:, 1] > left - reach)
        & (points[:, 1] < right + reach)
    )
    most = (bottom - top) * (right - left)
    y, x, value = np.empty(most), np.empty(most), np.empty(most)
    n = 0
    for i in range(top, bottom):
        for j in range(left, right):
            own, foreign = False, False
            for p in near:
                down, across = i - points[p, 0], j - points[p, 1]
                if (member == p).any():
                    own |= abs(down) <= HALF_BOX + 0.5 and abs(across) <= HALF_BOX + 0.5
                else:
                    foreign |= down * down + across * across < reach * reach
            if own and not foreign:
                y[n], x[n], value[n] = i, j, frame[i, j]
                n += 1
    return y[:n], x[:n], value[:n]


@njit(error_model="numpy")
def _fit_cluster(
    points: Floats,
    member: NDArray[np.int64],
    y: Floats,
    x: Floats,
    value: Floats,
    camera: Floats,
    width: float,
    height: float,
    table: Floats,
) -> None:
    """Fit y, x and A of each member, and b, by Fisher scoring."""
    count = len(member)
    size = 3 * count + 1
    start, known = np.empty(size), np.empty(size)
    for k in range(count):
        for axis in range(2):
            start[3 * k + axis] = points[member[k], axis]
            known[3 * k + axis] = 1.0 / POSITION_SD_PX**2
        start[3 * k + 2] = height
        known[3 * k + 2] = 1.0 / (height * height)
    start[size - 1], known[size - 1] = camera[2], 0.0
    theta = start.copy()
    matrix, right, slope = np.empty((size, size)), np.empty(size), np.empty(size)
    for step in range(STEPS + 1):
        matrix[:], right[:] = 0.0, 0.0
        square = 0.0
        for p in range(len(y)):
            expected = theta[size - 1]
            slope[size - 1] = 1.0
            for k in range(count):
                u, v = y[p] - theta[3 * k], x[p] - theta[3 * k + 1]
                m = math.exp(-(u * u + v * v) / (2.0 * width * width))
                s = theta[3 * k + 2] * m / (width * width)
                slope[3 * k], slope[3 * k + 1], slope[3 * k + 2] = s * u, s * v, m
                expected += theta[3 * k + 2] * m
            variance = max(camera[0] + camera[1] * (expected - camera[2]), 0.25 * camera[0])
            square += (value[p] - expected) ** 2 / variance
            for a in range(size):
                part = slope[a] / variance
                right[a] += part * (value[p] - expected)
                for b in range(a + 1):
                    matrix[a, b] += part * slope[b]
        for a in range(size):
            matrix[a, a] += known[a]
            right[a] += known[a] * (start[a] - theta[a])
        if not invert(matrix):
            return
        if step == STEPS:
            break
        for a in range(size):
            moved = 0.0
            for b in range(size):
                moved += matrix[a, b] * right[b]
            is_position = a % 3 < 2 and a < size - 1
            theta[a] += min(max(moved, -MAX_STEP_PX), MAX_STEP_PX) if is_position else moved
    for k in range(count):
        row = table[member[k]]
        row[0], row[1], row[4], row[5] = theta[3 * k], theta[3 * k + 1], theta[3 * k + 2], theta[-1]
        row[2], row[3] = matrix[3 * k, 3 * k], matrix[3 * k + 1, 3 * k + 1]
        row[6] = square / (len(y) - size)


@njit(error_model="numpy")
def invert(matrix: Floats) -> bool:
    """Invert a positive definite matrix (its lower triangle) in place; False if it is not one."""
    n = len(matrix)
    for i in range(n):  # Cholesky, reciprocals on the diagonal
        for j in range(i + 1):
            value = matrix[i, j]
            for k in range(j):
                value -= matrix[i, k] * matrix[j, k]
            if i > j:
                matrix[i, j] = value * matrix[j, j]
            elif value > 0.0 and value < np.inf:
                matrix[i, i] = 1.0 / math.sqrt(value)
            else:
                return False
    for i in range(n):  # of the triangle
        for j in range(i):
            value = 0.0
            for k in range(j, i):
                value -= matrix[i, k] * matrix[k, j]
            matrix[i, j] = value * matrix[i, i]
    for i in range(n):
        for j in range(i + 1):
            value = 0.0
            for k in range(i, n):
                value += matrix[k, i] * matrix[k, j]
            matrix[i, j] = value
            matrix[j, i] = value
    return True
