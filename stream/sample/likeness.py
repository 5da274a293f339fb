"""Likeness: whether the tracks of a run are like those that the motion networks learned from.

A few cheap features of the last points of tracks are compared with what they were in training, as
the card of the segmenter states it. What is judged is the sample, not a track: where the median of
a feature lies outside the range of all but 1 % of the tracks of the training, the networks are
asked about something that they have never seen, and no name that they give is worth telling.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.stream.sample.known import LearnedRange
from livespt.stream.windows import Windows

POINTS = 16  # last points of a track that are described
MIN_POINTS = 8  # of a track that is described
EVERY_FRAMES, AT_ONCE = 20, 128  # from one description to the next, and most tracks of one
KEPT, MIN_ROWS = 512, 100  # descriptions: the newest, and the fewest for a judgement
FEATURES = ("step_um", "turn", "second_turn", "variation")
MEANING = {
    "step_um": "root mean square step, um a frame",
    "turn": "correlation of steps one frame apart",
    "second_turn": "correlation of steps two frames apart",
    "variation": "variation of step lengths",
    "points": "points of a track",
}


class Outlier(NamedTuple):
    """A feature of the sample outside the range of the training."""

    learned: LearnedRange
    value: float


class Likeness:
    """Descriptions of the tracks of one channel and position.

    Parameters
    ----------
    learned : tuple of LearnedRange
    scale : (3,) tuple
        Size of a z step, and of a pixel in y and x, um; 0: unknown.
    """

    CONSTANTS = ("learned", "scale")

    def __init__(
        self, learned: tuple[LearnedRange, ...], scale: tuple[float, float, float] = (0.0,) * 3
    ) -> None:
        self.learned, self.scale = learned, scale
        self._rows = np.zeros((KEPT, len(FEATURES)))
        self._count = 0

    def add(self, windows: Windows) -> None:
        """Describe the living tracks."""
        slots = np.flatnonzero(windows.count >= MIN_POINTS).astype(np.int32)[:AT_ONCE]
        if not self.learned or not len(slots):
            return
        held = np.minimum(windows.count[slots], min(windows.length, POINTS))
        at = windows.column(slots[:, None], np.arange(POINTS - 1, -1, -1))
        rows = track_features(
            windows.point[slots[:, None], at] * (self.scale if self.scale[1] else 1.0), held
        )
        self._rows[(self._count + np.arange(len(rows))) % KEPT] = rows
        self._count += len(rows)

    def outliers(self, lifetime: float) -> list[Outlier]:
        """Return the features outside the training.

        `lifetime` is the usual length of a track, in points; NaN: not known yet.
        """
        enough = self._count >= MIN_ROWS
        return self.compared(self._rows[: min(self._count, KEPT) if enough else 0], lifetime)

    def compared(self, rows: NDArray[np.float64], lifetime: float) -> list[Outlier]:
        """Compare the medians of descriptions (n, 4) and a lifetime with the training."""
        values = {"points": lifetime}
        if len(rows):
            values |= dict(zip(FEATURES, np.median(rows, axis=0).tolist(), strict=True))
        if not self.scale[1]:
            values.pop("step_um", None)
        return [
            Outlier(one, values[one.feature])
            for one in self.learned
            if math.isfinite(values.get(one.feature, math.nan))
            and not one.low <= values[one.feature] <= one.high
        ]


def track_features(points: NDArray[np.float64], held: NDArray[np.int64]) -> NDArray[np.float64]:
    """Describe the last points of tracks.

    Parameters
    ----------
    points : (n, m, 3)
        z, y, x, um; the newest last. Missing frames are not accounted for.
    held : (n,)
        How many of the m points each track has: the last ones.

    Returns
    -------
    (n, 4)
        In the order of `FEATURES`.
    """
    n, m, _ = points.shape
    steps = np.diff(points, axis=1)
    there = np.arange(m - 1) >= m - held[:, None]  # step k leads to point k + 1
    steps[~there] = 0
    count = np.maximum(there.sum(axis=1), 1)
    square = (steps**2).sum(axis=2)
    total = np.maximum(square.sum(axis=1), 1e-300)
    length = np.sqrt(square)
    mean = length.sum(axis=1) / count
    variance = np.maximum(total / count - mean**2, 0)
    found = np.empty((n, len(FEATURES)))
    found[:, 0] = np.sqrt(total / count)
    for column, apart in ((1, 1), (2, 2)):
        found[:, column] = (steps[:, apart:] * steps[:, :-apart]).sum(axis=(1, 2)) / total
    found[:, 3] = np.sqrt(variance) / np.maximum(mean, 1e-150)
    return found
