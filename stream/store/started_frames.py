"""Started frames: the frames that an analyzer has begun, in a file that outlives it.

Number and level (stream/degradation.py), nine bytes a frame, written before it is analyzed. What an
analyzer that died had published but not stored yet (the recorder may be behind) is told once more
by the next one, the same way only if that one takes the same frames and skips the same: here it
reads which those were.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from livespt.stream.host.atomic_files import write_all

TAKEN = np.dtype([("number", "<i8"), ("level", "u1")])
_ENTRY = struct.Struct("<qB")


class StartedFrames:
    """Appends to the file; a full disk delays what is written and loses nothing else.

    Parameters
    ----------
    path
    resume
        Go on with what a process that died has written.

    Attributes
    ----------
    before : TAKEN array (n,)
        What those before had taken, in ascending order.
    """

    def __init__(self, path: Path, *, resume: bool = False) -> None:
        self.before = read_taken(path) if resume else np.empty(0, TAKEN)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
        self._size = self.before.nbytes
        os.ftruncate(self._descriptor, self._size)
        os.lseek(self._descriptor, self._size, os.SEEK_SET)
        self._waiting = b""

    def append(self, number: int, level: int) -> None:
        """Note that this frame is about to be analyzed, at this level."""
        self._waiting += _ENTRY.pack(number, level)
        try:
            write_all(self._descriptor, self._waiting, self._size)
        except OSError:  # it is told to who writes more; this comes with the next one
            return
        self._size += len(self._waiting)
        self._waiting = b""

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)


def read_taken(path: Path) -> NDArray[np.void]:
    """TAKEN entries, (n,), up to the first that does not ascend; none if there is no file."""
    if not path.exists():
        return np.empty(0, TAKEN)
    data = path.read_bytes()
    entries = np.frombuffer(data, TAKEN, len(data) // TAKEN.itemsize)
    wrong = np.flatnonzero(np.diff(entries["number"], prepend=-1) <= 0)
    return entries[: wrong[0]] if len(wrong) else entries
