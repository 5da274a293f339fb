"""The movie of a run: an OME-Zarr 0.5 image of one chunk a frame, and the log of what is in it.

`movie/0` has the axes t, (z,) y, x; its first axis counts stored exposures. It grows by 64, so its
shape says nothing: a frame exists when `movie/0/commit.log` says so. The log is a file of 64-byte
records, each written at once after the frame's chunk, with its own CRC and that of the pixels; a
reader takes the leading whole records. So a frame that was cut, lost by the disk or damaged is
never returned as data. (The log lies in the folder of an array because Zarr readers look for
nothing there; in a group's folder they would warn of it.)

A killed process loses no frame that `add_frame` returned for. Frames are not synced to disk one by
one: after a power cut those of the last seconds, which the operating system had not written, are
reported as damaged.
"""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, Crc32cCodec

from livespt.stream.errors import InputError, StoreError
from livespt.stream.files import data_sync, store_error, write_all, write_json
from livespt.stream.shared import hold
from livespt.stream.types import Frame, Start

GROWTH = 64  # frames

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
        ("free", "u1", (2,)),
        ("time_s", "<f8"),
        ("pixels_crc", "<u4"),  # CRC-32 of the frame's little-endian pixels
        ("free2", "u1", (16,)),
        ("crc", "<u4"),  # CRC-32 of the bytes before it
    ]
)


def log_record(index: int, frame: Frame) -> NDArray[np.void]:
    """LOG record, (1,), of a frame without its CRCs."""
    record = np.zeros(1, LOG)
    record["index"], record["number"], record["t"] = index, frame.number, frame.t
    record["channel"], record["position"] = frame.channel, frame.position
    record["clock"], record["time_s"] = frame.clock, frame.time_s
    return record


def movie_dtype(start: Start) -> np.dtype[Any]:
    """Little-endian dtype of the frames of a run."""
    return np.dtype(start.dtype).newbyteorder("<")


def create_movie(run: Path, start: Start) -> None:
    """Create the empty movie of the run in the folder `run`, with its OME-Zarr metadata."""
    folder = run / "movie"
    zarr.create_group(folder, attributes={"ome": ome_metadata(start)})
    zarr.create_array(
        folder,
        name="0",
        shape=(GROWTH, *start.shape),
        chunks=(1, *start.shape),
        dtype=movie_dtype(start),
        # measured, 512 x 512 uint16: 0.9 ms more than none, 2.4 times smaller
        compressors=(
            BloscCodec(
                cname="lz4", clevel=1, shuffle="bitshuffle", typesize=movie_dtype(start).itemsize
            ),
            Crc32cCodec(),
        ),
        fill_value=0,
        dimension_names=("t", *start.axes),
    )


def ome_metadata(start: Start) -> dict[str, Any]:
    """OME-Zarr 0.5 `ome` attribute: axes, units, scales; an unknown scale is 1 without a unit."""
    known = {
        "t": start.frame_interval_s,
        "z": start.z_step_um,
        "y": start.pixel_size_um,
        "x": start.pixel_size_um,
    }
    axes, scale = [], []
    for name in ("t", *start.axes):
        axis = {"name": name, "type": "time" if name == "t" else "space"}
        value = known[name]
        if value:
            axis["unit"] = "second" if name == "t" else "micrometer"
        axes.append(axis)
        scale.append(float(value or 1.0))
    transforms = [{"type": "scale", "scale": scale}]
    dataset = {"path": "0", "coordinateTransformations": transforms}
    name = Path(start.source).name or start.run
    return {"version": "0.5", "multiscales": [{"name": name, "axes": axes, "datasets": [dataset]}]}


