"""The commit log of a movie: a checked record of 64 bytes for every frame that was stored.

`movie/0/commit.log` alone says which frames exist: a reader takes the leading whole records. Each
is written at once after the bytes of its frame, with its own CRC and that of the pixels. (The log
lies in the folder of an array because Zarr readers look for nothing there; in a group's folder they
would warn of it.)
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from livespt.stream.types import Frame

COMMIT_LOG = "movie/0/commit.log"  # in the folder of a run

# One committed exposure, in the order of recording. Little endian, 64 bytes.
LOG = np.dtype(
    [
        ("index", "<u8"),  # along the first axis of movie/0; equals the record's place
        ("number", "<i8"),  # counts exposures
        ("t", "<i8"),  # time point
        ("channel", "<i2"),
        ("position", "<i2"),
        ("clock", "u1"),  # index into CLOCKS
        ("end", "u1"),  # 1: no frame but the end of the movie
        ("level", "u1"),  # of `stream.degradation`, where it was known: in a replay
        ("free", "u1"),
        ("time_s", "<f8"),
        ("pixels_crc", "<u4"),  # CRC-32 of the frame's little-endian pixels
        ("offset", "<u8"),  # of the encoded frame in its shard
        ("length", "<u4"),  # in bytes; 0: formats before 4, a chunk file a frame
        ("shard", "<u4"),
        ("crc", "<u4"),  # CRC-32 of the bytes before it
    ]
)


def log_record(index: int, frame: Frame) -> NDArray[np.void]:
    """LOG record, (1,), of a frame without its CRCs and its place in a shard."""
    record = np.zeros(1, LOG)
    record["index"], record["number"], record["t"] = index, frame.number, frame.t
    record["channel"], record["position"] = frame.channel, frame.position
    record["clock"], record["time_s"] = frame.clock, frame.time_s
    record["level"] = frame.level
    return record


def sealed(record: NDArray[np.void]) -> bytes:
    """The bytes of a LOG record, (1,), with its own CRC."""
    record["crc"] = zlib.crc32(record.tobytes()[:-4])
    return record.tobytes()


class LogReader:
    """Reads the commit log of a run's movie at any moment, also while it grows.

    Attributes
    ----------
    ended : bool
        The movie was closed: no frame will follow.
    """

    def __init__(self, run: Path) -> None:
        self._path = run / COMMIT_LOG
        self._count = 0
        self.ended = False

    def beyond(self) -> int:
        """Good records behind the first bad one: of a log that was cut short there are none."""
        data = self._path.read_bytes()[self._count * LOG.itemsize :] if self._path.exists() else b""
        parts = [data[i : i + LOG.itemsize] for i in range(0, len(data), LOG.itemsize)]
        return sum(
            len(part) == LOG.itemsize and zlib.crc32(part[:-4]).to_bytes(4, "little") == part[-4:]
            for part in parts[1:]
        )

    def poll(self) -> NDArray[np.void]:
        """LOG records, (n,), of the frames committed since the last call."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._count * LOG.itemsize)
                data = file.read()
        except FileNotFoundError:
            data = b""
        records = np.frombuffer(data, LOG, len(data) // LOG.itemsize)
        view, good = memoryview(data), 0
        for i, (crc, index, end) in enumerate(
            zip(records["crc"], records["index"], records["end"], strict=True)
        ):
            body = view[i * LOG.itemsize : (i + 1) * LOG.itemsize - 4]
            if zlib.crc32(body) != crc or index != self._count:
                break
            if end:
                self.ended = True
                break
            good, self._count = i + 1, self._count + 1
        return records[:good]
