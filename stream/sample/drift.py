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
JUDGED_EVERY = 10  # frames from one decision whether it is sure to the next
MIN_POINTS = 5  # of a track whose velocity counts
SURE_ABOVE, UNSURE_BELOW = 4.0, 2.0  # standard errors: what is sure stays so for some time
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

    def add(self, t: int, velocity: NDArray[np.float64]) -> None:
        """Take the velocities (n, 2) y, x of the tracks that go on in frame `t`, pixels a frame."""
        passed, self._t = t - self._t if self._t >= 0 else 0, t
        n = len(velocity)
        if n >= MIN_TRACKS:
            ordered = np.sort(velocity, axis=0)  # np.median takes three times as long
            keep = 1 - 1 / MEMORY_FRAMES
            self._sum = self._sum * keep + (ordered[(n - 1) // 2] + ordered[n // 2]) * (n / 2)
            self._weight = self._weight * keep + n
            self.rate = self._sum / self._weight
            self.frames += 1
        if self.is_sure:
            self.offset = self.offset + self.rate * passed

    def judge(self, windows: Windows) -> None:
        """Decide whether the rate is sure, from the last points of the living tracks."""
        held = np.minimum(windows.count, windows.length)
        slots = np.flatnonzero(held >= MIN_POINTS).astype(np.int32)
        if len(slots) < MIN_TRACKS:
            self.is_sure = False
            return
        at = windows.column(slots, held[slots] - 1)
        passed = windows.last_frame(slots) - windows.frame[slots, at]
        moved = windows.last_point(slots) - windows.point[slots, at]
        velocity = moved[:, 1:] / np.maximum(passed, 1)[:, None]
        low, high = np.percentile(velocity, (10, 90), axis=0)
        error = MEDIAN_ERROR * float((high - low).max()) / SIGMAS_OF_RANGE / math.sqrt(len(slots))
        self.is_sure = self.speed > (UNSURE_BELOW if self.is_sure else SURE_ABOVE) * error
