"""Refine: where a spot is, to a fraction of a pixel, from its own pixels, and how sure that is.

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

from livespt.models.gauss import COLUMN, ROW, SIDE, cut, draw, iterate, start

APART = 5.0  # pixels to the nearest neighbour, from which on a spot is fitted alone
FIRST, SECOND = 4, 3  # steps before and after the frame's width and gain are known
AWAY = 2.0  # pixels: a fit that goes further has left its spot
SHARPEST = 0.6  # pixels: no objective makes a spot narrower on a camera that samples it
PIXEL = 1 / 12  # variance of a pixel, pixels^2

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]


class Fits(NamedTuple):
    """Spots as fitted; where `good` is false the rest of a row means nothing."""

    good: NDArray[np.bool_]  # (n,)
    points: Floats  # (n, 2) y, x, pixels
    spread: Floats  # (n, 2) standard deviation of y and of x, pixels
    sigma: Floats  # (n,) width, pixels
    intensity: Floats  # (n,) counts above background
    background: Floats  # (n,) counts per pixel
    speck: NDArray[np.bool_]  # (n,) too sharp for any optics: a hot pixel or a cosmic ray
    misfit: Floats  # (n,) mean squared residual over the expected variance: 1 is a Gaussian
    gain: float  # counts per photo-electron, of the frame


def gaussian(
    frame: NDArray[Any],
    points: Floats,
    noise: float,
    *,
    sigma_px: tuple[float, float] = (0.8, 2.5),
    gain: float | None = None,
    apart: float = APART,
) -> Fits:
    """Fit every spot that has no neighbour.

    Parameters
    ----------
    frame : (y, x), counts, numbers all of them.
    points : (n, 2) where they are within a pixel or so.
    noise : standard deviation of a background pixel, counts.
    sigma_px : widths to expect; a spot may well be outside.
    gain : counts per photo-electron; from the frame's own fits unless given.
    apart : distance to the nearest neighbour below which a spot is left alone, pixels.
    """
    low, high = (math.log(s * s + PIXEL) for s in sigma_px)
    prior = np.array([(low + high) / 2, max(high - low, 0.2) / 2])
    alone = nearest(points, apart) >= apart
    table = np.full((len(points), 9), np.nan)
    used = _fit(frame, points, alone, noise, prior, -1.0 if gain is None else gain, table)
    width2 = np.exp(table[:, 4])
    with np.errstate(invalid="ignore"):
        away = np.abs(table[:, :2] - points).max(axis=1, initial=0.0)
        good = alone & (away <= AWAY) & (table[:, 5:7] > 0).all(axis=1) & (table[:, 2] != 0)
        spread = np.sqrt(table[:, 5:7])
    sigma = np.sqrt(np.maximum(width2 - PIXEL, 0.0))
    speck = good & (sigma < SHARPEST)
    intensity = 2 * np.pi * width2 * table[:, 2]
    return Fits(good, table[:, :2], spread, sigma, intensity, table[:, 3], speck, table[:, 8], used)


@njit(cache=True)
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


@njit(cache=True)
def _fit(
    frame: NDArray[Any],
    points: Floats,
    alone: NDArray[np.bool_],
    noise: float,
    prior: Floats,
    gain: float,
    table: Floats,
) -> float:
    """Rows y, x, A, b, t = ln(width^2), variances of y, x, t, misfit; the gain used."""
    which = np.flatnonzero(alone)
    n = len(which)
    boxes = np.empty((n, SIDE * SIDE), np.float32)
    inside = np.empty((n, SIDE * SIDE), np.float32)
    corner = np.empty((n, 3))  # of the box: y, x, counts
    theta = np.empty((n, 5))
    sums = np.empty((n, 20))
    shape = np.empty(SIDE * SIDE, np.float32)
    for p in range(n):
        cut(frame, points[which[p]], boxes[p], inside[p], corner[p])
        theta[p, :2] = points[which[p]] - corner[p, :2]
        theta[p, 4] = prior[0]
    # variance of a pixel of the background, counts per photo-electron, counts of the background
    camera = np.array([noise * noise, 0.0, 0.0])
    for p in range(n):
        start(boxes[p], inside[p], theta[p], shape, sums[p])
    if n:
        camera[2] = np.median(corner[:, 2] + theta[:, 3])
    likely = camera[0] / max(abs(camera[2]), 4.0 * noise, 1e-30)
    camera[1] = likely if gain < 0 else gain
    inverse = np.empty((n, 5, 5))
    for p in range(n):
        iterate(
            boxes[p],
            inside[p],
            theta[p],
            corner[p, 2],
            camera,
            prior,
            FIRST,
            shape,
            sums[p],
            inverse[p],
        )
    if gain < 0:
        camera[1] = _gain(boxes, inside, theta, corner, camera, inverse, likely, shape)
    common = _pool(theta[:, 4], inverse[:, 4, 4], prior)
    for p in range(n):
        iterate(
            boxes[p],
            inside[p],
            theta[p],
            corner[p, 2],
            camera,
            common,
            SECOND,
            shape,
            sums[p],
            inverse[p],
        )
        row = table[which[p]]
        row[:2] = theta[p, :2] + corner[p, :2]
        row[2] = theta[p, 2]
        row[3] = theta[p, 3] + corner[p, 2]
        row[4] = theta[p, 4]
        row[5], row[6], row[7] = inverse[p, 0, 0], inverse[p, 1, 1], inverse[p, 4, 4]
        row[8] = sums[p, 19] / max(inside[p].sum() - 5.0, 1.0)
    return float(camera[1])


@njit(cache=True)
def _gain(
    boxes: Singles,
    inside: Singles,
    theta: Floats,
    corner: Floats,
    camera: Floats,
    inverse: Floats,
    likely: float,
    shape: Singles,
) -> float:
    """Counts per photo-electron: the slope of the variance over the signal, near `likely`.

    A fit takes part of the noise with it: a residual's variance is that of its pixel less
    slopes' inverse slopes, both of the fit before.
    """
    # as if `likely` had been seen, to within itself
    above = 1.0 / max(likely, 1e-30)
    below = above / max(likely, 1e-30)
    slope = np.empty(5)
    for p in range(min(len(theta), 256)):
        if not np.isfinite(theta[p]).all():
            continue
        draw(theta[p], shape)
        a, w = theta[p, 2], math.exp(-theta[p, 4])
        for k in range(SIDE * SIDE):
            if inside[p, k] == 0.0:
                continue
            u, v, m = ROW[k] - theta[p, 0], COLUMN[k] - theta[p, 1], shape[k]
            slope[0], slope[1], slope[2], slope[3] = a * w * m * u, a * w * m * v, m, 1.0
            slope[4] = 0.5 * a * w * m * (u * u + v * v)
            taken = 0.0
            for i in range(5):
                for j in range(5):
                    taken += slope[i] * inverse[p, i, j] * slope[j]
            light = a * m + theta[p, 3] + corner[p, 2] - camera[2]
            variance = max(camera[0] + camera[1] * light, 0.25 * camera[0])
            left = max(1.0 - taken / variance, 0.05)
            residual = boxes[p, k] - theta[p, 3] - a * m
            square = min(residual * residual / left, 16.0 * variance) - camera[0]
            weight = 0.5 * (left / variance) ** 2
            above += weight * square * light
            below += weight * light * light
    return max(above / below, 0.0)


@njit(cache=True)
def _pool(widths: Floats, variances: Floats, prior: Floats) -> Floats:
    """Middle and spread of t = ln(width^2) of the frame's spots."""
    good = np.isfinite(widths) & (variances > 0)
    t, v = widths[good], variances[good]
    if len(t) == 0:
        return prior
    middle = np.median(t)
    # the scatter that the fits' own errors leave unexplained, as if seen 4 times at the prior's
    above, below = 4.0 * (0.5 * prior[1]) ** 2, 4.0
    for k in range(len(t)):
        away = min((t[k] - middle) ** 2, 9.0 * (v[k] + prior[1] ** 2))
        weight = 1.0 / (1.0 + v[k] / 0.02) ** 2
        above += weight * (away - v[k])
        below += weight
    spread = math.sqrt(max(above / below, 0.03**2))
    return np.array([middle, spread])
