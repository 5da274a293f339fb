"""Live classifier: what a user's classifier says of every living track, from its last points.

Beside the readings of the motion networks: at each new point the window of a track's last points,
with what was known of their motion at once, becomes a fingerprint, and that a probability.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from livespt.models.fingerprint.classifier import TrackClassifier
from livespt.models.fingerprint.fingerprint import Units, fingerprints
from livespt.models.motion.follower import TrackFollower, usable
from livespt.stream.types import MOTIONS
from livespt.stream.windows import grown

Ints = NDArray[np.int64]
WIDTH = 3 + len(MOTIONS)  # kept of a point: z, y, x, and probabilities of the motions


class WindowClassifier:
    """Fingerprints of the last points of the tracks of one lane, by slot.

    Parameters
    ----------
    window : int
        Points of a track that are described, the last ones; fewer while it is young.
    units : Units
    """

    GIVEN = ("window", "units")

    def __init__(self, window: int, units: Units, capacity: int = 256) -> None:
        self.window, self.units = window, units
        self._ring = np.zeros((capacity, window, WIDTH))
        self._frame = np.zeros((capacity, window), np.int64)
        self._count = np.zeros(capacity, np.int64)  # points taken

    def clear(self, slots: NDArray[np.int32]) -> None:
        """Forget the tracks in `slots` (n,)."""
        self._count[slots[slots < len(self._count)]] = 0

    def push(
        self,
        slots: NDArray[np.int32],
        frames: NDArray[np.int64],
        points: NDArray[np.float64],
        states: NDArray[np.float32],
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Fingerprints (n, 40) after one more point (n, 3) z, y, x in pixels of each of `slots`.

        `states` (n, 4): probabilities of its motion, in the order of `types.MOTIONS`. Also how many
        points (n,) each window has.
        """
        self.reserve(int(slots.max(initial=-1)) + 1)
        column = self._count[slots] % self.window
        self._ring[slots, column] = np.concatenate([points, states], axis=1)
        self._frame[slots, column] = frames
        self._count[slots] += 1
        held = np.minimum(self._count[slots], self.window)
        rows, times = _unrolled(self._ring, self._frame, self._count, slots)
        share = rows[:, :, 3:].astype(np.float32)
        return fingerprints(rows[:, :, :3], times, share, self.units, held), held

    def reserve(self, need: int) -> None:
        """Make room for slots below `need`."""
        self._ring, self._frame = grown(self._ring, need), grown(self._frame, need)
        self._count = grown(self._count, need)


class WithClassifier:
    """Readings of the motion networks, and a user's classifier's as the sixth number.

    It is asked about the window that ends with a point as soon as that comes. Of an older point the
    window tells that has it in its middle, or as near to it as points have come since.
    """

    GIVEN = ("task", "_prior")

    def __init__(self, following: TrackFollower, task: TrackClassifier, units: Units) -> None:
        self.following, self.task = following, task
        self.rolling = WindowClassifier(task.window, units)
        self._prior = task.prior[task.positive]
        # of the windows that end with the newest points, each in the place of its number modulo
        self._told = np.full((256, following.lag + 1), self._prior)
        self._count = np.zeros(256, np.int64)  # points taken

    def push(
        self,
        slots: NDArray[np.int32],
        frames: NDArray[np.int64],
        points: NDArray[np.float64],
        intensity: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float32]:
        """Take one more point (n, 3) of each of `slots` (n,); read it, (n, 6).

        A place that `TrackFollower.push` cannot use leaves the classifier's answer as it was.
        """
        readings = self.following.push(slots, frames, points, intensity)
        need = int(slots.max(initial=-1)) + 1
        self._told, self._count = grown(self._told, need, self._prior), grown(self._count, need)
        self._count[slots] += 1
        self._told[slots, self._place(slots, 0)] = self._told[slots, self._place(slots, 1)]
        seen = usable(points)
        good = slots[seen]
        states = readings[seen, : len(MOTIONS)]
        told, held = self.rolling.push(good, frames[seen], points[seen], states)
        self._told[good, self._place(good, 0)] = self.task(told, held)[:, self.task.positive]
        return self._joined(readings, slots, 0)

    def read(self, slots: NDArray[np.int32], ages: NDArray[np.int64]) -> NDArray[np.float32]:
        """Readings (n, 6) of the points that lie `ages` (n,) points back in `slots` (n,)."""
        beyond = np.maximum(ages - self.task.window // 2, 0)
        return self._joined(self.following.read(slots, ages), slots, beyond)

    def clear(self, slots: NDArray[np.int32]) -> None:
        """Forget the tracks in `slots` (n,)."""
        self.following.clear(slots)
        self.rolling.clear(slots)
        there = slots[slots < len(self._count)]
        self._told[there], self._count[there] = self._prior, 0

    def _place(self, slots: NDArray[np.int32], back: Ints | int) -> Ints:
        """Column of the window that ends `back` points before the newest of `slots` (n,)."""
        place: Ints = (self._count[slots] - 1 - back) % self._told.shape[1]
        return place

    def _joined(
        self, readings: NDArray[np.float32], slots: NDArray[np.int32], back: Ints | int
    ) -> NDArray[np.float32]:
        told = self._told[slots, self._place(slots, back)]
        return np.concatenate([readings, told[:, None]], axis=1)


@njit(cache=True)
def _unrolled(
    ring: NDArray[np.float64],
    frame: NDArray[np.int64],
    count: NDArray[np.int64],
    slots: NDArray[np.int32],
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Rings of `slots` (n,), oldest point first; what fills them before the first is empty."""
    _, window, width = ring.shape
    rows = np.zeros((len(slots), window, width))
    times = np.zeros((len(slots), window), np.int64)
    for i in range(len(slots)):
        n = count[slots[i]]
        for back in range(min(n, window)):
            column = (n - 1 - back) % window
            times[i, window - 1 - back] = frame[slots[i], column]
            for j in range(width):
                rows[i, window - 1 - back, j] = ring[slots[i], column, j]
    return rows, times
