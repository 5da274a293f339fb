"""Survey: counts of what was found so far in one channel and position, in bounded memory."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from livespt.stream.sample.histogram import Histogram

LONGEST = 600  # points; longer tracks count as this long
SURVEYED_EVERY = 5  # frames: widths and steps of the others are not counted, which would take time


class Survey:
    """How many spots there are, how wide they are, how far they move and how long they last.

    Attributes
    ----------
    frames, spots : int
    sized : int
        Spots whose width was looked at, measured or not.
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
        self.frames = self.spots = self.sized = self.pixels = 0
        self.width, self.step = Histogram(), Histogram()
        self.ended = np.zeros(LONGEST + 1, np.int64)

    def add_spots(self, spots: NDArray[np.void], shape: tuple[int, ...]) -> None:
        """Take the spots (n,) SPOT of a frame with an image of `shape`."""
        self.frames += 1
        self.spots += len(spots)
        self.pixels = math.prod(shape[-2:])
        if self.frames % SURVEYED_EVERY == 0:
            self.width.add(spots["sigma"])
            self.sized += len(spots)

    def add_steps(self, velocity: NDArray[np.float64]) -> None:
        """Take the velocities (n, 2) y, x of tracks, pixels a frame, unless it is not their turn.

        Some frames are enough for a median.
        """
        if self.frames % SURVEYED_EVERY == 0:
            self.step.add(np.hypot(velocity[:, 0], velocity[:, 1]))

    def add_ended(self, points: NDArray[np.int64]) -> None:
        """Take the numbers of points (n,) of tracks that ended."""
        if not len(points):
            return
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
