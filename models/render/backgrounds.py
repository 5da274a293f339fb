"""Backgrounds of training frames as fluorescence has them, in which nothing is a particle.

Cells with soft and sharp borders, field stops, haze, filaments, light far out of focus, noise that
differs within a frame, that neighbours share, or that is below one grey level. Each is drawn at
random with numbers of its own; no evaluation uses these shapes.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from livespt.stream.compiled import njit

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
DARKEST = 0.02  # least background, times the level of the frame
LINE_STEPS = 96  # points by which a filament is drawn
SHARED = (0.05, 0.55)  # least and greatest correlation of the noise of neighbours along an axis


class Grain(NamedTuple):
    """How the noise of each frame of a batch differs from white noise."""

    share: Floats  # (n, 2) weight `a` of the neighbour before, along y and along x
    wide: Floats  # (n,) width of a Gaussian blur of the noise, pixels; 0: none
    louder: Floats  # (n,) noise of a filter as wide as a spot, over that in white noise


def white(n: int) -> Grain:
    """White noise in `n` frames."""
    return Grain(np.zeros((n, 2)), np.zeros(n), np.ones(n))


def _log_uniform(rng: Generator, low: float, high: float) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def draw_field(rng: Generator, level: float, side: int) -> Singles:
    """Expected photons (side, side) of one background around `level`."""
    field = np.full((side, side), level, np.float32)
    drawn = (_borders, _borders, _haze, _filaments, _fringes, _stop)[rng.integers(6)]
    drawn(rng, field, level)
    if rng.random() < 0.3:
        (_borders, _haze)[rng.integers(2)](rng, field, level)
    np.maximum(field, DARKEST * level, out=field)
    return field


def _borders(rng: Generator, field: Singles, level: float) -> None:
    """One to three bodies, round or with a straight border, brighter or darker than the rest."""
    side = len(field)
    for _ in range(rng.integers(1, 4)):
        radius = _log_uniform(rng, 8, 400)
        angle, gap = rng.uniform(0, 2 * math.pi), rng.uniform(-0.5, 0.5) * side
        middle = side / 2 + (radius + gap) * np.array([math.sin(angle), math.cos(angle)])
        blur = _log_uniform(rng, 0.1, 5)
        times = _log_uniform(rng, 0.1, 10) if rng.random() < 0.85 else -rng.uniform(0.3, 0.95)
        _disc(field, middle[0], middle[1], radius, blur, level * times, rng.uniform(0, 0.3),
              int(rng.integers(2, 6)), rng.uniform(0, 6.3))  # fmt: skip


@njit()
def _disc(
    field: Singles, y: float, x: float, radius: float, blur: float, height: float,
    wave: float, fold: int, phase: float,
) -> None:  # fmt: skip
    for i in range(field.shape[0]):
        for j in range(field.shape[1]):
            r = math.hypot(i - y, j - x)
            edge = radius
            if wave > 0.0 and radius < 100.0:
                edge *= 1.0 + wave * math.sin(fold * math.atan2(i - y, j - x) + phase)
            z = (r - edge) / (1.41421356 * blur)
            if z < 4.0:
                field[i, j] += height * (1.0 if z < -4.0 else 0.5 * math.erfc(z))


def _haze(rng: Generator, field: Singles, level: float) -> None:
    """Broad blobs of light."""
    side = len(field)
    line = np.arange(side)
    for _ in range(rng.integers(1, 5)):
        at, width = rng.uniform(-0.3, 1.3, 2) * side, _log_uniform(rng, 4.5, 40)
        arms = np.exp(-((line - at[:, None]) ** 2) / (2 * width**2))
        times = _log_uniform(rng, 0.1, 6) * min(1.0, (width / 8) ** 2)
        field += (level * times * np.outer(arms[0], arms[1])).astype(np.float32)


def _stop(rng: Generator, field: Singles, level: float) -> None:
    """The dark rim of a field stop, or steep vignetting."""
    side = len(field)
    line = np.arange(side)
    at = rng.uniform(-1.5, 2.5, 2) * side
    r = np.hypot((line - at[0])[:, None], line - at[1])
    low, high = float(r.min()), float(r.max())
    edge = rng.uniform(low, high)
    blur = _log_uniform(rng, 0.2, 3) if rng.random() < 0.5 else _log_uniform(rng, 5, 60)
    field *= (1 / (1 + np.exp(np.clip(1.7 * (r - edge) / blur, -30, 30)))).astype(np.float32)


def _filaments(rng: Generator, field: Singles, level: float) -> None:
    """Curved lines, some of which end within the frame."""
    side = len(field)
    unit = math.sqrt(level + 2)
    for _ in range(rng.integers(1, 5)):
        t = np.linspace(0, _log_uniform(rng, 0.3, 2.5) * side, LINE_STEPS)
        bend = rng.normal(0, 1 / 40) + rng.normal(0, 1 / 40) * t / side
        angle = rng.uniform(0, 2 * math.pi) + np.cumsum(bend) * (t[1] - t[0])
        step = t[1] - t[0]
        y = rng.uniform(-0.2, 1.2) * side + np.cumsum(np.sin(angle)) * step
        x = rng.uniform(-0.2, 1.2) * side + np.cumsum(np.cos(angle)) * step
        width, height = _log_uniform(rng, 0.8, 3), unit * _log_uniform(rng, 0.5, 40)
        _line(field, y, x, width, height)


@njit()
def _line(field: Singles, y: Floats, x: Floats, width: float, height: float) -> None:
    """Add a Gaussian profile across a chain of points."""
    side = field.shape[0]
    reach = 4.0 * width
    near = np.full(field.shape, np.inf)
    for k in range(len(y) - 1):
        top, down = min(y[k], y[k + 1]) - reach, max(y[k], y[k + 1]) + reach
        left, right = min(x[k], x[k + 1]) - reach, max(x[k], x[k + 1]) + reach
        vy, vx = y[k + 1] - y[k], x[k + 1] - x[k]
        long = max(vy * vy + vx * vx, 1e-12)
        for i in range(max(0, math.ceil(top)), min(side - 1, math.floor(down)) + 1):
            for j in range(max(0, math.ceil(left)), min(side - 1, math.floor(right)) + 1):
                t = min(max(((i - y[k]) * vy + (j - x[k]) * vx) / long, 0.0), 1.0)
                square = (i - y[k] - t * vy) ** 2 + (j - x[k] - t * vx) ** 2
                near[i, j] = min(near[i, j], square)
    for i in range(side):
        for j in range(side):
            if near[i, j] < reach * reach:
                field[i, j] += height * math.exp(-near[i, j] / (2.0 * width * width))


def _fringes(rng: Generator, field: Singles, level: float) -> None:
    """Particles far out of focus: discs of concentric fringes, bright or dim in the middle."""
    side = len(field)
    line = np.arange(side)
    unit = math.sqrt(level + 2)
    for _ in range(rng.integers(1, 5)):
        at, radius = rng.uniform(-0.1, 1.1, 2) * side, _log_uniform(rng, 5, 18)
        r = np.hypot((line - at[0])[:, None], line - at[1]) / radius
        waves = rng.uniform(0.5, 3.0)
        fringe = 0.5 + 0.5 * np.cos(2 * math.pi * waves * r**2 + rng.uniform(0, 2 * math.pi))
        if rng.random() < 0.4:  # one ring
            fringe = np.exp(-((r - 0.8) ** 2) / (2 * rng.uniform(0.08, 0.25) ** 2))
        disc = 1 / (1 + np.exp(np.clip((r - 1) / rng.uniform(0.02, 0.15), -30, 30)))
        field += (unit * _log_uniform(rng, 1, 40) * fringe * disc).astype(np.float32)


def draw_rough(rng: Generator, side: int, unit: float) -> Singles:
    """Read noise (side, side), electrons, that is greater beyond a straight border."""
    angle, gap = rng.uniform(0, 2 * math.pi), rng.uniform(-0.4, 0.4) * side
    line = np.arange(side) - side / 2
    across = math.sin(angle) * line[:, None] + math.cos(angle) * line
    return np.where(across > gap, unit * _log_uniform(rng, 0.5, 4), 0).astype(np.float32)


def draw_grain(rng: Generator, n: int, chosen: NDArray[np.bool_], sigma: Floats) -> Grain:
    """Correlations of the noise of `n` frames; white noise where not `chosen`.

    `sigma` (n,) is the width of the spots, pixels.
    """
    wanted = rng.uniform(*SHARED, (n, 2)) * (rng.random((n, 2)) < 0.7) * chosen[:, None]
    wanted = np.minimum(wanted, 0.5 - 1e-6)
    share = np.where(
        wanted > 0, (1 - np.sqrt(1 - 4 * wanted**2)) / (2 * np.maximum(wanted, 1e-9)), 0.0
    )
    wide = np.where(chosen & (rng.random(n) < 0.4), rng.uniform(0.3, 1.0, n), 0.0)
    share[wide > 0] = 0.0
    near = np.exp(-1 / (4 * sigma**2))  # overlap of a spot with itself, moved by one pixel
    along = 1 + 2 * share / (1 + share**2) * near[:, None]
    power = along.prod(axis=1) * _blur_power(wide, sigma)
    return Grain(share, wide, np.sqrt(power))


def _blur_power(wide: Floats, sigma: Floats) -> Floats:
    """Variance of the filter's answer to blurred noise of variance 1, over that to white noise."""
    out = np.ones(len(wide))
    lags = np.arange(-8, 9)
    for k in np.flatnonzero(wide > 0):
        kernel = np.exp(-(np.arange(-4, 5) ** 2) / (2 * wide[k] ** 2))
        own = np.convolve(kernel, kernel)  # lags -8 to 8
        out[k] = ((own / own[8]) * np.exp(-(lags**2) / (4 * sigma[k] ** 2))).sum() ** 2
    return out


