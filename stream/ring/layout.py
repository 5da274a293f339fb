"""Layout: how a ring lies in its block of shared memory.

The first page holds 8-byte words: what is fixed (magic, slots, stride, dtype, shape), then, on
cache lines of their own because they change, the end mark, the head counter and one line for each
lossless reader. Then come the slots: a header of 128 bytes and the pixels, aligned to 64 bytes.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.stream.errors import InputError, StoreError
from livespt.stream.host import shared_memory

DTYPES = ("|u1", "<u2", "<f4")
ENDED, HEAD = 64, 72  # words of the first page
POLL_S, PROBE_S = 0.0005, 0.25  # interval of polls for frames, and of checks that the writer lives
READERS = 4  # lossless ones at a time
ACTIVE, CURSOR, LOST, REFUSED = 0, 1, 2, 3  # words of a lossless reader's line
_MAGIC = 0x31474E4952545053  # "SPTRING1"
_COUNT, _STRIDE, _DTYPE, _NDIM, _SHAPE, _LINES = 1, 2, 3, 4, 5, 128
_HEADER = 128  # bytes: seq, number, t, channel, position, time_s, clock, captured_ns; rest spare


class RingLayout:
    """A ring's memory, as its writer and its readers see it.

    Attributes
    ----------
    words : int64 array
        The block; `HEAD` and `ENDED` index it.
    head : int64 array (count, 16)
        Headers of the slots.
    times : float64 array (count, 16)
        The same memory; column 5 is `time_s`.
    images : list of arrays
        Pixels of the slots.
    readers : int64 array (READERS, 8)
        Lossless readers: `ACTIVE`, `CURSOR` (next frame), `LOST`, `REFUSED` (0, or the error number
        for which it cannot store what it reads).
    """

    def __init__(self, block: shared_memory.Block) -> None:
        self.block = block
        self.words = words = block.words
        self.count, stride = int(words[_COUNT]), int(words[_STRIDE])
        self.dtype = np.dtype(DTYPES[int(words[_DTYPE])])
        self.shape = tuple(int(n) for n in words[_SHAPE : _SHAPE + int(words[_NDIM])])
        first, size = shared_memory.PAGE_BYTES, (self.count, _HEADER // 8)
        self.head: NDArray[np.int64] = np.ndarray(size, "<i8", block.map, first, (stride, 8))
        self.times: NDArray[np.float64] = np.ndarray(size, "<f8", block.map, first, (stride, 8))
        self.images: list[NDArray[Any]] = [
            np.ndarray(self.shape, self.dtype, block.map, first + i * stride + _HEADER)
            for i in range(self.count)
        ]
        self.readers = words[_LINES : _LINES + 8 * READERS].reshape(READERS, 8)

    @classmethod
    def create(cls, name: str, count: int, shape: tuple[int, ...], dtype: str) -> RingLayout:
        """Make the memory of a ring; InputError or StoreError when that cannot be."""
        code = np.dtype(dtype).newbyteorder("<").str
        if code not in DTYPES:
            raise InputError(f"frames are {np.dtype(dtype)}: use uint8, uint16 or float32")
        if len(shape) not in (2, 3) or min(shape) < 1 or count < 2:
            raise InputError(f"no ring of {count} slots with frames of shape {shape}")
        n_bytes = math.prod(shape) * np.dtype(code).itemsize
        stride = -(-(_HEADER + n_bytes) // 64) * 64
        block = shared_memory.create(name, shared_memory.PAGE_BYTES + count * stride)
        facts = [count, stride, DTYPES.index(code), len(shape), *shape]
        block.words[_COUNT : _COUNT + len(facts)] = facts
        shared_memory.fence()
        block.words[0] = _MAGIC
        return cls(block)

    @classmethod
    def attach(cls, name: str) -> RingLayout:
        """Map the memory of a ring; StoreError if there is none (or not yet)."""
        block = shared_memory.attach(name)
        if block.words[0] != _MAGIC:
            block.close()
            raise StoreError(f"shared memory {name!r} is no ring: use another name")
        shared_memory.fence()
        return cls(block)

    def lock(self, reader: int) -> Path:
        """The lock that a lossless reader holds while it lives."""
        return self.block.path.with_name(f"{self.block.path.name}.reader{reader}")

    def close(self) -> None:
        """Drop the views and unmap."""
        del self.words, self.head, self.times, self.images, self.readers
        self.block.close()
