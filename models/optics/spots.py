"""Images of point-like particles, and the Cramer-Rao bound of their positions.

Photons are detected photons (photo-electrons). The signal-to-noise ratio is A / sqrt(A + b), where
A is the peak of a spot above the background b in photons per pixel, at its centre and before the
integration by pixels: A = N / (2 pi sigma^2) for N photons. Other definitions give other numbers.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from livespt.stream.compiled import njit
from livespt.stream.errors import SettingError

Floats = NDArray[np.float64]
REACH_SIGMAS = 4.0  # radius within which a spot is drawn; at most 1.3e-4 of it is lost


@njit()
def shares(centre: float, sigma: float, first: int, count: int) -> Floats:
    """Share of a Gaussian on each pixel of a line, and its derivatives by centre and sigma."""
    edge = np.empty((3, count + 1))
    for i in range(count + 1):
        u = (first + i - 0.5 - centre) / sigma
        edge[0, i] = 0.5 * math.erf(u / math.sqrt(2.0))
        edge[1, i] = -math.exp(-0.5 * u * u) / (math.sqrt(2.0 * math.pi) * sigma)
        edge[2, i] = u * edge[1, i]
    return edge[:, 1:] - edge[:, :-1]


@njit()
def _add_spots(
    image: NDArray[np.float32], y: Floats, x: Floats, photons: Floats, sigma: Floats
) -> None:
    height, width = image.shape
    for i in range(len(y)):
        reach = REACH_SIGMAS * sigma[i]
        top = max(0, math.ceil(y[i] - reach - 0.5))
        left = max(0, math.ceil(x[i] - reach - 0.5))
        rows = min(height - 1, math.floor(y[i] + reach + 0.5)) - top + 1
        columns = min(width - 1, math.floor(x[i] + reach + 0.5)) - left + 1
        if rows < 1 or columns < 1:
            continue
        down = shares(y[i], sigma[i], top, rows)[0]
        across = shares(x[i], sigma[i], left, columns)[0]
        for j in range(rows):
            for k in range(columns):
                image[top + j, left + k] += photons[i] * down[j] * across[k]


def as_columns(*parts: ArrayLike) -> list[Floats]:
    """Copy each of the values to an array (n,); a single value is repeated."""
    each = np.broadcast_arrays(*(np.atleast_1d(np.asarray(part, np.float64)) for part in parts))
    return [np.array(part) for part in each]


def render(
    y: ArrayLike,
    x: ArrayLike,
    photons: ArrayLike,
    shape: tuple[int, int],
    sigma: ArrayLike,
    background: ArrayLike = 0.0,
) -> NDArray[np.float32]:
    """Expected photons of Gaussian spots, integrated over every pixel, on a background.

    Parameters
    ----------
    y, x : (n,)
        Positions in pixels, with pixel centres at integers; spots may lie outside the image.
    photons : (n,) or one for all
        Photons of a whole spot.
    shape : (int, int)
        Size of the image (y, x), pixels.
    sigma : (n,) or one for all
        Width of the point spread function, pixels.
    background : shape or one for all
        Photons per pixel.

    Returns
    -------
    float32 array of `shape`
    """
    image = np.empty(shape, np.float32)
    image[...] = background
    _add_spots(image, *as_columns(y, x, photons, sigma))
    return image


def camera(
    photons: NDArray[Any],
    rng: Generator,
    *,
    offset: float = 100.0,
    gain_e_per_count: float = 1.0,
    read_noise_e: float = 1.5,
) -> NDArray[np.uint16]:
    """Counts of one exposure: photon noise (Poisson), read noise (normal), gain, offset.

    Parameters
    ----------
    photons : array
        Expected photons per pixel.
    rng : Generator
    offset : float
        Counts of a dark pixel.
    gain_e_per_count, read_noise_e : float
        Electrons per count; standard deviation of the read noise in electrons.

    Returns
    -------
    uint16 array of the same shape
    """
    electrons = rng.poisson(photons).astype(np.float32)
    if read_noise_e > 0:
        electrons += rng.standard_normal(photons.shape, np.float32) * np.float32(read_noise_e)
    if gain_e_per_count != 1:
        electrons /= np.float32(gain_e_per_count)
    electrons += np.float32(offset + 0.5)  # the cast truncates, so this rounds
    return np.clip(electrons, 0, 65535).astype(np.uint16)


def uneven(
    shape: tuple[int, int],
    level: float,
    rng: Generator,
    *,
    gradient: float = 0.3,
    blobs: int = 6,
    height: float = 0.4,
) -> NDArray[np.float32]:
    """Simulate an uneven background: a gradient and broad blobs, like cells out of focus.

    Parameters
    ----------
    shape : (int, int)
        Size of the image (y, x), pixels.
    level : float
        Mean, photons per pixel.
    rng : Generator
    gradient : float
        Difference between opposite sides, divided by the mean.
    blobs, height : int, float
        Number of blobs; height of the highest, divided by the mean.

    Returns
    -------
    float32 array of `shape`, its lowest value at least a tenth of `level`
    """
    y, x = (np.linspace(-0.5, 0.5, n)[tuple(slice(None) if k == i else None for k in range(2))]
            for i, n in enumerate(shape))  # fmt: skip
    angle = rng.uniform(0, 2 * math.pi)
    field = gradient * (y * math.sin(angle) + x * math.cos(angle))
    for _ in range(blobs):
        to_y, to_x = rng.uniform(-0.5, 0.5, 2)
        width = rng.uniform(0.08, 0.2)
        spread = ((y - to_y) ** 2 + (x - to_x) ** 2) / (2 * width**2)
        field = field + height * rng.uniform(0.3, 1) * np.exp(-spread)
    field = np.maximum(1 + field - field.mean(), 0.1)
    return np.asarray(level * field, np.float32)


def photons_for_snr(snr: ArrayLike, background: ArrayLike, sigma: ArrayLike) -> Floats:
    """Photons of a spot with this signal-to-noise ratio: N = 2 pi sigma^2 A."""
    ratio, level = np.asarray(snr, np.float64), np.asarray(background, np.float64)
    peak = (ratio**2 + np.sqrt(ratio**4 + 4 * ratio**2 * level)) / 2
    return np.asarray(2 * math.pi * np.asarray(sigma, np.float64) ** 2 * peak)


@njit()
def _information(
    photons: Floats, background: Floats, sigma: Floats, variance: float, window: int
) -> Floats:
    """Fisher information (n, 4, 4) of y, x, N, b of a spot in the middle of a window."""
    out = np.zeros((len(photons), 4, 4))
    slope = np.empty(4)
    for i in range(len(photons)):
        line = shares(0.0, sigma[i], -(window // 2), window)
        for j in range(window):
            for k in range(window):
                share = line[0, j] * line[0, k]
                slope[0] = photons[i] * line[1, j] * line[0, k]
                slope[1] = photons[i] * line[0, j] * line[1, k]
                slope[2] = share
                slope[3] = 1.0
                weight = 1.0 / (photons[i] * share + background[i] + variance)
                for a in range(4):
                    for b in range(4):
                        out[i, a, b] += weight * slope[a] * slope[b]
    return out


def precision_bound(
    photons: ArrayLike,
    background: ArrayLike,
    sigma: ArrayLike,
    *,
    read_noise_e: float = 0.0,
    window: int = 15,
) -> Floats:
    """Cramer-Rao bound: least standard deviation of any unbiased estimate of y, x, N and b.

    The Fisher information is that of independent Poisson pixels, sum (dmu/dtheta)^2 / mu, for a
    pixel-integrated Gaussian at the centre of a pixel. Read noise is added to the variance mu
    (Smith et al. 2010, Nat. Methods 7:373; Huang et al. 2013, Nat. Methods 10:653).

    Parameters
    ----------
    photons, background, sigma : (n,) or one for all
        Photons of the spot; photons per pixel of the background; width in pixels.
    read_noise_e : float
        Standard deviation, electrons.
    window : int
        Side of the fitted square in pixels, an odd number.

    Returns
    -------
    array (n, 4)
        Bounds of y and x (pixels), N (photons) and b (photons per pixel).

    Raises
    ------
    SettingError
        The window is even, or photons, background or sigma are not above 0.
    """
    if window % 2 == 0:
        raise SettingError(f"a window of {window} pixels has no middle: give an odd number")
    counts, level, width = as_columns(photons, background, sigma)
    if min(part.min(initial=1.0) for part in (counts, level, width)) <= 0:
        raise SettingError("photons, background and sigma of a spot must be above 0")
    information = _information(counts, level, width, read_noise_e**2, window)
    bound: Floats = np.sqrt(np.diagonal(np.linalg.inv(information), axis1=1, axis2=2))
    return bound
