"""Locks of files: held by a living process, given back by the system when it dies."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from livespt.stream.errors import StoreError

READ_WRITE = os.O_RDWR | getattr(os, "O_BINARY", 0)


def lock_soon(fd: int, path: Path) -> None:
    """Lock an open file; StoreError if its file system has no locks."""
    deadline = time.monotonic() + 1.0  # others hold it for microseconds, to see whether they can
    while not _lock(fd):
        if time.monotonic() > deadline:
            raise StoreError(f"cannot lock {path}: use a local folder for temporary files")
        time.sleep(0.001)


def hold(path: Path) -> int | None:
    """Take the lock of that name for this process' life: a descriptor to close, None if held."""
    fd = os.open(path, READ_WRITE | os.O_CREAT, 0o600)
    if _lock(fd):
        return fd
    os.close(fd)
    return None


def held(path: Path) -> bool:
    """Whether a living process holds the lock on this file."""
    try:
        fd = os.open(path, READ_WRITE)
    except FileNotFoundError:
        return False
    locked = _lock(fd)
    os.close(fd)  # which also gives the lock back
    return not locked


if sys.platform == "win32":
    import msvcrt

    def _lock(fd: int) -> bool:
        os.lseek(fd, 1 << 40, os.SEEK_SET)  # locks are mandatory: far behind the last byte
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _lock(fd: int) -> bool:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
