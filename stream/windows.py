"""Windows: the last points of every living track, by slot (the linker's row index)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.stream.compiled import njit


class Windows:
    """Rings of points, one a slot.

    Parameters
    ----------
    length : int
        Points kept of each track.
    capacity : int
        Slots to begin with; grows by doubling.
    slack : int
        Points more than that, so that as many at the end may be exchanged for fewer.
    """

    CONSTANTS = ("length",)

    def __init__(self, length: int, capacity: int = 256, slack: int = 0) -> None:
        self.length = length
        self.count = np.zeros(capacity, np.int64)  # points ever pushed to the slot's track
        self.frame = np.zeros((capacity, length + slack), np.int64)
        self.point = np.zeros((capacity, length + slack, 3))  # z steps, y, x pixels
        self.intensity = np.zeros((capacity, length + slack))  # NaN: not known
        self.shift = np.zeros((capacity, length + slack, 3))  # to take off the point, as it is

    def reserve(self, slots: NDArray[np.int32]) -> None:
        """Make room for `slots` (n,)."""
        need = int(slots.max(initial=-1)) + 1
        tables = self.count, self.frame, self.point, self.intensity, self.shift
        self.count, self.frame, self.point, self.intensity, self.shift = (
            grown(some, need) for some in tables
        )

    def clear(self, slots: NDArray[np.int32]) -> None:
        """Forget the tracks in `slots` (n,)."""
        self.count[slots] = 0

    def push(
        self,
        slots: NDArray[np.int32],
        frame: int | NDArray[np.int64],
        points: NDArray[np.float64],
        intensity: NDArray[np.float64] | None = None,
        shift: NDArray[np.float64] | None = None,
    ) -> None:
        """Add one point (n, 3) z steps, y, x pixels of `frame` to each of `slots` (n,).

        `shift` (3,) is what is taken off before motion is read; a run has it always or never.
        """
        column = self.count[slots] % self.frame.shape[1]
        self.frame[slots, column] = frame
        self.point[slots, column] = points
        self.intensity[slots, column] = np.nan if intensity is None else intensity
        if shift is not None:
            self.shift[slots, column] = shift
        self.count[slots] += 1

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
        for table in (self.frame, self.point, self.intensity, self.shift):
            table[target[0], target[1]] = table[source[0], source[1]]
        return np.stack([source[0], target[0]]).astype(np.int32)


def grown(array: NDArray[Any], need: int, fill: float = 0) -> NDArray[Any]:
    """`array`, doubled until it has `need` rows; the new ones hold `fill`."""
    while len(array) < need:
        array = np.concatenate([array, np.full_like(array, fill)])
    return array


@njit()
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
