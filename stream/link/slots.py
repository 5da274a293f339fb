"""Slots of tracks: small numbers that tables of living tracks are indexed by, used again when free.

Compiled code takes the stack of free slots and how many there are, and the linker keeps the counts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class TrackSlots:
    """Slots handed out so far and those given back.

    Attributes
    ----------
    used : int
        Slots ever handed out.
    free : int32 array (capacity,)
        Stack of the ones given back; the first `n_free` count.
    n_free : int
    n_lost : int
        Of those, given back in the frame at hand.
    """

    def __init__(self, capacity: int) -> None:
        self.used = self.n_free = self.n_lost = 0
        self.free = np.empty(capacity, np.int32)

    def reserve(self, slots: int) -> None:
        """Make room for so many slots; capacity at least doubles."""
        if slots > len(self.free):
            grown = np.empty(max(slots, 2 * len(self.free)), np.int32)
            grown[: self.n_free] = self.free[: self.n_free]
            self.free = grown

    def spare(self, n: int) -> NDArray[np.int32]:
        """Take slots (n,) for new tracks, none of them of a track lost in this frame."""
        self.reserve(self.used + n)
        old = self.n_free - self.n_lost
        reused = min(n, old)
        again = self.free[old - reused : old].copy()
        self.free[old - reused : self.n_free - reused] = self.free[old : self.n_free].copy()
        self.n_free -= reused
        fresh = np.arange(self.used, self.used + n - reused, dtype=np.int32)
        self.used += n - reused
        return np.concatenate([again, fresh])

    def give_back(self, slots: NDArray[np.int32]) -> None:
        """Put slots (n,) on the stack."""
        self.free[self.n_free : self.n_free + len(slots)] = slots
        self.n_free += len(slots)
