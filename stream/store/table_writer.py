"""Writes the tables of a run: each commit to the journal, and from there to columns in passing."""

from __future__ import annotations

import shutil
import time
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import zarr
from numpy.typing import NDArray

from livespt.stream.errors import StoreError
from livespt.stream.host.atomic_files import Durability, store_error
from livespt.stream.store.attributes import read_attributes, write_last_word
from livespt.stream.store.checksums import of_run
from livespt.stream.store.column_writer import ColumnWriter
from livespt.stream.store.columns import STATUS, TableColumns
from livespt.stream.store.frame_ledger import MARKED, Counts, FrameLedger, TablePosition
from livespt.stream.store.journal import JournalWriter
from livespt.stream.store.last_word import counted
from livespt.stream.store.run_columns import RunColumns
from livespt.stream.store.started_frames import StartedFrames
from livespt.stream.types import Frame, Stop, Update

SEGMENT_BYTES = 16 << 20  # of commits, before a journal segment is moved to columns
MAX_PENDING = 1024  # updates held for frames that the recorder has not stored yet
MAX_WAITING = 256 << 20  # bytes of updates held while the disk takes none; more are dropped
MAX_NOTICES = 1024


class TableWriter:
    """Writes the tables of a run: the analyzer's half.

    In a run with a movie a commit waits, in memory, until the recorder has stored its frame, and
    `frames` gets a row for every stored frame in order, with analyzed = 0 where none was committed.
    An update whose frame the recorder lost is stored all the same (events stay without a gap), with
    a notice in `status` and no row in `frames`.

    A run that another version began keeps its columns (run_columns.py).

    Parameters
    ----------
    path
        Of a run made by `create_run`.
    segment_bytes
        Commits are moved from the journal to columns whenever they have grown by this much.
    resume
        Go on after the last commit of a writer that died.
    durability
        When commits are safe from a power cut.

    Attributes
    ----------
    dropped : int
        Updates of which no more than the events were taken: the disk took none for too long.
    columns : RunColumns
    before : TAKEN array (n,)
        The frames that those who died had begun to analyze, see `taking`.

    Raises
    ------
    InputError
        Not a run.
    StoreError
        Another writer has begun its tables, or the disk refuses.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        resume: bool = False,
        durability: Durability = "second",
    ) -> None:
        self._path = Path(path)
        self.columns = RunColumns(self._path, read_attributes(self._path))
        self.columns.check()
        self._roll = FrameLedger(self._path)
        self._pending: deque[Update] = deque()  # whose frame is not known to be stored
        self._final: deque[Update] = deque()
        self._notices: deque[tuple[str, int, str]] = deque(maxlen=MAX_NOTICES)
        self._waiting = 0  # bytes of `_pending`
        self.dropped = 0
        self._last = -1  # number of the last update taken
        chunk = zarr.open_array(self._path / "spots" / "frame", mode="r").chunks[0]
        dtypes = self.columns.stored
        self._tables = {
            name: TableColumns(self._path / name, dtype, chunk) for name, dtype in dtypes.items()
        }
        folder = self._path / "journal"
        self._journal = JournalWriter(
            folder, list(dtypes.values()), resume=resume, durability=durability
        )
        self._column_writer = ColumnWriter(self._path, self._tables, self._journal, segment_bytes)
        try:
            if resume:
                self._reopen()
            self._taken = StartedFrames(folder / "taken.bin", resume=resume)
        except OSError as error:
            self._journal.close()
            raise store_error(f"opening {self._path}", error) from error
        self.before = self._taken.before

    def taking(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Yield frames, noting each as taken first: where this process dies, others know them."""
        last = int(self.before["number"].max(initial=-1))
        for frame in frames:
            if frame.number > last:
                self._taken.append(frame.number, frame.level)
            yield frame

    def commit(self, frame: Frame, update: Update) -> None:
        """Commit what a frame produced: spots, states, events and its row, all or nothing.

        Raises
        ------
        StoreError
            The disk is full or broken: what is not committed waits and the next call, be it with
            this update again, goes on from there. Only when more waits than memory is for, no more
            than the events of the update are kept.
        """
        if update.number != self._last:  # else it was taken by a call that failed
            self.note_frame(frame)
            self._last = update.number
            if self._waiting > MAX_WAITING:  # events are few, and numbered without a gap
                self.dropped += 1
                update = update._replace(spots=update.spots[:0], states=update.states[:0])
            if self._waiting <= MAX_WAITING or len(update.events):
                self._pending.append(update)
                self._waiting += update.nbytes
        self._drain()

    def note_frame(self, frame: Frame) -> None:
        """Tell of a frame in a run without a movie, so that it has a row if none is committed."""
        self._roll.note(frame)

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

    def rows(self, table: str, start: int = 0) -> NDArray[np.void]:
        """Committed rows of a table from `start` on, with the columns that a reader returns."""
        return self.columns.read(table, self._tables[table].rows(start))

    def count(self, table: str) -> int:
        """Committed rows of a table."""
        return len(self._tables[table])

    def mark(self) -> TablePosition:
        """Where the tables will be when all updates taken by now are committed."""
        rows = {
            name: len(self._tables[name]) + sum(len(getattr(u, name)) for u in self._pending)
            for name in MARKED
        }
        return TablePosition(self._last, rows, self._roll.analyzed + len(self._pending))

    def reached(self, mark: TablePosition) -> TablePosition | None:
        """The mark with the number of the journal record by which it is true; None: not yet."""
        if self._pending and self._pending[0].number <= mark.number:
            return None
        early = {n: counts[:2] for n, counts in self._roll.early.items() if n <= mark.number}
        return mark._replace(record=self._journal.number, early=early)

    def is_synced(self, mark: TablePosition) -> bool:
        """Whether a power cut cannot take what a mark that was reached tells of."""
        return self._journal.synced >= mark.record

    def recall(self, mark: TablePosition) -> None:
        """Take in what `frames` does not tell, of the marks of a writer that died."""
        frames = self.rows("frames")
        with_row = (frames["analyzed"] == 1) & (frames["number"] <= mark.number)
        self._roll.recall(mark.analyzed - int(with_row.sum()), mark.early)
        self._last = max(self._last, mark.number)

    def recall_early(self, update: Update) -> None:
        """Take in that this update, made anew, was committed before its frame was stored."""
        self._roll.note_early(update.number, Counts.of(update))
        self._last = max(self._last, update.number)

    def status(self, kind: str, frame: int, text: str) -> None:
        """Commit an operational notice: `kind` up to 16 characters, `text` up to 240.

        Raises
        ------
        StoreError
            The disk is full or broken: the notice waits and the next call tries again.
        """
        self._notices.append((kind, frame, text))
        self._drain()

    def leave(self) -> None:
        """Let go without a last word: what is committed stays, and the run can be resumed.

        Raises
        ------
        StoreError
            The last commits could not be synced.
        """
        self._taken.close()
        self._journal.close()

    def close(self, stop: Stop, *, wait_s: float = 5.0) -> Stop:
        """Move everything to columns, write the last word, delete the journal.

        Parameters
        ----------
        stop
            Its counts of frames, spots, states and events are replaced by what is stored.
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
                self._column_writer.flush()
            finally:
                self.leave()
            last = max(self._roll.previous, self._last)
            stop = counted(self._path, stop, self._roll.analyzed, last, self.count)
            ended = self._roll.log is not None and self._roll.log.ended
            sums = of_run(self._path, self._column_writer.sums(), movie=ended)
            write_last_word(self._path, stop, sums)
            shutil.rmtree(self._path / "journal")
        except StoreError:
            raise
        except OSError as error:
            raise store_error(f"closing {self._path}", error) from error
        return stop

    def _reopen(self) -> None:
        """Go on where the writer that died left off."""
        self._column_writer.reopen(self._journal.held)
        for partial in self._path.glob("*.partial"):
            partial.unlink()
        frames = self.rows("frames")
        self._roll.reopen(frames)
        self._last = int(frames["number"][frames["analyzed"] == 1].max(initial=-1))

    def _drain(self) -> None:
        """Commit what can go, in order: rows of skipped frames, updates, the final rows."""
        while self._notices:
            self._write(status=self._notice(*self._notices[0]))
            self._notices.popleft()
            self._column_writer.step()
        self._roll.poll()
        stored = self._roll.stored
        while self._pending:
            update = self._pending[0]
            if stored and stored[0]["number"] <= update.number:
                self._commit_until(update)
            elif stored or len(self._pending) > MAX_PENDING:
                self._commit_early(update)
            else:
                return
            self._column_writer.step()
        while self._final:
            update = self._final[0]
            self._write(spots=update.spots, states=update.states, events=update.events)
            self._final.popleft()
            self._column_writer.step()

    def _commit_until(self, update: Update) -> None:
        """Commit the rows of stored frames up to an update's, and the update if its is there."""
        rows = self._roll.rows(update.number, Counts.of(update))
        if rows["number"][-1] == update.number:
            self._write(update.spots, update.states, update.events, rows)
            self._waiting -= self._pending.popleft().nbytes
            self._roll.analyzed += 1
        else:
            self._write(frames=rows)
        self._roll.written(rows)

    def _commit_early(self, update: Update) -> None:
        """Commit an update whose frame the recorder has lost, or stores far too late."""
        notice = None
        if update.number - 1 not in self._roll.early:  # one notice for frames in a row
            text = f"frame {update.number} was analyzed before it was recorded, if it was at all"
            notice = self._notice("unrecorded", update.t, text)
        self._write(update.spots, update.states, update.events, status=notice)
        self._waiting -= self._pending.popleft().nbytes
        self._roll.note_early(update.number, Counts.of(update))

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
        given = dict(spots=spots, states=states, events=events, frames=frames, status=status)
        rows = [self.columns.put(name, given.get(name)) for name in self._tables]
        self._journal.append(rows)
        for table, part in zip(self._tables.values(), rows, strict=True):
            table.add(part)

    def _settle(self, wait_s: float) -> None:
        """Commit all that waits, when the recorder has ended or has stored nothing for `wait_s`."""
        self._drain()
        log, deadline, stored = self._roll.log, time.monotonic() + wait_s, len(self._roll.stored)
        while log is not None and not log.ended and time.monotonic() < deadline:
            time.sleep(0.005)
            self._drain()
            if len(self._roll.stored) != stored:
                deadline, stored = time.monotonic() + wait_s, len(self._roll.stored)
        if log is not None and not log.ended:
            self.status("recorder", -1, "the recorder did not end the movie: frames may be missing")
        while self._pending:
            self._commit_early(self._pending[0])
        if self._roll.stored:
            rows = self._roll.rows()
            self._write(frames=rows)
            self._roll.written(rows)
        self._drain()
