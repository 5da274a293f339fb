"""Drift: what the tracks of one channel and position do together, frame by frame.

The step that most tracks share is the median of their steps in a frame, and the rate of the drift
the mean of these medians over the last frames, each weighted by its number of tracks. It counts as
sure where it is far above the spread between tracks: the mean velocity of each track over its last
points varies by its own motion, and the median of n such velocities by 1.25 standard deviations
over sqrt(n). The steps of one track are not independent if it is driven, but those of different
tracks are, so a few driven tracks make no drift.

A flow that carries most tracks looks like a drift, and nothing here can tell them apart.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from livespt.stream.windows import Windows

MEMORY_FRAMES = 50.0  # over which the rate is a mean
MIN_TRACKS = 10  # fewer say nothing of a common motion
MIN_POINTS = 5  # of a track whose velocity counts
SURE_ABOVE = 4.0  # standard errors
SIGMAS_OF_RANGE = 2.563  # from the 10th to the 90th percentile of a normal distribution
MEDIAN_ERROR = 1.2533  # standard error of a median, in those of a mean


class Drift:
    """The common drift so far.

    Attributes
    ----------
    rate : (2,)
        y, x, pixels a frame.
    is_sure : bool
        Whether the rate is far above its error.
    offset : (2,)
        y, x, pixels: how far the sample has moved since the first frame, where that was sure.
    frames : int
        Frames that had enough tracks.
    """

    def __init__(self) -> None:
        self.rate, self.offset = np.zeros(2), np.zeros(2)
        self.is_sure = False
        self.frames = 0
        self._sum, self._weight = np.zeros(2), 0.0
        self._t = -1

    @property
    def speed(self) -> float:
        """Pixels a frame."""
        return math.hypot(*self.rate)

    def add(
        self, t: int, slots: NDArray[np.int32], points: NDArray[np.float64], windows: Windows
    ) -> None:
        """Take the points of one frame before `windows` takes them.

        Parameters
        ----------
        t : int
            Time point, above all before.
        slots : (n,)
        points : (n, 3)
            z, y, x, pixels.
        windows : Windows
            Earlier points of the same slots.
        """
        passed, self._t = t - self._t if self._t >= 0 else 0, t
        old = windows.count[slots] > 0
        if np.count_nonzero(old) >= MIN_TRACKS:
            mine, here = slots[old], points[old, 1:]
            steps = (here - windows.last_point(mine)[:, 1:]) / _since(t, windows.last_frame(mine))
            self._take(np.median(steps, axis=0), len(steps))
            self._judge(t, mine, here, windows)
        if self.is_sure:
            self.offset = self.offset + self.rate * passed

    def _take(self, step: NDArray[np.float64], tracks: int) -> None:
        keep = 1 - 1 / MEMORY_FRAMES
        self._sum = self._sum * keep + step * tracks
        self._weight = self._weight * keep + tracks
        self.rate = self._sum / self._weight
        self.frames += 1

    def _judge(
        self,
        t: int,
        slots: NDArray[np.int32],
        points: NDArray[np.float64],
        windows: Windows,
    ) -> None:
        held = np.minimum(windows.count[slots], windows.length)
        long = held >= MIN_POINTS
        if np.count_nonzero(long) < MIN_TRACKS:
            self.is_sure = False
            return
        mine = slots[long]
        at = windows.column(mine, held[long] - 1)
        moved = points[long] - windows.point[mine, at, 1:]
        velocity = moved / _since(t, windows.frame[mine, at])
        low, high = np.percentile(velocity, (10, 90), axis=0)
        error = MEDIAN_ERROR * float((high - low).max()) / SIGMAS_OF_RANGE / math.sqrt(len(mine))
        self.is_sure = self.speed > SURE_ABOVE * error


def _since(t: int, frames: NDArray[np.int64]) -> NDArray[np.float64]:
    """Frames from each of `frames` (n,) to `t`, as a column."""
    return (t - frames).astype(np.float64)[:, None]
