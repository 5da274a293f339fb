"""Sub-pixel refinement: the position of a spot and its precision, from a fit to its pixels.

`fit_gaussian` fits a Gaussian, integrated over pixels, by Fisher scoring. The variance of a pixel
is the noise of the background plus the photon noise of the spot. Except for very few photons, this
is the maximum-likelihood estimate and reaches the Cramer-Rao bound (Smith et al. 2010, Nat. Methods
7:373; Mortensen et al. 2010, Nat. Methods 7:377). Integration over pixels increases the variance of
a Gaussian from sigma^2 to sigma^2 + 1/12, and changes its shape by less than 0.2 % down to sigma =
0.8 pixels.

Properties that the spots of a frame have in common are estimated from them: the counts per
photo-electron from the squared residuals, and the width from all fits (empirical Bayes, with a
prior as narrow as the widths agree). Nothing is kept between frames, so the same frame always gives
the same result.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.models.localize.gaussian_fit import (
    COLUMN,
    ROW,
    SIDE,
    Boxes,
    cut_boxes,
    draw_gaussian,
    exclude_neighbours,
    fit_boxes,
    start_fits,
)
from livespt.models.localize.overlap_fit import clusters, fit_together
from livespt.stream.compiled import njit

ISOLATION_WIDTHS = 3.75  # least distance of a spot that is fitted alone (5 px at sigma 1.3)
MAX_NEIGHBOUR_PX = 12.0  # neighbours beyond it are ignored
MAX_PROBES = 40  # most spots from which gain and width are estimated
FIRST_STEPS, FINAL_STEPS = 6, 6  # at most, before and after width and gain of the frame are known
MAX_SHIFT_PX = 2.0  # a fit that moves further has lost its spot
MIN_SIGMA_PX = 0.6  # of a spot that a camera samples properly
EXCLUDED_WIDTHS = 2.6  # radius around a neighbour that is excluded from a fit
MAX_WIDTH_SDS = 3.0  # a spot wider than this is not a single one
MEDIAN_OF_SQUARE = 0.455  # of a normal deviate
PIXEL_VARIANCE = 1 / 12  # pixels^2

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]


class Fits(NamedTuple):
    """Fitted spots; if `good` is false, the other fields of a row are meaningless."""

    good: NDArray[np.bool_]  # (n,)
    points: Floats  # (n, 2) y, x, pixels
    spread: Floats  # (n, 2) standard deviation of y and of x, pixels
    sigma: Floats  # (n,) width, pixels; NaN: fitted with the common width
    intensity: Floats  # (n,) counts above background
    background: Floats  # (n,) counts per pixel
    speck: NDArray[np.bool_]  # (n,) narrower than any optics allow: a hot pixel or a cosmic ray
    misfit: Floats  # (n,) mean squared residual over expected variance: 1 for a Gaussian
    noise: Floats  # (n,) standard deviation of a pixel of the background around the spot, counts
    gain: float  # counts per photo-electron, of the frame
    width: float  # common width including the extent of a pixel, pixels


def fit_gaussian(
    frame: NDArray[Any],
    points: Floats,
    noise: float,
    *,
    sigma_px: tuple[float, float] = (0.8, 2.5),
    gain: float | None = None,
) -> Fits:
    """Fit every spot: isolated spots alone, others together with their neighbours.

    Parameters
    ----------
    frame : (y, x), counts, all finite.
    points : (n, 2) positions, correct within about a pixel.
    noise : standard deviation of a background pixel, counts.
    sigma_px : expected range of widths; a spot may be outside of it.
    gain : counts per photo-electron; by default estimated from the fits.
    """
    low, high = (math.log(s * s + PIXEL_VARIANCE) for s in sigma_px)
    prior = np.array([(low + high) / 2, max(high - low, 0.2) / 2])
    order = np.argsort(points[:, 0], kind="stable")
    ordered = np.ascontiguousarray(points[order])
    boxes = cut_boxes(frame, ordered)
    gap = nearest(ordered, MAX_NEIGHBOUR_PX)
    camera, common, height = _fit_isolated(
        boxes, ordered, gap, noise, prior, -1.0 if gain is None else gain
    )
    width = math.exp(0.5 * common[0])
    root = clusters(ordered, ISOLATION_WIDTHS * width)
    overlap = fit_together(frame, ordered, root, camera, width, height, EXCLUDED_WIDTHS * width)
    theta, corner = boxes.theta, boxes.corner
    width2 = np.exp(theta[:, 4])
    sigma = np.sqrt(np.maximum(width2 - PIXEL_VARIANCE, 0.0))
    together = np.isfinite(overlap[:, 0])[:, None]
    fitted = np.where(together, overlap[:, :2], theta[:, :2] + corner[:, :2])
    with np.errstate(invalid="ignore"):
        variance = np.diagonal(boxes.inverse, axis1=1, axis2=2)[:, :2]
        # much wider than the others: two spots d apart, d^2 / 8 wider, each d^2 / 8 away
        is_wide = theta[:, 4] > common[0] + MAX_WIDTH_SDS * common[1]
        excess = np.where(is_wide, width2 - width**2, 0.0)
        spread = np.sqrt(np.where(together, overlap[:, 2:4], variance + excess[:, None]))
        near = np.abs(fitted - ordered).max(axis=1, initial=0.0) <= MAX_SHIFT_PX
    total = np.where(together[:, 0], overlap[:, 4] * width**2, theta[:, 2] * width2)
    level = np.where(together[:, 0], overlap[:, 5], theta[:, 3] + corner[:, 2])
    misfit = np.where(
        together[:, 0], overlap[:, 6], boxes.square / np.maximum(boxes.inside.sum(axis=1) - 5, 1)
    )
    shot = np.maximum(camera[0] + camera[1] * (level - camera[2]), 0.25 * camera[0])
    good = near & np.isfinite(spread).all(axis=1) & (total * height > 0)
    back = np.argsort(order)
    return Fits(
        good=good[back],
        points=fitted[back],
        spread=spread[back],
        sigma=sigma[back],
        intensity=2 * np.pi * total[back],
        background=level[back],
        speck=(good & (sigma < MIN_SIGMA_PX))[back],
        misfit=misfit[back],
        noise=np.sqrt(shot * np.maximum(misfit, 0.0))[back],
        gain=float(camera[1]),
        width=width,
    )


@njit(error_model="numpy")
def nearest(points: Floats, reach: float) -> Floats:
    """Distance (n,) to the nearest other point, but at most `reach`."""
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


@njit(error_model="numpy")
def _fit_isolated(
    boxes: Boxes, points: Floats, gap: Floats, noise: float, prior: Floats, gain: float
) -> tuple[Floats, Floats, float]:
    """Fit the isolated ones of `points`, which are sorted by y.

    Return the camera (variance of a background pixel, counts per photo-electron, counts of the
    background), the mean and the standard deviation of t, and the typical amplitude.
    """
    lonely = np.argsort(-gap, kind="mergesort")[:MAX_PROBES]  # the most isolated ones
    whole = boxes.inside.copy()
    exclude_neighbours(boxes, points, EXCLUDED_WIDTHS * math.exp(0.5 * prior[0]))
    start_fits(boxes, lonely, points, prior[0])
    level = _middle(boxes.corner[:, 2] + boxes.theta[:, 3], lonely)
    likely = noise * noise / max(abs(level), 4.0 * noise, 1e-30)
    camera = np.array([noise * noise, likely if gain < 0 else gain, level])
    fit_boxes(boxes, lonely, camera, prior, FIRST_STEPS)
    camera[2] = _middle(boxes.corner[:, 2] + boxes.theta[:, 3], lonely)
    if gain < 0:
        camera[1] = _gain(boxes, lonely, camera, likely)
    common = _pool(boxes, lonely, prior)
    width = math.exp(0.5 * common[0])
    height = _middle(boxes.theta[:, 2], lonely)
    for p in range(len(points)):  # assigned slices would take seconds to compile
        for k in range(boxes.inside.shape[1]):
            boxes.inside[p, k] = whole[p, k]
    exclude_neighbours(boxes, points, EXCLUDED_WIDTHS * width)
    alone = gap >= ISOLATION_WIDTHS * width
    started = np.zeros(len(points), np.bool_)  # those fitted already go on from there
    for p in lonely:
        started[p] = np.isfinite(boxes.theta[p, 0])
    for p in range(len(points)):
        for a in range(boxes.theta.shape[1]):
            boxes.theta[p, a] = boxes.theta[p, a] if alone[p] else np.nan
    which = np.flatnonzero(alone)
    start_fits(boxes, which[~started[which]], points, common[0])
    fit_boxes(boxes, which, camera, common, FINAL_STEPS)
    return camera, common, height


@njit(error_model="numpy")
def _middle(values: Floats, which: NDArray[np.int64]) -> float:
    """Median of those of the values that are not NaN; 0 if there is none."""
    some = values[which]
    some = some[np.isfinite(some)]
    return float(np.median(some)) if len(some) else 0.0


@njit(error_model="numpy")
def _gain(boxes: Boxes, which: NDArray[np.int64], camera: Floats, likely: float) -> float:
    """Counts per photo-electron: the slope of the variance over the signal, near `likely`.

    A fit also follows part of the noise. The share of the variance of a pixel that is left is
    1 - d' I^-1 d / variance, with the derivatives d of the model and the information matrix I.
    """
    # as if `likely` had been seen, to within itself
    above, below = 1.0 / max(likely, 1e-30), 1.0 / max(likely, 1e-30) ** 2
    n = len(boxes.theta)
    slope, weight = np.zeros(n), np.zeros(n)
    for p in which:
        if np.isfinite(boxes.theta[p]).all():
            slope[p], weight[p] = _gain_of(boxes, p, camera)
    used = np.flatnonzero(weight > 0)
    used = used[np.argsort(slope[used])]
    half = np.searchsorted(np.cumsum(weight[used]), 0.5 * weight.sum())
    for p in used:  # without those far from the weighted median: two spots that look like one
        if weight[p] * (slope[p] - slope[used[half]]) ** 2 < 16.0:
            above += weight[p] * slope[p]
            below += weight[p]
    return max(above / below, 0.0)


@njit(error_model="numpy")
def _gain_of(boxes: Boxes, p: int, camera: Floats) -> tuple[float, float]:
    """Gain estimated from one spot, and the inverse of its variance."""
    theta, inverse = boxes.theta[p], boxes.inverse[p]
    shape, slope = np.empty(SIDE * SIDE, np.float32), np.empty(5)
    above, below = 0.0, 0.0
    draw_gaussian(theta, shape)
    a, w = theta[2], math.exp(-theta[4])
    for k in range(SIDE * SIDE):
        m = shape[k]
        if boxes.inside[p, k] == 0.0 or m < 0.1:  # too little signal to estimate the gain
            continue
        u, v = ROW[k] - theta[0], COLUMN[k] - theta[1]
        slope[0], slope[1], slope[2], slope[3] = a * w * m * u, a * w * m * v, m, 1.0
        slope[4] = 0.5 * a * w * m * (u * u + v * v)
        explained = 0.0
        for i in range(5):
            for j in range(5):
                explained += slope[i] * inverse[i, j] * slope[j]
        signal = a * m + theta[3] + boxes.corner[p, 2] - camera[2]
        variance = max(camera[0] + camera[1] * signal, 0.25 * camera[0])
        left = max(1.0 - explained / variance, 0.05)
        residual = boxes.values[p, k] - theta[3] - a * m
        square = min(residual * residual / left, 16.0 * variance) - camera[0]
        weight = 0.5 * (left / variance) ** 2
        above += weight * square * signal
        below += weight * signal * signal
    return (above / below, below) if below > 0 else (0.0, 0.0)


@njit(error_model="numpy")
def _pool(boxes: Boxes, which: NDArray[np.int64], prior: Floats) -> Floats:
    """Mean and standard deviation of t = ln(width^2) over the spots of the frame."""
    widths, variances = boxes.theta[:, 4][which], boxes.inverse[:, 4, 4][which]
    good = np.isfinite(widths)
    t, v = widths[good], variances[good]
    if len(t) == 0:
        return prior
    middle = np.median(t)
    # the scatter that the errors of the fits do not explain (a median, so that a few unresolved
    # pairs have no effect), combined with 0.4 of that of the prior, with the weight of one spot
    scatter = max(np.median((t - middle) ** 2) / MEDIAN_OF_SQUARE - np.median(v), 0.0)
    informative = (1.0 / (1.0 + v / 0.02) ** 2).sum()
    known = (0.4 * prior[1]) ** 2
    spread = math.sqrt(max((informative * scatter + known) / (informative + 1.0), 0.03**2))
    return np.array([middle, spread])
