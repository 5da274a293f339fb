"""Gauss: one spot's pixels and the Gaussian that fits them best, by Fisher scoring.

The model of a pixel is A exp(-r^2 / 2 w^2) + b, w^2 = sigma^2 + 1/12; its parameters are y, x (from
the box's first pixel), A, b (from the box's mean) and t = ln w^2.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

HALF = 4  # the box is 9 x 9 pixels
SIDE = 2 * HALF + 1
ROW = np.repeat(np.arange(SIDE, dtype=np.float32), SIDE)
COLUMN = np.tile(np.arange(SIDE, dtype=np.float32), SIDE)
EXACT = {"reassoc", "contract", "nsz", "arcp"}  # sums in any order, but NaN stays NaN

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]


@njit(cache=True)
def cut(frame: NDArray[Any], point: Floats, box: Singles, inside: Singles, corner: Floats) -> None:
    """The box around `point`, less its mean; 0 outside the frame."""
    height, width = frame.shape
    top, left = round(point[0]) - HALF, round(point[1]) - HALF
    total, count = 0.0, 0
    k = 0
    for y in range(top, top + SIDE):
        for x in range(left, left + SIDE):
            if 0 <= y < height and 0 <= x < width:
                box[k], inside[k] = frame[y, x], 1.0
                total += frame[y, x]
                count += 1
            else:
                box[k], inside[k] = 0.0, 0.0
            k += 1
    mean = np.float32(total / max(count, 1))
    for k in range(len(box)):
        box[k] -= mean * inside[k]
    corner[0], corner[1], corner[2] = top, left, mean


@njit(cache=True)
def draw(theta: Floats, shape: Singles) -> None:
    """exp(-r^2 / 2 w^2) at the pixels of the box; along a line each is the last times a ratio."""
    half = 0.5 * math.exp(-theta[4])
    across = np.empty(SIDE, np.float32)
    for axis in range(1, -1, -1):
        centre = theta[axis]
        value = math.exp(-half * centre * centre)
        ratio, change = math.exp(-half * (1.0 - 2.0 * centre)), math.exp(-2.0 * half)
        for i in range(SIDE):
            if axis == 1:
                across[i] = value
            else:
                for j in range(SIDE):
                    shape[SIDE * i + j] = value * across[j]
            value *= ratio
            ratio *= change


@njit(cache=True, fastmath=EXACT)
def _sum(
    box: Singles,
    inside: Singles,
    theta: Floats,
    counts: float,
    camera: Floats,
    shape: Singles,
    sums: Floats,
) -> None:
    """Sums over the box that the normal equations are made of; w: 1 / variance of the pixel."""
    draw(theta, shape)
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


@njit(cache=True)
def start(box: Singles, inside: Singles, theta: Floats, shape: Singles, sums: Floats) -> None:
    """A and b of the first shape, least squares."""
    theta[2] = theta[3] = 0.0
    _sum(box, inside, theta, 0.0, np.array([1.0, 0.0, 0.0]), shape, sums)
    ss, s1, n, sr, r1 = sums[0], sums[9], sums[13], sums[14], sums[18]
    determinant = ss * n - s1 * s1
    theta[2] = (sr * n - r1 * s1) / determinant if determinant > 0 else np.nan
    theta[3] = (r1 - s1 * theta[2]) / n if n > 0 else np.nan


@njit(cache=True)
def iterate(
    box: Singles,
    inside: Singles,
    theta: Floats,
    counts: float,
    camera: Floats,
    prior: Floats,
    steps: int,
    shape: Singles,
    sums: Floats,
    inverse: Floats,
) -> None:
    """Fisher scoring: `steps` steps of `theta`; then the inverse of the information there."""
    right = np.empty(5)
    for step in range(steps + 1):
        _sum(box, inside, theta, counts, camera, shape, sums)
        _normal(sums, theta, prior, inverse, right)
        if not _invert(inverse):
            theta[0] = np.nan
            return
        if step == steps:
            return
        for a in range(5):
            change = 0.0
            for b in range(5):
                change += inverse[a, b] * right[b]
            if a == 4:
                change = min(max(change, -0.7), 0.7)
            elif a < 2:
                change = min(max(change, -1.0), 1.0)
            theta[a] += change


@njit(cache=True)
def _normal(sums: Floats, theta: Floats, prior: Floats, matrix: Floats, right: Floats) -> None:
    """Information and score of y, x, A, b, t, with what is known of t beforehand."""
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


@njit(cache=True)
def _invert(matrix: Floats) -> bool:
    """The inverse of a positive definite matrix (its lower triangle) in its place, if it is one."""
    n = len(matrix)
    for i in range(n):  # Cholesky
        for j in range(i + 1):
            value = matrix[i, j]
            for k in range(j):
                value -= matrix[i, k] * matrix[j, k]
            if i > j:
                matrix[i, j] = value * matrix[j, j]
            elif value > 1e-30:
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
