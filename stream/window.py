"""Windows: the last points of every living track, handed out as one float32 batch.

A track lives in a slot (the linker's row index). A slot holds a ring of its last `length` points.
`batch` lays them out for the networks: the last point on the right, the left padded with zeros.

Columns of a window, one row a point:

    dt      frames since the point before (0 for the first point held and for padding)
    z y x   pixels, relative to the last point (z = 0 in two dimensions)
    valid   1 for a point, 0 for padding

Everything is relative, so a window means the same wherever and whenever the track was.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

COLUMNS = 5


class Windows:
    """Rings of points, one a slot.

    Parameters
    ----------
    length : int
        Points kept of each track.
    capacity : int
        Slots to begin with; grows by doubling.
    z_scale : float
        z step in units of a pixel: points are held in z steps, windows in pixels.
    slack : int
        Points more than that, so that as many at the end may be exchanged for fewer.
    """

    def __init__(
        self, length: int, capacity: int = 256, z_scale: float = 1.0, slack: int = 0
    ) -> None:
        self.length = length
        self.z_scale = z_scale
        self.count = np.zeros(capacity, np.int64)  # points ever pushed to the slot's track
        self.frame = np.zeros((capacity, length + slack), np.int64)
        self.point = np.zeros((capacity, length + slack, 3))  # z, y, x pixels

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
        column = self.count[slots] % self.frame.shape[1]
        self.frame[slots, column] = frame
        self.point[slots, column] = points
        self.count[slots] += 1

    def batch(self, slots: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return the windows (n, length, 5) of `slots` (n,)."""
        windows = _batch(slots, self.count, self.frame, self.point, self.length)
        windows[:, :, 1] *= np.float32(self.z_scale)
        return windows

    def last_frame(self, slots: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return the frame of the newest point of each of `slots` (n,)."""
        return self.frame[slots, self.column(slots, 0)]

    def last_point(self, slots: NDArray[np.int32]) -> NDArray[np.float64]:
        """Return the newest point (n, 3) z, y, x of each of `slots` (n,)."""
        return self.point[slots, self.column(slots, 0)]

    def column(self, slots: NDArray[np.int32], back: int | NDArray[np.int64]) -> NDArray[np.int64]:
        """Return where the point `back` points before the newest of each of `slots` (n,) is."""
        column: NDArray[np.int64] = (self.count[slots] - 1 - back) % self.frame.shape[1]
        return column

    def exchange(
        self, slots: NDArray[np.int32], to: NDArray[np.int32], frame: int
    ) -> NDArray[np.int32]:
        """Move the points from `frame` on of each of `slots` (k,) to the slot `to` (k,), at once.

        Returns the slot each point came from and the one it went to, (2, points).
        """
        source, target = tails(self.count, self.frame, slots, to, frame)
        for table in (self.frame, self.point):
            table[target[0], target[1]] = table[source[0], source[1]]
        return np.stack([source[0], target[0]]).astype(np.int32)


@njit(cache=True)
def tails(
    count: NDArray[np.int64],
    frames: NDArray[np.int64],
    slots: NDArray[np.int32],
    to: NDArray[np.int32],
    frame: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where the points from `frame` on of `slots` lie in rings, and where they belong in `to`.

    Returns slots and columns (2, points) of both; the counts are as they are to be.
    """
    depth = frames.shape[1]
    most = len(slots) * depth
    source, target = np.empty((2, most), np.int64), np.empty((2, most), np.int64)
    length = np.zeros(len(slots), np.int64)
    n = 0
    for k in range(len(slots)):
        slot = slots[k]
        while length[k] < min(count[slot], depth):
            column = (count[slot] - 1 - length[k]) % depth
            if frames[slot, column] < frame:
                break
            length[k] += 1
        for back in range(length[k] - 1, -1, -1):
            source[0, n], source[1, n] = slot, (count[slot] - 1 - back) % depth
            n += 1
    for k in range(len(slots)):
        count[slots[k]] -= length[k]
    n = 0
    for k in range(len(slots)):
        for _ in range(length[k]):
            target[0, n], target[1, n] = to[k], count[to[k]] % depth
            count[to[k]] += 1
            n += 1
    return source[:, :n], target[:, :n]


@njit(cache=True)
def _batch(
    slots: NDArray[np.int32],
    count: NDArray[np.int64],
    frame: NDArray[np.int64],
    point: NDArray[np.float64],
    length: int,
) -> NDArray[np.float32]:
    depth = frame.shape[1]
    out = np.zeros((len(slots), length, 5), np.float32)
    for i in range(len(slots)):
        slot = slots[i]
        held = min(count[slot], length)
        newest = (count[slot] - 1) % depth
        for back in range(held):
            column = (count[slot] - 1 - back) % depth
            row = length - 1 - back
            if back < held - 1:
                before = (column - 1) % depth
                out[i, row, 0] = frame[slot, column] - frame[slot, before]
            for axis in range(3):
                out[i, row, 1 + axis] = point[slot, column, axis] - point[slot, newest, axis]
            out[i, row, 4] = 1
    return out
