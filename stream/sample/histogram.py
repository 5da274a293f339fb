"""Histogram: how often positive numbers occurred, in bins of equal ratio; gives their median."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LEAST = 2.0**-10  # smaller numbers count as this
PER_OCTAVE, OCTAVES = 32, 20  # a bin is 2 % wide


class Histogram:
    """Counts of numbers, in memory that does not grow.

    Attributes
    ----------
    counts : (PER_OCTAVE * OCTAVES,)
    """

    def __init__(self) -> None:
        self.counts = np.zeros(PER_OCTAVE * OCTAVES, np.int64)

    def __len__(self) -> int:
        return int(self.counts.sum())

    def add(self, values: NDArray[Any]) -> None:
        """Count the finite ones of `values` (n,), which are not negative."""
        known = values[np.isfinite(values)].astype(np.float64)
        if len(known):
            bins = np.log2(np.maximum(known, LEAST) / LEAST) * PER_OCTAVE
            at = np.minimum(bins.astype(np.int64), len(self.counts) - 1)
            self.counts += np.bincount(at, minlength=len(self.counts))

    def median(self) -> float:
        """Return the median, to 2 %; NaN if nothing was counted."""
        total = len(self)
        if not total:
            return float("nan")
        bin_of_median = int(np.searchsorted(np.cumsum(self.counts), total / 2))
        return float(LEAST * 2 ** ((bin_of_median + 0.5) / PER_OCTAVE))
