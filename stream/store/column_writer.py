"""Column writer: moves commits from the journal to columns, a little after each commit."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

from livespt.stream.host.atomic_files import store_error, sync
from livespt.stream.store.columns import TableColumns
from livespt.stream.store.journal import JournalWriter
from livespt.stream.store.journal_reader import JournalReader


class ColumnWriter:
    """Writes the rows of all tables to columns whenever the journal has grown enough.

    An append to the journal commits; columns follow after it, so that a failure here repeats
    nothing and loses nothing.

    Parameters
    ----------
    run
        Folder of the run, which errors name.
    tables
        By name, in the order in which the journal has them.
    journal
        Begins a new segment once all columns of the old one are on disk.
    segment_bytes
        Growth of the journal after which columns are written.
    """

    def __init__(
        self,
        run: Path,
        tables: Mapping[str, TableColumns],
        journal: JournalWriter,
        segment_bytes: int,
    ) -> None:
        self._run, self._tables, self._journal = run, tables, journal
        self._segment_bytes = segment_bytes
        self._jobs: deque[Callable[[], list[Path]]] = deque()  # columns to write before rotating
        self._written: list[Path] = []

    def reopen(self, held: JournalReader) -> None:
        """Go on where a writer that died left off, whose files may not be on disk yet."""
        tables = self._tables.values()
        for table, flushed, rows in zip(tables, held.flushed, held.rows, strict=True):
            self._written += table.reopen(flushed, rows)

    def step(self) -> None:
        """Do a part of the work, between two commits: a column, or a new segment of the journal.

        Raises
        ------
        StoreError
            The disk is full or broken; the next call tries again.
        """
        if self._jobs:
            self._write_column()
        elif self._written:
            if self._journal.put_on_disk(dict.fromkeys(self._written)):
                self._rotate()
        elif self._journal.grown >= self._segment_bytes:
            for table in self._tables.values():
                self._jobs.extend(table.jobs())
            if not self._jobs:
                self._rotate()

    def flush(self) -> None:
        """Write every row to its columns, and the columns to disk."""
        for job in self._jobs:
            self._written += job()
        for table in self._tables.values():
            for job in table.jobs(all_rows=True):
                self._written += job()
        sync(dict.fromkeys(self._written), workers=16)

    def sums(self) -> dict[str, list[int]]:
        """Sums of the chunk files of each TABLE/FIELD, once all rows are in columns."""
        return {
            f"{name}/{field}": parts
            for name, table in self._tables.items()
            for field, parts in table.sums().items()
        }

    def _write_column(self) -> None:
        """Write one of the columns that are due; once all are on disk, a new segment begins."""
        try:
            self._written += self._jobs[0]()
        except OSError as error:
            raise store_error(f"writing columns of {self._run}", error) from error
        self._jobs.popleft()

    def _rotate(self) -> None:
        tables = self._tables.values()
        flushed, waiting = [t.flushed for t in tables], [t.waiting() for t in tables]
        self._journal.rotate(flushed, waiting)
        self._written = []
