"""A run on disk: one Zarr v3 group with the movie, the tables, and the first and last word.

    RUN.zarr/zarr.json      start, stop, fields of the tables (attributes.py)
    RUN.zarr/movie          the frames (movie.py)
    RUN.zarr/spots/x ...    the tables, one 1-D array a field (columns.py)
    RUN.zarr/journal        commits not in columns yet (journal.py); gone once there is a `stop`

Two processes write a live run: the recorder its movie (`MovieWriter`), the analyzer its tables
(`TableWriter`); neither waits for the other. A replay does both in one (`RunWriter`). Any number of
processes read at any moment (`open_run`): columns plus journal, whole commits only. Other Zarr
programs see, while a run is written, only the rows in columns; after it is closed, everything.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import zarr
from numpy.typing import NDArray

from livespt.stream.errors import InputError, StoreError
from livespt.stream.host.atomic_files import Durability, store_error, sync
from livespt.stream.store.attributes import read_attributes, write_attributes
from livespt.stream.store.columns import CHUNK_ROWS, TABLES, create_tables, read_rows
from livespt.stream.store.frame_log import LOG, LogReader
from livespt.stream.store.journal_reader import JournalReader
from livespt.stream.store.limits import check_files
from livespt.stream.store.movie import MovieWriter
from livespt.stream.store.movie_reader import MovieReader
from livespt.stream.store.ome_image import create_movie
from livespt.stream.store.run_columns import RunColumns
from livespt.stream.store.table_writer import TableWriter
from livespt.stream.types import Frame, Start, Stop, Update


def create_run(
    path: Path | str,
    start: Start,
    *,
    movie: bool = True,
    chunk_rows: int = CHUNK_ROWS,
    shard_frames: int | None = None,
) -> None:
    """Create an empty run; it exists, whole, when this returns.

    Parameters
    ----------
    movie
        It is to hold the frames too.
    chunk_rows
        A column's chunk.
    shard_frames
        A file of the movie; None: what suits frames of that size.

    Raises
    ------
    StoreError
        `path` exists, its parent does not or is not writable, or the disk is full.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise StoreError(f"folder {path.parent} does not exist: create it or choose another --out")
    try:
        path.mkdir()
        if movie:
            create_movie(path, start, shard_frames)
        create_tables(path, chunk_rows)
        # an array without elements, so that Zarr readers do not look into this folder
        zarr.create_array(path / "journal", shape=(0,), chunks=(1,), dtype="u1")
        sync([*path.rglob("*"), path], workers=16)  # a power cut must not take what can be read
        write_attributes(path, start, TABLES)
        sync([path, path.parent])
    except FileExistsError as error:
        raise StoreError(f"{path} exists already: choose another --out") from error
    except OSError as error:
        raise store_error(f"creating {path}", error) from error


class RunWriter:
    """Writes a run, frames and tables, in one process: what a replay uses.

    Parameters
    ----------
    path
        Must not exist; its parent must.
    start
        First word of the run.
    movie
        Store the frames too. Without them `add_frame` still gives each frame its row in `frames`.
    resume
        Go on with a run whose writer was cut short.
    durability
        When frames and commits are safe from a power cut.

    Attributes
    ----------
    tables : TableWriter
    last : int
        Number of the last frame added; -1: none.

    Raises
    ------
    StoreError
        `path` exists, its parent does not or is not writable, or the disk is full.
    """

    def __init__(
        self,
        path: Path | str,
        start: Start,
        *,
        movie: bool = True,
        resume: bool = False,
        durability: Durability = "second",
    ) -> None:
        if not resume:
            create_run(path, start, movie=movie)
        path = Path(path)
        # a movie that was ended stays so: else a cut here would make it one that was not
        ended = resume and movie and _has_ended(path)
        self._movie = None
        if movie and not ended:
            self._movie = MovieWriter(path, start, resume=resume, durability=durability)
        try:
            self.tables = TableWriter(path, resume=resume, durability=durability)
        except BaseException:
            if self._movie is not None:
                self._movie.leave()
            raise
        self.last = -1
        if self._movie is not None and self._movie.dropped:
            self.tables.status("dropped", -1, f"a power cut took {self._movie.dropped} frames")
        if resume:
            known = LogReader(path).poll() if movie else self.tables.rows("frames")
            self.last = int(known["number"].max(initial=-1))

    def add_frame(self, frame: Frame) -> None:
        """Store a frame, in the order of `number`; every frame, analyzed or not.

        Raises
        ------
        StoreError
            It is unlike the run's frames or out of order, or the disk is full or broken.
        """
        if frame.number <= self.last:
            raise StoreError(
                f"frame {frame.number} came after {self.last}: the source is out of order"
            )
        if self._movie is None:
            self.tables.note_frame(frame)
        else:
            self._movie.add_frame(frame)
        self.last = frame.number

    def commit(self, frame: Frame, update: Update) -> None:
        """Commit what the frame last added produced; when this returns, readers see all of it.

        Raises
        ------
        StoreError
            The frame was not added, or the disk is full or broken: the update is not in the run.
        """
        if frame.number != self.last:
            raise StoreError(f"frame {frame.number} must be added before its update is committed")
        self.tables.commit(frame, update)

    def finish(self, update: Update) -> None:
        """Commit the rows that the end of the run settles; see `TableWriter.finish`."""
        self.tables.finish(update)

    def status(self, kind: str, frame: int, text: str) -> None:
        """Commit an operational notice; see `TableWriter.status`."""
        self.tables.status(kind, frame, text)

    def leave(self) -> None:
        """Let go without a last word: what is committed stays, and the run can be resumed."""
        if self._movie is not None:
            self._movie.leave()
        self.tables.leave()

    def close(self, stop: Stop) -> Stop:
        """End the run; returns the last word with the counts as stored.

        Raises
        ------
        StoreError
            The disk is full or broken. Where the tables fail the run has no last word, where only
            the movie fails that says so; every commit stays readable.
        """
        try:
            if self._movie is not None:
                self._movie.close()
        except StoreError as error:
            stop = replace(stop, status="failed", reason=stop.reason or str(error))
            raise
        finally:
            stop = self.tables.close(stop, wait_s=0)  # no other process has frames to come
        return stop


