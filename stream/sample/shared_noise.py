"""Noise that neighbouring pixels share, as in movies that were registered, rescaled or denoised."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

STEP = 3  # distance of the pixels that are looked at
ROOT_MEAN = (2**0.25 * math.gamma(0.75) / math.sqrt(math.pi)) ** 2  # of |z|, z normal
FRAMES = 20  # from which the correlation is measured


def neighbour_correlation(image: NDArray[Any]) -> float:
    """Correlation of the noise of next neighbours in an image ([z, ]y, x); NaN: not measurable.

    It is the greater one of both axes. Second differences of white noise have 6 times the variance
    of a pixel, and 6 - 8 r with a correlation r of neighbours. The variance of a pixel comes from
    a mask of pixels two apart. Both ignore slopes, and the brighter half of the image is left out.
    """
    plane = image[len(image) // 2] if image.ndim == 3 else image
    if min(plane.shape) < 3 * STEP:
        return math.nan
    parts = {
        (i, j): plane[i : plane.shape[0] - 2 + i : STEP, j : plane.shape[1] - 2 + j : STEP].astype(
            np.float32
        )
        for i in range(3)
        for j in range(3)
    }
    with np.errstate(invalid="ignore", over="ignore"):  # pixels that are NaN, infinite or huge
        level = np.sum(list(parts.values()), axis=0)
        cross = parts[0, 0] - parts[0, 2] - parts[2, 0] + parts[2, 2]
        down = parts[0, 1] - 2 * parts[1, 1] + parts[2, 1]
        across = parts[1, 0] - 2 * parts[1, 1] + parts[1, 2]
    known = level[np.isfinite(level)]
    if not len(known):
        return math.nan
    dim = level <= np.median(known)  # bright pixels are of particles; the masks ignore the level
    variance = _variance(cross[dim]) / 4
    if not variance > 0:
        return math.nan
    return max((6 - _variance(one[dim]) / variance) / 8 for one in (down, across))


def _variance(values: NDArray[np.float32]) -> float:
    """Variance of noise, robust against a share of other values."""
    finite = np.abs(values[np.isfinite(values)])
    return float(np.sqrt(finite).mean(dtype=np.float64) ** 2 / ROOT_MEAN) ** 2 if len(finite) else 0


class SharedNoise:
    """Correlation of the noise of next neighbours, from the first frames.

    Attributes
    ----------
    seen : (FRAMES,)
        Correlation in each of these frames; NaN: not known yet.
    """

    def __init__(self) -> None:
        self.seen = np.full(FRAMES, np.nan)
        self.count = 0

    def add(self, image: NDArray[Any]) -> None:
        """Take a frame ([z, ]y, x)."""
        if self.count < FRAMES:
            self.seen[self.count] = neighbour_correlation(image)
            self.count += 1

    @property
    def correlation(self) -> float:
        """Median of the frames; NaN: not measurable."""
        known = self.seen[np.isfinite(self.seen)]
        return float(np.median(known)) if len(known) else math.nan
