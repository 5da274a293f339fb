"""A user's classifier applied to the last points of every living track.

It is used in addition to the motion networks. At each new point, the window of the last points of
the track, with their provisional motion probabilities, gives a fingerprint, and the fingerprint
gives the probability of the user's class.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from livespt.models.fingerprint.classifier import TrackClassifier
from livespt.models.fingerprint.fingerprint import Units, fingerprints
from livespt.models.motion.follower import TrackFollower, usable
from livespt.stream.compiled import njit
from livespt.stream.types import MOTIONS
from livespt.stream.windows import grown

Ints = NDArray[np.int64]
WIDTH = 3 + len(MOTIONS)  # numbers kept of a point: z, y, x, and probabilities of the motions


class WindowClassifier:
    """Fingerprints of the last points of tracks of one channel and position, by slot.

    Parameters
    ----------
    window : int
        Number of last points that a fingerprint describes; fewer while a track is shorter.
    units : Units
    """

    CONSTANTS = ("window", "units")

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
        """Add a point (n, 3) z, y, x in pixels to each of `slots`; return fingerprints (n, 40).

        `states` (n, 4) are the probabilities of its motion, in the order of `types.MOTIONS`. The
        number of points (n,) of each window is returned as well.
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
    """Adds the probability of a user's classifier, as the sixth number, to the motion networks.

    For the newest point, the classifier uses the window that ends with it. For an older point, it
    uses the window that has this point at its centre, or the newest window if there are too few
    later points.
    """

    CONSTANTS = ("task", "_prior")

    def __init__(self, following: TrackFollower, task: TrackClassifier, units: Units) -> None:
        self.following, self.task = following, task
        self.rolling = WindowClassifier(task.window, units)
        self._prior = task.prior[task.positive]
        # a ring buffer of the results for the windows that end with the newest points
        self._probability = np.full((256, following.lag + 1), self._prior)
        self._count = np.zeros(256, np.int64)  # points taken

    def push(
        self,
        slots: NDArray[np.int32],
        frames: NDArray[np.int64],
        points: NDArray[np.float64],
        intensity: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float32]:
        """Add a point (n, 3) to each of `slots` (n,); return its predictions (n, 6).

        A position that `TrackFollower.push` cannot use leaves the classifier's result unchanged.
        """
        readings = self.following.push(slots, frames, points, intensity)
        need = int(slots.max(initial=-1)) + 1
        self._probability = grown(self._probability, need, self._prior)
        self._count = grown(self._count, need)
        self._count[slots] += 1
        newest, before = self._column(slots, 0), self._column(slots, 1)
        self._probability[slots, newest] = self._probability[slots, before]
        seen = usable(points)
        good = slots[seen]
        states = readings[seen, : len(MOTIONS)]
        features, held = self.rolling.push(good, frames[seen], points[seen], states)
        probability = self.task(features, held)[:, self.task.positive]
        self._probability[good, newest[seen]] = probability
        return self._joined(readings, slots, 0)

    def read(self, slots: NDArray[np.int32], ages: NDArray[np.int64]) -> NDArray[np.float32]:
        """Predictions (n, 6) for the points `ages` (n,) before the newest ones of `slots` (n,)."""
        beyond = np.maximum(ages - self.task.window // 2, 0)
        return self._joined(self.following.read(slots, ages), slots, beyond)

    def clear(self, slots: NDArray[np.int32]) -> None:
        """Forget the tracks in `slots` (n,)."""
        self.following.clear(slots)
        self.rolling.clear(slots)
        there = slots[slots < len(self._count)]
        self._probability[there], self._count[there] = self._prior, 0

    def _column(self, slots: NDArray[np.int32], back: Ints | int) -> Ints:
        """Column of the window that ends `back` points before the newest of `slots` (n,)."""
        column: Ints = (self._count[slots] - 1 - back) % self._probability.shape[1]
        return column

    def _joined(
        self, readings: NDArray[np.float32], slots: NDArray[np.int32], back: Ints | int
    ) -> NDArray[np.float32]:
        probability = self._probability[slots, self._column(slots, back)]
        return np.concatenate([readings, probability[:, None]], axis=1)


@njit()
def _unrolled(
    ring: NDArray[np.float64],
    frame: NDArray[np.int64],
    count: NDArray[np.int64],
    slots: NDArray[np.int32],
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Ring buffers of `slots` (n,), with the oldest point first; unused entries are empty."""
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
