"""Shared memory: named blocks that processes map, owned by whoever created them while it lives.

A block is a mapped file, in RAM where the system has a folder for that (`/dev/shm`), else in the
temporary folder. Files rather than `multiprocessing.shared_memory`: before Python 3.13 its resource
tracker unlinks a block as soon as any unrelated process that attached it exits. The creator holds
an advisory lock on the file for as long as it lives, so others see its death, however it died,
and blocks left behind by killed processes can be distinguished from living ones and are removed.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import re
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from livespt.stream.errors import InputError, StoreError
from livespt.stream.host.locks import READ_WRITE, held, lock_soon

PAGE_BYTES = 4096
_SPARE_BYTES = 32 << 20  # left free in the folder that is picked
_SWEEP_AGE_S = 10.0  # younger files may be in the making
_barrier = threading.Lock()


def fence() -> None:
    """Keep the memory accesses before it from mixing with those after it.

    x86 keeps the order of stores by itself, ARM does not. A lock taken and released twice is a full
    barrier on both (release, then acquire), and is the only one that plain Python has.
    """
    with _barrier:
        pass
    with _barrier:
        pass


def free_bytes() -> dict[Path, int]:
    """Folders that can hold a block, best first, with the bytes free in each."""
    folders = [Path("/dev/shm"), Path(tempfile.gettempdir())]
    return {folder: shutil.disk_usage(folder).free for folder in folders if folder.is_dir()}


def pick_folder(size: int, free: Mapping[Path, int]) -> Path:
    """The first folder with room for `size` bytes and some to spare; StoreError if none has."""
    for folder, room in free.items():
        if room >= size + _SPARE_BYTES:
            return folder
    seen = ", ".join(f"{folder} has {room >> 20} MB" for folder, room in free.items())
    raise StoreError(f"shared memory of {size >> 20} MB does not fit ({seen}): use fewer slots")


class Block:
    """A named block of memory, mapped by this process.

    Attributes
    ----------
    path : Path
        The mapped file.
    words : int64 array (size // 8,)
        The whole block.
    """

    def __init__(self, path: Path, fd: int, *, owner: bool) -> None:
        self.path = path
        self.owner = owner
        self._fd = fd
        self.map = mmap.mmap(fd, os.fstat(fd).st_size)
        self.words: NDArray[np.int64] = np.ndarray((len(self.map) // 8,), "<i8", self.map)

    def owned(self) -> bool:
        """Whether the process that created the block still lives."""
        return self.owner or held(self.path)

    def close(self) -> None:
        """Unmap; the owner, or else who finds it dead, also removes the name.

        Those who have the block mapped keep the memory.
        """
        del self.words
        self.map.close()
        if self.owner or not held(self.path):
            _remove(self.path)
        os.close(self._fd)


def create(name: str, size: int) -> Block:
    """Make a block of at least `size` bytes, all pages touched.

    Raises
    ------
    InputError
        The name has characters that a file name should not have.
    StoreError
        A living process owns a block of this name, or there is no room.
    """
    _sweep()
    size = -(-size // PAGE_BYTES) * PAGE_BYTES
    for folder in free_bytes():
        _replace_dead(_path(folder, name))
    path = _path(pick_folder(size, free_bytes()), name)
    fd = os.open(path, READ_WRITE | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        lock_soon(fd, path)
        if sys.platform == "linux":
            os.posix_fallocate(fd, 0, size)  # an error now rather than a bus error later
        else:
            os.ftruncate(fd, size)
        block = Block(path, fd, owner=True)
    except OSError as error:
        os.close(fd)
        path.unlink(missing_ok=True)
        raise StoreError(
            f"no shared memory of {size >> 20} MB in {path.parent}: {error.strerror or error}"
        ) from error
    block.words[:: PAGE_BYTES // 8] = 0  # first copies into untouched pages cost many times a copy
    return block


def attach(name: str) -> Block:
    """Map the block that another process (or this one) created; StoreError if there is none."""
    for folder in free_bytes():
        with contextlib.suppress(FileNotFoundError):
            path = _path(folder, name)
            fd = os.open(path, READ_WRITE)
            if os.fstat(fd).st_size:
                return Block(path, fd, owner=False)
            os.close(fd)  # in the making
    raise StoreError(f"no shared memory named {name!r}: the program that makes it does not run")


def _path(folder: Path, name: str) -> Path:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,80}", name):
        raise InputError(f"bad ring name {name!r}: use letters, digits, '-' and '_'")
    return folder / f"livespt-{name}.ring"


def _locks_of(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f"{path.name}.*"))


def _remove(path: Path) -> None:
    for leftover in [path, *_locks_of(path)]:
        with contextlib.suppress(OSError):  # gone, or (Windows) open elsewhere: swept later
            leftover.unlink()


def _replace_dead(path: Path) -> None:
    """Remove a block whose owner died; StoreError if the owner lives."""
    if not path.exists():
        return
    if held(path):
        raise StoreError(f"shared memory {path.name} is in use: end the run that owns it first")
    _remove(path)


def _sweep() -> None:
    """Remove what killed processes left behind."""
    for folder in free_bytes():
        for path in folder.glob("livespt-*.ring"):
            with contextlib.suppress(OSError):  # gone meanwhile, or another user's
                if time.time() - path.stat().st_mtime > _SWEEP_AGE_S and not held(path):
                    _replace_dead(path)
