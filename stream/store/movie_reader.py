"""Movie reader: the frames of a movie that exist, while its writer may be at work."""

from __future__ import annotations

import contextlib
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.stream.errors import InputError
from livespt.stream.store.frame_log import LOG, LogReader
from livespt.stream.store.limits import check_file
from livespt.stream.store.ome_image import movie_dtype
from livespt.stream.store.shards import decode, open_path, read_part, shard_path
from livespt.stream.types import Frame, Start


def read_frame(
    folder: Path, record: np.void, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> NDArray[Any]:
    """The pixels that a record tells of; FileNotFoundError or ValueError if they are not there."""
    length = int(record["length"])
    number = int(record["shard"] if length else record["index"])
    path = shard_path(folder, number, len(shape))
    offset, most = int(record["offset"]), 2 * math.prod(shape) * dtype.itemsize + 4096
    if length > most or offset >= 1 << 62:
        raise ValueError("it lies where no frame can lie")
    for name in (path, open_path(path)):
        with contextlib.suppress(FileNotFoundError):
            check_file(folder, name)
    image = decode(read_part(path, offset, length or None), shape, dtype)
    if zlib.crc32(image.data) != record["pixels_crc"]:
        raise ValueError("it is not what was recorded")
    return image


class MovieReader:
    """Reads committed frames of a run's movie at any moment, also while it grows."""

    def __init__(self, run: Path, start: Start) -> None:
        self._run = run
        self._start = start
        self._reader = LogReader(run)
        self._parts: list[NDArray[np.void]] = []

    @property
    def log(self) -> NDArray[np.void]:
        """LOG records, (n,), of the frames committed when `poll` was last called."""
        if len(self._parts) != 1:
            self._parts = [np.concatenate(self._parts or [np.empty(0, LOG)])]
        return self._parts[0]

    def poll(self) -> None:
        """Take in the frames committed since the last call."""
        new = self._reader.poll()
        if len(new):
            self._parts.append(new)

    def frame(self, i: int) -> Frame:
        """The i-th committed frame, counted from 0.

        Raises
        ------
        IndexError
            There is no such frame (yet).
        InputError
            Its stored pixels are missing or damaged.
        """
        log = self.log
        if not 0 <= i < len(log):
            raise IndexError(f"frame {i} of {len(log)} in {self._run}")
        record, shape = log[i], tuple(self._start.shape)
        try:
            image = read_frame(self._run / "movie" / "0", record, shape, movie_dtype(self._start))
        except (ValueError, RuntimeError, OSError, MemoryError) as error:
            number = int(record["shard"] if record["length"] else i)
            where = shard_path(Path("movie/0"), number, len(shape)).as_posix()
            raise InputError(f"frame {i} of {self._run} is damaged ({where}): {error}") from error
        return Frame(
            int(record["number"]),
            int(record["t"]),
            int(record["channel"]),
            int(record["position"]),
            float(record["time_s"]),
            image,
            int(record["clock"]),
        )
