"""Shards: files of many frames, written by appending, that every Zarr v3 reader can read.

A shard of the codec `sharding_indexed` is its encoded inner chunks, here one a frame, in any
places, then an index of their places with a checksum. So it can be written as frames come: each
frame's bytes are appended to `c/<shard>/0/0.open`, a name no Zarr reader looks for, and when the
shard is full, or the movie ends, the index is appended and the file gets its name `c/<shard>/0/0`.
A frame is never written twice, and files are as few as shards. Until a shard has its name, only
what knows the places of its frames (frame_log.py) can read it.

The bytes of a shard depend on its frames alone: they lie one behind another in order.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numcodecs.blosc import Blosc
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, Crc32cCodec

from livespt.stream.host.atomic_files import write_all

FRAMES = 256  # a shard, at most: 3907 files for 10^6 frames
MAX_BYTES = 1 << 30  # of the pixels of a shard, where that takes fewer frames
NOWHERE = (1 << 64) - 1  # offset and length, in an index, of a frame that does not exist
CRC = struct.Struct("<I")
BLOSC = struct.Struct("<4xIII")  # a Blosc header: versions, flags; bytes of pixels, a block, all


def frames_a_shard(shape: Sequence[int], dtype: np.dtype[Any]) -> int:
    """How many frames of that kind a shard takes."""
    return max(1, min(FRAMES, MAX_BYTES // max(1, prod(shape) * dtype.itemsize)))


def codecs(dtype: np.dtype[Any]) -> tuple[BloscCodec, Crc32cCodec]:
    """What `encode` does, as Zarr's metadata says it."""
    # measured, 512 x 512 uint16: 0.9 ms more than none, 2.4 times smaller
    return (
        BloscCodec(cname="lz4", clevel=1, shuffle="bitshuffle", typesize=dtype.itemsize),
        Crc32cCodec(),
    )


def encode(image: NDArray[Any]) -> bytes:
    """The bytes of a frame, contiguous and little endian: Blosc, then CRC-32C."""
    blosc = Blosc("lz4", clevel=1, shuffle=Blosc.BITSHUFFLE, typesize=image.dtype.itemsize)
    return checked(bytes(blosc.encode(image)))


def decode(data: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """The frame, `shape` of `dtype`, that `encode` made these bytes of; ValueError if damaged."""
    body = unchecked(data)
    image = np.empty(shape, dtype)
    if len(body) < BLOSC.size:
        raise ValueError("it is too short")
    pixels, _, size = BLOSC.unpack_from(body)
    if (pixels, size) != (image.nbytes, len(body)):
        raise ValueError("it is not of the size of a frame")
    Blosc().decode(body, image)
    return image


def checked(body: bytes) -> bytes:
    """Bytes followed by their CRC-32C."""
    return body + CRC.pack(google_crc32c.value(body))


def unchecked(data: bytes) -> bytes:
    """Undo `checked`; ValueError if the checksum is not that of the bytes before it."""
    body = data[: -CRC.size]
    if len(data) <= CRC.size or CRC.pack(google_crc32c.value(body)) != data[-CRC.size :]:
        raise ValueError("its checksum is wrong")
    return body


def index_of(places: Sequence[tuple[int, int]], frames: int) -> bytes:
    """The index of a shard of `frames`, of which these, (offset, length), exist."""
    index = np.full((frames, 2), NOWHERE, "<u8")
    if places:
        index[: len(places)] = places
    return checked(index.tobytes())


def shard_path(folder: Path, number: int, ndim: int) -> Path:
    """The file of a shard of frames of `ndim` axes, in the folder of its array."""
    return folder.joinpath("c", str(number), *["0"] * ndim)


def open_path(path: Path) -> Path:
    """The name a shard has while it is written."""
    return path.with_name(f"{path.name}.open")


def read_part(path: Path, offset: int, length: int | None) -> bytes:
    """Bytes of a shard, by whichever of its two names it has now; `length` None: to the end.

    Raises
    ------
    FileNotFoundError
        It has neither.
    """
    for name in (open_path(path), path, open_path(path)):  # it may be renamed between two looks
        try:
            with name.open("rb") as file:
                file.seek(offset)
                return file.read() if length is None else file.read(length)
        except FileNotFoundError:
            pass
    raise FileNotFoundError(f"{path.name} does not exist")


class OpenShard:
    """The shard that is being written.

    Parameters
    ----------
    path
        Its name when it is whole.
    frames
        It can take.
    places
        (offset, length) of those it holds, where writing goes on; what follows them is cut off.

    Attributes
    ----------
    descriptor : int
        Of its file, open for writing.

    Raises
    ------
    OSError
        From every method: the disk is full or broken; the shard is as it was and the call can be
        repeated.
    """

    def __init__(self, path: Path, frames: int, places: Sequence[tuple[int, int]] = ()) -> None:
        self.path = path
        self._frames = frames
        self._places = list(places)
        self._size = sum(places[-1]) if places else 0
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            path.replace(open_path(path))
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
        self.descriptor = os.open(open_path(path), flags, 0o644)
        os.ftruncate(self.descriptor, self._size)

    @property
    def full(self) -> bool:
        """It takes no more frames."""
        return len(self._places) == self._frames

    def append(self, data: bytes) -> int:
        """Add an encoded frame; returns its offset."""
        offset = self._size
        write_all(self.descriptor, data, offset)
        self._places.append((offset, len(data)))
        self._size += len(data)
        return offset

    def drop(self) -> None:
        """Forget the frame that was added last; the next one takes its place."""
        self._size = self._places.pop()[0]
        os.ftruncate(self.descriptor, self._size)

    def finish(self) -> None:
        """Append the index, give the file its name, close it; one of no frames is removed."""
        if self._places and self.descriptor >= 0:
            os.ftruncate(self.descriptor, self._size)
            write_all(self.descriptor, index_of(self._places, self._frames), self._size)
        self.close()  # Windows renames and removes no file that is open
        if self._places:
            _rename(open_path(self.path), self.path)
        else:
            open_path(self.path).unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file as it is, if it is open."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def _rename(old: Path, new: Path) -> None:
    for _ in range(100):  # Windows: a reader may hold it open for a moment
        try:
            old.replace(new)
            return
        except PermissionError:
            if os.name != "nt":
                raise
            time.sleep(0.002)
    old.replace(new)
