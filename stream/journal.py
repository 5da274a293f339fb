"""The journal of a run: checked records, one a commit, in segments that replace one another.

A segment is a file `journal/<number>.log` of records. Its first record is a *checkpoint*: how many
rows of each table are in whole column chunks, and the rows that are not. Each record after it is
one commit: the rows that every table gains. So the newest segment, with the chunks its checkpoint
counts, is the whole run, and older segments can go. Invariants:

- A record is appended by one write and ends the segment for a reader unless its CRCs are right and
  its number follows: a torn tail is no commit, and a reader never sees a part of one.
- A segment takes its name when its checkpoint is complete. Until it is on disk together with the
  chunks it counts, the segment before it stays.
- Chunks that a checkpoint counts never change: a reader of an older segment, even a deleted one
  that it holds open, keeps a consistent view.

Record, little endian: magic, kind, number, payload bytes, CRC of the payload, CRC of the header.
Payload: (checkpoint only: u64 rows in columns, a table each,) u32 rows that follow, a table each,
then the rows, table after table.

A killed process loses nothing that `append` returned for. After a power cut at most the last
`SYNC_S` of commits are missing: a thread syncs the segment that often, off the caller's path.
"""

from __future__ import annotations

import os
import struct
import threading
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.stream.errors import InputError, StoreError
from livespt.stream.files import data_sync, store_error, sync, write_all

SYNC_S = 0.1  # longest time between a commit and its sync to disk
MAGIC = b"LSJ1"
COMMIT, CHECKPOINT = 0, 1
HEAD = struct.Struct("<4sIQII")  # magic, kind, number, payload bytes, payload CRC
CRC = struct.Struct("<I")
HEADER_BYTES = HEAD.size + CRC.size

Rows = Sequence[NDArray[Any]]  # one structured array a table, in the order of the tables


class Record(NamedTuple):
    """One decoded record; `flushed` is empty in a commit."""

    kind: int
    number: int
    flushed: tuple[int, ...]
    rows: tuple[NDArray[Any], ...]
    end: int  # offset of the byte after it


def encode(number: int, rows: Rows, flushed: Sequence[int] | None = None) -> bytes:
    """The bytes of a commit, or with `flushed` (rows in columns, a table each) of a checkpoint."""
    counts = struct.pack(f"<{len(rows)}I", *(len(part) for part in rows))
    base = b"" if flushed is None else struct.pack(f"<{len(flushed)}Q", *flushed)
    payload = b"".join((base, counts, *(part.tobytes() for part in rows)))
    kind = COMMIT if flushed is None else CHECKPOINT
    head = HEAD.pack(MAGIC, kind, number, len(payload), zlib.crc32(payload))
    return b"".join((head, CRC.pack(zlib.crc32(head)), payload))


def _decode_payload(
    payload: memoryview, kind: int, dtypes: Sequence[np.dtype[Any]]
) -> tuple[tuple[int, ...], tuple[NDArray[Any], ...]] | None:
    n = len(dtypes)
    base = 8 * n if kind == CHECKPOINT else 0
    start = base + 4 * n
    if len(payload) < start:
        return None
    flushed = struct.unpack_from(f"<{n}Q", payload) if base else ()
    counts = struct.unpack_from(f"<{n}I", payload, base)
    if start + sum(c * d.itemsize for c, d in zip(counts, dtypes, strict=True)) != len(payload):
        return None
    rows = []
    for count, dtype in zip(counts, dtypes, strict=True):
        rows.append(np.frombuffer(payload, dtype, count, start))
        start += count * dtype.itemsize
    return flushed, tuple(rows)


def decode(
    data: bytes, dtypes: Sequence[np.dtype[Any]], number: int | None = None
) -> Iterator[Record]:
    """Records of `data` up to the first that is torn, damaged or out of turn.

    Parameters
    ----------
    data
        Bytes of a segment, from the start of a record on.
    dtypes
        Of the tables, in order.
    number
        Number the first record must have; None: any, each next one more.
    """
    view, start = memoryview(data), 0
    while start + HEADER_BYTES <= len(view):
        head = view[start : start + HEAD.size]
        magic, kind, found, size, crc = HEAD.unpack(head)
        body = start + HEADER_BYTES
        payload = view[body : body + size]
        good = (
            magic == MAGIC
            and kind in (COMMIT, CHECKPOINT)
            and number in (None, found)
            and CRC.unpack_from(view, start + HEAD.size)[0] == zlib.crc32(head)
            and len(payload) == size
            and zlib.crc32(payload) == crc
        )
        parts = _decode_payload(payload, kind, dtypes) if good else None
        if parts is None:
            return
        start, number = body + size, found + 1
        yield Record(kind, found, *parts, start)


def is_torn(tail: bytes) -> bool:
    """Whether what follows the last good record can be one cut short, rather than a damaged one."""
    if len(tail) < HEADER_BYTES:
        return True
    head = tail[: HEAD.size]
    magic, _, _, size, _ = HEAD.unpack(head)
    whole: bool = magic == MAGIC and CRC.unpack_from(tail, HEAD.size)[0] == zlib.crc32(head)
    return whole and len(tail) < HEADER_BYTES + size


