"""A binary heap of keys with their items, the largest key on top, for compiled code."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from livespt.stream.compiled import njit

Floats = NDArray[np.float64]
Columns = NDArray[np.int32]


@njit(nogil=True)
def heapify(keys: Floats, items: Columns) -> None:
    """Bring keys and their items into the order of a heap, the largest key on top."""
    for at in range(len(keys) // 2 - 1, -1, -1):
        sift_down(keys, items, at)


@njit(nogil=True)
def sift_down(keys: Floats, items: Columns, at: int) -> None:
    """Restore the order of a heap, the largest key on top, below `at`."""
    key, item = keys[at], items[at]
    while 2 * at + 1 < len(keys):
        down = 2 * at + 1
        if down + 1 < len(keys) and keys[down + 1] > keys[down]:
            down += 1
        if keys[down] <= key:
            break
        keys[at], items[at] = keys[down], items[down]
        at = down
    keys[at], items[at] = key, item
