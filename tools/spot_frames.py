"""Spot frames: simulated frames of point-like particles, to make and to judge localizers."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.models import optics

SHAPE = (256, 256)


class Case(NamedTuple):
    """One kind of frame."""

    snr: float = 10.0  # A / sqrt(A + background), as in `optics`
    sigma_px: float = 1.3
    background: float = 100.0  # photons per pixel
    n: int = 30  # spots, uniform
    apart_px: float = 10.0  # least distance between them; 0: none
    spread: float = 0.0  # of the logarithm of the photons
    uneven: bool = False
    offset: float = 100.0  # counts
    gain_e_per_count: float = 1.0
    read_noise_e: float = 1.5


def places(rng: np.random.Generator, n: int, apart: float) -> NDArray[np.float64]:
    """(n, 2) positions, pixels, within the frame."""
    found = np.empty((0, 2))
    while len(found) < n:
        one = rng.uniform([0, 0], np.array(SHAPE) - 1.0)
        if apart <= 0 or not len(found) or (np.hypot(*(found - one).T) >= apart).all():
            found = np.vstack([found, one])
    return found


def spot_frame(
    rng: np.random.Generator, case: Case, at: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.uint16], NDArray[np.float64]]:
    """A frame (y, x) of SHAPE and where its spots are (n, 2), pixels."""
    points = places(rng, case.n, case.apart_px) if at is None else at
    photons = optics.photons_for_snr(case.snr, case.background, case.sigma_px)
    photons = photons * np.exp(rng.normal(0, case.spread, len(points)))
    light: Any = case.background
    if case.uneven:
        light = optics.uneven(SHAPE, case.background, rng)
    image = optics.render(points[:, 0], points[:, 1], photons, SHAPE, case.sigma_px, light)
    camera = {k: getattr(case, k) for k in ("offset", "gain_e_per_count", "read_noise_e")}
    return optics.camera(image, rng, **camera), points


def training_frame(seed: int) -> NDArray[np.uint16]:
    """The frame "simulated" of `livespt train localizer`: bright spots, one near (128, 128)."""
    rng = np.random.default_rng((seed, 1))
    case = Case(snr=25.0, sigma_px=1.4)
    points = places(rng, 12, 30.0)
    far = np.hypot(*(points - 128.0).T) > 40
    points = np.vstack([[127.8, 128.1], points[far]])
    return spot_frame(rng, case, points)[0]
