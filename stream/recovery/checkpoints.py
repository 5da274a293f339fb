"""Checkpoints: the analyzer's state, stored with the journal, so that a cut run is resumed soon.

The file `journal/snapshot.bin` holds a snapshot (snapshot.py) of the state after some frame, and
the position in the tables at that time. It is replaced every few seconds, and only when all rows
up to that position are committed and on disk: a power cut never leaves a state that knows frames
which the tables do not have.

    magic (8), bytes of the position (4), their CRC-32 (4), the position (JSON), the snapshot
"""

from __future__ import annotations

import json
import os
import struct
import time
import zlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from livespt.stream.analyzer import Analyzer
from livespt.stream.recovery.snapshot import Copy, copy
from livespt.stream.store.frame_ledger import TablePosition
from livespt.stream.store.table_writer import TableWriter
from livespt.stream.types import Frame, Update

CHECKPOINT_S = 5.0
MAGIC = b"livechk1"
_HEAD = struct.Struct("<8sII")


class Checkpoint(NamedTuple):
    """What was read back."""

    position: TablePosition
    snapshot: bytes


class Checkpoints:
    """Sink behind the one that stores the tables; copies the state, which a thread writes.

    Parameters
    ----------
    run : Path
    analyzer : Analyzer
    tables : TableWriter
    every_s : float
        Least time between two.
    """

    def __init__(
        self,
        run: Path,
        analyzer: Analyzer,
        tables: TableWriter,
        every_s: float = CHECKPOINT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = run / "journal" / "snapshot.bin"
        self._analyzer, self._tables = analyzer, tables
        self._every_s, self._clock = every_s, clock
        self._due = clock() + every_s
        self._copy: Copy | None = None
        self._position: TablePosition | None = None  # of a copy that is not being written yet
        self._pool = ThreadPoolExecutor(1, "checkpoint")
        self._written: Future[None] | None = None

    def __call__(self, frame: Frame, update: Update) -> None:
        """Copy the state when it is due; write the copy when its rows are on disk."""
        if self._written is not None:
            if not self._written.done():
                return
            self._written.exception()  # a full disk is reported by the stores: skip this one
            self._written = None
        if self._position is None:
            if self._clock() < self._due:
                return
            self._due = self._clock() + self._every_s
            self._position, self._copy = self._tables.mark(), copy(self._analyzer, self._copy)
        if not self._position.record:
            self._position = self._tables.reached(self._position) or self._position
        if self._position.record and self._tables.is_synced(self._position):
            assert self._copy is not None
            self._written = self._pool.submit(
                write_checkpoint, self._path, self._position, self._copy
            )
            self._position = None

    def finish(self, update: Update) -> None:
        """Do nothing, because the run is about to be closed."""

    def close(self, stop: object) -> None:
        """End the thread; the file goes with the journal."""
        self._pool.shutdown()


def write_checkpoint(path: Path, position: TablePosition, snapshot: Copy) -> None:
    """Replace the file in one step."""
    text = json.dumps(position._asdict()).encode()
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        file.write(_HEAD.pack(MAGIC, len(text), zlib.crc32(text)) + text)
        for part in snapshot.parts():
            file.write(part)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def read_checkpoint(run: Path) -> Checkpoint | None:
    """The newest, None if there is none that can be read."""
    try:
        data = (run / "journal" / "snapshot.bin").read_bytes()
        magic, size, crc = _HEAD.unpack_from(data)
        text = data[_HEAD.size : _HEAD.size + size]
        if magic != MAGIC or zlib.crc32(text) != crc:
            return None
        fields = json.loads(text)
    except (OSError, struct.error, ValueError):
        return None
    fields["early"] = {int(n): tuple(counts) for n, counts in fields["early"].items()}
    return Checkpoint(TablePosition(**fields), data[_HEAD.size + size :])
