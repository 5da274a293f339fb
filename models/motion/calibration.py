"""Calibration of a network by a temperature, and measures of calibration.

The scores are divided by the temperature that minimizes the negative log-likelihood of tracks held
out from training (Guo et al., On calibration of modern neural networks, ICML 2017).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

GOLDEN = (5**0.5 - 1) / 2


def log_softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithms of the probabilities (n, classes) for scores of the same shape."""
    shifted = scores - scores.max(axis=1, keepdims=True)
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result


def nll(scores: NDArray[np.float64], label: NDArray[np.int64], temperature: float = 1.0) -> float:
    """Mean negative log-likelihood of `label` (n,) under scores (n, classes)."""
    picked = log_softmax(scores / temperature)[np.arange(len(label)), label]
    return float(-picked.mean())


def fit_temperature(scores: NDArray[np.float64], label: NDArray[np.int64]) -> float:
    """Temperature from 0.1 to 10 with the least `nll`, by golden-section search of its log."""
    low, high = np.log(0.1), np.log(10.0)
    for _ in range(30):
        a, b = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
        if nll(scores, label, np.exp(a)) < nll(scores, label, np.exp(b)):
            high = b
        else:
            low = a
    return float(np.exp((low + high) / 2))


def ece(probability: NDArray[np.float64], right: NDArray[np.bool_], bins: int = 15) -> float:
    """Expected calibration error: mean difference of confidence and accuracy, over equal bins."""
    return sum(
        abs(share * (sure - hit)) for share, sure, hit in reliability(probability, right, bins)
    )


def reliability(
    probability: NDArray[np.float64], right: NDArray[np.bool_], bins: int = 15
) -> list[tuple[float, float, float]]:
    """For each bin that is not empty: share of all points, mean confidence, accuracy."""
    at = np.minimum((probability * bins).astype(np.int64), bins - 1)
    count = np.bincount(at, minlength=bins)
    some = np.flatnonzero(count)
    sure = np.bincount(at, probability, bins)[some] / count[some]
    hit = np.bincount(at, right, bins)[some] / count[some]
    share = count[some] / len(at)
    return list(zip(share.tolist(), sure.tolist(), hit.tolist(), strict=True))
