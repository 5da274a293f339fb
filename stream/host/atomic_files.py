"""Files written whole or not at all, when they are on disk, and the error line of a failed write.

What a process has written is safe from its death at once, and from a power cut when the operating
system has been made to put it on disk (fsync). How soon that is, is the durability of a run:

    frame    before a frame or a commit is acknowledged; costs milliseconds each
    second   in passing, by a thread: frames within a second, commits within 100 ms
    end      when the run is closed
"""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np

from livespt.stream.errors import StoreError

Durability = Literal["frame", "second", "end"]
DURABILITIES: tuple[Durability, ...] = ("frame", "second", "end")

# macOS and Windows have no fdatasync
data_sync = getattr(os, "fdatasync", os.fsync)


def _plain(value: Any) -> Any:
    """What `json` cannot write itself: NumPy scalars and arrays, and paths."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"{type(value).__name__} cannot be stored in the attributes of a run")


def plain_json(document: dict[str, Any]) -> dict[str, Any]:
    """`document` as it comes back when it was written as JSON and read."""
    back: dict[str, Any] = json.loads(json.dumps(document, default=_plain))
    return back


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Replace `path` by `document` in one step; a reader sees the old or the new, never a part.

    The text is on disk before it takes the name, so a power cut leaves one of the two as well.
    """
    text = json.dumps(document, indent=2, default=_plain, ensure_ascii=False)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    with partial.open("wb") as file:
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def write_all(descriptor: int, data: bytes, size: int) -> None:
    """Append `data` to a file of `size` bytes; on a failure the file keeps exactly `size` bytes.

    It is written at that place, whatever a failed write before it may have left behind there: so
    the file must not be open for appending (O_APPEND).

    Raises
    ------
    OSError
        Not everything could be written (a full disk cuts a write short without an error first).
    """
    os.lseek(descriptor, size, os.SEEK_SET)
    rest = memoryview(data)
    try:
        while rest:
            written = os.write(descriptor, rest)
            if not written:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            rest = rest[written:]
    except OSError:
        with suppress(OSError):  # a broken disk refuses this too
            os.ftruncate(descriptor, size)
        raise


def sync(paths: Iterable[Path], *, workers: int = 1) -> None:
    """Ask the operating system to put these files and folders on disk now.

    A file system does many syncs at a time in little more time than one: 16 workers took a
    twentieth of the time of one for 200 files (ext4).
    """

    def one(path: Path) -> None:
        if path.is_dir() and os.name == "nt":  # Windows cannot open a folder
            return
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    if workers == 1:
        for path in paths:
            one(path)
    else:
        with ThreadPoolExecutor(workers, "sync") as pool:
            list(pool.map(one, paths))


class BackgroundSync:
    """Syncs in passing: a thread that calls `work` every `every_s`, and once more at the end.

    Attributes
    ----------
    error : OSError or None
        Of the last call: what was written since is not safe from a power cut; the next call, which
        comes, may make it so.
    """

    def __init__(self, name: str, every_s: float, work: Callable[[], None]) -> None:
        self.error: OSError | None = None
        self._every_s, self._work = every_s, work
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread, after a last call."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        last = False
        while not last:
            last = self._stop.wait(self._every_s)
            try:
                self._work()
                self.error = None
            except OSError as error:
                self.error = error


def store_error(doing: str, error: OSError) -> StoreError:
    """The one line for an operating system error met while `doing` something."""
    hints = {
        errno.ENOSPC: "the disk is full: free space or choose another disk with --out",
        errno.EDQUOT: "the quota is used up: free space or choose another disk with --out",
        errno.EACCES: "no permission to write there: choose another --out",
        errno.EPERM: "no permission to write there: choose another --out",
        errno.EROFS: "that file system is read-only: choose another --out",
    }
    hint = hints.get(error.errno or 0, "check the disk")
    failed = StoreError(f"{doing} failed: {error.strerror or error}; {hint}")
    failed.errno = error.errno
    return failed
