"""The movie of a run: an OME-Zarr 0.5 image in shards of many frames, and the log of what is in it.

`movie/0` has the axes t, (z,) y, x; its first axis counts stored exposures. Frames are appended to
a shard (shards.py), and each is told of by a record in the log (frame_log.py) written at once after
it: a frame exists when the log says so. So one that was cut, lost by the disk or damaged is never
returned as data. Other Zarr readers see, while the movie grows, the frames of the shards that are
full, and when it is closed all of them. Runs of formats before 4 have a chunk file a frame, which
is read in the same way.

A killed process loses no frame that `add_frame` returned for. What a power cut takes depends on the
durability (stream/host/atomic_files.py): "frame" syncs the frame and then its record before
`add_frame` returns; "second" has a thread do so every `SYNC_S`; "end" syncs nothing before `close`.
Frames are synced before records, but a record may reach the disk before the frame it tells of:
`resume` drops such records from the end of the log.
"""

from __future__ import annotations

import errno
import os
import shutil
import threading
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

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
from livespt.stream.store.frame_log import COMMIT_LOG, LOG, LogReader, log_record, sealed
from livespt.stream.store.movie_reader import read_frame
from livespt.stream.store.ome_image import movie_dtype, shard_frames, show
from livespt.stream.store.shards import OpenShard, encode, shard_path
from livespt.stream.types import Frame, Start

SYNC_S = 0.5  # longest time between a frame and its sync at durability "second"
# good records behind a bad one that a power cut may leave, which writes as it likes what was not
# synced; more are no cut, but a damaged log
MAX_DISORDER = 256
RESERVE = 64 << 20  # bytes of the disk that frames leave to the tables; at most a twentieth of it