class JournalWriter:
    """Appends commits to the newest segment of a journal folder; the only writer of it.

    Parameters
    ----------
    folder
        Exists and holds no segment.
    tables
        How many tables a record covers.

    Raises
    ------
    StoreError
        Another writer has begun this journal, or the disk refuses. Later errors of the syncing
        thread are raised by the next `append`.
    """

    def __init__(self, folder: Path, tables: int) -> None:
        self._folder = folder
        self._number = 0  # of the next record
        self._segment = 0
        self._lock = threading.Lock()  # guards _descriptor, _dirty, _retired between two threads
        self._dirty = True
        self._retired: list[tuple[Path, list[Path]]] = []
        self._error: OSError | None = None
        first = self._path(0)
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
            self._descriptor = os.open(first, flags, 0o644)
            empty = encode(0, [np.empty(0, "u1")] * tables, [0] * tables)
            write_all(self._descriptor, empty, 0)
        except FileExistsError as error:
            raise StoreError(
                f"{folder.parent} is or was written by another process: choose another --out"
            ) from error
        except OSError as error:
            raise store_error(f"creating {first}", error) from error
        self._number, self._size, self._checkpoint = 1, len(empty), len(empty)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sync_often, name="journal-sync", daemon=True)
        self._thread.start()

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
        if self._error is not None:
            raise store_error(f"syncing {self._folder}", self._error) from self._error
        data = encode(self._number, rows)
        try:
            write_all(self._descriptor, data, self._size)
        except OSError as error:
            raise store_error(f"writing to {self._folder}", error) from error
        self._number += 1
        self._size += len(data)
        self._dirty = True

    def rotate(self, flushed: Sequence[int], rows: Rows, written: list[Path]) -> None:
        """Begin a new segment.

        Parameters
        ----------
        flushed
            Rows now in whole column chunks, a table each.
        rows
            The committed rows that are not.
        written
            Files and folders of those chunks: synced before the older segment is deleted.

        Raises
        ------
        StoreError
            The disk is full or broken; the older segment goes on.
        """
        data = encode(self._number, rows, flushed)
        path = self._path(self._segment + 1)
        partial = path.with_suffix(".partial")
        descriptor = -1
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0)
            descriptor = os.open(partial, flags, 0o644)
            write_all(descriptor, data, 0)
            partial.replace(path)
        except OSError as error:
            if descriptor >= 0:
                os.close(descriptor)
            partial.unlink(missing_ok=True)
            raise store_error(f"writing {path}", error) from error
        with self._lock:
            old, self._descriptor = self._descriptor, descriptor
            self._retired.append((self._path(self._segment), written))
            self._dirty = True
        os.close(old)
        self._segment += 1
        self._number += 1
        self._size = self._checkpoint = len(data)

    def close(self) -> None:
        """Sync and close; the segments stay until `remove`.

        Raises
        ------
        StoreError
            The last commits could not be synced.
        """
        self._stop.set()
        self._thread.join()
        os.close(self._descriptor)
        if self._error is not None:
            raise store_error(f"syncing {self._folder}", self._error) from self._error

    def _path(self, segment: int) -> Path:
        return self._folder / f"{segment:08d}.log"

    def _sync_often(self) -> None:
        while True:
            last = self._stop.wait(SYNC_S)
            try:
                self._sync_once()
            except OSError as error:
                self._error = error
                return
            if last:
                return

    def _sync_once(self) -> None:
        with self._lock:
            if not self._dirty:
                return
            self._dirty = False
            descriptor = os.dup(self._descriptor)  # `rotate` may close the original meanwhile
            retired, self._retired = self._retired, []
        try:
            data_sync(descriptor)
        finally:
            os.close(descriptor)
        if retired:
            sync([self._folder])
        for segment, written in retired:
            sync(written)
            try:
                segment.unlink(missing_ok=True)
            except PermissionError:  # Windows: a reader holds it open; try again later
                self._retired.append((segment, []))


class JournalReader:
    """Reads a journal at any moment, also while it grows; remembers where it was.

    Attributes
    ----------
    flushed : tuple of int
        Rows that are in columns, a table each.
    rows : list of list of structured arrays
        For each table the committed rows after those, in order.
    """

    def __init__(self, folder: Path, dtypes: Sequence[np.dtype[Any]]) -> None:
        self._folder = folder
        self._dtypes = dtypes
        self._segment: str | None = None
        self._offset = 0
        self._next = 0
        self.flushed: tuple[int, ...] = (0,) * len(dtypes)
        self.rows: list[list[NDArray[Any]]] = [[] for _ in dtypes]

    @property
    def begun(self) -> bool:
        """A segment has been read."""
        return self._segment is not None

    def tail(self) -> bytes:
        """What follows the last record read: of a run cut short, the torn beginning of another."""
        if self._segment is None:
            return b""
        with (self._folder / self._segment).open("rb") as file:
            file.seek(self._offset)
            return file.read()

    def poll(self) -> bool:
        """Take in what was committed since; False: there is no segment (not begun, or closed).

        Raises
        ------
        InputError
            The journal is damaged: no segment begins with a whole checkpoint.
        """
        while True:
            try:
                names = sorted(n for n in os.listdir(self._folder) if n.endswith(".log"))
            except FileNotFoundError:
                return False
            if not names:
                return False
            for name in reversed(names):
                try:
                    if self._take(name):
                        return True
                except FileNotFoundError:
                    break  # replaced by a newer one since it was listed
            else:
                raise InputError(
                    f"{self._folder} is damaged: no segment of it can be read; its run is lost "
                    "beyond the columns already written"
                )

    def _take(self, name: str) -> bool:
        """Read on in segment `name`; False: it does not begin with a whole checkpoint."""
        same = name == self._segment
        with (self._folder / name).open("rb") as file:
            file.seek(self._offset if same else 0)
            data = file.read()
        records = decode(data, self._dtypes, self._next if same else None)
        if not same:
            first = next(records, None)
            if first is None or first.kind != CHECKPOINT:
                return False
            self._segment, self.flushed = name, first.flushed
            self.rows = [[part] for part in first.rows]
            self._offset, self._next = first.end, first.number + 1
        base = self._offset if same else 0
        for record in records:
            for held, part in zip(self.rows, record.rows, strict=True):
                if len(part):
                    held.append(part)
            self._offset, self._next = base + record.end, record.number + 1
        return True
