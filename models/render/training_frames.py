"""Training frames of student networks: small simulated frames without end, and their targets.

A share `near` of them, by default half, resembles frames of single-molecule fluorescence: sigma 1.3
px, 100 photons of background, spots of similar brightness, with up to twice the density of 500
spots on 512 x 512 pixels. The others vary widely: narrow and wide spots, defocus rings, dim, bright
and uneven backgrounds, other cameras, and most of them real fields (backgrounds.py) or noise that
is not white. Both have hot pixels and cosmic rays, which are not particles.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from livespt.models.optics.spots import photons_for_snr, shares
from livespt.models.render import backgrounds
from livespt.stream.compiled import njit

Floats = NDArray[np.float64]
MARGIN_PX = 4.0  # outside the frame, in which there are spots as well
FIELD_SHARE = 0.5  # of the frames that are not of the common kind, with a field as of a cell
GRAIN_SHARE, ROUGH_SHARE, COARSE_SHARE = 0.25, 0.1, 0.1  # with other noise, of the same frames
EMPTY_SHARE = 0.1  # of frames, in addition to those without particles by chance
MIN_SNR = 2.5  # a dimmer spot is ignored: neither finding nor missing it is an error
FULL_WEIGHT_SNR = 8.0  # at which the offset of a spot has weight 1
NEXT_CELL_STRIDES, NEXT_CELL_WEIGHT = 1.2, 0.2  # greatest distance from a spot; its weight


class Specks(NamedTuple):
    """Particles of a batch, (m,) each."""

    image: NDArray[np.int64]  # index of the frame in the batch
    y: Floats  # pixels
    x: Floats
    sigma: Floats  # width of a spot, or of the line of a ring, pixels
    radius: Floats  # radius of a ring, pixels; 0 for a spot
    photons: Floats
    snr: Floats


class FrameBatch(NamedTuple):
    """Frames (n, side, side) in counts or noise units, and the particles in them."""

    frames: NDArray[Any]
    specks: Specks


def simulated(rng: Generator, n: int, side: int, near: float = 0.5) -> FrameBatch:
    """Draw `n` frames of `side` pixels; a share `near` of them is of the common kind."""
    like = rng.random(n) < near

    def pick(target: Any, other: Any) -> Floats:
        return np.asarray(np.where(like, target, other), np.float64)

    def log_uniform(low: float, high: float) -> Floats:
        return np.exp(rng.uniform(math.log(low), math.log(high), n))

    level = pick(100.0, log_uniform(5, 2000))
    read = pick(1.5, rng.uniform(0.5, 3.0, n))
    snr = np.where(like, log_uniform(2.5, 20), log_uniform(2.5, 60))
    sigma = pick(1.3 * np.exp(rng.normal(0, 0.03, n)), rng.uniform(0.95, 2.1, n))
    spread = pick(0.15, rng.uniform(0, 0.6, n))
    ring = ~like & (rng.random(n) < 0.15)
    area = ((side + 2 * MARGIN_PX) / 64) ** 2
    most = np.where(like, 14.0, np.where(ring, 4.0, 10.0)) * area
    share = rng.random(n)  # of the greatest number; on real fields, few spots are as common as many
    count = np.where(like, share * (most + 1), (most + 1) ** share - rng.random(n))
    count = np.maximum(np.floor(count), 0).astype(np.int64)
    count[rng.random(n) < EMPTY_SHARE] = 0
    which = np.repeat(np.arange(n), count)
    own_snr = snr[which] * np.exp(spread[which] * rng.standard_normal(len(which)))
    m = len(which)
    radius = np.where(ring[which], rng.uniform(1.5, 4.5, m), 0.0)
    width = sigma[which] * np.where(like[which], 1.0, np.exp(rng.normal(0, 0.05, m)))
    width = np.where(ring[which], 0.7 * width, width)
    position = rng.uniform(-0.5 - MARGIN_PX, side - 0.5 + MARGIN_PX, (2, m))
    fielded = ~like & (rng.random(n) < FIELD_SHARE)
    expected = _background(rng, level, ~like & ~fielded & (rng.random(n) < 0.4), side)
    rough = np.zeros_like(expected)
    for k in np.flatnonzero(fielded):
        expected[k] = backgrounds.draw_field(rng, level[k], side)
    unit = np.sqrt(level + read**2)
    for k in np.flatnonzero(~like & (rng.random(n) < ROUGH_SHARE)):
        rough[k] = backgrounds.draw_rough(rng, side, unit[k])
    grain = backgrounds.draw_grain(rng, n, ~like & (rng.random(n) < GRAIN_SHARE), sigma)
    at = tuple(np.clip(np.rint(position), 0, side - 1).astype(np.int64))
    local = expected[which, at[0], at[1]] + rough[which, at[0], at[1]] ** 2
    local = np.where(fielded[which] | (rough[which, at[0], at[1]] > 0), local, level[which])
    photons = photons_for_snr(own_snr, local + read[which] ** 2, sigma[which])
    photons = photons * np.where(ring[which], rng.uniform(2, 5, m), 1.0) * grain.louder[which]
    specks = Specks(which, position[0], position[1], width, radius, photons, own_snr)
    add(expected, specks)
    intrude(rng, expected, unit, pick(0.08, 0.25))
    offset = pick(100.0, log_uniform(10, 30000))
    gain = pick(1.0, log_uniform(0.25, 4))
    coarse = ~like & (rng.random(n) < COARSE_SHARE)  # noise around a grey level
    gain = np.where(coarse, unit / log_uniform(0.2, 1.0), gain)
    return FrameBatch(expose(rng, expected, read, gain, offset, rough, grain), specks)


def _background(rng: Generator, level: Floats, uneven: NDArray[np.bool_], side: int) -> Any:
    """Expected photons (n, side, side) of backgrounds, some with a gradient and broad blobs."""
    expected = np.empty((len(level), side, side), np.float32)
    expected[:] = level[:, None, None]
    line = np.arange(side) / side - 0.5
    for k in np.flatnonzero(uneven):
        slope = rng.normal(0, 0.3, 2)
        field = 1 + slope[0] * line[:, None] + slope[1] * line
        for _ in range(rng.integers(0, 3)):
            middle, width = rng.uniform(-0.6, 0.6, 2), rng.uniform(10, 60) / side
            arms = np.exp(-((line - middle[:, None]) ** 2) / (2 * width**2))
            field += rng.uniform(-0.3, 0.8) * np.outer(arms[0], arms[1])
        expected[k] *= np.maximum(field, 0.1)
    return expected


def intrude(rng: Generator, expected: Any, unit: Floats, share: Floats) -> None:
    """Add hot pixels and cosmic rays to a `share` of the frames."""
    side = expected.shape[-1]
    for k in np.flatnonzero(rng.random(len(expected)) < share):
        for _ in range(rng.integers(1, 4)):
            y, x = rng.integers(0, side, 2)
            expected[k, y, x] += unit[k] * math.exp(rng.uniform(math.log(5), math.log(300)))
    for k in np.flatnonzero(rng.random(len(expected)) < share / 2):
        streak(rng, expected[k], float(unit[k]))


def streak(rng: Generator, expected: Any, unit: float) -> None:
    """Add the track of one cosmic ray, a line one pixel wide."""
    side = expected.shape[-1]
    length, angle = rng.uniform(2, 20), rng.uniform(0, 2 * math.pi)
    start = rng.uniform(0, side, 2)
    steps = np.arange(0, length, 0.5)[:, None]
    path = np.round(start + steps * [math.sin(angle), math.cos(angle)]).astype(np.int64)
    path = np.unique(path[((path >= 0) & (path < side)).all(axis=1)], axis=0)
    bright = unit * math.exp(rng.uniform(math.log(6), math.log(300)))
    expected[path[:, 0], path[:, 1]] += bright * np.exp(rng.normal(0, 0.3, len(path)))


@njit()
def _add(
    expected: NDArray[np.float32],
    image: NDArray[np.int64],
    y: Floats,
    x: Floats,
    sigma: Floats,
    radius: Floats,
    photons: Floats,
) -> None:
    side = expected.shape[1]
    for k in range(len(image)):
        reach = radius[k] + 4.0 * sigma[k]
        top, left = max(0, math.ceil(y[k] - reach)), max(0, math.ceil(x[k] - reach))
        rows = min(side - 1, math.floor(y[k] + reach)) - top + 1
        columns = min(side - 1, math.floor(x[k] + reach)) - left + 1
        if rows < 1 or columns < 1:
            continue
        if radius[k] == 0.0:
            down = shares(y[k], sigma[k], top, rows)[0]
            across = shares(x[k], sigma[k], left, columns)[0]
            for i in range(rows):
                for j in range(columns):
                    expected[image[k], top + i, left + j] += photons[k] * down[i] * across[j]
            continue
        area = (2 * math.pi) ** 1.5 * radius[k] * sigma[k]  # of exp(-(r - radius)^2 / 2 sigma^2)
        for i in range(rows):
            for j in range(columns):
                r = math.hypot(top + i - y[k], left + j - x[k]) - radius[k]
                share = math.exp(-r * r / (2.0 * sigma[k] * sigma[k])) / area
                expected[image[k], top + i, left + j] += photons[k] * share


def add(expected: NDArray[np.float32], specks: Specks) -> None:
    """Add the expected photons of `specks` to `expected` (n, side, side), in place."""
    s = specks
    _add(expected, s.image, s.y, s.x, s.sigma, s.radius, s.photons)


@njit()
def _expose(
    expected: NDArray[np.float32],
    grain: NDArray[np.float32],
    rough: NDArray[np.float32],
    read: Floats,
    gain: Floats,
    offset: Floats,
) -> NDArray[np.uint16]:
    out = np.empty(expected.shape, np.uint16)
    for k in range(expected.shape[0]):
        for i in range(expected.shape[1]):
            for j in range(expected.shape[2]):
                mean, z = expected[k, i, j], grain[k, i, j]
                variance = mean + read[k] * read[k] + rough[k, i, j] * rough[k, i, j]
                skew = mean / (6.0 * variance) * (z * z - 1.0)
                electrons = mean + math.sqrt(variance) * z + skew
                counts = math.floor(electrons / gain[k] + offset[k] + 0.5)
                out[k, i, j] = min(max(counts, 0), 65535)
    return out


def expose(
    rng: Generator,
    expected: NDArray[np.float32],
    read: Floats,
    gain: Floats,
    offset: Floats,
    rough: NDArray[np.float32],
    grain: backgrounds.Grain,
) -> NDArray[np.uint16]:
    """Counts of a camera for expected photons `expected` (n, h, w).

    The sum of Poisson and read noise is approximated by its first three cumulants (Cornish-Fisher
    expansion: a normal z plus skewness / 6 (z^2 - 1)), ten times as fast as Poisson numbers.
    `rough` (n, h, w) is further read noise of each pixel, electrons; `grain` correlates the noise.
    """
    noise = rng.standard_normal(expected.shape, np.float32)
    backgrounds.correlate(noise, grain)
    return _expose(expected, noise, rough, read, gain, offset)


@njit()
def _truth(
    n: int,
    cells: int,
    stride: int,
    image: NDArray[np.int64],
    y: Floats,
    x: Floats,
    snr: Floats,
) -> NDArray[np.float32]:
    out = np.zeros((n, 5, cells, cells), np.float32)
    out[:, 4] = 1.0
    nearest = np.full((n, cells, cells), np.inf)
    for k in range(len(image)):
        here = out[image[k]]
        row = math.floor((y[k] + 0.5) / stride)
        column = math.floor((x[k] + 0.5) / stride)
        is_visible = snr[k] >= MIN_SNR
        trust = min(max(snr[k] / FULL_WEIGHT_SNR, 0.4), 2.0)
        for i in range(max(row - 2, 0), min(row + 3, cells)):
            for j in range(max(column - 2, 0), min(column + 3, cells)):
                dy = y[k] - (stride * i + 0.5 * (stride - 1))
                dx = x[k] - (stride * j + 0.5 * (stride - 1))
                inside = i == row and j == column
                distance = math.hypot(dy, dx)
                if not is_visible:
                    if distance <= NEXT_CELL_STRIDES * stride and here[3, i, j] == 0.0:
                        here[4, i, j] = 0.0
                    continue
                if inside:
                    here[3, i, j] = here[4, i, j] = 1.0
                rank = distance - 2.0 * stride if inside else distance  # those inside come first
                if rank < nearest[image[k], i, j] and rank <= NEXT_CELL_STRIDES * stride:
                    nearest[image[k], i, j] = rank
                    here[0, i, j], here[1, i, j] = dy, dx
                    here[2, i, j] = trust * (1.0 if inside else NEXT_CELL_WEIGHT)
    return out


def truth(specks: Specks, n: int, side: int, stride: int) -> NDArray[np.float32]:
    """Targets of a network with this stride for `n` frames of `side` pixels.

    Returns
    -------
    (n, 5, side / stride, side / stride)
        dy, dx to the nearest particle, in pixels from the centre of the cell; their weight, 0 far
        from particles; 1 if the centre of a particle lies in the cell; the weight of this, 0 near
        particles that are too dim.
    """
    s = specks
    return _truth(n, side // stride, stride, s.image, s.y, s.x, s.snr)


def turned(frames: Any, targets: Any, which: int) -> tuple[Any, Any]:
    """Apply one of the 8 symmetries of the square to frames and their targets (tensors).

    This increases the number of training frames at almost no cost.
    """
    if which & 4:
        frames, targets = frames.transpose(2, 3), targets.transpose(2, 3)[:, [1, 0, 2, 3, 4]]
    for bit, dim, axis in ((1, 2, 0), (2, 3, 1)):
        if which & bit:
            frames, targets = frames.flip(dim), targets.flip(dim)
            targets[:, axis] *= -1
    return frames, targets
