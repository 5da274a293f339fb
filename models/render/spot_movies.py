"""Simulated frames of point-like particles, for training and evaluating localizers."""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.models.optics import spots

Floats = NDArray[np.float64]
Image = NDArray[np.uint16]

SHAPE = (256, 256)
PUPIL_PER_SIGMA = 0.21  # sigma of the Gaussian closest to an Airy disc, in wavelength / NA
DEFOCUSED_SIDE_PX = 96  # of the square on which a defocused spot is drawn


class SpotCase(NamedTuple):
    """One kind of frame."""

    snr: float = 10.0  # A / sqrt(A + background), as in optics/spots.py
    sigma_px: float = 1.3
    background: float = 100.0  # photons per pixel
    n: int = 30  # number of spots, uniformly distributed
    apart_px: float = 10.0  # least distance between them; 0: none
    spread: float = 0.0  # standard deviation of the logarithm of the photons
    uneven: bool = False
    offset: float = 100.0  # counts
    gain_e_per_count: float = 1.0
    read_noise_e: float = 1.5
    shape: tuple[int, int] = SHAPE
    defocus: float = 0.0  # defocus of the spots, waves at the edge of the pupil
    rings: int = 0  # particles far out of focus, ten times as bright, which do not count as spots
    hot: int = 0  # hot pixels, the same in all frames of a movie
    cosmic: int = 0  # straight tracks of 1 to 8 pixels, different in every frame


def random_positions(
    rng: np.random.Generator, n: int, apart: float, shape: tuple[int, int] = SHAPE
) -> Floats:
    """Draw positions (n, 2) within the frame, pixels."""
    found = np.empty((0, 2))
    while len(found) < n:
        one = rng.uniform([0, 0], np.array(shape) - 1.0)
        if apart <= 0 or not len(found) or (np.hypot(*(found - one).T) >= apart).all():
            found = np.vstack([found, one])
    return found


def spot_frame(
    rng: np.random.Generator, case: SpotCase, at: Floats | None = None
) -> tuple[Image, Floats]:
    """Simulate a frame (y, x) of `case.shape`; return it and the positions of its spots (n, 2)."""
    points = random_positions(rng, case.n, case.apart_px, case.shape) if at is None else at
    photons = _photons(rng, case, len(points))
    background = spots.uneven(case.shape, case.background, rng) if case.uneven else case.background
    return _expose(rng, case, _expected(case, points, photons, background)), points


def movie(seed: tuple[int, ...], case: SpotCase, frames: int) -> tuple[list[Image], list[Floats]]:
    """Frames and positions of spots that diffuse with steps of 1 pixel per axis and frame.

    They start at random positions, `case.apart_px` apart, and are reflected at the edges.
    Background, rings, hot pixels and the brightness of every spot stay the same.
    """
    rng = np.random.default_rng((*seed, 0))
    background = spots.uneven(case.shape, case.background, rng) if case.uneven else case.background
    points = random_positions(rng, case.n, case.apart_px, case.shape)
    photons = _photons(rng, case, case.n)
    far = far_light(rng, case, np.full(case.shape, background, np.float32))
    hot = rng.integers([0, 0], case.shape, (case.hot, 2))
    excess = rng.uniform(200, 4000, case.hot)
    images, truth = [], []
    for k in range(frames):
        rng = np.random.default_rng((*seed, 1, k))
        seen = _expected(case, points, photons, far)
        _cosmic(rng, seen, case.cosmic)
        image = _expose(rng, case, seen)
        image[tuple(hot.T)] = np.minimum(image[tuple(hot.T)] + excess, 65535).astype(np.uint16)
        images.append(image)
        truth.append(points)
        points = _reflect(points + rng.normal(0, 1, points.shape), case.shape)
    return images, truth


