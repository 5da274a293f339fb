"""Candidate particles in a stack, from detections in its planes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.models.localize.stack_model import Model, Stack
from livespt.models.optics.spots import Floats
from livespt.stream.compiled import njit

KERNEL = (0.375, 0.25, 0.0625)  # binomial, over five planes
MERGE_PLANES = 2  # within which only the brightest of several detections counts
MIN_NEIGHBOUR_SHARE = 0.4  # of what pixels next to the brightest have in a spot
DEFAULT_SIGMA_Z = 2.0  # planes, if it cannot be estimated
MAX_PROBES = 64  # particles from which it is estimated


@njit()
def smoothed(stack: Stack) -> Stack:
    """Average neighbouring planes by KERNEL, ignoring NaN; NaN where all are.

    A dim particle extends over several planes, and becomes visible in their average.
    """
    planes, height, width = stack.shape
    out = np.empty_like(stack)
    for k in range(planes):
        for j in range(height):
            for i in range(width):
                total, weights = 0.0, 0.0
                for m in range(max(k - 2, 0), min(k + 3, planes)):
                    if math.isfinite(stack[m, j, i]):
                        total += KERNEL[abs(m - k)] * stack[m, j, i]
                        weights += KERNEL[abs(m - k)]
                out[k, j, i] = total / weights if weights > 0.0 else np.nan
    return out


def seeds(points: Floats, smooth: Stack, sigma: float, merge: float, noise: float) -> Floats:
    """Detections that are brighter than those above and below; single bright pixels are left out.

    Parameters
    ----------
    points : (n, 4)
        z, y, x, score of the detections of all planes, sorted by plane.
    smooth : (planes, y, x)
        Smoothed stack in which they were found.
    sigma : float
        Approximate width of a particle, pixels.
    merge : float
        Detections in neighbouring planes that are closer than this (pixels) are one particle.
    noise : float
        Noise of a voxel of the stack before smoothing, counts.

    Returns
    -------
    array (m, 5)
        z, y, x, score, peak counts, with the brightest first.
    """
    least = MIN_NEIGHBOUR_SHARE * math.exp(-0.5 / sigma**2)
    specks = [_is_speck(smooth[int(z)], y, x, least, noise) for z, y, x in points[:, :3]]
    points = points[~np.array(specks, np.bool_)]
    bright = np.array([amplitude(smooth[int(z)], y, x, sigma) for z, y, x in points[:, :3]])
    found = np.column_stack([points, bright])[_outshine(points, bright, merge)]
    return found[np.argsort(-found[:, 4], kind="stable")]


@njit()
def amplitude(plane: Stack, y: float, x: float, sigma: float) -> float:
    """Peak counts of a Gaussian at (y, x) above its surroundings, by least squares."""
    reach = math.ceil(3 * sigma)
    middle_y, middle_x = math.floor(y + 0.5), math.floor(x + 0.5)
    n, s, ss, v, sv = 0, 0.0, 0.0, 0.0, 0.0
    for j in range(max(middle_y - reach, 0), min(middle_y + reach + 1, plane.shape[0])):
        for i in range(max(middle_x - reach, 0), min(middle_x + reach + 1, plane.shape[1])):
            value = plane[j, i]
            if math.isfinite(value):
                share = math.exp(-((j - y) ** 2 + (i - x) ** 2) / (2 * sigma * sigma))
                n += 1
                s += share
                ss += share * share
                v += value
                sv += share * value
    below = n * ss - s * s
    return (n * sv - s * v) / below if below > 0.0 else 0.0


@njit()
def _is_speck(plane: Stack, y: float, x: float, least: float, noise: float) -> bool:
    """Whether the four neighbours of the brightest pixel at (y, x) are significantly darker.

    They must have less than the share `least` of it. Counts are relative to the mean of the square
    around, three pixels away.
    """
    height, width = plane.shape
    j0 = min(max(math.floor(y + 0.5), 1), height - 2)
    i0 = min(max(math.floor(x + 0.5), 1), width - 2)
    top_j, top_i = j0, i0
    for j in range(j0 - 1, j0 + 2):
        for i in range(i0 - 1, i0 + 2):
            if plane[j, i] > plane[top_j, top_i]:
                top_j, top_i = j, i
    level, count, near_sum, n_near = 0.0, 0, 0.0, 0
    for j in range(max(top_j - 3, 0), min(top_j + 4, height)):
        for i in range(max(top_i - 3, 0), min(top_i + 4, width)):
            away = max(abs(j - top_j), abs(i - top_i))
            if away == 3 and math.isfinite(plane[j, i]):
                level += plane[j, i]
                count += 1
            if abs(j - top_j) + abs(i - top_i) == 1 and math.isfinite(plane[j, i]):
                near_sum += plane[j, i]
                n_near += 1
    if count == 0 or n_near == 0:
        return False
    peak, mean = plane[top_j, top_i] - level / count, near_sum / n_near - level / count
    return bool(mean < least * peak - 2.0 * noise)


@njit()
def _outshine(points: Floats, bright: Floats, merge: float) -> NDArray[np.bool_]:
    """Which detections have no brighter one within APART planes and `merge` pixels."""
    kept = np.ones(len(points), np.bool_)
    begin = 0
    for a in range(len(points)):
        while points[begin, 0] < points[a, 0] - MERGE_PLANES:
            begin += 1
        for b in range(begin, len(points)):
            if points[b, 0] > points[a, 0] + MERGE_PLANES:
                break
            apart = math.hypot(points[a, 1] - points[b, 1], points[a, 2] - points[b, 2])
            if points[a, 0] == points[b, 0] or apart >= merge:
                continue
            if bright[b] > bright[a] or (bright[b] == bright[a] and b < a):
                kept[a] = False
                break
    return kept


def axial_width(stack: Stack, found: Floats, sigma: float) -> float:
    """Approximate axial width of particles (planes), from the decay of the brightest seeds."""
    widths = []
    for z, y, x in found[:MAX_PROBES, :3]:
        here = amplitude(stack[int(z)], y, x, sigma)
        for off in (-3, -2, -1, 1, 2, 3):
            plane = int(z) + off
            if here > 0 and 0 <= plane < len(stack):
                left = amplitude(stack[plane], y, x, sigma) / here
                if 0.15 < left < 0.9:
                    widths.append(abs(off) / math.sqrt(-2 * math.log(left)))
    return float(np.median(widths)) if widths else DEFAULT_SIGMA_Z


def background(stack: Stack) -> Model:
    """Background level of each plane and noise of a voxel, counts, without particles.

    They are measured on every third line and second column. The noise comes from second differences
    along a line, so that a gradient does not count as noise.
    """
    levels, noises = np.full(len(stack), np.nan), [0.0]
    for k, plane in enumerate(stack):
        sample = plane[::3].astype(np.float64)
        sample[~np.isfinite(sample)] = np.nan
        values = sample[:, ::2]
        values = values[np.isfinite(values)]
        second = (sample[:, 2:] - 2 * sample[:, 1:-1] + sample[:, :-2]) / math.sqrt(6)
        second = second[np.isfinite(second)]
        if len(values) and len(second):
            scatter = _clipped_scatter(second)
            levels[k] = level = np.median(values)
            near = np.abs(values - level) <= 3 * scatter
            levels[k] = values[near].mean() if near.any() else level
            noises.append(scatter)
    known = np.isfinite(levels)
    usual = float(np.median(levels[known])) if known.any() else 0.0
    levels[~known] = usual
    noise = float(np.median(noises[1:])) if len(noises) > 1 else 0.0
    least = max(1e-6 * float(np.abs(levels).max()), 1e-30)  # of a stack without noise
    return Model(levels, max(noise, least) ** 2, usual)


def _clipped_scatter(values: NDArray[Any]) -> float:
    """Standard deviation of the normally distributed part of `values` about 0."""
    scatter = 1.4826 * float(np.median(np.abs(values)))
    for _ in range(4):
        near = np.abs(values) <= 3 * scatter
        if near.any():  # clipping at three standard deviations reduces that of a normal by 0.9866
            scatter = float(np.sqrt(np.mean(values[near] ** 2))) / 0.98658
    return scatter


def usual_gain(estimates: Floats) -> float:
    """Counts per photo-electron, from estimates of particles (n, 2: gain, weight).

    It is the mean of the inner four fifths by weight, so that outliers are left out; 0 without
    estimates.
    """
    value, weight = estimates[np.argsort(estimates[:, 0], kind="stable")].T
    total = weight.sum()
    if not total > 0:
        return 0.0
    below = np.cumsum(weight) - 0.5 * weight
    inner = np.where((below >= 0.1 * total) & (below <= 0.9 * total), weight, 0.0)
    if not inner.any():
        inner = weight
    return max(float((value * inner).sum() / inner.sum()), 0.0)
