"""LodeSTAR peaks: particles in the answer of a LodeSTAR network.

The network answers for every cell (2 x 2 pixels) with where it sees a particle and how much that
cell should count (weight w, 0 to 1). A particle is where w is high and neighbouring cells agree:
score = w^alpha c^(1 - alpha), c = 1 / (1 + v / v0), v the variance of the positions that 3 x 3
cells predict (Midtvedt et al. 2022, Methods, "Particle detection criteria", with c scaled to 0..1
so that one cutoff serves all frames). The position is the weighted mean of the cells around a
maximum. v itself tells whether it is the particle that was trained on (their Table 1).
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@njit(cache=True)
def _sigmoid(rho: float) -> float:
    return 1.0 / (1.0 + math.exp(-rho)) if rho > -700.0 else 0.0


@njit(cache=True)
def _logit(weight: float) -> float:
    return math.log(weight / (1.0 - weight))


@njit(cache=True)
def scores(field: Floats, cutoff: float, alpha: float, v0: float, border: int) -> Floats:
    """(h', w') scores; 0 where they cannot reach `cutoff` and within `border` cells of an edge."""
    height, width = field.shape[1:]
    score = np.zeros((height, width), np.float32)
    # c <= 1, so the weight alone must reach the cutoff; rho is its logit
    least = _logit(cutoff ** (1.0 / alpha)) if cutoff > 0 else -np.inf
    for i in range(border, height - border):
        for j in range(border, width - border):
            if not field[2, i, j] > least:
                continue
            weight = _sigmoid(field[2, i, j])
            variance = _spread(field, i, j)
            score[i, j] = weight**alpha * (1.0 / (1.0 + variance / v0)) ** (1.0 - alpha)
    return score


@njit(cache=True)
def _spread(field: Floats, i: int, j: int) -> float:
    """Variance, pixels^2, of the positions (y plus x) that the 3 x 3 cells around predict."""
    n, sy, sx, syy, sxx = 0, 0.0, 0.0, 0.0, 0.0
    for k in range(max(i - 1, 0), min(i + 2, field.shape[1])):
        for m in range(max(j - 1, 0), min(j + 2, field.shape[2])):
            y = field[0, k, m] + 2.0 * (k - i)
            x = field[1, k, m] + 2.0 * (m - j)
            n += 1
            sy += y
            sx += x
            syy += y * y
            sxx += x * x
    return max((syy + sxx) / n - (sy * sy + sx * sx) / (n * n), 0.0)


@njit(cache=True)
def detect(
    field: Floats, cutoff: float, alpha: float, v0: float, merge: float, border: int
) -> NDArray[np.float64]:
    """(n, 4 + e) y, x, score, v, extras of maxima, the better of two closer than `merge` pixels.

    `field` (3 + e, h', w') may hold e more answers, which are averaged as the position is.
    """
    score = scores(field, cutoff, alpha, v0, border)
    height, width = score.shape
    # of 2 x 2 cells, cut short at an odd edge too, at most one is a peak
    found = np.empty((((height + 1) // 2) * ((width + 1) // 2), 1 + len(field)))
    n = 0
    for i in range(height):
        for j in range(width):
            if score[i, j] >= cutoff and score[i, j] > 0 and _is_peak(score, i, j):
                _average(field, i, j, merge, found[n])
                found[n, 2], found[n, 3] = score[i, j], _spread(field, i, j)
                n += 1
    found = found[:n]
    order = np.argsort(-found[:, 2], kind="mergesort")  # equal scores: in order of the grid
    side = max(merge, 1.0)
    first = np.full((int(2 * height / side) + 3, int(2 * width / side) + 3), -1, np.int64)
    after = np.full(n, -1, np.int64)  # chains of kept detections, one a square of `side` pixels
    kept = np.zeros(n, np.bool_)
    for k in order:
        y = min(max(int(found[k, 0] / side) + 1, 1), first.shape[0] - 2)
        x = min(max(int(found[k, 1] / side) + 1, 1), first.shape[1] - 2)
        kept[k] = not _has_near(found, first, after, y, x, k, merge)
        if kept[k]:
            after[k] = first[y, x]
            first[y, x] = k
    return found[kept]


@njit(cache=True)
def _is_peak(score: Floats, i: int, j: int) -> bool:
    """Whether no neighbour is higher; of equal neighbours the first counts."""
    for k in range(max(i - 1, 0), min(i + 2, score.shape[0])):
        for m in range(max(j - 1, 0), min(j + 2, score.shape[1])):
            if score[k, m] > score[i, j]:
                return False
            if score[k, m] == score[i, j] and (k < i or (k == i and m < j)):
                return False
    return True


@njit(cache=True)
def _average(field: Floats, i: int, j: int, reach: float, row: NDArray[np.float64]) -> None:
    """Into `row` the weighted mean of what cells around (i, j) say of the same place."""
    y0 = 2.0 * i + 0.5 + field[0, i, j]
    x0 = 2.0 * j + 0.5 + field[1, i, j]
    for e in range(len(row)):
        row[e] = 0.0
    total = 0.0
    for k in range(max(i - 2, 0), min(i + 3, field.shape[1])):
        for m in range(max(j - 2, 0), min(j + 3, field.shape[2])):
            y = 2.0 * k + 0.5 + field[0, k, m]
            x = 2.0 * m + 0.5 + field[1, k, m]
            if (y - y0) ** 2 + (x - x0) ** 2 <= reach * reach:
                weight = _sigmoid(field[2, k, m])
                total += weight
                row[0] += weight * y
                row[1] += weight * x
                for e in range(3, len(field)):
                    row[1 + e] += weight * field[e, k, m]
    if total > 0.0:
        for e in range(len(row)):
            row[e] /= total
        return
    row[0], row[1] = y0, x0
    for e in range(3, len(field)):
        row[1 + e] = field[e, i, j]


@njit(cache=True)
def _has_near(
    found: NDArray[np.float64],
    first: NDArray[np.int64],
    after: NDArray[np.int64],
    y: int,
    x: int,
    k: int,
    merge: float,
) -> bool:
    for a in range(y - 1, y + 2):
        for b in range(x - 1, x + 2):
            other = first[a, b]
            while other >= 0:
                gap = (found[other, 0] - found[k, 0]) ** 2 + (found[other, 1] - found[k, 1]) ** 2
                if gap < merge * merge:
                    return True
                other = after[other]
    return False
