"""Taken: the numbers of the frames that an analyzer has begun, in a file that outlives it.

Eight bytes a frame, written before it is analyzed. What an analyzer that died had published but
not stored yet (the recorder may be behind) is told once more by the next one, the same way only if
that one takes the same frames and skips the same: here it reads which those were.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from livespt.stream.files import write_all

NUMBER = np.dtype("<i8")


class Taken:
    """Appends to the file; a full disk delays what is written and loses nothing else.

    Parameters
    ----------
    path
    resume
        Go on with what a process that died has written.

    Attributes
    ----------
    before : int64 array (n,)
        Numbers taken by those before, ascending.
    """

    def __init__(self, path: Path, *, resume: bool = False) -> None:
        self.before = read_taken(path) if resume else np.empty(0, NUMBER)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
        self._size = self.before.nbytes
        os.ftruncate(self._descriptor, self._size)
        os.lseek(self._descriptor, self._size, os.SEEK_SET)
        self._waiting = b""

    def append(self, number: int) -> None:
        """Note that this frame is about to be analyzed."""
        self._waiting += number.to_bytes(NUMBER.itemsize, "little", signed=True)
        try:
            write_all(self._descriptor, self._waiting, self._size)
        except OSError:  # it is told to who writes more; this comes with the next one
            return
        self._size += len(self._waiting)
        self._waiting = b""

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)


def read_taken(path: Path) -> NDArray[np.int64]:
    """Numbers in the file, (n,), up to the first that does not ascend; none if there is no file."""
    if not path.exists():
        return np.empty(0, NUMBER)
    data = path.read_bytes()
    numbers = np.frombuffer(data, NUMBER, len(data) // NUMBER.itemsize)
    wrong = np.flatnonzero(np.diff(numbers, prepend=-1) <= 0)
    return numbers[: wrong[0]] if len(wrong) else numbers
