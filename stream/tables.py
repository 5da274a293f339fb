"""Writes the tables of a run: each commit to the journal, and from there to columns in passing."""

from __future__ import annotations

import shutil
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import zarr
from numpy.typing import NDArray

from livespt.stream.attributes import read_attributes, write_attributes
from livespt.stream.columns import STATUS, TABLES, Table
from livespt.stream.commits import LogReader, log_record
from livespt.stream.errors import StoreError
from livespt.stream.files import store_error, sync
from livespt.stream.journal import JournalWriter
from livespt.stream.sums import of_run
from livespt.stream.types import FRAME, Frame, Stop, Timings, Update

SEGMENT_BYTES = 16 << 20  # of commits, before a journal segment is moved to columns
MAX_PENDING = 1024  # updates held for frames that the recorder has not stored yet
MAX_EARLY = 1 << 14  # of those stored before their frame: no ring lets a recorder fall so far back


class TableWriter:
    """Writes the tables of a run: the analyzer's half.

    In a run with a movie a commit waits, in memory, until the recorder has stored its frame, and
    `frames` gets a row for every stored frame in order, with analyzed = 0 where none was committed.
    An update whose frame the recorder lost is stored all the same (events stay without a gap), with
    a notice in `status` and no row in `frames`.

    An append to the journal commits; columns follow after it, so that a failure there repeats
    nothing and loses nothing.

    Parameters
    ----------
    path
        Of a run made by `create_run`.
    segment_bytes
        Commits are moved from the journal to columns whenever they have grown by this much.

    Raises
    ------
    InputError
        Not a run.
    StoreError
        Another writer has begun its tables, or the disk refuses.
    """

    def __init__(self, path: Path | str, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._path = Path(path)
        self._start = read_attributes(self._path).start
        self._log = LogReader(self._path) if (self._path / "movie").is_dir() else None
        self._stored: deque[np.void] = deque()  # LOG records without a row in `frames` yet
        self._pending: deque[Update] = deque()  # whose frame is not known to be stored
        self._final: deque[Update] = deque()
        self._early: dict[int, tuple[int, int, int, Timings]] = {}  # stored before it
        self._previous = -1  # number of the last row in `frames`
        self._last = -1  # number of the last update taken
        self._analyzed = 0
        self._segment_bytes = segment_bytes
        self._jobs: deque[Callable[[], list[Path]]] = deque()  # columns to write before rotating
        self._written: list[Path] = []
        chunk = zarr.open_array(self._path / "spots" / "frame", mode="r").chunks[0]
        self._tables = {name: Table(self._path / name, TABLES[name], chunk) for name in TABLES}
        self._journal = JournalWriter(self._path / "journal", len(TABLES))

    def commit(self, frame: Frame, update: Update) -> None:
        """Commit what a frame produced: spots, states, events and its row, all or nothing.

        Raises
        ------
        StoreError
            The disk is full or broken: what is not committed waits and the next call, be it with
            this update again, goes on from there.
        """
        if update.number != self._last:  # else it was taken by a call that failed
            noted = bool(self._stored) and self._stored[-1]["number"] >= frame.number
            if self._log is None and not noted:
                self.note_frame(frame)
            self._pending.append(update)
            self._last = update.number
        self._drain()

    def note_frame(self, frame: Frame) -> None:
        """Tell of a frame in a run without a movie, so that it has a row if none is committed."""
        self._stored.append(log_record(0, frame)[0])

    def finish(self, update: Update) -> None:
        """Commit the rows that the end of the run settles; they belong to no frame of their own.

        They follow every update before them, at the latest when `close` returns.

        Raises
        ------
        StoreError
            The disk is full or broken: the update waits and the next call tries again.
        """
        self._final.append(update)
        self._drain()

    def status(self, kind: str, frame: int, text: str) -> None:
        """Commit an operational notice: `kind` up to 16 characters, `text` up to 240.

        Raises
        ------
        StoreError
            The disk is full or broken.
        """
        self._write(status=self._notice(kind, frame, text))
        self._maintain()

    def close(self, stop: Stop, *, wait_s: float = 5.0) -> Stop:
        """Move everything to columns, write the last word, delete the journal.

        Parameters
        ----------
        stop
            Its counts of frames, analyzed, lost, spots, states and events are replaced by what is
            stored.
        wait_s
            How long to wait for a recorder that has not ended the movie and stores nothing.

        Returns
        -------
        Stop
            As it is stored.

        Raises
        ------
        StoreError
            The disk is full or broken. The run has no last word then; every commit stays readable.
        """
        try:
            try:
                self._settle(wait_s)
                self._flush()
            finally:
                self._journal.close()
            spots, states, events, frames, _ = map(len, self._tables.values())
            stop = replace(
                stop,
                frames=frames,
                analyzed=self._analyzed,
                lost=max(self._previous, self._last) + 1 - self._analyzed,
                spots=spots,
                states=states,
                events=events,
            )
            chunks = {
                f"{name}/{field}": parts
                for name, table in self._tables.items()
                for field, parts in table.sums.items()
            }
            ended = self._log is not None and self._log.ended
            sums = of_run(self._path, chunks, movie=ended)
            write_attributes(self._path, self._start, TABLES, stop, sums)
            shutil.rmtree(self._path / "journal")
        except StoreError:
            raise
        except OSError as error:
            raise store_error(f"closing {self._path}", error) from error
        return stop

    def _drain(self) -> None:
        """Commit what can go, in order: rows of skipped frames, updates, the final rows."""
        if self._log is not None:
            self._stored.extend(self._log.poll())
        while self._pending:
            update = self._pending[0]
            if self._stored and self._stored[0]["number"] <= update.number:
                self._commit_until(update)
            elif self._stored or len(self._pending) > MAX_PENDING:
                self._commit_early(update)
            else:
                return
            self._maintain()
        while self._final:
            update = self._final[0]
            self._write(spots=update.spots, states=update.states, events=update.events)
            self._final.popleft()
            self._maintain()

    def _commit_until(self, update: Update) -> None:
        """Commit the rows of stored frames up to an update's, and the update if its is there."""
        rows, previous, found = [], self._previous, False
        for record in self._stored:
            if found or record["number"] > update.number:  # the same number again was refused
                break
            rows.append(self._row(record, update, previous))
            previous = max(previous, int(record["number"]))
            found = record["number"] == update.number
        if found:
            self._write(update.spots, update.states, update.events, np.array(rows, FRAME))
            self._pending.popleft()
            self._analyzed += 1
        else:
            self._write(frames=np.array(rows, FRAME))
        self._rows_written(rows)

    def _commit_early(self, update: Update) -> None:
        """Commit an update whose frame the recorder has lost, or stores far too late."""
        notice = None
        if update.number - 1 not in self._early:  # one notice for frames in a row
            text = f"frame {update.number} was analyzed before it was recorded, if it was at all"
            notice = self._notice("unrecorded", update.t, text)
        self._write(update.spots, update.states, update.events, status=notice)
        self._pending.popleft()
        self._early[update.number] = _counts(update)
        if len(self._early) > MAX_EARLY:
            del self._early[next(iter(self._early))]
        self._analyzed += 1

    def _row(self, record: np.void, update: Update | None, previous: int) -> NDArray[np.void]:
        """FRAME row of a stored frame: analyzed if it is that of `update`, or was stored early."""
        number = int(record["number"])
        result = self._early.get(number)
        if update is not None and update.number == number:
            result = _counts(update)
        spots, degraded, odd, timings = result or (0, 0, 0, Timings())
        row = np.zeros((), FRAME)
        row["number"], row["frame"], row["time_s"] = number, record["t"], record["time_s"]
        row["channel"], row["position"] = record["channel"], record["position"]
        row["clock"], row["analyzed"] = record["clock"], result is not None
        row["spots"], row["lost"] = spots, max(number - previous - 1, 0)
        row["degraded"], row["odd"] = degraded, odd
        for name, value in timings._asdict().items():
            row[name] = value
        return row

    def _rows_written(self, rows: list[NDArray[np.void]]) -> None:
        """Forget the stored frames that now have their row in `frames`."""
        for row in rows:
            self._stored.popleft()
            self._previous = max(self._previous, int(row["number"]))  # some come late
        # frames are stored in order: what is not there by now never comes
        while self._early and next(iter(self._early)) <= self._previous:
            del self._early[next(iter(self._early))]

    def _notice(self, kind: str, frame: int, text: str) -> NDArray[np.void]:
        return np.array([(len(self._tables["status"]), kind, frame, text)], STATUS)

    def _write(
        self,
        spots: NDArray[np.void] | None = None,
        states: NDArray[np.void] | None = None,
        events: NDArray[np.void] | None = None,
        frames: NDArray[np.void] | None = None,
        status: NDArray[np.void] | None = None,
    ) -> None:
        """Commit rows: once they are in the journal they are in the run, and here to count."""
        given = (spots, states, events, frames, status)
        rows = [
            np.empty(0, dtype) if part is None else np.array(part, dtype)
            for part, dtype in zip(given, TABLES.values(), strict=True)
        ]
        self._journal.append(rows)
        for table, part in zip(self._tables.values(), rows, strict=True):
            table.add(part)

    def _maintain(self) -> None:
        """Between two commits: every so often, a column or a new segment of the journal."""
        if self._jobs:
            self._write_column()
        elif self._journal.grown >= self._segment_bytes:
            for table in self._tables.values():
                self._jobs.extend(table.jobs())
            if not self._jobs:
                self._rotate()

    def _write_column(self) -> None:
        """Write one of the columns that are due; after the last, begin a new journal segment."""
        try:
            self._written += self._jobs[0]()
        except OSError as error:
            raise store_error(f"writing columns of {self._path}", error) from error
        self._jobs.popleft()
        if not self._jobs:
            self._rotate()

    def _rotate(self) -> None:
        tables = self._tables.values()
        flushed, waiting = [t.flushed for t in tables], [t.waiting() for t in tables]
        self._journal.rotate(flushed, waiting, list(dict.fromkeys(self._written)))
        self._written = []

    def _settle(self, wait_s: float) -> None:
        """Commit all that waits, when the recorder has ended or has stored nothing for `wait_s`."""
        self._drain()
        deadline, stored = time.monotonic() + wait_s, len(self._stored)
        while self._log is not None and not self._log.ended and time.monotonic() < deadline:
            time.sleep(0.005)
            self._drain()
            if len(self._stored) != stored:
                deadline, stored = time.monotonic() + wait_s, len(self._stored)
        if self._log is not None and not self._log.ended:
            self.status("recorder", -1, "the recorder did not end the movie: frames may be missing")
        while self._pending:
            self._commit_early(self._pending[0])
        if self._stored:
            numbers = [self._previous, *(int(record["number"]) for record in self._stored)]
            numbers = np.maximum.accumulate(numbers).tolist()
            rows = [self._row(r, None, n) for r, n in zip(self._stored, numbers, strict=False)]
            self._write(frames=np.array(rows, FRAME))
            self._rows_written(rows)
        self._drain()

    def _flush(self) -> None:
        """Write every row to its columns, and the columns to disk."""
        for job in self._jobs:
            self._written += job()
        for table in self._tables.values():
            for job in table.jobs(all_rows=True):
                self._written += job()
        sync(dict.fromkeys(self._written), workers=16)


def _counts(update: Update) -> tuple[int, int, int, Timings]:
    """What a frame's row tells of its update: spots, those degraded, what was odd, timings."""
    return len(update.spots), update.degraded, update.odd, update.timings
