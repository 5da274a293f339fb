"""Training frames composed of copies of one particle at known positions.

A crop of a user's particle and the position of its centre give any number of frames with known
truth. The copies are rotated, mirrored, shifted by fractions of a pixel, brighter or dimmer, and
may overlap. The noise of the crop must not be copied, because a brighter copy would have more noise
than the frames. Therefore the particle is averaged over the rotations that do not change it,
otherwise filtered, and white noise with a share of shot noise is added to the composed frame.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from livespt.models.render.training_frames import (
    EMPTY_SHARE,
    MARGIN_PX,
    FrameBatch,
    Specks,
    intrude,
)
from livespt.stream.compiled import njit

Floats = NDArray[np.float64]
POINTS_PER_PIXEL = 4  # of a pattern
FOLDS = (32, 2)  # rotational symmetries that are tried: any angle (32 angles), or half a turn
MAX_ASYMMETRY = 0.04  # share of the energy that a rotation may change, besides noise
SNR = (2.5, 20.0)  # peak of the copies over noise, including shot noise


class Pattern(NamedTuple):
    """A particle without noise, with its centre in the middle."""

    image: NDArray[np.float32]  # (m, m), m odd, FINE points a pixel; noise units over background
    peak: float  # noise units; negative: darker than the background
    fwhm_px: float
    fold: int  # number of rotations it was averaged over; 1: none


def pattern(
    crop: NDArray[Any], centre: tuple[float, float], fwhm_px: float, shot: float = 0.1
) -> Pattern:
    """Pattern of the particle in a crop (s, s) that contains nothing else.

    Parameters
    ----------
    crop : array
        Crop in noise units above the background, which is 0 far from the particle.
    centre : (float, float)
        y and x of the particle, in pixels from the middle of the crop.
    fwhm_px : float
    shot : float
        Variance of the photon noise at a signal of one noise unit.
    """
    for fold in (*FOLDS, 1):
        image = _average(crop, centre, fold)
        if fold == 1:
            image = _average(_filtered(crop), centre, 1)
        elif not _is_like(crop, image, centre, fwhm_px, shot):
            continue
        half = len(image) // 2
        line = (np.arange(len(image)) - half) / POINTS_PER_PIXEL
        r = np.hypot(line[:, None], line)
        reach = min(max(2.2 * fwhm_px, 5.0), half / POINTS_PER_PIXEL)
        image *= 0.5 + 0.5 * np.cos(np.pi * np.clip((r - 0.7 * reach) / (0.3 * reach), 0, 1))
        keep = min(half, math.ceil(reach) * POINTS_PER_PIXEL)
        image = image[half - keep : half + keep + 1, half - keep : half + keep + 1]
        near = image[r[half - keep : half + keep + 1, half - keep : half + keep + 1] <= fwhm_px]
        peak = float(near[np.abs(near).argmax()])
        return Pattern(np.ascontiguousarray(image, np.float32), peak, fwhm_px, fold)
    raise AssertionError("a particle always looks like itself")


def _average(crop: NDArray[Any], centre: tuple[float, float], fold: int) -> NDArray[np.float32]:
    """Mean of `crop` rotated about `centre` by multiples of 1 / fold of a turn, at FINE points."""
    import torch
    from torch.nn import functional

    half = (len(crop) - 1) / 2
    reach = math.floor(half - max(abs(v) for v in centre)) * POINTS_PER_PIXEL
    line = torch.arange(-reach, reach + 1, dtype=torch.float32) / POINTS_PER_PIXEL
    y, x = torch.meshgrid(line, line, indexing="ij")
    angles = 2 * torch.pi * torch.arange(fold) / fold
    cos, sin = (v[:, None, None] for v in (torch.cos(angles), torch.sin(angles)))
    grid = torch.stack([(sin * y + cos * x + centre[1]) / half,
                        (cos * y - sin * x + centre[0]) / half], dim=-1)  # fmt: skip
    source = torch.from_numpy(np.asarray(crop, np.float32))[None, None].expand(fold, 1, -1, -1)
    turned = functional.grid_sample(source, grid, mode="bicubic", align_corners=True)
    return np.asarray(turned.mean(dim=(0, 1)).numpy())


def _filtered(crop: NDArray[Any]) -> NDArray[np.float32]:
    """Wiener filter, with the noise estimated from the highest frequencies."""
    power = np.abs(np.fft.fft2(crop)) ** 2
    f = np.fft.fftfreq(len(crop))
    ring = np.round(np.hypot(f[:, None], f) * len(crop)).astype(np.int64)
    mean = np.bincount(ring.ravel(), power.ravel()) / np.bincount(ring.ravel())
    noise = mean[int(0.4 * len(crop)) :].mean()
    gain = np.clip(1 - noise / np.maximum(mean, 1e-12), 0, 1)
    return np.asarray(np.fft.ifft2(np.fft.fft2(crop) * gain[ring]).real, np.float32)


def _is_like(
    crop: NDArray[Any],
    image: NDArray[np.float32],
    centre: tuple[float, float],
    fwhm_px: float,
    shot: float,
) -> bool:
    """Whether the averaged `image` differs from the particle only by noise."""
    own = _average(crop, centre, 1)
    middle = len(own) // 2
    grid = np.arange(middle % POINTS_PER_PIXEL, len(own), POINTS_PER_PIXEL)  # one point per pixel
    line = (grid - middle) / POINTS_PER_PIXEL
    core = np.hypot(line[:, None], line) <= fwhm_px
    one, mean = own[np.ix_(grid, grid)][core], image[np.ix_(grid, grid)][core]
    noise = 1 + max(shot, 0.1) * np.abs(mean)
    return bool(np.mean((one - mean) ** 2 - noise) <= MAX_ASYMMETRY * np.mean(mean**2))


def without_noise(one: Pattern, centre: tuple[float, float], size: int) -> NDArray[np.float32]:
    """The crop (size, size) from which the pattern `one` was made, without its noise."""
    still = np.zeros((1, size, size), np.float32)
    y, x = ((size - 1) / 2 + np.array([v]) for v in centre)
    _paste(still, one.image, np.zeros(1, np.int64), y, x, np.array([[1.0, 0.0, 0.0, 1.0]]),
           np.ones(1), np.ones(1))  # fmt: skip
    crop: NDArray[np.float32] = still[0]
    return crop


@njit()
def _paste(
    frames: NDArray[np.float32],
    image: NDArray[np.float32],
    which: NDArray[np.int64],
    y: Floats,
    x: Floats,
    matrix: Floats,
    times: Floats,
    zoom: Floats,
) -> None:
    """Add copies: the point p of a frame shows the pattern at matrix (p - position) / zoom."""
    side, half = frames.shape[1], image.shape[0] // 2
    for k in range(len(which)):
        reach = half / POINTS_PER_PIXEL * zoom[k]
        for i in range(max(0, math.ceil(y[k] - reach)), min(side, math.floor(y[k] + reach) + 1)):
            for j in range(
                max(0, math.ceil(x[k] - reach)), min(side, math.floor(x[k] + reach) + 1)
            ):
                dy, dx = (i - y[k]) / zoom[k], (j - x[k]) / zoom[k]
                u = POINTS_PER_PIXEL * (matrix[k, 0] * dy + matrix[k, 1] * dx) + half
                v = POINTS_PER_PIXEL * (matrix[k, 2] * dy + matrix[k, 3] * dx) + half
                a, b = math.floor(u), math.floor(v)
                if a < 0 or b < 0 or a >= 2 * half or b >= 2 * half:
                    continue
                u -= a
                v -= b
                upper = image[a, b] * (1 - v) + image[a, b + 1] * v
                lower = image[a + 1, b] * (1 - v) + image[a + 1, b + 1] * v
                frames[which[k], i, j] += times[k] * (upper * (1 - u) + lower * u)


def composed(
    rng: Generator,
    n: int,
    side: int,
    one: Pattern,
    *,
    zoom: float = 1.15,
    snr: tuple[float, float] | None = None,
    most: float = 14.0,
) -> FrameBatch:
    """Draw `n` frames of `side` pixels in noise units with copies of `one`.

    Parameters
    ----------
    zoom : float
        Sizes of the copies are between 1 / zoom and zoom times that of the particle.
    snr : (float, float), optional
        Range of peak over noise; by default SNR, extended if the particle is brighter.
    most : float
        Greatest number of particles in 64 x 64 pixels; fewer if they are large.
    """
    shot = np.exp(rng.uniform(math.log(0.01), math.log(0.3), n))  # variance per unit of signal
    low, high = snr or (SNR[0], max(SNR[1], 2 * abs(one.peak)))
    level = np.exp(rng.uniform(math.log(low), math.log(high), n))
    area = ((side + 2 * MARGIN_PX) / 64) ** 2 * min(1.0, (6 / one.fwhm_px) ** 2)
    count = np.floor(rng.uniform(0, most * area + 1, n)).astype(np.int64)
    count[rng.random(n) < EMPTY_SHARE] = 0
    which = np.repeat(np.arange(n), count)
    m = len(which)
    own = level[which] * np.exp(rng.uniform(0, 0.3, n)[which] * rng.standard_normal(m))
    # SNR = s / sqrt(1 + shot s) of a peak of s noise units
    own_shot = shot[which]
    signal = (own**2 * own_shot + np.sqrt(own**4 * own_shot**2 + 4 * own**2)) / 2
    position = rng.uniform(-0.5 - MARGIN_PX, side - 0.5 + MARGIN_PX, (2, m))
    angle, mirror = rng.uniform(0, 2 * math.pi, m), np.where(rng.random(m) < 0.5, -1.0, 1.0)
    cos, sin = np.cos(angle), np.sin(angle)
    matrix = np.stack([cos, sin, -mirror * sin, mirror * cos], axis=1)
    size = np.exp(rng.uniform(-1, 1, m) * math.log(zoom))
    frames = np.zeros((n, side, side), np.float32)
    _paste(frames, one.image, which, position[0], position[1], matrix, signal / abs(one.peak), size)
    grain = rng.standard_normal(frames.shape, np.float32)
    grain *= np.sqrt(1 + shot[:, None, None].astype(np.float32) * np.abs(frames))
    intrude(rng, frames, np.ones(n), np.full(n, 0.15))
    _slope(rng, frames)
    none = np.zeros(m)
    return FrameBatch(
        frames + grain, Specks(which, position[0], position[1], none, none, none, own)
    )


def scattered(
    rng: Generator, side: int, one: Pattern, times: float, shot: float, most: int = 10
) -> tuple[NDArray[np.float32], Floats]:
    """A frame (side, side) in noise units of particles far apart, and their positions (n, 2).

    Parameters
    ----------
    times : float
        Brightness of each particle, relative to `one`.
    shot : float
        Variance of the photon noise at a signal of one noise unit.
    most : int
        Number of particles; fewer if they have no place.
    """
    apart = max(2.5 * one.fwhm_px, 12.0)
    points: list[Floats] = []
    for point in rng.uniform(apart, side - 1 - apart, (200, 2)):
        if len(points) < most and all(np.hypot(*(point - other)) >= apart for other in points):
            points.append(point)
    n = len(points)
    centres = np.array(points).reshape(n, 2)
    angle = rng.uniform(0, 2 * math.pi, n)
    cos, sin = np.cos(angle), np.sin(angle)
    light = np.zeros((1, side, side), np.float32)
    _paste(light, one.image, np.zeros(n, np.int64), centres[:, 0].copy(), centres[:, 1].copy(),
           np.stack([cos, sin, -sin, cos], axis=1), np.full(n, times), np.ones(n))  # fmt: skip
    frame = light[0]
    grain = rng.standard_normal(frame.shape, np.float32)
    return frame + grain * np.sqrt(1 + np.float32(shot) * np.abs(frame)), centres


def _slope(rng: Generator, frames: NDArray[np.float32]) -> None:
    """Add an uneven background to a third of the frames: a gradient of a few noise units."""
    line = np.arange(frames.shape[-1]) / frames.shape[-1] - 0.5
    for k in np.flatnonzero(rng.random(len(frames)) < 1 / 3):
        steep = rng.normal(0, 3, 2)
        frames[k] += steep[0] * line[:, None] + steep[1] * line
