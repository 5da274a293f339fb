"""Intensity features: what the intensity of each new point of a track says, computed once.

Beside `features`, for networks that read it. It looks back, never ahead, and only at ratios:
neither gain nor exposure of the camera matters. Where nobody knows the intensity all of it is zero.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from livespt.stream.windows import grown

Floats = NDArray[np.float64]

MEMORIES = np.array([4.0, 16.0, 64.0])  # points; running means of the logarithm over each
LASTING = 600.0  # points over which the level of the track is a mean
LEAST = 0.05  # of that level: darker is taken for so dark
SHARE = 3.0  # a third less light is about minus one
COUNT = len(MEMORIES) + 3  # known; the newest, and each mean, against the next longer; noise

# columns of the memory of a slot
POINTS, NOISE, MEAN = 0, 1, 2  # one mean for each of MEMORIES
LEVEL = MEAN + len(MEMORIES)
WIDTH = LEVEL + 1


class IntensityState:
    """What the brightness of the next point needs of every living track, by slot."""

    def __init__(self, capacity: int = 256) -> None:
        self.past = np.zeros((capacity, WIDTH))

    def reserve(self, need: int) -> None:
        """Make room for slots below `need`."""
        self.past = grown(self.past, need)

    def clear(self, slots: NDArray[np.int32]) -> None:
        """Forget the tracks in `slots` (n,)."""
        self.past[slots] = 0

    def push(
        self, slots: NDArray[np.int32], intensity: Floats | None, rows: int = 0
    ) -> NDArray[np.float32]:
        """Brightness (n, COUNT) of one more point of each of `slots` (n,), of `intensity` (n,).

        None, or NaN of one: nobody knows. Zeros follow up to `rows`.
        """
        out = np.zeros((max(rows, len(slots)), COUNT), np.float32)
        if intensity is not None:
            _push(self.past, slots, intensity, out)
        return out


@njit(cache=True)
def _push(
    past: Floats, slots: NDArray[np.int32], intensity: Floats, out: NDArray[np.float32]
) -> None:
    for i in range(len(slots)):
        _brightness(past[slots[i]], intensity[i], out[i])


@njit(cache=True)
def of_tracks(
    offset: NDArray[np.int64], intensity: Floats, backwards: bool = False
) -> NDArray[np.float32]:
    """Brightness (total, COUNT) of whole tracks: track i is rows `offset[i]:offset[i + 1]`.

    Backwards, each track is told from its end.
    """
    out = np.zeros((len(intensity), COUNT), np.float32)
    past = np.zeros(WIDTH)
    for i in range(len(offset) - 1):
        past[:] = 0
        for k in range(offset[i + 1] - offset[i]):
            row = offset[i + 1] - 1 - k if backwards else offset[i] + k
            _brightness(past, intensity[row], out[row])
    return out


@njit(cache=True)
def _brightness(past: Floats, intensity: float, out: NDArray[np.float32]) -> None:
    n = int(past[POINTS])
    usable = np.isfinite(intensity) and (intensity > 0 or n > 0)
    if not usable:
        return  # nothing to compare with
    if n == 0:
        x = math.log(intensity)
        for j in range(MEAN, WIDTH):
            past[j] = x
    else:
        x = max(math.log(max(intensity, 1e-300)), past[LEVEL] + math.log(LEAST))
    error = x - past[MEAN]
    past[NOISE] += (error**2 - past[NOISE]) / min(n + 1.0, MEMORIES[1])
    for j in range(len(MEMORIES)):
        past[MEAN + j] += (x - past[MEAN + j]) / min(n + 1.0, MEMORIES[j])
    past[LEVEL] += (x - past[LEVEL]) / min(n + 1.0, LASTING)
    out[0] = 1.0
    out[1] = SHARE * error
    for j in range(len(MEMORIES)):
        out[2 + j] = SHARE * (past[MEAN + j] - past[MEAN + j + 1])  # the last: to the level
    out[2 + len(MEMORIES)] = 0.5 * math.log(past[NOISE] + 1e-4) + 2.0
    for j in range(1, COUNT):
        out[j] = min(max(out[j], -10.0), 10.0)
    past[POINTS] = n + 1
