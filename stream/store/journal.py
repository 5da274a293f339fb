"""The journal of a run: checked records, one a commit, in segments that replace one another.

A segment is a file `journal/<number>.log` of records. Its first record is a *checkpoint*: how many
rows of each table are in whole column chunks, and the rows that are not. Each record after it is
one commit: the rows that every table gains. So the newest segment, with the chunks its checkpoint
counts, is the whole run, and older segments can go. Invariants:

- A record is appended by one write and ends the segment for a reader unless its CRCs are right and
  its number follows: a torn tail is no commit, and a reader never sees a part of one.
- A segment takes its name when its checkpoint is complete and the chunks it counts are on disk. The
  segment before it stays until it is on disk itself.
- Chunks that a checkpoint counts never change: a reader of an older segment, even a deleted one
  that it holds open, keeps a consistent view.

How a record is laid out: journal_records.py.

A killed process loses nothing that `append` returned for. What a power cut takes depends on the
durability (stream/host/atomic_files.py): "frame" syncs each commit before `append` returns;
"second" has a thread sync the segment every `SYNC_S`, so that with the time a sync takes at most
100 ms of commits are lost; "end" syncs at the end, and before an older segment goes.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from livespt.stream.errors import StoreError
from livespt.stream.host.atomic_files import (
    BackgroundSync,
    Durability,
    data_sync,
    store_error,
    sync,
    write_all,
)
from livespt.stream.host.locks import hold
from livespt.stream.store.journal_reader import JournalReader
from livespt.stream.store.journal_records import Rows, encode

SYNC_S = 0.05  # between two syncs at durability "second"
_FLAGS = os.O_RDWR | getattr(os, "O_BINARY", 0)


# what `verify` asks of a journal is said in one place
class JournalWriter:
    """Appends commits to the newest segment of a journal folder; the only writer of it.

    Parameters
    ----------
    folder
        Exists. Holds no segment, but where `resume` is true.
    dtypes
        Of the tables that a record covers, in order.
    resume
        Go on after the last whole commit of a writer that died; what it began to write is removed.
    durability
        When commits are safe from a power cut.

    Attributes
    ----------
    number : int
        Of the next record.
    held : JournalReader
        What was committed before: nothing, but where `resume` is true.
    synced : int
        Records that are on disk: every commit numbered below.

    Raises
    ------
    StoreError
        Another writer has begun this journal, or the disk refuses. An error of the syncing thread
        is raised by `append` until a sync succeeds.
    InputError
        The journal to go on with is damaged.
    """

    def __init__(
        self,
        folder: Path,
        dtypes: Sequence[np.dtype[Any]],
        *,
        resume: bool = False,
        durability: Durability = "second",
    ) -> None:
        self._folder = folder
        self.held = JournalReader(folder, dtypes)
        self._lock = threading.Lock()  # guards _descriptor, _dirty, _retired between two threads
        self._dirty = True
        self._retired: list[Path] = []  # older segments
        self._pool = ThreadPoolExecutor(1, "chunk-sync")  # apart: it takes longer than commits wait
        self._putting: Future[None] | None = None
        self._before: list[Path] = []  # older segments found: gone with the next rotation
        self._durability = durability
        self.synced = 0
        self._held_lock = self._hold()
        try:
            if resume and self.held.poll():
                self._reopen()
            else:
                self._create(len(dtypes))
        except BaseException as error:
            os.close(self._held_lock)
            if isinstance(error, OSError) and not isinstance(error, StoreError):
                raise store_error(f"opening {folder}", error) from error
            raise
        passing = durability != "frame"
        self._passing = BackgroundSync("journal-sync", SYNC_S, self._sync) if passing else None

    def _hold(self) -> int:
        """Lock the journal for as long as this process lives; the descriptor of the lock."""
        try:
            lock = hold(self._folder / "lock")
        except OSError as error:
            raise store_error(f"locking {self._folder}", error) from error
        if lock is None:
            raise StoreError(f"{self._folder.parent} is being written by another process")
        return lock

    def _create(self, tables: int) -> None:
        """Begin the first segment."""
        try:
            self._descriptor = os.open(self._path(0), _FLAGS | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError as error:
            raise StoreError(
                f"{self._folder.parent} was written by another process: choose another --out"
            ) from error
        empty = encode(0, [np.empty(0, "u1")] * tables, [0] * tables)
        write_all(self._descriptor, empty, 0)
        self._segment, self.number = 0, 1
        self._size = self._checkpoint = len(empty)

    def _reopen(self) -> None:
        """Go on in the newest segment that can be read, without what is torn or unreadable."""
        newest = self.held.segment
        self._segment, self.number = int(newest.stem), self.held.next
        self._size, self._checkpoint = self.held.offset, self.held.checkpoint
        for path in (*self._folder.glob("*.log"), *self._folder.glob("*.partial")):
            if path.suffix == ".partial" or path.name > newest.name:
                path.unlink()
            elif path != newest:
                self._before.append(path)
        self._descriptor = os.open(newest, _FLAGS)
        os.ftruncate(self._descriptor, self._size)

    @property
    def grown(self) -> int:
        """Bytes of commits since the checkpoint."""
        return self._size - self._checkpoint

    def append(self, rows: Rows) -> None:
        """Commit one row array a table; when this returns, every reader sees them all.

        Raises
        ------
        StoreError
            The disk is full or broken; the journal is as it was before.
        """
        if self._passing is not None and self._passing.error is not None:
            error = self._passing.error
            raise store_error(f"syncing {self._folder}", error) from error
        data, size = encode(self.number, rows), self._size
        try:
            write_all(self._descriptor, data, size)
            self.number, self._size, self._dirty = self.number + 1, size + len(data), True
            if self._durability == "frame":
                self._sync()
        except OSError as error:
            if self._size > size:  # written but not safe: it is to be repeated, not to be doubled
                self.number, self._size = self.number - 1, size
                with suppress(OSError):
                    os.ftruncate(self._descriptor, size)
            raise store_error(f"writing to {self._folder}", error) from error

    def put_on_disk(self, paths: Iterable[Path]) -> bool:
        """Whether the files and folders that were asked for are on disk; asks for them if none are.

        Raises
        ------
        StoreError
            The disk is broken; the next call asks again.
        """
        if self._putting is None:
            self._putting = self._pool.submit(sync, list(paths), workers=4)
        if not self._putting.done():
            return False
        putting, self._putting = self._putting, None
        try:
            putting.result()
        except OSError as error:
            raise store_error(f"syncing columns of {self._folder.parent}", error) from error
        return True

    def rotate(self, flushed: Sequence[int], rows: Rows) -> None:
        """Begin a new segment.

        Parameters
        ----------
        flushed
            Rows now in whole column chunks that are on disk, a table each.
        rows
            The committed rows that are not.

        Raises
        ------
        StoreError
            The disk is full or broken; the older segment goes on.
        """
        data = encode(self.number, rows, flushed)
        path = self._path(self._segment + 1)
        partial = path.with_suffix(".partial")
        try:
            partial.write_bytes(data)
            partial.replace(path)  # closed: Windows renames no file that is open
            descriptor = os.open(path, _FLAGS)
        except OSError as error:
            for new in (partial, path):
                new.unlink(missing_ok=True)
            raise store_error(f"writing {path}", error) from error
        with self._lock:
            old, self._descriptor = self._descriptor, descriptor
            self._retired += [self._path(self._segment), *self._before]
            self._before = []
            self._dirty = True
        os.close(old)
        self._segment += 1
        self.number += 1
        self._size = self._checkpoint = len(data)

    def close(self) -> None:
        """Sync and close; the segments stay until `remove`.

        Raises
        ------
        StoreError
            The last commits could not be synced.
        """
        try:
            self._pool.shutdown()
            if self._passing is not None:
                self._passing.close()
            self._sync(last=True)
        except OSError as error:
            raise store_error(f"syncing {self._folder}", error) from error
        finally:
            os.close(self._descriptor)
            os.close(self._held_lock)

    def _path(self, segment: int) -> Path:
        return self._folder / f"{segment:08d}.log"

    def _sync(self, *, last: bool = False) -> None:
        """Put the newest segment on disk; then older ones can go."""
        with self._lock:
            wanted = self._durability != "end" or last or self._retired
            if not self._dirty or not wanted:
                return
            self._dirty, number = False, self.number
            descriptor = os.dup(self._descriptor)  # `rotate` may close the original meanwhile
            retired, self._retired = self._retired, []
        try:
            data_sync(descriptor)
            self.synced = number
            if retired:
                sync([self._folder])
            for segment in retired:
                with suppress(PermissionError):  # Windows: a reader holds it; gone at the end
                    segment.unlink(missing_ok=True)
        except OSError:
            with self._lock:
                self._dirty, self._retired = True, retired + self._retired
            raise
        finally:
            os.close(descriptor)
