"""Inputs of a benchmark: frames and positions, made once from a seed, read by every build.

Nothing of livespt makes them, so that two builds cannot differ in them. Particles walk at random
and are reflected at the edges; jobs run through the movie to its end and back, so that tracks stay
whole however long a run is.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from livespt.tools.bench.rows import Row

SEED = 1
STEP_PX = 1.0  # standard deviation, per axis and frame
SIGMA_PX, PEAK, BACKGROUND, OFFSET = 1.3, 162.0, 100.0, 100  # SNR 10; photons = counts
REACH = 5  # pixels around a spot that it lights
MOST_BYTES = 200 << 20  # of images
FRAMES = 100
MISSED = 0.02  # share of the points that a linker does not get


def make(row: Row, path: Path) -> None:
    """Write what the jobs of a row read: images (frames, y, x) or positions (frames, n, 2) y, x."""
    rng = np.random.default_rng((SEED, row.side, row.n))
    if row.needs_images:
        frames = min(FRAMES, MOST_BYTES // (2 * row.side**2))
        write_movie(rng, walk(rng, row.n, row.side, frames), row.side, path)
        return
    points = walk(rng, row.n, row.side, FRAMES)
    if row.job == "linker":
        points[rng.random(points.shape[:2]) < MISSED] = np.nan
    np.save(path, points)


def walk(rng: np.random.Generator, n: int, side: int, frames: int) -> NDArray[np.float64]:
    """Positions (frames, n, 2) y, x of particles in a square of `side` pixels."""
    last = side - 1.0
    points = np.empty((frames, n, 2))
    points[0] = rng.uniform(0, last, (n, 2))
    for before, after in pairwise(points):
        after[:] = last - np.abs(last - np.abs(before + rng.normal(0, STEP_PX, before.shape)))
    return points


def write_movie(
    rng: np.random.Generator, points: NDArray[np.float64], side: int, path: Path
) -> None:
    """Write images (frames, side, side), uint16, of Gaussian spots with the noise of photons."""
    shape = (len(points), side, side)
    movie = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint16, shape=shape)
    for image, at in zip(movie, points, strict=True):
        image[:] = rng.poisson(light(at, side)) + OFFSET
    movie.flush()


def light(at: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """Expected photons (side, side) of spots at (n, 2) y, x."""
    image = np.full((side + 2 * REACH, side + 2 * REACH), BACKGROUND)
    corner = np.rint(at).astype(int)
    around = np.arange(-REACH, REACH + 1)
    pixels = corner[:, :, None] + around  # (n, 2, 2 * REACH + 1)
    profile = np.exp(-((pixels - at[:, :, None]) ** 2) / (2 * SIGMA_PX**2))
    y, x = pixels[:, 0, :, None] + REACH, pixels[:, 1, None, :] + REACH
    np.add.at(image, (y, x), PEAK * profile[:, 0, :, None] * profile[:, 1, None, :])
    return image[REACH:-REACH, REACH:-REACH]