def _has_ended(path: Path) -> bool:
    log = LogReader(path)
    log.poll()
    return log.ended


class RunReader:
    """Reads a run at any moment, also while it is written.

    Everything is as of one moment, when it was opened or `refresh` was last called: the tables
    agree with each other and hold whole commits only.

    Every table has the columns of `types.py`, whichever version wrote it: those that the run lacks
    are filled (descriptions.py), and further ones that it has follow.

    Attributes
    ----------
    path : Path
    start : Start
    stop : Stop or None
        None: the run is being written, or was cut short.
    has_movie : bool
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        attributes = read_attributes(self.path)
        check_files(self.path)
        self.start: Start = attributes.start
        self.stop: Stop | None = None
        self.has_movie = (self.path / "movie").is_dir()
        self._run_columns = RunColumns(self.path, attributes)
        self._movie = MovieReader(self.path, self.start) if self.has_movie else None
        self._stored = self._run_columns.stored
        self._journal = JournalReader(self.path / "journal", list(self._stored.values()))
        # of each table, the rows read before
        self._held = {k: np.empty(0, dtype) for k, dtype in self._run_columns.given.items()}
        self._now: dict[str, NDArray[np.void]] = {}
        self.refresh()

    def refresh(self) -> None:
        """Move on to everything committed by now.

        Raises
        ------
        InputError
            The run is damaged or was deleted.
        """
        if self.stop is None:
            begun = self._journal.poll()
            # read after the journal: where that is gone, the last word tells why
            self.stop = read_attributes(self.path).stop
            if self.stop is None and not begun and self._journal.begun:
                raise InputError(f"{self.path} is damaged: it has neither a journal nor a stop")
            self._now = {}
        if self._movie is not None:
            self._movie.poll()  # after the tables, which never commit a frame before the movie

    @property
    def spots(self) -> NDArray[np.void]:
        """SPOT rows, (n,), read-only, as the other tables."""
        return self._table("spots")

    @property
    def states(self) -> NDArray[np.void]:
        """STATE rows, (n,)."""
        return self._table("states")

    @property
    def events(self) -> NDArray[np.void]:
        """EVENT rows, (n,)."""
        return self._table("events")

    @property
    def frames(self) -> NDArray[np.void]:
        """FRAME rows, (n,); row i is that of `frame(i)`, where the run has a movie."""
        return self._table("frames")

    @property
    def status(self) -> NDArray[np.void]:
        """STATUS rows, (n,): operational notices."""
        return self._table("status")

    @property
    def log(self) -> NDArray[np.void]:
        """LOG records, (n_frames,), of the stored frames."""
        return np.empty(0, LOG) if self._movie is None else self._movie.log

    @property
    def n_frames(self) -> int:
        """Stored frames; the tables may be behind. 0 in a run without a movie."""
        return len(self.log)

    def frame(self, i: int) -> Frame:
        """The i-th stored frame, from 0, exactly as recorded.

        Raises
        ------
        IndexError
            Not stored (yet).
        InputError
            The run has no movie, or the frame's stored pixels are missing or damaged.
        """
        if self._movie is None:
            raise InputError(f"{self.path} was stored without its movie (--no-movie)")
        return self._movie.frame(i)

    def graded(self, i: int) -> Frame:
        """`frame(i)` with the level (stream/degradation.py) at which it was analyzed, or is to be.

        Raises
        ------
        IndexError, InputError
            As `frame` does, or the table of frames is damaged.
        """
        frame, rows = self.frame(i), self.frames
        told = rows if i < len(rows) else self.log
        return frame._replace(level=int(told["level"][i]))

    def _table(self, name: str) -> NDArray[np.void]:
        if name in self._now:
            return self._now[name]
        place = list(self._stored).index(name)
        journal = [] if self.stop is not None else self._journal.rows[place]
        tail = [self._run_columns.read(name, part) for part in journal]
        stop = None if self.stop is not None else self._journal.flushed[place]
        held = self._held[name]  # whole chunks, read before, never change
        if stop is None or stop > len(held):
            stored = read_rows(self.path / name, self._stored[name], len(held), stop)
            new = self._run_columns.read(name, stored)
            held = self._held[name] = np.concatenate([held, new]) if len(held) else new
        rows = np.concatenate([held, *tail]) if tail else held
        rows.flags.writeable = False
        self._now[name] = rows
        return rows


def open_run(path: Path | str) -> RunReader:
    """Open a run for reading, finished or not.

    Raises
    ------
    InputError
        There is none, it is damaged, or a newer livespt wrote it.
    """
    return RunReader(path)
