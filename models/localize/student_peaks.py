"""Find particles in the output of a student network.

For every cell of k x k pixels, the network predicts the position of a particle relative to the
centre of the cell, and the logit of the probability that there is one. The cells around a particle
predict the same position. A particle is a cell with a higher probability than every neighbour that
predicts the same position. Its position is the mean of these predictions weighted by their
probabilities, and its score is the sum of the probabilities.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from livespt.stream.compiled import njit

Floats = NDArray[np.float32]
MIN_PROBABILITY = 0.15  # of a cell that is considered


@njit(error_model="numpy")
def decode(field: Floats, cutoff: float, stride: float, merge: float) -> NDArray[np.float64]:
    """Particles (n, 4): y, x (pixels), score (0 to 1), variance of the answers (pixels^2).

    Parameters
    ----------
    field : (3, h', w')
        dy, dx in pixels from the cell's centre, logit of the probability.
    cutoff : float
        Least score.
    stride : float
        Pixels per cell; the centre of cell i lies at stride i + (stride - 1) / 2.
    merge : float
        Cells whose predicted positions differ by less than this (pixels) belong to one particle.
    """
    width = field.shape[2]
    floor = min(MIN_PROBABILITY, cutoff / 2)
    least = math.log(floor / (1.0 - floor))
    half = 0.5 * (stride - 1.0)
    sure = np.flatnonzero(field[2] > np.float32(least))
    found = np.empty((len(sure), 4))
    n = 0
    for cell in sure:
        i, j = cell // width, cell % width
        if _gather(field, i, j, stride, merge * merge, found[n]) and found[n, 2] >= cutoff:
            found[n, 0] += stride * i + half
            found[n, 1] += stride * j + half
            found[n, 2] = min(found[n, 2], 1.0)
            n += 1
    return found[:n]


@njit(error_model="numpy")
def _gather(
    field: Floats,
    i: int,
    j: int,
    stride: float,
    reach2: float,
    row: NDArray[np.float64],
) -> bool:
    """Whether no neighbour that predicts the same particle has a higher probability.

    Of equal probabilities the first cell counts. `row` receives the weighted mean of the
    predictions (relative to the centre of cell (i, j)), their sum of weights and variance.
    """
    y0, x0, top = field[0, i, j], field[1, i, j], field[2, i, j]
    for e in range(len(row)):
        row[e] = 0.0
    squares = 0.0
    for k in range(max(i - 1, 0), min(i + 2, field.shape[1])):
        for m in range(max(j - 1, 0), min(j + 2, field.shape[2])):
            y = field[0, k, m] + stride * (k - i)
            x = field[1, k, m] + stride * (m - j)
            if not (y - y0) ** 2 + (x - x0) ** 2 <= reach2:
                continue
            logit = field[2, k, m]
            if logit > top or (logit == top and (k < i or (k == i and m < j))):
                return False
            weight = 1.0 / (1.0 + math.exp(-logit)) if logit > -60.0 else 0.0
            row[0] += weight * y
            row[1] += weight * x
            row[2] += weight
            squares += weight * (y * y + x * x)
    total = row[2]
    if not total > 0.0:  # the output of the cell is NaN
        return False
    row[0] /= total
    row[1] /= total
    row[3] = max(squares / total - row[0] ** 2 - row[1] ** 2, 0.0)
    return True


@njit()
def interleave(outputs: Floats) -> Floats:
    """Rearrange (12, h', w') to (3, 2 h', 2 w'): four predictions of a cell, one for each quarter.

    This is DepthToSpace (CRD) of ONNX, in a tenth of the time that ONNX Runtime needs for it.
    """
    _, height, width = outputs.shape
    field = np.empty((3, 2 * height, 2 * width), np.float32)
    for c in range(3):
        for i in range(height):
            for a in range(2):
                left, right = outputs[4 * c + 2 * a, i], outputs[4 * c + 2 * a + 1, i]
                for j in range(width):
                    field[c, 2 * i + a, 2 * j] = left[j]
                    field[c, 2 * i + a, 2 * j + 1] = right[j]
    return field
