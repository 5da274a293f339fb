"""Images of single particles, in the five shapes of Fig. 1 of the LodeSTAR paper.

The image model is that of the figure: 64 x 64 pixels with one particle near the middle, in
fluorescence (every point of it emits, and the microscope blurs). The image is scaled to 0..1, 0.1
is added, and it is scaled again so that Poisson counts have the wanted signal-to-noise ratio:
lambda = (image + 0.1) (snr / 1.1)^2, which is a peak of snr^2 / 1.1 on a background of 0.083 snr^2.
This definition of the ratio differs from that of spots.py. There is no camera offset and no read
noise.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from livespt.stream.errors import SettingError

Floats = NDArray[np.float64]
KINDS = ("point", "sphere", "annulus", "ellipse", "crescent")
SIDE = 64  # pixels
POSITION_RANGE_PX = (27.0, 37.0)  # in y and in x
BLUR_PX = 1.5  # standard deviation of the point spread function
SPHERE_PX = 6.0  # radius
ANNULUS_PX = (5.0, 8.0)  # inner and outer radius
ELLIPSE_PX = (9.0, 4.5)  # half axes: of the ellipsoid, and of its two short ones
CRESCENT_PX = (8.0, 6.5, 4.0)  # radius, radius of the disc cut out of it, its distance
FLOOR, TOP = 0.1, 1.1  # of the scaled image
OVERSAMPLING = 8  # of the master images
HALF_MASTER_PX = 20  # from the middle of a master to its edges


class Image(NamedTuple):
    """Image of one particle, and its position."""

    counts: NDArray[np.uint16]  # (SIDE, SIDE)
    centre: Floats  # (2,) y, x; of a crescent, the centre of the disc that it is cut from
    axis: Floats  # (2,) unit vector y, x: long axis of an ellipse, symmetry axis of a crescent


@cache
def master(kind: str) -> Floats:
    """The blurred particle (n, n) with FINE samples per pixel, centred, with maximum 1.

    Raises
    ------
    SettingError : the shape is unknown.
    """
    line = (
        np.arange(-HALF_MASTER_PX * OVERSAMPLING, HALF_MASTER_PX * OVERSAMPLING + 1) / OVERSAMPLING
    )
    y, x = line[:, None], line[None, :]
    r2 = y * y + x * x
    if kind == "point":
        emitted = (r2 == 0).astype(float)
    elif kind == "sphere":  # as bright as it is thick
        emitted = np.sqrt(np.maximum(SPHERE_PX**2 - r2, 0))
    elif kind == "annulus":
        emitted = ((r2 >= ANNULUS_PX[0] ** 2) & (r2 <= ANNULUS_PX[1] ** 2)).astype(float)
    elif kind == "ellipse":
        emitted = np.sqrt(np.maximum(1 - (x / ELLIPSE_PX[0]) ** 2 - (y / ELLIPSE_PX[1]) ** 2, 0))
    elif kind == "crescent":
        outer, inner, apart = CRESCENT_PX
        emitted = ((r2 <= outer**2) & ((x - apart) ** 2 + y * y > inner**2)).astype(float)
    else:
        raise SettingError(f"unknown shape '{kind}': one of {', '.join(KINDS)}")
    # blur and pixel area, both separable, by their transfer functions
    frequency = np.fft.fftfreq(len(line), 1 / OVERSAMPLING)
    transfer = np.exp(-2 * (math.pi * BLUR_PX * frequency) ** 2) * np.sinc(frequency)
    spectrum = np.fft.fft2(emitted) * transfer[:, None] * transfer[None, :]
    blurred = np.fft.ifft2(spectrum).real
    return np.asarray(blurred / blurred.max())


def expected(kind: str, centre: Any, angle: float, side: int = SIDE) -> Floats:
    """The particle (side, side) without noise, 0..1, rotated by `angle` (radians, x towards y)."""
    image = master(kind)
    cos, sin = math.cos(angle), math.sin(angle)
    y = np.arange(side)[:, None] - float(centre[0])
    x = np.arange(side)[None, :] - float(centre[1])
    v = (cos * y - sin * x + HALF_MASTER_PX) * OVERSAMPLING
    u = (sin * y + cos * x + HALF_MASTER_PX) * OVERSAMPLING
    last = len(image) - 1.001
    inside = (u >= 0) & (u <= last) & (v >= 0) & (v <= last)
    v, u = np.clip(v, 0, last), np.clip(u, 0, last)
    i, j = v.astype(int), u.astype(int)
    f, g = v - i, u - j
    upper = image[i, j] * (1 - g) + image[i, j + 1] * g
    lower = image[i + 1, j] * (1 - g) + image[i + 1, j + 1] * g
    seen = np.where(inside, upper * (1 - f) + lower * f, 0.0)
    return np.asarray((seen - seen.min()) / (seen.max() - seen.min()))


def draw_particle(kind: str, snr: float, rng: Generator) -> Image:
    """Simulate a noisy image of a particle at a random position and angle.

    Raises
    ------
    SettingError : the shape is unknown, or the signal-to-noise ratio is not above 0.
    """
    if not snr > 0:
        raise SettingError(f"a signal-to-noise ratio must be above 0, not {snr:g}")
    centre = rng.uniform(*POSITION_RANGE_PX, 2)
    angle = rng.uniform(0, 2 * math.pi)
    rate = (expected(kind, centre, angle) + FLOOR) * (snr / TOP) ** 2
    axis = np.array([math.sin(angle), math.cos(angle)])
    return Image(rng.poisson(rate).astype(np.uint16), centre, axis)
