"""Simulated fields as microscopes record them: cell edges, haze, masks, other noise, filaments.

Each scene draws a background of its own kind, a camera and, where it has one, a processing of the
recorded image. No shape of it is used in training (backgrounds.py of models/render has others).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from livespt.models.optics import spots as optics
from livespt.models.render import spot_movies

SIDE = 256  # pixels of a frame
SIGMA_PX = 1.3
LEVEL = 100.0  # photons of the background where nothing is added
READ_E, OFFSET = 1.5, 100.0
SPOTS, APART_PX = 40, 10.0
MARGIN_PX = 6.0  # of spots from pixels that were not measured and from the edge of the frame
LOW_GAIN_E = 25.0  # electrons a count: the noise is then 0.4 counts

Floats = NDArray[np.float64]


class Field(NamedTuple):
    """A background and what is done to an exposure of it."""

    expected: NDArray[np.float32]  # (y, x) photons
    read_e: Any = READ_E  # read noise, one value or (y, x)
    absent: NDArray[np.bool_] | None = None  # (y, x) pixels that were not measured
    fill: float = 0.0  # what stands in them
    kernel: NDArray[np.float64] | None = None  # correlates the noise of neighbours
    gain_e: float = 1.0  # electrons a count
    dtype: str = "uint16"


class SceneFrame(NamedTuple):
    """A frame, its spots, and the area in which detections count."""

    image: NDArray[Any]
    points: Floats  # (n, 2) y, x
    counted: NDArray[np.bool_]  # (y, x)


def _grid() -> tuple[Floats, Floats]:
    line = np.arange(SIDE, dtype=np.float64)
    return line[:, None], line[None, :]


def _inside(distance: Floats, blur: float) -> Floats:
    """1 inside of a border, 0 outside, blurred by a Gaussian; `distance` is positive outside."""
    z = distance / (math.sqrt(2.0) * max(blur, 0.05))
    return np.asarray(0.5 * np.vectorize(math.erfc)(np.clip(z, -6, 6)))


def _bean(rng: Generator) -> Floats:
    """Approximate distance (pixels) to the border of a bean-like cell, negative inside."""
    y, x = _grid()
    at = rng.uniform(0.25, 0.75, 2) * SIDE
    dy, dx = y - at[0], x - at[1]
    angle = np.arctan2(dy, dx) + rng.uniform(0, 2 * math.pi)
    radius = rng.uniform(45, 90) * (
        1 + 0.25 * np.cos(angle) + rng.uniform(0, 0.12) * np.cos(3 * angle + rng.uniform(0, 6))
    )
    return np.asarray(np.hypot(dy, dx) - radius)


def _cells(rng: Generator, low: float, high: float) -> Field:
    field = np.full((SIDE, SIDE), LEVEL)
    for _ in range(3):
        blur = math.exp(rng.uniform(math.log(low), math.log(high)))
        field += LEVEL * math.exp(rng.uniform(0, math.log(6))) * _inside(_bean(rng), blur)
    return Field(field.astype(np.float32))


def _haze(rng: Generator) -> Field:
    y, x = _grid()
    field = np.full((SIDE, SIDE), LEVEL)
    for _ in range(8):
        at, width = rng.uniform(0, SIDE, 2), rng.uniform(8, 40)
        square = (y - at[0]) ** 2 + (x - at[1]) ** 2
        field += LEVEL * rng.uniform(0.5, 5) / (1 + square / width**2) ** 1.5
    return Field(field.astype(np.float32))


def _stop(rng: Generator) -> Field:
    y, x = _grid()
    at = SIDE / 2 + rng.uniform(-20, 20, 2)
    distance = np.hypot(y - at[0], x - at[1]) - rng.uniform(85, 115)
    field = LEVEL * (0.03 + _inside(distance, rng.uniform(0.3, 1.5)))
    return Field(field.astype(np.float32))


def _vignetting(rng: Generator) -> Field:
    y, x = _grid()
    at = SIDE / 2 + rng.uniform(-30, 30, 2)
    square = ((y - at[0]) ** 2 + (x - at[1]) ** 2) / (rng.uniform(0.7, 1.0) * SIDE) ** 2
    return Field((4 * LEVEL / (1 + square) ** 4).astype(np.float32))


def _border(rng: Generator, fill: float, dtype: str = "uint16") -> Field:
    absent = np.zeros((SIDE, SIDE), bool)
    down, right = rng.integers(2, 24, 2)
    absent[: int(down)] = True
    absent[:, SIDE - int(right) :] = True
    expected = np.full((SIDE, SIDE), LEVEL, np.float32)
    return Field(expected, absent=absent, fill=fill, dtype=dtype)


def _mask(rng: Generator) -> Field:
    absent = np.minimum.reduce([_bean(rng) for _ in range(3)]) > 0
    return Field(np.full((SIDE, SIDE), 2 * LEVEL, np.float32), absent=absent)


def _halves(rng: Generator) -> Field:
    read = np.full((SIDE, SIDE), READ_E)
    read[:, SIDE // 2 + int(rng.integers(-40, 40)) :] = rng.uniform(15, 25)
    return Field(np.full((SIDE, SIDE), LEVEL, np.float32), read_e=read)


def _averaged(rng: Generator) -> Field:
    """Neighbours in y averaged: correlation 0.5 along one axis."""
    kernel = np.array([[0.5], [0.5]])
    return Field(np.full((SIDE, SIDE), LEVEL, np.float32), kernel=kernel)


def _blurred(rng: Generator) -> Field:
    line = np.exp(-(np.arange(-3, 4) ** 2) / (2 * 0.6**2))
    return Field(np.full((SIDE, SIDE), LEVEL, np.float32), kernel=np.outer(line, line))


def _correlated(share: float) -> Callable[[Generator], Field]:
    """Noise with a given correlation along y, from the filter (1, a): a / (1 + a^2)."""
    a = (1 - math.sqrt(max(1 - 4 * share**2, 0.0))) / (2 * share) if share else 0.0

    def draw(rng: Generator) -> Field:
        kernel = np.array([[1.0], [a]])
        return Field(np.full((SIDE, SIDE), LEVEL, np.float32), kernel=kernel)

    return draw


def _low_gain(rng: Generator) -> Field:
    expected = np.full((SIDE, SIDE), LEVEL, np.float32)
    return Field(expected, gain_e=LOW_GAIN_E, dtype="uint8")


def _filaments(rng: Generator) -> Field:
    """Curved lines with a width like that of spots."""
    y, x = _grid()
    field = np.full((SIDE, SIDE), LEVEL)
    for _ in range(5):
        angle, bend = rng.uniform(0, math.pi), rng.uniform(-0.002, 0.002)
        at = rng.uniform(0.1, 0.9, 2) * SIDE
        along = (y - at[0]) * math.sin(angle) + (x - at[1]) * math.cos(angle)
        across = (x - at[1]) * math.sin(angle) - (y - at[0]) * math.cos(angle)
        width = rng.uniform(1.1, 2.0)
        field += (
            LEVEL
            * rng.uniform(0.5, 3)
            * np.exp(-((across - bend * along**2) ** 2) / (2 * width**2))
        )
    return Field(field.astype(np.float32))


def _rings(rng: Generator) -> Field:
    """Particles far out of focus, by scalar diffraction."""
    case = spot_movies.SpotCase(n=0, snr=10, rings=12, shape=(SIDE, SIDE))
    return Field(spot_movies.far_light(rng, case, np.full((SIDE, SIDE), LEVEL, np.float32)))


SCENES: dict[str, Callable[[Generator], Field]] = {
    "flat": lambda rng: Field(np.full((SIDE, SIDE), LEVEL, np.float32)),
    "cells, soft edges": lambda rng: _cells(rng, 1.0, 4.0),
    "cells, sharp edges": lambda rng: _cells(rng, 0.1, 0.7),
    "haze": _haze,
    "field stop": _stop,
    "vignetting": _vignetting,
    "zero border": lambda rng: _border(rng, 0.0),
    "constant border": lambda rng: _border(rng, 150.0),
    "NaN border": lambda rng: _border(rng, math.nan, "float32"),
    "mask": _mask,
    "noise of two halves": _halves,
    "8 bits, low gain": _low_gain,
    "filaments": _filaments,
    "rings": _rings,
}
NOISES: dict[str, Callable[[Generator], Field]] = {
    **{f"correlation {share:g}": _correlated(share) for share in (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)},
    "neighbours averaged": _averaged,
    "Gaussian blur 0.6 px": _blurred,
}


def scene_frame(rng: Generator, field: Field, snr: float, n: int = SPOTS) -> SceneFrame:
    """Draw one frame of a field with `n` spots of one *local* signal-to-noise ratio.

    It is A / sqrt(b + read^2) with the background b at the spot, so that it is as visible as one
    of this ratio on a flat field. In correlated noise, a spot has the ratio to the noise of a
    matched filter that it has in white noise.
    """
    expected = field.expected.astype(np.float64)
    counted = np.ones(expected.shape, bool)
    if field.absent is not None:
        counted &= ~_grown(field.absent, MARGIN_PX)
    read = np.broadcast_to(field.read_e, expected.shape)
    points = _places(rng, counted, n)
    at = tuple(np.rint(points).astype(int).T)
    level = expected[at] + read[at] ** 2
    photons = 2 * math.pi * SIGMA_PX**2 * snr * np.sqrt(level)
    photons = photons * (1.0 if field.kernel is None else _louder(field.kernel))
    light = optics.render(points[:, 0], points[:, 1], photons, expected.shape, SIGMA_PX, 0.0)
    if field.kernel is None:
        electrons = rng.poisson(expected + light) + read * rng.standard_normal(expected.shape)
    else:
        electrons = expected + light + math.sqrt(LEVEL + READ_E**2) * _noise(rng, field.kernel)
    counts = electrons / field.gain_e + (OFFSET if field.dtype == "uint16" else 10.0)
    if field.absent is not None:
        counts = np.where(field.absent, field.fill, counts)
    if field.dtype == "float32":
        return SceneFrame(counts.astype(np.float32), points, counted)
    top = np.iinfo(field.dtype).max
    return SceneFrame(np.clip(np.round(counts), 0, top).astype(field.dtype), points, counted)


def _noise(rng: Generator, kernel: Floats) -> Floats:
    """Noise of variance 1 that a kernel correlates."""
    white = rng.standard_normal((SIDE, SIDE))
    spectrum = np.fft.rfft2(white) * np.fft.rfft2(
        kernel / math.sqrt((kernel**2).sum()), white.shape
    )
    return np.fft.irfft2(spectrum, white.shape)


def _louder(kernel: Floats) -> float:
    """Noise of a filter matched to a spot in correlated noise, over that in white noise."""
    spot = np.zeros((32, 32))
    line = np.exp(-((np.arange(32) - 16.0) ** 2) / (2 * SIGMA_PX**2))
    spot = np.outer(line, line)
    seen = np.fft.irfft2(np.fft.rfft2(spot) * np.fft.rfft2(kernel, spot.shape), spot.shape)
    return math.sqrt((seen**2).sum() / (kernel**2).sum() / (spot**2).sum())


def _grown(mask: NDArray[np.bool_], reach: float) -> NDArray[np.bool_]:
    """A mask and every pixel within a square of `reach` around it."""
    n = int(reach)
    out = mask.copy()
    for axis in (0, 1):
        one = out.copy()
        for step in range(1, n + 1):
            for sign in (-1, 1):
                moved = np.roll(one, sign * step, axis)
                edge: list[slice] = [slice(None), slice(None)]
                edge[axis] = slice(0, step) if sign > 0 else slice(-step, None)
                moved[tuple(edge)] = False
                out |= moved
    return out


def _places(rng: Generator, counted: NDArray[np.bool_], n: int) -> Floats:
    found = np.empty((0, 2))
    while len(found) < n:
        one = rng.uniform(MARGIN_PX, SIDE - 1 - MARGIN_PX, 2)
        free = not len(found) or np.hypot(*(found - one).T).min() >= APART_PX
        if free and counted[tuple(np.rint(one).astype(int))]:
            found = np.vstack([found, one])
    return found
