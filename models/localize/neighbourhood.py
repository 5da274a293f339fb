"""What surrounds a spot: noise that neighbouring pixels share, edges or lines it may be part of.

A spot is real if its light exceeds the noise of a filter of its own width, measured where it is.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.stream.compiled import njit

HALF = 4  # half the side of a measured patch, pixels
PATCHES = 22  # per axis of a frame, at most
BELOW = 0.1587  # share of a normal distribution below minus its standard deviation


EQUAL, DIFFERENT = 1.1, 1.25  # ratios of noise: up to the first it is equal, from the second not

Floats = NDArray[np.float64]


def clearly(ratio: Any) -> Any:
    """Measured ratios of noise, or 1 where they do not clearly differ from it.

    They are known to a tenth, and a threshold that moves by a tenth lets twice as much noise pass.
    """
    size = np.abs(np.log(np.maximum(ratio, 1e-9)))
    low, high = math.log(EQUAL), math.log(DIFFERENT)
    kept = np.clip((size - low) / (high - low) * high, 0, size)
    return np.exp(np.sign(np.subtract(ratio, 1)) * kept)


@njit(error_model="numpy")
def shared_noise(frame: NDArray[Any], width: float) -> float:
    """Noise of a filter as wide as a spot over that of its pixels, 1 if noise is white.

    It exceeds 1 where neighbouring pixels share noise: movies that were registered, rescaled,
    denoised or compressed. It is the spread, to the negative side, of the filter's answers at
    points of a grid, each divided by the standard deviation of its own pixels about a plane. Spots
    answer to the positive side.

    Parameters
    ----------
    frame : (y, x), counts, all finite.
    width : of a spot including the extent of a pixel, pixels.
    """
    side = 2 * HALF + 1
    line = np.empty(side)
    for k in range(side):
        line[k] = math.exp(-((k - HALF) ** 2) / (2.0 * width * width))
    mean = (line.sum() / side) ** 2
    norm = math.sqrt((line * line).sum() ** 2 - side * side * mean * mean)
    height, wide = frame.shape
    rows, columns = min(PATCHES, height // side), min(PATCHES, wide // side)
    ratio = np.empty(rows * columns)
    n = 0
    slope = 2.0 * side * (1 + 4 + 9 + 16)  # sum of squares of a coordinate over the patch
    for a in range(rows):
        top = (height - side) * a // max(rows - 1, 1)
        for b in range(columns):
            left = (wide - side) * b // max(columns - 1, 1)
            total, square, down, across, answer = 0.0, 0.0, 0.0, 0.0, 0.0
            first = float(frame[top, left])
            for i in range(side):
                t, s, m, f = 0.0, 0.0, 0.0, 0.0
                for j in range(side):
                    value = frame[top + i, left + j] - first
                    t += value
                    s += value * value
                    m += value * (j - HALF)
                    f += value * line[j]
                total += t
                square += s
                down += t * (i - HALF)
                across += m
                answer += f * line[i]
            count = side * side
            plane = total * total / count + (down * down + across * across) / slope
            variance = (square - plane) / (count - 3)
            if variance > 1e-12 * square and variance > 0.0:
                ratio[n] = (answer - mean * total) / (norm * math.sqrt(variance))
                n += 1
    if n < 30:
        return 1.0
    return max(-float(np.quantile(ratio[:n], BELOW)), 1.0)


REACH = 7  # half the side of the square in which an edge or a line is looked for, pixels
CORE_WIDTHS = 2.3  # radius around a spot that its own light covers
DIRECTED = 2.2  # gradients along one direction, over those of noise, from which there is a line
TURN, BEND = 0.14, 0.05  # first steps of the search for direction (radians) and curvature (1 / px)
HALVINGS = 3  # of these steps
BINS = 2  # of a profile per pixel
PROFILE_ERROR = 1.2  # factor of the noise, since the profile is measured as well
UNBOUND = 99.0  # the light of a spot beside which there is no edge or line


@njit(error_model="numpy")
def beyond_lines(
    frame: NDArray[Any], points: Floats, asked: NDArray[np.bool_], width: float, noise: float
) -> Floats:
    """Light of spots (n,) that no edge or line explains, in units of its noise.

    Where gradients around a spot have one direction, all pixels near it are compared with a
    profile: their mean along that direction, or along an arc, apart from the spot itself. An edge
    or a filament is the same before, at and behind the spot; a spot is brighter.

    Parameters
    ----------
    frame : (y, x), counts.
    points : (n, 2) y, x, pixels.
    asked : (n,) the others get UNBOUND.
    width : of a spot including the extent of a pixel, pixels.
    noise : of a background pixel of the frame, counts.
    """
    out = np.full(len(points), UNBOUND)
    side = 2 * REACH + 1
    value, inside = np.empty((side, side)), np.empty((side, side), np.bool_)
    total, weight = np.empty(2 * BINS * side), np.empty(2 * BINS * side)
    core = (CORE_WIDTHS * width) ** 2
    for p in range(len(points)):
        if not asked[p]:
            continue
        y, x = points[p]
        top, left = round(y) - REACH, round(x) - REACH
        yy, yx, xx, n = _gradients(frame, y, x, 1.7 * core)
        root = math.sqrt((0.5 * (yy - xx)) ** 2 + yx * yx)
        if n < 15 or 0.5 * (yy + xx) + root < DIRECTED * 2.0 * n * noise * noise:
            continue
        angle = 0.5 * math.atan2(2.0 * yx, yy - xx)  # of the gradients, from y to x
        for i in range(side):
            for j in range(side):
                a, b = top + i, left + j
                inside[i, j] = 0 <= a < frame.shape[0] and 0 <= b < frame.shape[1]
                value[i, j] = frame[a, b] if inside[i, j] else 0.0
        at = y - top, x - left
        bend = 0.0
        best, found = _against_profile(value, inside, at, angle, bend, width, total, weight)
        turn, curve, halved = TURN, BEND, 0
        while halved <= HALVINGS:
            moved = False
            for a, b in ((turn, 0.0), (-turn, 0.0), (0.0, curve), (0.0, -curve)):
                spread, light = _against_profile(
                    value, inside, at, angle + a, bend + b, width, total, weight
                )
                if spread < best:
                    best, found, moved = spread, light, True
                    angle, bend = angle + a, bend + b
                    break
            if not moved:
                turn, curve, halved = 0.5 * turn, 0.5 * curve, halved + 1
        out[p] = found
    return out


@njit(error_model="numpy")
def _gradients(
    frame: NDArray[Any], y: float, x: float, core: float
) -> tuple[float, float, float, int]:
    """Sums of squares and products of the differences around a spot, and their number.

    Every second pixel of every second line is used, farther than the root of `core` from the spot.
    """
    top, left = round(y) - REACH, round(x) - REACH
    yy = yx = xx = 0.0
    n = 0
    for i in range(max(top, 0) + 1, min(top + 2 * REACH, frame.shape[0] - 1), 2):
        for j in range(max(left, 0) + 1, min(left + 2 * REACH, frame.shape[1] - 1), 2):
            if (i - y) ** 2 + (j - x) ** 2 >= core:
                down = float(frame[i + 1, j]) - float(frame[i - 1, j])
                across = float(frame[i, j + 1]) - float(frame[i, j - 1])
                yy += down * down
                yx += down * across
                xx += across * across
                n += 1
    return yy, yx, xx, n


@njit(error_model="numpy")
def _against_profile(
    value: Floats,
    inside: NDArray[np.bool_],
    at: tuple[float, float],
    angle: float,
    bend: float,
    width: float,
    total: Floats,
    weight: Floats,
) -> tuple[float, float]:
    """Mean squared difference to a profile outside the spot, and the spot's light over noise."""
    y, x = at
    side = len(value)
    middle = len(total) // 2
    sine, cosine = math.sin(angle), math.cos(angle)
    core = (CORE_WIDTHS * width) ** 2
    total[:], weight[:] = 0.0, 0.0
    for i in range(side):
        for j in range(side):
            if inside[i, j] and (i - y) ** 2 + (j - x) ** 2 >= core:
                v = -(i - y) * sine + (j - x) * cosine
                d = BINS * ((i - y) * cosine + (j - x) * sine - 0.5 * bend * v * v) + middle
                k = math.floor(d)
                if 0 <= k < len(total) - 1:
                    f = d - k
                    total[k] += (1.0 - f) * value[i, j]
                    weight[k] += 1.0 - f
                    total[k + 1] += f * value[i, j]
                    weight[k + 1] += f
    used = 0
    for k in range(len(total)):
        if weight[k] > 0.5:
            total[k] /= weight[k]
            used += 1
    square, n, answer, norm = 0.0, 0, 0.0, 0.0
    for i in range(side):
        for j in range(side):
            if not inside[i, j]:
                continue
            v = -(i - y) * sine + (j - x) * cosine
            d = BINS * ((i - y) * cosine + (j - x) * sine - 0.5 * bend * v * v) + middle
            k = math.floor(d)
            if not (0 <= k < len(total) - 1 and weight[k] > 0.5 and weight[k + 1] > 0.5):
                continue
            f = d - k
            rest = value[i, j] - (1.0 - f) * total[k] - f * total[k + 1]
            r2 = (i - y) ** 2 + (j - x) ** 2
            if r2 >= core:
                square += rest * rest
                n += 1
            else:
                g = math.exp(-r2 / (2.0 * width * width))
                answer += g * rest
                norm += g * g
    if n < used + 20 or norm <= 0.0:
        return np.inf, UNBOUND
    spread = square / (n - used)
    return spread, answer / math.sqrt(norm * max(spread, 1e-12)) / PROFILE_ERROR
