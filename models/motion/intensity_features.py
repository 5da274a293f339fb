"""Intensity features: numbers computed from the intensity of each new point of a track.

Networks that use intensities receive them in addition to the motion features. They depend on this
point and earlier ones, and on ratios of intensities only, so that gain and exposure of the camera
do not matter. If the intensity is unknown, all features are zero.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from livespt.stream.compiled import njit
from livespt.stream.windows import grown

Floats = NDArray[np.float64]

MEMORIES = np.array([4.0, 16.0, 64.0])  # points; time constants of running means of ln(intensity)
LEVEL_POINTS = 600.0  # time constant of the level of the track
MIN_SHARE = 0.05  # of the level, to which lower intensities are raised
LOG_SCALE = 3.0  # a feature is -1 if the intensity falls to exp(-1/3) = 72 %
# features: 1 if the intensity is known; the newest value minus the shortest mean; each mean minus
# the next longer one, the last minus the level; the noise
COUNT = len(MEMORIES) + 3

# columns of the state of a slot
POINTS, NOISE, MEAN = 0, 1, 2  # there is one mean for each of MEMORIES
LEVEL = MEAN + len(MEMORIES)
WIDTH = LEVEL + 1


class IntensityState:
    """State of every living track, by slot, from which the next features are computed."""

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
        """Add a point of `intensity` (n,) to each of `slots` (n,); return its features (n, COUNT).

        An intensity of NaN, or None for all points, is unknown. The result is padded with zeros to
        `rows` rows.
        """
        out = np.zeros((max(rows, len(slots)), COUNT), np.float32)
        if intensity is not None:
            _push(self.past, slots, intensity, out)
        return out


@njit()
def _push(
    past: Floats, slots: NDArray[np.int32], intensity: Floats, out: NDArray[np.float32]
) -> None:
    for i in range(len(slots)):
        _write_features(past[slots[i]], intensity[i], out[i])


@njit()
def of_tracks(
    offset: NDArray[np.int64], intensity: Floats, backwards: bool = False
) -> NDArray[np.float32]:
    """Features (total, COUNT) of whole tracks: track i is rows `offset[i]:offset[i + 1]`.

    With `backwards`, each track is processed from its last point to its first.
    """
    out = np.zeros((len(intensity), COUNT), np.float32)
    past = np.zeros(WIDTH)
    for i in range(len(offset) - 1):
        past[:] = 0
        for k in range(offset[i + 1] - offset[i]):
            row = offset[i + 1] - 1 - k if backwards else offset[i] + k
            _write_features(past, intensity[row], out[row])
    return out


@njit()
def _write_features(past: Floats, intensity: float, out: NDArray[np.float32]) -> None:
    n = int(past[POINTS])
    usable = np.isfinite(intensity) and (intensity > 0 or n > 0)
    if not usable:
        return  # there is no earlier intensity to compare with
    if n == 0:
        x = math.log(intensity)
        for j in range(MEAN, WIDTH):
            past[j] = x
    else:
        x = max(math.log(max(intensity, 1e-300)), past[LEVEL] + math.log(MIN_SHARE))
    error = x - past[MEAN]
    past[NOISE] += (error**2 - past[NOISE]) / min(n + 1.0, MEMORIES[1])
    for j in range(len(MEMORIES)):
        past[MEAN + j] += (x - past[MEAN + j]) / min(n + 1.0, MEMORIES[j])
    past[LEVEL] += (x - past[LEVEL]) / min(n + 1.0, LEVEL_POINTS)
    out[0] = 1.0
    out[1] = LOG_SCALE * error
    for j in range(len(MEMORIES)):
        # after the last mean comes the level
        out[2 + j] = LOG_SCALE * (past[MEAN + j] - past[MEAN + j + 1])
    out[2 + len(MEMORIES)] = 0.5 * math.log(past[NOISE] + 1e-4) + 2.0
    for j in range(1, COUNT):
        out[j] = min(max(out[j], -10.0), 10.0)
    past[POINTS] = n + 1
