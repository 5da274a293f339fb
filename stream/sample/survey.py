"""Survey: counts of what was found so far in one channel and position, in bounded memory."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from livespt.stream.sample.histogram import Histogram
from livespt.stream.windows import Windows

LONGEST = 600  # points; longer tracks count as this long


class Survey:
    """How many spots there are, how wide they are, how far they move and how long they last.

    Attributes
    ----------
    frames, spots : int
    width : Histogram
        Fitted standard deviations of spots, pixels.
    step : Histogram
        Steps of tracks from one frame to the next, pixels.
    ended : (LONGEST + 1,)
        Number of ended tracks of each length in points.
    pixels : int
        Of a frame, in one plane.
    """

    def __init__(self) -> None:
        self.frames = self.spots = self.pixels = 0
        self.width, self.step = Histogram(), Histogram()
        self.ended = np.zeros(LONGEST + 1, np.int64)

    def add_spots(self, spots: NDArray[np.void], shape: tuple[int, ...]) -> None:
        """Take the spots (n,) SPOT of a frame with an image of `shape`."""
        self.frames += 1
        self.spots += len(spots)
        self.pixels = math.prod(shape[-2:])
        self.width.add(spots["sigma"])

    def add_steps(
        self, t: int, slots: NDArray[np.int32], points: NDArray[np.float64], windows: Windows
    ) -> None:
        """Take points (n, 3) z, y, x of frame `t`, before `windows` takes them."""
        old = windows.count[slots] > 0
        mine = slots[old]
        steps = points[old, 1:] - windows.last_point(mine)[:, 1:]
        self.step.add(np.hypot(steps[:, 0], steps[:, 1])[windows.last_frame(mine) == t - 1])

    def add_ended(self, points: NDArray[np.int64]) -> None:
        """Take the numbers of points (n,) of tracks that ended."""
        self.ended += np.bincount(np.minimum(points, LONGEST), minlength=LONGEST + 1)

    @property
    def spots_a_frame(self) -> float:
        """Mean number of spots of a frame."""
        return self.spots / max(self.frames, 1)

    def lifetime(self, living: NDArray[np.int64]) -> float:
        """Return the length in points that half of all points do not exceed in their tracks.

        Points are counted rather than tracks: a few false spots in every frame are many tracks, but
        few points. `living` (n,) are the points so far of tracks that have not ended. NaN: there
        are none.
        """
        tracks = self.ended + np.bincount(np.minimum(living, LONGEST), minlength=LONGEST + 1)
        points = np.cumsum(tracks * np.arange(LONGEST + 1))
        return float(np.searchsorted(points, points[-1] / 2)) if points[-1] else math.nan