class LogReader:
    """Reads the commit log of a run's movie at any moment, also while it grows.

    Attributes
    ----------
    ended : bool
        The movie was closed: no frame will follow.
    """

    def __init__(self, run: Path) -> None:
        self._path = run / "movie" / "0" / "commit.log"
        self._count = 0
        self.ended = False

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

    Raises
    ------
    StoreError
        Another process writes this movie or (without `resume`) has begun it, or the disk refuses.
    """

    def __init__(self, path: Path | str, start: Start, *, resume: bool = False) -> None:
        self._folder = Path(path) / "movie" / "0"
        self._shape = tuple(start.shape)
        self._dtype = movie_dtype(start)
        self._count = 0
        log = self._folder / "commit.log"
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
            self._log = os.open(log, flags if resume else flags | os.O_EXCL, 0o644)
            held = hold(log)
            if held is None:
                os.close(self._log)
                raise StoreError(f"{path} is being written by another process: wait for its end")
            self._held = held
            if resume:
                self._count = len(LogReader(Path(path)).poll())
                os.ftruncate(self._log, self._count * LOG.itemsize)
            self._array = zarr.open_array(self._folder, mode="r+").with_config(
                {"write_empty_chunks": True}
            )
        except FileExistsError as error:
            raise StoreError(
                f"{path} is or was written by another process: choose another --out"
            ) from error
        except StoreError:
            raise
        except OSError as error:
            raise store_error(f"opening the movie of {path}", error) from error

    def __len__(self) -> int:
        return self._count

    def add_frame(self, frame: Frame) -> None:
        """Store one exposure; when this returns, readers have it and a kill cannot take it.

        Raises
        ------
        StoreError
            Its shape or dtype is not the run's, or the disk is full or broken: the frame is not in
            the movie, and the next one can be tried.
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
        try:
            if self._count >= self._array.shape[0]:
                self._array.resize((self._array.shape[0] + GROWTH, *self._shape))
            self._array[self._count] = image
            self._append(record)
        except OSError as error:
            raise store_error(f"storing frame {frame.number}", error) from error
        self._count += 1

    def close(self) -> None:
        """Trim the array to the frames it has and end the log.

        Raises
        ------
        StoreError
            The disk is full or broken; what was committed stays readable.
        """
        record = np.zeros(1, LOG)
        record["index"], record["end"] = self._count, 1
        try:
            self._trim()
            self._append(record)
            data_sync(self._log)
        except OSError as error:
            raise store_error("closing the movie", error) from error
        finally:
            self.leave()

    def leave(self) -> None:
        """Let go without an end: what is committed stays, and the movie can be resumed."""
        os.close(self._log)
        os.close(self._held)

    def _append(self, record: NDArray[np.void]) -> None:
        record["crc"] = zlib.crc32(record.tobytes()[:-4])
        write_all(self._log, record.tobytes(), self._count * LOG.itemsize)

    def _trim(self) -> None:
        # Zarr's own resize would list every chunk of the movie to find those beyond the end; there
        # is at most the one of a frame that could not be committed
        document = json.loads((self._folder / "zarr.json").read_text("utf-8"))
        document["shape"][0] = self._count
        write_json(self._folder / "zarr.json", document)
        _chunk(self._folder, self._count, len(self._shape)).unlink(missing_ok=True)


class MovieReader:
    """Reads committed frames of a run's movie at any moment, also while it grows."""

    def __init__(self, run: Path, start: Start) -> None:
        self._run = run
        self._start = start
        self._reader = LogReader(run)
        self._parts: list[NDArray[np.void]] = []
        self._array: zarr.Array[Any] | None = None

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
        record = log[i]
        where = _chunk(Path("movie/0"), i, len(self._start.shape))
        try:
            if self._array is None or self._array.shape[0] <= i:
                self._array = zarr.open_array(self._run / "movie" / "0", mode="r")
            image = np.ascontiguousarray(self._array[i])
        except (ValueError, RuntimeError, OSError, TypeError, KeyError, IndexError) as error:
            raise InputError(
                f"frame {i} of {self._run} is damaged (chunk {where}): {error}"
            ) from error
        shape, crc = tuple(self._start.shape), record["pixels_crc"]
        if image.shape != shape or zlib.crc32(image.data) != crc:
            raise InputError(
                f"frame {i} of {self._run} is damaged: chunk {where} is missing or is not what was "
                "recorded"
            )
        return Frame(
            int(record["number"]),
            int(record["t"]),
            int(record["channel"]),
            int(record["position"]),
            float(record["time_s"]),
            image,
            int(record["clock"]),
        )


def _chunk(folder: Path, i: int, ndim: int) -> Path:
    return folder.joinpath("c", str(i), *["0"] * ndim)
