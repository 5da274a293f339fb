"""ND2 recordings of NIS-Elements, through the package nd2."""

from __future__ import annotations

import re
import struct
import warnings
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.acquisition.recordings.grid import UNKNOWN, FileFacts, movie_of_array
from livespt.acquisition.recordings.movie import (
    NOTHING,
    Movie,
    MovieUnits,
    Stated,
    one_pixel_size,
)
from livespt.acquisition.recordings.units import micrometers, seconds
from livespt.stream.errors import InputError

MAGIC = 0x0ABECEDA  # begins each part of a file
HEADER = struct.Struct("<IIQ")  # of a part: MAGIC, length of its name, length of its data
MAP, END = b"ND2 FILEMAP SIGNATURE NAME 0001!", b"ND2 CHUNK MAP SIGNATURE 0000001!"
ENTRY = struct.Struct("<QQ")  # of the map, behind a name: offset, length
IMAGE = b"ImageDataSeq|"
LETTERS = {"TimeLoop": "t", "NETimeLoop": "t", "XYPosLoop": "p", "ZStackLoop": "z"}


def is_nd2(begin: bytes) -> bool:
    """Whether the first bytes of a file are those of an ND2 file."""
    return begin[:4] == MAGIC.to_bytes(4, "little")


def open_nd2(path: Path, stated: Stated = NOTHING) -> Movie:
    """Open an ND2 file (NIS-Elements 3 and later); pixels are read frame by frame.

    Raises
    ------
    InputError
        The package nd2 is not installed, or the file is truncated, damaged or in colour.
    """
    try:
        from nd2 import ND2File
    except ImportError as error:
        raise InputError(f"{path} is an ND2 file: pip install nd2 to read it") from error
    with _one_error(path):
        images = _images(path)
        file = ND2File(path)
    try:
        with _one_error(path):
            movie = _movie(path, file, images, stated)
            movie.frame(0)
    except InputError:
        file.close()
        raise
    weakref.finalize(movie, file.close)
    return movie


@contextmanager
def _one_error(path: Path) -> Iterator[None]:
    """Turn what the package raises on damage into InputError; its warnings are our notices."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except InputError:
            raise
        except Exception as error:  # it raises whatever a damaged part leads to
            line = (str(error) or type(error).__name__).splitlines()[0]
            raise InputError(f"{path} cannot be read as ND2: {line}") from error


def _images(path: Path) -> dict[int, int]:
    """Offset of each image, by its number, from the map at the end of the file.

    The package reads an image that is not in the file as zeros, which only the map tells apart.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(size - len(END) - 8, 0))
        tail = file.read()
        if not tail.startswith(END):
            raise InputError(f"{path} is truncated, its map of images is missing: copy it again")
        file.seek(int.from_bytes(tail[len(END) :], "little"))
        magic, name, length = HEADER.unpack(file.read(HEADER.size))
        if magic != MAGIC or not file.read(name).startswith(MAP) or length > size:
            raise InputError(f"{path} is damaged, its map of images is not found: copy it again")
        entries = file.read(length)
    found, at = {}, 0
    while not entries.startswith(END, at):
        stop = entries.index(b"!", at) + 1
        if entries.startswith(IMAGE, at):
            number = int(entries[at + len(IMAGE) : stop - 1])
            found[number] = ENTRY.unpack_from(entries, stop)[0]
        at = stop + ENTRY.size
    return found


def _movie(path: Path, file: Any, images: dict[int, int], stated: Stated) -> Movie:
    if file.components_per_channel > 1:
        raise InputError(f"{path} is in colour: convert it to grey values, or split its channels")
    array = _Frames(path, file, images)
    letters = array.letters + "cyx"
    times, exposures = _recorded(file, array)
    channels = [one.channel.name for one in file.metadata.channels or ()]
    facts = FileFacts(
        MovieUnits(*_sizes(file), _exposure(file, exposures)),
        units_origin="the ND2 metadata",
        interval_origin="the planned period",
        time_s=None if times is None else np.repeat(times[..., None], array.shape[-3], axis=-1),
        time_origin="the recorded time of each frame",
        present=np.repeat(array.present[..., None], array.shape[-3], axis=-1),
        notices=array.notices,
        positions=_positions(file),
        channels=tuple(channels) if all(channels) else (),
    )
    return movie_of_array(path, array, letters, facts, stated)