def far_light(
    rng: np.random.Generator, case: SpotCase, background: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Add `case.rings` particles far out of focus to a background (y, x), photons, in place."""
    for at in rng.uniform([0, 0], np.array(case.shape) - 1.0, (case.rings, 2)):
        ring = _defocused(case.sigma_px, rng.uniform(0.9, 1.6), *at % 1)
        _add(background, ring, at, 10 * _nominal(case))
    return background


def training_frame(seed: int) -> Image:
    """The frame "simulated" of `livespt train localizer`: bright spots, one near (128, 128)."""
    rng = np.random.default_rng((seed, 1))
    case = SpotCase(snr=25.0, sigma_px=1.4)
    points = random_positions(rng, 12, 30.0)
    far = np.hypot(*(points - 128.0).T) > 40
    points = np.vstack([[127.8, 128.1], points[far]])
    return spot_frame(rng, case, points)[0]


def bound(case: SpotCase) -> float:
    """Cramer-Rao bound of an isolated spot in focus, pixels per axis."""
    return float(
        spots.precision_bound(
            _nominal(case), case.background, case.sigma_px, read_noise_e=case.read_noise_e
        )[0, 0]
    )


def _nominal(case: SpotCase) -> float:
    return float(spots.photons_for_snr(case.snr, case.background, case.sigma_px))


def _photons(rng: np.random.Generator, case: SpotCase, n: int) -> Floats:
    return np.asarray(_nominal(case) * np.exp(rng.normal(0, case.spread, n)))


def _expected(
    case: SpotCase, points: Floats, photons: Floats, background: Any
) -> NDArray[np.float32]:
    """Expected photons of every pixel."""
    if not case.defocus:
        return spots.render(
            points[:, 0], points[:, 1], photons, case.shape, case.sigma_px, background
        )
    image = np.full(case.shape, background, np.float32)
    for at, count in zip(points, photons, strict=True):
        _add(image, _defocused(case.sigma_px, case.defocus, *at % 1), at, count)
    return image


def _expose(rng: np.random.Generator, case: SpotCase, expected: NDArray[np.float32]) -> Image:
    camera = {k: getattr(case, k) for k in ("offset", "gain_e_per_count", "read_noise_e")}
    return spots.camera(expected, rng, **camera)


def _reflect(points: Floats, shape: tuple[int, int]) -> Floats:
    last = np.array(shape) - 1.0
    return np.asarray(last - np.abs(last - np.abs(points)))


@functools.cache
def _pupil(sigma_px: float) -> tuple[Floats, Floats]:
    """Frequencies of a line, cycles per pixel, and the square of the radius in the pupil."""
    f = np.fft.fftfreq(DEFOCUSED_SIDE_PX).astype(np.float64)
    edge = PUPIL_PER_SIGMA / sigma_px
    return f, (f[:, None] ** 2 + f**2) / edge**2


def _defocused(sigma_px: float, waves: float, dy: float, dx: float) -> Floats:
    """Share of the photons of a spot on each pixel of a square, with centre FIELD // 2 + (dy, dx).

    It is computed by scalar diffraction at a round pupil whose wavefront is `waves` times the
    square of the radius (Born & Wolf, Principles of Optics, 8.8). At 1 wave the centre is dark, and
    beyond there are rings. In focus it is the Airy pattern closest to the Gaussian of `sigma_px`.
    """
    f, square = _pupil(sigma_px)
    phase = (
        waves * square
        - f[:, None] * (DEFOCUSED_SIDE_PX // 2 + dy)
        - f * (DEFOCUSED_SIDE_PX // 2 + dx)
    )
    field = np.fft.ifft2(np.where(square <= 1, np.exp(2j * math.pi * phase), 0))
    share = np.abs(field) ** 2
    return np.asarray(share / share.sum())


def _add(image: NDArray[np.float32], patch: Floats, at: Floats, photons: float) -> None:
    """Add the part of a patch, with its middle at `at`, that lies within the image."""
    corner = np.floor(at).astype(int) - DEFOCUSED_SIDE_PX // 2
    low = np.maximum(corner, 0)
    high = np.minimum(corner + DEFOCUSED_SIDE_PX, image.shape)
    there = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    here = tuple(slice(a, b) for a, b in zip(low - corner, high - corner, strict=True))
    image[there] += (photons * patch[here]).astype(np.float32)


def _cosmic(rng: np.random.Generator, expected: NDArray[np.float32], n: int) -> None:
    """Add tracks of charged particles: one pixel wide, 300 to 3000 photons per pixel."""
    for _ in range(n):
        angle, length = rng.uniform(0, 2 * math.pi), rng.integers(1, 9)
        along = np.arange(length)[:, None] * [math.sin(angle), math.cos(angle)]
        pixels = np.unique(np.rint(rng.uniform([0, 0], expected.shape) + along).astype(int), axis=0)
        pixels = pixels[((pixels >= 0) & (pixels < expected.shape)).all(axis=1)]
        expected[tuple(pixels.T)] += rng.uniform(300, 3000)
