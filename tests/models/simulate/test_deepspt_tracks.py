"""The DeepSPT set beside a slow simulator that was written apart, from the paper's recipe.

The judge shares no code with what it judges: NumPy alone, one step after another.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pytest
from numpy.random import Generator
from numpy.typing import NDArray

from livespt.models.simulate.tracks import simulate_tracks

Floats = NDArray[np.float64]
LENGTHS = (5, 60)


class Known(NamedTuple):
    point: Floats  # (n, ndim)
    label: NDArray[np.int8]  # (n,)
    diffusion: float


def turn(rng: Generator, ndim: int) -> Floats:
    """A rotation by whole degrees."""
    matrix = np.eye(ndim)
    for axis in range(1 if ndim == 2 else 3):
        angle = math.radians(rng.integers(180))
        part = np.eye(ndim)
        pair = [(0, 1), (0, 2), (1, 2)][axis]
        part[np.ix_(pair, pair)] = [
            [math.cos(angle), -math.sin(angle)],
            [math.sin(angle), math.cos(angle)],
        ]
        matrix = matrix @ part
    return matrix


def confined(rng: Generator, n: int, d: float, half: Floats) -> Floats:
    at, path = np.zeros(len(half)), []
    for _ in range(n):
        for step in rng.normal(0, math.sqrt(2 * d / 100), (100, len(half))):
            if np.sum(((at + step) / half) ** 2) <= 1:
                at = at + step
        path.append(at)
    return np.array(path) @ turn(rng, len(half)).T


def subdiffusive(rng: Generator, n: int, ndim: int, d: float, alpha: float) -> Floats:
    t = np.arange(1.0, n + 1)
    covariance = t[:, None] ** alpha + t**alpha - np.abs(t[:, None] - t) ** alpha  # fBm, times 2
    root = np.linalg.cholesky(covariance / 2 + 1e-9 * np.eye(n))
    path: Floats = math.sqrt(2 * d) * root @ rng.standard_normal((n, ndim))
    return path


def drift(rng: Generator, d: float, ndim: int) -> Floats:
    v = math.sqrt(4 * rng.uniform(5, 25) * d / rng.integers(5, 600))
    if ndim == 2:
        angle = rng.uniform(0, 2 * math.pi)
        return v * np.array([math.sin(angle), math.cos(angle)])
    theta, phi = rng.uniform(0, math.pi), rng.uniform(0, 2 * math.pi)
    x, y = math.sin(phi) * math.cos(theta), math.sin(phi) * math.sin(theta)
    return v * np.array([math.cos(phi), y, x])


def plan(rng: Generator) -> tuple[list[int], list[int]]:
    """Behaviours, and steps of each."""
    n = int(rng.integers(LENGTHS[0], LENGTHS[1] + 1))
    if rng.random() < 0.2:
        return [int(rng.integers(4))], [n]
    k, kept = int(rng.integers(2, 5)), [0]
    while len(kept) < 2:
        drawn = rng.integers(0, 4, k)
        kept = [int(a) for a, before in zip(drawn, np.roll(drawn, 1), strict=True) if a != before]
    if n < 5 * len(kept):
        n = int(rng.integers(5 * len(kept), LENGTHS[1] + 2))
    steps: list[int] = []
    while len(steps) < len(kept) - 1:
        most = n - sum(steps) - 5 * (len(kept) - 1 - len(steps))
        steps.append(int(rng.integers(5, most + 1)))
    return kept, [*steps, n - sum(steps)]


def slow(rng: Generator, ndim: int) -> Known:
    d = math.exp(rng.uniform(math.log(1e-4), math.log(0.5)))
    quality, alpha = rng.uniform(1, 16), rng.uniform(0, 0.7)
    half = rng.uniform(0.05, 0.25, ndim) / 2
    points, labels, at = [], [], np.zeros(ndim)
    for k, (motion, n) in enumerate(zip(*plan(rng), strict=True)):
        n = 6 if k and n == 5 else n
        v = drift(rng, d, ndim) if motion == 1 else np.zeros(ndim)
        if motion == 2:
            path = at + confined(rng, n, d, half)
        elif motion == 3:
            path = at + subdiffusive(rng, n, ndim, d, alpha)
        else:
            path = at + np.cumsum(v + rng.normal(0, math.sqrt(2 * d), (n, ndim)), axis=0)
        if k == 0:
            path = np.vstack([at, path])
        path = path + rng.normal(0, math.sqrt(d + v @ v) / quality, path.shape)
        at = path[-1]
        points.append(path)
        labels.append(np.full(len(path), motion, np.int8))
    return Known(np.vstack(points), np.concatenate(labels), d)


def statistics(tracks: list[Known]) -> dict[str, list[float]]:
    """What two simulators that do the same have the same means of."""
    out: dict[str, list[float]] = {}

    def add(name: str, *value: float) -> None:
        out.setdefault(name, []).extend(value)

    for point, label, d in tracks:
        switch = np.flatnonzero(np.diff(label)) + 1
        add("points", len(label))
        add("log D", math.log(d))
        add("one behaviour", float(len(switch) == 0))
        add("behaviours", 1.0 + len(switch))
        for motion in range(4):
            add(f"share of {motion}", float(np.mean(label == motion)))
        add("length of first", float(switch[0]) if len(switch) else math.nan)
        for b in switch:  # the new segment does not know the error of its starting point
            before, after = point[b - 1] - point[b - 2], point[b] - point[b - 1]
            add("seam", float(before @ after) / d)
        for part in np.split(np.arange(len(label)), switch):
            motion, segment = int(label[part[0]]), point[part]
            for lag in (1, 4):
                step = segment[lag:] - segment[:-lag]
                add(f"MSD of {motion} at {lag}", float(np.mean(np.sum(step**2, 1))) / d)
            if motion == 1:
                along = np.abs(segment[-1] - segment[0]) / (len(part) - 1) / math.sqrt(d)
                for axis, value in enumerate(along):
                    add(f"drift along {axis}", float(value))
    return out


@pytest.mark.parametrize("ndim", [2, 3])
def test_it_does_as_a_slow_simulator_does(ndim: int) -> None:
    rng = np.random.default_rng(1)
    expected = statistics([slow(rng, ndim) for _ in range(400)])
    made = simulate_tracks(3000, 11, ndim=ndim, lengths=LENGTHS)
    cut = made.offset[1:-1]
    columns = (made.point[:, 3 - ndim :], made.label)
    parts = [np.split(column, cut) for column in columns]
    diffusion = made.diffusion[made.offset[:-1]]
    found = statistics([Known(*row) for row in zip(*parts, diffusion, strict=True)])
    assert found.keys() == expected.keys()
    for name, values in found.items():
        a, b = np.array(values), np.array(expected[name])
        a, b = a[np.isfinite(a)], b[np.isfinite(b)]
        error = math.sqrt(a.var() / len(a) + b.var() / len(b))
        assert abs(a.mean() - b.mean()) < 4 * error, (name, a.mean(), b.mean(), error)