class _Frames:
    """Images of an ND2 file by its loops, then channel, y, x; each is read when it is indexed."""

    def __init__(self, path: Path, file: Any, images: dict[int, int]) -> None:
        loops = [(LETTERS.get(loop.type, UNKNOWN), loop.count) for loop in file.experiment]
        if not loops and len(images) > 1:  # of no loop that the package knows
            loops = [(UNKNOWN, max(images) + 1)]
        facts = file.attributes
        outer = tuple(n for _, n in loops)
        self.letters = "".join(letter for letter, _ in loops)
        self.shape = (*outer, facts.channelCount or 1, facts.heightPx, facts.widthPx)
        self.dtype = np.dtype(file.dtype)
        self.numbers = np.arange(int(np.prod(outer, dtype=int))).reshape(outer)
        self.present = np.isin(self.numbers, list(images))
        beyond = sum(number >= self.numbers.size for number in images)
        self.notices = (
            (f"{beyond} images lie outside of its loops: they are not read",) if beyond else ()
        )
        self._path, self._file, self._images = path, file, images

    def __getitem__(self, key: tuple[int | slice, ...]) -> NDArray[Any]:
        outer, (channel, y, x) = key[:-3], key[-3:]
        numbers = np.asarray(self.numbers[outer])
        planes = [self._image(int(number))[channel][y, x] for number in numbers.ravel()]
        if numbers.ndim == 0:  # without a copy
            return planes[0]
        return np.stack(planes).reshape(*numbers.shape, *planes[0].shape)

    def _image(self, number: int) -> NDArray[Any]:
        """Image by its number, (channel, y, x)."""
        with _one_error(self._path):
            with self._path.open("rb") as file:
                file.seek(self._images[number])
                magic, name, length = HEADER.unpack(file.read(HEADER.size))
                own = file.read(name).startswith(IMAGE + b"%d!" % number)
                end = file.tell() + length
            if magic != MAGIC or not own or end > self._path.stat().st_size:
                raise InputError(f"image {number} of {self._path} is damaged: copy it again")
            image: NDArray[Any] = self._file.read_frame(number).reshape(self.shape[-3:])
        return image


def _recorded(
    file: Any, array: _Frames
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
    """Times (s) and exposures (s) of the images, by their loops; None: they are not recorded."""
    table = file.events(orient="list")
    rows = np.asarray(table.get("Index", ()), np.float64)
    inside = np.isfinite(rows) & (rows < array.numbers.size)
    out: list[NDArray[np.float64] | None] = []
    for column, factor in (("Time [s]", 1.0), ("Exposure Time [ms]", 1e-3)):
        values = np.asarray(table.get(column, ()), np.float64)
        if len(values) != len(rows):
            out.append(None)
            continue
        found = np.full(array.numbers.size, np.nan)
        found[rows[inside].astype(int)] = values[inside] * factor
        out.append(found.reshape(array.numbers.shape))
    return out[0], out[1]


def _exposure(file: Any, recorded: NDArray[np.float64] | None) -> float | None:
    """Exposure in seconds: the median of the images, else that of all cameras, if they agree."""
    if recorded is not None and np.isfinite(recorded).any():
        return float(np.nanmedian(recorded)) or None
    text = file.text_info.get("capturing") or ""
    said = {seconds(*one) for one in re.findall(r"Exposure: ([\d.]+) (\w+)", text)}
    return said.pop() if len(said) == 1 else None


def _sizes(file: Any) -> tuple[float | None, float | None, float | None]:
    """Pixel size (um), planned period (s) and z step (um)."""
    volume = next((one.volume for one in file.metadata.channels or ()), None)
    known = volume is not None and all(volume.axesCalibrated[:2])
    x, y = volume.axesCalibration[:2] if volume is not None else (None, None)
    period, step = None, None
    for loop in file.experiment:
        if loop.type == "TimeLoop":
            period = seconds(loop.parameters.periodMs, "ms")
        if loop.type == "ZStackLoop":
            step = micrometers(loop.parameters.stepUm, "um")
    return one_pixel_size(y, x) if known else None, period, step


def _positions(file: Any) -> tuple[str, ...]:
    points = [
        point.name or ""
        for loop in file.experiment
        if loop.type == "XYPosLoop"
        for point in loop.parameters.points
    ]
    return tuple(points) if any(points) else ()