class MovieWriter:
    """Stores the frames of a run: all of them, in order, in the recorder's process.

    Parameters
    ----------
    path
        Folder of a run made by `create_run` with a movie.
    start
        Of the run: axes, shape and dtype of its frames.
    resume
        Go on with a movie whose writer was cut short, after its last frame.
    durability
        When frames are safe from a power cut.

    Attributes
    ----------
    dropped : int
        Records of frames that a power cut took, dropped by `resume`.

    Raises
    ------
    StoreError
        Another process writes this movie, or (without `resume`) has begun it; the disk refuses; an
        older livespt has begun it.
    """

    def __init__(
        self,
        path: Path | str,
        start: Start,
        *,
        resume: bool = False,
        durability: Durability = "second",
    ) -> None:
        self._run = Path(path)
        self._folder = self._run / "movie" / "0"
        self._shape = tuple(start.shape)
        self._dtype = movie_dtype(start)
        self._durability = durability
        self._count = self.dropped = 0
        self._short = False  # of room on the disk
        self._lock = threading.Lock()  # guards the next four between two threads
        self._dirty = True
        self._due: list[Path] = []  # files and folders of shards to be synced
        self._finished = self._shown = 0  # frames in named shards; of them, in the array's shape
        try:
            self._frames = shard_frames(self._folder)
            self._log, self._held = self._open_log(resume)
            try:
                self._shard = self._open_shard(*(self._continue() if resume else (0, [])))
            except OSError:
                self._let_go()
                raise
        except StoreError:
            raise
        except OSError as error:
            raise store_error(f"opening the movie of {path}", error) from error
        passing = durability != "frame"
        self._passing = BackgroundSync("movie-sync", SYNC_S, self._sync) if passing else None

    def __len__(self) -> int:
        return self._count

    def add_frame(self, frame: Frame) -> None:
        """Store one exposure; when this returns, readers have it and a kill cannot take it.

        Raises
        ------
        StoreError
            Its shape or dtype is not the run's, or the disk is full or broken: the frame is not in
            the movie (`len` tells, where only its sync failed), and the next one can be tried.
        """
        image = frame.image
        if image.shape != self._shape or image.dtype.newbyteorder("<") != self._dtype:
            raise StoreError(
                f"frame {frame.number} is {image.dtype} {image.shape} but this run's frames are "
                f"{self._dtype} {self._shape}: start a new run after changing the camera"
            )
        image = np.ascontiguousarray(image, dtype=self._dtype)
        record = log_record(self._count, frame)
        record["pixels_crc"] = zlib.crc32(image.data)
        data = encode(image)
        try:
            if self._passing is not None and self._passing.error is not None:
                raise self._passing.error
            self._check_room(len(data))
            if self._shard.full:
                self._next_shard()
            self._commit(record, data)
            if self._durability == "frame":
                self._sync()
        except OSError as error:
            raise store_error(f"storing frame {frame.number}", error) from error

    def close(self) -> None:
        """Finish the last shard, give the array the frames it has and end the log.

        Raises
        ------
        StoreError
            The disk is full or broken; what was committed stays readable.
        """
        record = np.zeros(1, LOG)
        record["index"], record["end"] = self._count, 1
        try:
            if self._passing is not None:
                self._passing.close()
            self._sync(last=True)
            self._shard.finish()
            sync([p for p in (self._shard.path, self._shard.path.parent) if p.exists()])
            show(self._folder, self._count)
            write_all(self._log, sealed(record), self._count * LOG.itemsize)
            data_sync(self._log)
        except OSError as error:
            raise store_error("closing the movie", error) from error
        finally:
            self._shard.close()
            self._let_go()

    def leave(self) -> None:
        """Let go without an end: what is committed stays, and the movie can be resumed."""
        if self._passing is not None:
            self._passing.close()
        self._shard.close()
        self._let_go()

    def _let_go(self) -> None:
        os.close(self._log)
        os.close(self._held)

    def _open_log(self, resume: bool) -> tuple[int, int]:
        """Descriptors of the log, for writing, and of its lock."""
        log = self._run / COMMIT_LOG
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
        try:
            descriptor = os.open(log, flags if resume else flags | os.O_EXCL, 0o644)
        except FileExistsError as error:
            raise StoreError(
                f"{self._run} is or was written by another process: choose another --out"
            ) from error
        held = hold(log)
        if held is None:
            os.close(descriptor)
            raise StoreError(f"{self._run} is being written by another process: wait for its end")
        return descriptor, held

    def _continue(self) -> tuple[int, list[tuple[int, int]]]:
        """Drop what is not whole; returns the shard to go on with, its frames as (offset, length).

        Frames whose record reached the disk before a power cut, and they did not, are at the end.
        """
        reader = LogReader(self._run)
        records = reader.poll()
        count = len(records)
        if (beyond := reader.beyond()) > MAX_DISORDER:
            raise StoreError(
                f"{self._run / COMMIT_LOG} is damaged at record {count}, {beyond} good ones follow "
                "it: copy the run again from a good disk"
            )
        while count and not self._is_whole(records[count - 1]):
            count -= 1
        self._count, self.dropped = count, len(records) - count
        os.ftruncate(self._log, count * LOG.itemsize)
        number = max(count - 1, 0) // self._frames
        first = number * self._frames
        for shard in (self._folder / "c").glob("*"):
            if shard.name.isdigit() and int(shard.name) > number:
                shutil.rmtree(shard)
        for partial in self._folder.glob("*.partial"):
            partial.unlink()
        show(self._folder, first)  # before the shard loses its name
        self._finished = self._shown = first
        return number, records[["offset", "length"]][first:count].tolist()

    def _is_whole(self, record: np.void) -> bool:
        try:
            read_frame(self._folder, record, self._shape, self._dtype)
        except (FileNotFoundError, ValueError, RuntimeError):
            return False
        return True

    def _open_shard(self, number: int, places: list[tuple[int, int]]) -> OpenShard:
        path = shard_path(self._folder, number, len(self._shape))
        shard = OpenShard(path, self._frames, places)
        with self._lock:
            self._due += path.parents[: len(self._shape) + 2]  # up to the array's folder
        return shard

    def _next_shard(self) -> None:
        """Finish the shard that is full and begin the next; repeated after an error."""
        shard = self._open_shard(self._count // self._frames, [])
        try:
            with self._lock:
                self._shard.finish()
                self._due += [self._shard.path, self._shard.path.parent]
                self._shard, self._finished = shard, self._count
        except OSError:
            shard.close()
            raise

    def _check_room(self, size: int) -> None:
        """Raise OSError where a frame would take what is reserved; then until there is twice that.

        So a full disk stops the frames while there is room for the tables, and not in fits.
        """
        disk = shutil.disk_usage(self._folder)
        reserve = min(RESERVE, disk.total // 20)
        self._short = disk.free < size + reserve * (2 if self._short else 1)
        if self._short:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _commit(self, record: NDArray[np.void], data: bytes) -> None:
        """Append a frame, then the record that tells of it: both or none."""
        record["shard"], record["length"] = self._count // self._frames, len(data)
        record["offset"] = self._shard.append(data)
        try:
            write_all(self._log, sealed(record), self._count * LOG.itemsize)
        except OSError:
            self._shard.drop()
            raise
        self._count += 1
        self._dirty = True

    def _sync(self, *, last: bool = False) -> None:
        """Put on disk what the durability asks for, frames before records, and show full shards."""
        descriptors, due = [], []
        with self._lock:
            finished = self._finished
            if self._dirty and (last or self._durability != "end"):
                descriptors = [os.dup(self._shard.descriptor), os.dup(self._log)]
                due, self._due, self._dirty = self._due, [], False
        try:
            sync(dict.fromkeys(due), workers=16 if len(due) > 16 else 1)
            for descriptor in descriptors:
                data_sync(descriptor)
        except OSError:
            with self._lock:
                self._due, self._dirty = due + self._due, True
            raise
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        if finished != self._shown:
            show(self._folder, finished)
            self._shown = finished
