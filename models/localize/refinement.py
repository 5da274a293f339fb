"""Refinement: where a spot is, to a fraction of a pixel, from its own pixels, and how sure that is.

`gaussian` fits a Gaussian, integrated over pixels, by Fisher scoring with the variance that a
camera gives a pixel (noise of the background plus photon noise of the spot): the estimate of
maximum likelihood for all but a few photons, at the Cramer-Rao bound (Smith et al. 2010, Nat.
Methods 7:373; Mortensen et al. 2010, Nat. Methods 7:377). A pixel widens a Gaussian of variance
sigma^2 to sigma^2 + 1/12 and leaves its shape within 0.2 % down to sigma = 0.8 pixels.

What a frame's spots have in common is learned from them: counts per photo-electron from the
squared residuals, the width from all fits (empirical Bayes: as much as they really agree). Nothing
is kept between frames, so the same frame gives the same answer.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from livespt.models.localize.gaussian_fit import (
    COLUMN,
    ROW,
    SIDE,
    Boxes,
    cut,
    draw,
    iterate,
    leave_out,
    start,
)
from livespt.models.localize.overlap_fit import clusters, fit_together

APART = 3.75  # widths to the nearest neighbour from which on a spot is fitted (5 px at 1.3)
FAR = 12.0  # pixels: a neighbour that is further does not matter
ASKED = 64  # spots, at most, that are asked for the gain and the width
FIRST, SECOND = 6, 6  # steps, at most, before and after the frame's width and gain are known
AWAY = 2.0  # pixels: a fit that goes further has left its spot
SHARPEST = 0.6  # pixels: no objective makes a spot narrower on a camera that samples it
CLEAR = 2.6  # widths around a neighbour that are left out of a fit
WIDER = 3.0  # standard deviations of the frame's widths: what is wider is no single spot
MEDIAN = 0.455  # of the square of a normal deviate
PIXEL = 1 / 12  # variance of a pixel, pixels^2

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]


class Fits(NamedTuple):
    """Spots as fitted; where `good` is false the rest of a row means nothing."""

    good: NDArray[np.bool_]  # (n,)
    points: Floats  # (n, 2) y, x, pixels
    spread: Floats  # (n, 2) standard deviation of y and of x, pixels
    sigma: Floats  # (n,) width, pixels; NaN: fitted with the width of the others
    intensity: Floats  # (n,) counts above background
    background: Floats  # (n,) counts per pixel
    speck: NDArray[np.bool_]  # (n,) too sharp for any optics: a hot pixel or a cosmic ray
    misfit: Floats  # (n,) mean squared residual over the expected variance: 1 is a Gaussian
    gain: float  # counts per photo-electron, of the frame
    width: float  # most spots have, with what a pixel adds, pixels


def gaussian(
    frame: NDArray[Any],
    points: Floats,
    noise: float,
    *,
    sigma_px: tuple[float, float] = (0.8, 2.5),
    gain: float | None = None,
) -> Fits:
    """Fit every spot: alone if it stands alone, else together with its neighbours.

    Parameters
    ----------
    frame : (y, x), counts, numbers all of them.
    points : (n, 2) where they are within a pixel or so.
    noise : standard deviation of a background pixel, counts.
    sigma_px : widths to expect; a spot may well be outside.
    gain : counts per photo-electron; from the frame's own fits unless given.
    """
    low, high = (math.log(s * s + PIXEL) for s in sigma_px)
    prior = np.array([(low + high) / 2, max(high - low, 0.2) / 2])
    order = np.argsort(points[:, 0], kind="stable")
    ordered = np.ascontiguousarray(points[order])
    boxes = cut(frame, ordered)
    gap = nearest(ordered, FAR)
    camera, common, height = _fit(boxes, ordered, gap, noise, prior, -1.0 if gain is None else gain)
    width = math.exp(0.5 * common[0])
    root = clusters(ordered, APART * width)
    overlap = fit_together(frame, ordered, root, camera, width, height, CLEAR * width)
    theta, corner = boxes.theta, boxes.corner
    width2 = np.exp(theta[:, 4])
    sigma = np.sqrt(np.maximum(width2 - PIXEL, 0.0))
    together = np.isfinite(overlap[:, 0])[:, None]
    place = np.where(together, overlap[:, :2], theta[:, :2] + corner[:, :2])
    with np.errstate(invalid="ignore"):
        variance = np.diagonal(boxes.inverse, axis1=1, axis2=2)[:, :2]
        # much wider than the others: two spots d apart, d^2 / 8 wider, each d^2 / 8 away
        excess = np.where(theta[:, 4] > common[0] + WIDER * common[1], width2 - width**2, 0.0)
        spread = np.sqrt(np.where(together, overlap[:, 2:4], variance + excess[:, None]))
        near = np.abs(place - ordered).max(axis=1, initial=0.0) <= AWAY
    total = np.where(together[:, 0], overlap[:, 4] * width**2, theta[:, 2] * width2)
    level = np.where(together[:, 0], overlap[:, 5], theta[:, 3] + corner[:, 2])
    good = near & np.isfinite(spread).all(axis=1) & (total * height > 0)
    back = np.argsort(order)
    return Fits(
        good=good[back],
        points=place[back],
        spread=spread[back],
        sigma=sigma[back],
        intensity=2 * np.pi * total[back],
        background=level[back],
        speck=(good & (sigma < SHARPEST))[back],
        misfit=(boxes.square / np.maximum(boxes.inside.sum(axis=1) - 5, 1))[back],
        gain=float(camera[1]),
        width=width,
    )


@njit(cache=True, error_model="numpy")
def nearest(points: Floats, reach: float) -> Floats:
    """(n,) distance to the nearest other point; `reach` where it is not nearer."""
    n = len(points)
    order = np.argsort(points[:, 0])
    distance = np.full(n, reach)
    for a in range(n):
        i = order[a]
        for b in range(a + 1, n):
            j = order[b]
            down = points[j, 0] - points[i, 0]
            if down >= reach:
                break
            gap = math.sqrt(down**2 + (points[j, 1] - points[i, 1]) ** 2)
            distance[i] = min(distance[i], gap)
            distance[j] = min(distance[j], gap)
    return distance


@njit(cache=True, error_model="numpy")
def _fit(
    boxes: Boxes, points: Floats, gap: Floats, noise: float, prior: Floats, gain: float
) -> tuple[Floats, Floats, float]:
    """Fit what stands alone of `points`, in order of y.

    Returns the camera (variance of a background pixel, counts per photo-electron, counts of the
    background), the middle and the standard deviation of t, the height of most spots.
    """
    lonely = np.argsort(-gap, kind="mergesort")[:ASKED]  # what stands freest is asked first
    whole = boxes.inside.copy()
    leave_out(boxes, points, CLEAR * math.exp(0.5 * prior[0]))
    start(boxes, lonely, points, prior[0])
    level = _middle(boxes.corner[:, 2] + boxes.theta[:, 3], lonely)
    likely = noise * noise / max(abs(level), 4.0 * noise, 1e-30)
    camera = np.array([noise * noise, likely if gain < 0 else gain, level])
    iterate(boxes, lonely, camera, prior, FIRST)
    camera[2] = _middle(boxes.corner[:, 2] + boxes.theta[:, 3], lonely)
    if gain < 0:
        camera[1] = _gain(boxes, lonely, camera, likely)
    common = _pool(boxes, lonely, prior)
    width = math.exp(0.5 * common[0])
    height = _middle(boxes.theta[:, 2], lonely)
    for p in range(len(points)):  # assigned slices would take seconds to compile
        for k in range(boxes.inside.shape[1]):
            boxes.inside[p, k] = whole[p, k]
    leave_out(boxes, points, CLEAR * width)
    alone = gap >= APART * width
    for p in range(len(points)):
        for a in range(boxes.theta.shape[1]):
            boxes.theta[p, a] = boxes.theta[p, a] if alone[p] else np.nan
    which = np.flatnonzero(alone)
    start(boxes, which, points, common[0])
    iterate(boxes, which, camera, common, SECOND)
    return camera, common, height


@njit(cache=True, error_model="numpy")
def _middle(values: Floats, which: NDArray[np.int64]) -> float:
    """Median of the numbers among some values; 0 without any."""
    some = values[which]
    some = some[np.isfinite(some)]
    return float(np.median(some)) if len(some) else 0.0


@njit(cache=True, error_model="numpy")
def _gain(boxes: Boxes, which: NDArray[np.int64], camera: Floats, likely: float) -> float:
    """Counts per photo-electron: the slope of the variance over the signal, near `likely`.

    A fit takes part of the noise with it: what is left of a pixel's variance is 1 - slopes'
    inverse slopes / variance, with the slopes of its model and the inverse of the information.
    """
    # as if `likely` had been seen, to within itself
    above, below = 1.0 / max(likely, 1e-30), 1.0 / max(likely, 1e-30) ** 2
    n = len(boxes.theta)
    slope, weight = np.zeros(n), np.zeros(n)
    for p in which:
        if np.isfinite(boxes.theta[p]).all():
            slope[p], weight[p] = _gain_of(boxes, p, camera)
    asked = np.flatnonzero(weight > 0)
    asked = asked[np.argsort(slope[asked])]
    half = np.searchsorted(np.cumsum(weight[asked]), 0.5 * weight.sum())
    for p in asked:  # but those far from the (weighted) median: two spots that pass for one
        if weight[p] * (slope[p] - slope[asked[half]]) ** 2 < 16.0:
            above += weight[p] * slope[p]
            below += weight[p]
    return max(above / below, 0.0)


@njit(cache=True, error_model="numpy")
def _gain_of(boxes: Boxes, p: int, camera: Floats) -> tuple[float, float]:
    """What one spot says of the gain, and the inverse of its variance."""
    theta, inverse = boxes.theta[p], boxes.inverse[p]
    shape, slope = np.empty(SIDE * SIDE, np.float32), np.empty(5)
    above, below = 0.0, 0.0
    draw(theta, shape)
    a, w = theta[2], math.exp(-theta[4])
    for k in range(SIDE * SIDE):
        m = shape[k]
        if boxes.inside[p, k] == 0.0 or m < 0.1:  # nothing to see of the gain
            continue
        u, v = ROW[k] - theta[0], COLUMN[k] - theta[1]
        slope[0], slope[1], slope[2], slope[3] = a * w * m * u, a * w * m * v, m, 1.0
        slope[4] = 0.5 * a * w * m * (u * u + v * v)
        taken = 0.0
        for i in range(5):
            for j in range(5):
                taken += slope[i] * inverse[i, j] * slope[j]
        light = a * m + theta[3] + boxes.corner[p, 2] - camera[2]
        variance = max(camera[0] + camera[1] * light, 0.25 * camera[0])
        left = max(1.0 - taken / variance, 0.05)
        residual = boxes.values[p, k] - theta[3] - a * m
        square = min(residual * residual / left, 16.0 * variance) - camera[0]
        weight = 0.5 * (left / variance) ** 2
        above += weight * square * light
        below += weight * light * light
    return (above / below, below) if below > 0 else (0.0, 0.0)


@njit(cache=True, error_model="numpy")
def _pool(boxes: Boxes, which: NDArray[np.int64], prior: Floats) -> Floats:
    """Middle and standard deviation of t = ln(width^2) of the frame's spots."""
    widths, variances = boxes.theta[:, 4][which], boxes.inverse[:, 4, 4][which]
    good = np.isfinite(widths)
    t, v = widths[good], variances[good]
    if len(t) == 0:
        return prior
    middle = np.median(t)
    # the scatter that the fits' own errors leave unexplained (a median: a few pairs that pass for
    # single spots do not count), beside 0.4 of the prior's as if seen once
    scatter = max(np.median((t - middle) ** 2) / MEDIAN - np.median(v), 0.0)
    telling = (1.0 / (1.0 + v / 0.02) ** 2).sum()
    known = (0.4 * prior[1]) ** 2
    spread = math.sqrt(max((telling * scatter + known) / (telling + 1.0), 0.03**2))
    return np.array([middle, spread])
