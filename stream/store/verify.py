"""Verify: every byte of a run checked against what was written; nothing is changed.

A run that was closed has the sums of its files (checksums.py), and its movie a log with the CRC of
every frame: so what was flipped, cut, deleted, exchanged or edited is found and named. A run that
is being written, or was cut short, is checked as far as it was committed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.stream.errors import InputError, StoreError
from livespt.stream.store import checksums
from livespt.stream.store.attributes import Attributes, read_attributes
from livespt.stream.store.columns import read_rows
from livespt.stream.store.frame_log import COMMIT_LOG, LOG, LogReader
from livespt.stream.store.journal_reader import JournalReader
from livespt.stream.store.journal_records import is_torn
from livespt.stream.store.limits import check_file, check_files
from livespt.stream.store.movie_reader import MovieReader
from livespt.stream.store.ome_image import shard_frames
from livespt.stream.store.shards import index_of, read_part, shard_path


class Fault(NamedTuple):
    """Something that is not as it was written."""

    where: str  # in the run: a file, a table, a frame
    what: str


def verify(run: Path) -> Iterator[Fault]:
    """Find what is wrong with a run, part by part.

    Raises
    ------
    InputError
        There is no run, or a newer livespt wrote it. (One whose first word is damaged is a fault.)
    """
    try:
        attributes = read_attributes(run)
    except InputError as error:
        is_run = any((run / name).exists() for name in ("spots", "journal"))
        if not is_run or str(error).endswith(": update it"):
            raise
        yield Fault("zarr.json", str(error))
        return
    try:
        check_files(run)
    except InputError as error:
        yield Fault("files", str(error))
        return
    if attributes.sums is None:
        faults = list(_committed(run, attributes))
        if faults and read_attributes(run).stop != attributes.stop:  # closed meanwhile
            yield from verify(run)
            return
        yield from faults
    else:
        for name, packed in attributes.sums.items():
            if Path(name).is_absolute() or ".." in Path(name).parts:
                yield Fault("zarr.json", f"sums of {name!r}, which is no part of a run")
                continue
            yield from _files(run, name, packed)
    yield from _movie(run, attributes)


def _files(run: Path, name: str, packed: str) -> Iterator[Fault]:
    """An array: its zarr.json and its chunks; or a file of its own."""
    try:
        first, *chunks = checksums.unpacked(packed)
    except ValueError:
        yield Fault("zarr.json", f"no sums of {name}")
        return
    yield from _file(run, run / name if name == COMMIT_LOG else run / name / "zarr.json", first)
    for k, expected in enumerate(chunks):
        yield from _file(run, run / name / "c" / str(k), expected)
    beyond = run / name / "c" / str(len(chunks))
    if not name.startswith("movie") and beyond.exists():
        yield Fault(beyond.relative_to(run).as_posix(), "was not written by this run")


def _file(run: Path, path: Path, expected: int) -> Iterator[Fault]:
    where = path.relative_to(run).as_posix()
    try:
        check_file(run, path)
        if checksums.file_sum(path) != expected:
            yield Fault(where, "is not what was written")
    except FileNotFoundError:
        yield Fault(where, "is missing")
    except InputError as error:
        yield Fault(where, str(error))
    except OSError as error:
        yield Fault(where, f"cannot be read: {error.strerror}")


def _committed(run: Path, attributes: Attributes) -> Iterator[Fault]:
    """Tables of a run without sums: journal and columns, as far as they are committed."""
    names, dtypes = list(attributes.tables), list(attributes.tables.values())
    journal = JournalReader(run / "journal", dtypes)
    try:
        begun = journal.poll()
    except InputError as error:
        yield Fault("journal", str(error))
        return
    if not begun and attributes.stop is None and (run / "journal").is_dir():
        return  # created, nothing committed yet
    if not begun and attributes.stop is None:
        yield Fault("journal", "is missing, and the run has no last word")
    if attributes.stop is None and not is_torn(journal.tail()):
        yield Fault("journal", "a commit is not what was written: it and those after it are lost")
    for place, name in enumerate(names):
        stop = journal.flushed[place] if attributes.stop is None else None
        try:
            read_rows(run / name, attributes.tables[name], 0, stop)
        except InputError as error:
            yield Fault(name, str(error))


def _movie(run: Path, attributes: Attributes) -> Iterator[Fault]:
    """Every frame that the log tells of, and that a closed run has them all."""
    known = attributes.sums is not None and "movie" in attributes.sums
    if not (run / "movie").is_dir():
        if known:
            yield Fault("movie", "is missing")
        return
    reader, log = MovieReader(run, attributes.start), LogReader(run)
    reader.poll()
    log.poll()
    count, stop = len(reader.log), attributes.stop
    if (known and not log.ended) or (stop and not known and count < stop.recorded):
        yield Fault(COMMIT_LOG, "does not reach the end of the movie")
    elif not log.ended and _records(run) > count:
        yield Fault(COMMIT_LOG, f"record {count} is not what was written: no frame from there on")
    for i in range(count):
        try:
            reader.frame(i)
        except InputError as error:
            yield Fault(f"movie, frame {i}", str(error))
    if count and reader.log["length"][0]:
        yield from _shards(run, reader.log, len(attributes.start.shape), log.ended)


def _shards(run: Path, log: NDArray[np.void], ndim: int, ended: bool) -> Iterator[Fault]:
    """That the frames fill the movie's shards, and the index of each tells where they are."""
    try:
        frames = shard_frames(run / "movie" / "0")
    except StoreError as error:
        yield Fault("movie/0/zarr.json", str(error))
        return
    for number in range(-(-len(log) // frames)):
        places = log[number * frames : (number + 1) * frames]
        ends = places["offset"] + places["length"]
        filled = np.array_equal(places["offset"], [0, *ends[:-1]])
        path = shard_path(run / "movie" / "0", number, ndim)
        if not filled or (places["shard"] != number).any():
            yield Fault(COMMIT_LOG, f"the frames of shard {number} do not lie one behind another")
        elif not path.exists() and (ended or number < (len(log) - 1) // frames):
            yield Fault(path.relative_to(run).as_posix(), "is missing")
        elif path.exists():
            index = index_of(places[["offset", "length"]].tolist(), frames)
            if read_part(path, int(ends[-1]), None) != index:
                yield Fault(path.relative_to(run).as_posix(), "its index is not what was written")
    beyond = shard_path(run / "movie" / "0", -(-len(log) // frames), ndim)
    if ended and beyond.exists():
        yield Fault(beyond.relative_to(run).as_posix(), "was not written by this run")


def _records(run: Path) -> int:
    """Whole records that the movie's log has room for."""
    path = run / COMMIT_LOG
    return path.stat().st_size // LOG.itemsize if path.exists() else 0
