"""Features of the motion states of a track: how much of it is spent in each, and the changes."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from livespt.models.fingerprint.columns import (
    BEHAVIOUR_JUMP,
    PLACE_MAX,
    PLACE_MEAN,
    PLACE_MEDIAN,
    PLACE_MIN,
    PLACE_SD,
    SEGMENTS,
    SHARES,
)
from livespt.stream.compiled import njit

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

WEIGHT = (0.0, 1.0, 4.0, 6.0)  # values of the behaviours in `behaviour_jump`, as in DeepSPT


@njit()
def median(value: Floats) -> float:
    """Median; the values are few, and are sorted in place by insertion."""
    n = len(value)
    for i in range(1, n):
        j, v = i, value[i]
        while j and value[j - 1] > v:
            value[j] = value[j - 1]
            j -= 1
        value[j] = v
    middle: float = 0.5 * (value[(n - 1) // 2] + value[n // 2])
    return middle


@njit()
def behaviour_shares(share: NDArray[np.float32], place: Floats, jump: Floats, out: Floats) -> None:
    """Shares, segments and places of the behaviours, from their probabilities (n, 4)."""
    n = len(share)
    if n == 0:
        return
    count, last = 0, -1
    total, square = 0.0, 0.0
    for t in range(n):
        kind = 0
        for j in range(1, 4):
            if share[t, j] > share[t, kind]:
                kind = j
        out[SHARES + kind] += 1.0
        if kind != last:
            place[count] = (count + 1.0) * (kind + 1.0)
            if count:
                jump[count - 1] = abs(WEIGHT[kind] - WEIGHT[last])
            count += 1
            last = kind
    for j in range(4):
        out[SHARES + j] /= n
    out[SEGMENTS] = count
    for i in range(count):
        total += place[i]
    mean = total / count
    for i in range(count):
        square += (place[i] - mean) ** 2
    out[PLACE_MEAN] = mean
    out[PLACE_MEDIAN] = median(place[:count])
    out[PLACE_MAX], out[PLACE_MIN] = place[count - 1], place[0]  # sorted by now
    out[PLACE_SD] = math.sqrt(square / count)
    if count > 1:
        out[BEHAVIOUR_JUMP] = median(jump[: count - 1])