@njit()
def _blend(grain: Singles, share: Floats, kernel: Floats) -> None:
    n, side = grain.shape[0], grain.shape[1]
    reach = kernel.shape[1] // 2
    row = np.empty(side, np.float32)
    for k in range(n):
        ay, ax = share[k, 0], share[k, 1]
        blurred = kernel[k, reach] < 1.0
        if ay == 0.0 and ax == 0.0 and not blurred:
            continue
        for axis in range(2):
            a = ay if axis == 0 else ax
            norm = 1.0 / math.sqrt(1.0 + a * a)
            if a == 0.0 and not blurred:
                continue
            for i in range(side):
                for j in range(side):
                    row[j] = grain[k, j, i] if axis == 0 else grain[k, i, j]
                for j in range(side):
                    if blurred:
                        value = 0.0
                        for m in range(-reach, reach + 1):
                            value += kernel[k, m + reach] * row[(j + m) % side]
                    else:
                        value = norm * (row[j] + a * row[j - 1])
                    if axis == 0:
                        grain[k, j, i] = value
                    else:
                        grain[k, i, j] = value


def correlate(grain: Singles, how: Grain) -> None:
    """Correlate white noise (n, side, side) in place; its variance stays 1."""
    line = np.arange(-4, 5)
    kernel = np.exp(-(line**2) / (2 * np.maximum(how.wide, 1e-2)[:, None] ** 2))
    kernel /= np.sqrt((kernel**2).sum(axis=1, keepdims=True))
    _blend(grain, how.share, kernel)
