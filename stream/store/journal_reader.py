"""Journal reader: what a journal holds, in whole commits, while its writer may be at work."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.stream.errors import InputError
from livespt.stream.store.journal_records import CHECKPOINT, decode


class JournalReader:
    """Reads a journal at any moment, also while it grows; remembers where it was.

    Attributes
    ----------
    flushed : tuple of int
        Rows that are in columns, a table each.
    rows : list of list of structured arrays
        For each table the committed rows after those, in order.
    offset, checkpoint : int
        Bytes of the newest segment that were taken in; bytes of the checkpoint it begins with.
    next : int
        Number of the record that follows.
    """

    def __init__(self, folder: Path, dtypes: Sequence[np.dtype[Any]]) -> None:
        self._folder = folder
        self._dtypes = dtypes
        self._segment: str | None = None
        self.offset = self.checkpoint = 0
        self.next = 0
        self.flushed: tuple[int, ...] = (0,) * len(dtypes)
        self.rows: list[list[NDArray[Any]]] = [[] for _ in dtypes]

    @property
    def begun(self) -> bool:
        """A segment has been read."""
        return self._segment is not None

    @property
    def segment(self) -> Path:
        """The segment read last."""
        return self._folder / (self._segment or "")

    def tail(self) -> bytes:
        """What follows the last record read: of a run cut short, the torn beginning of another."""
        if self._segment is None:
            return b""
        with (self._folder / self._segment).open("rb") as file:
            file.seek(self.offset)
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
            file.seek(self.offset if same else 0)
            data = file.read()
        records = decode(data, self._dtypes, self.next if same else None)
        if not same:
            first = next(records, None)
            if first is None or first.kind != CHECKPOINT:
                return False
            self._segment, self.flushed = name, first.flushed
            self.rows = [[part] for part in first.rows]
            self.offset, self.next = first.end, first.number + 1
            self.checkpoint = first.end
        base = self.offset if same else 0
        for record in records:
            for held, part in zip(self.rows, record.rows, strict=True):
                if len(part):
                    held.append(part)
            self.offset, self.next = base + record.end, record.number + 1
        return True
