"""Windows: the last points of every living track, by slot (the linker's row index)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Windows:
    """Rings of points, one a slot.

    Parameters
    ----------
    length : int
        Points kept of each track.
    capacity : int
        Slots to begin with; grows by doubling.
    """

    def __init__(self, length: int, capacity: int = 256) -> None:
        self.length = length
        self.count = np.zeros(capacity, np.int64)  # points ever pushed to the slot's track
        self.frame = np.zeros((capacity, length), np.int64)
        self.point = np.zeros((capacity, length, 3))  # z steps, y, x pixels

    def reserve(self, slots: NDArray[np.int32]) -> None:
        """Make room for `slots` (n,)."""
        need = int(slots.max(initial=-1)) + 1
        while need > len(self.count):
            self.count = np.concatenate([self.count, np.zeros_like(self.count)])
            self.frame = np.concatenate([self.frame, np.zeros_like(self.frame)])
            self.point = np.concatenate([self.point, np.zeros_like(self.point)])

    def clear(self, slots: NDArray[np.int32]) -> None:
        """Forget the tracks in `slots` (n,)."""
        self.count[slots] = 0

    def push(
        self,
        slots: NDArray[np.int32],
        frame: int | NDArray[np.int64],
        points: NDArray[np.float64],
    ) -> None:
        """Add one point (n, 3) z steps, y, x pixels of `frame` to each of `slots` (n,)."""
        column = self.count[slots] % self.length
        self.frame[slots, column] = frame
        self.point[slots, column] = points
        self.count[slots] += 1

    def last_frame(self, slots: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return the frame of the newest point of each of `slots` (n,)."""
        return self.frame[slots, (self.count[slots] - 1) % self.length]

    def last_point(self, slots: NDArray[np.int32]) -> NDArray[np.float64]:
        """Return the newest point (n, 3) z, y, x of each of `slots` (n,)."""
        return self.point[slots, (self.count[slots] - 1) % self.length]
