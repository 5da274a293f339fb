"""TIFF recordings: OME-TIFF, ImageJ hyperstacks and plain multi-page files."""

from __future__ import annotations

import logging
import struct
import weakref
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from livespt.acquisition.recordings.movie import (
    UNKNOWN,
    Movie,
    MovieUnits,
    movie_of_array,
    one_pixel_size,
)
from livespt.acquisition.recordings.units import micrometers, seconds
from livespt.stream.errors import InputError

# what tifffile and NumPy raise on truncated or damaged files
DAMAGE = (
    OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, ArithmeticError,
    AssertionError, RuntimeError, MemoryError, struct.error, zlib.error,
)  # fmt: skip


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the log of tifffile off the terminal: its errors are raised again as one line."""
    logger = logging.getLogger("tifffile")
    before = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = before


@contextmanager
def _opened(file: Any) -> Iterator[None]:
    """Open a file of a set while it is read; tifffile keeps only the first one open, and warns."""
    was_closed = file.closed
    if was_closed:
        file.open()
    try:
        yield
    finally:
        if was_closed:
            file.close()


def open_tiff(path: Path) -> Movie:
    """Open a TIFF file of any size; pixels are read frame by frame.

    Axis names of OME and ImageJ are used. The first axis of a stack without names is time. The
    first axis of an ImageJ stack that is no hyperstack and has no z spacing is time as well,
    because ImageJ calls the frames of any plain stack "slices".

    Raises
    ------
    InputError
        The file is not a TIFF, is damaged, uses a compression that is not installed, or does not
        hold a movie.
    """
    import tifffile

    with _quiet():
        try:
            tiff = tifffile.TiffFile(path)
        except (tifffile.TiffFileError, *DAMAGE) as error:
            raise InputError(f"{path} cannot be read as TIFF: {_line(error)}") from error
        try:
            movie = _movie(path, tiff)
            movie.frame(0)
        except InputError:
            tiff.close()
            raise
        except (tifffile.TiffFileError, ElementTree.ParseError, *DAMAGE) as error:
            tiff.close()
            raise InputError(
                f"{path} is damaged or of a kind that is not supported: {_line(error)}"
            ) from error
    weakref.finalize(movie, tiff.close)
    return movie


def _check_chain(path: Path, tiff: Any) -> None:
    """Raise InputError if the last page refers to another, missing one: tifffile only logs that."""
    form, last = tiff.tiff, tiff.pages[-1]
    file = tiff.filehandle
    file.seek(last.offset)
    (tags,) = struct.unpack(form.tagnoformat, file.read(form.tagnosize))
    file.seek(last.offset + form.tagnosize + tags * form.tagsize)
    (following,) = struct.unpack(form.offsetformat, file.read(form.offsetsize))
    if following:
        raise InputError(f"{path} is truncated after page {len(tiff.pages)}: copy it again")


def _movie(path: Path, tiff: Any) -> Movie:
    if len(tiff.pages):
        _check_chain(path, tiff)
    if "<!" in (tiff.ome_metadata or "").replace("<!--", ""):
        # XML entities can expand without limit or refer to other files; OME-XML needs none
        raise InputError(f"{path} declares a document type in its OME-XML: save it again")
    series = tiff.series
    if not series:
        raise InputError(f"{path} holds no frames: record it again or choose another movie")
    first = series[0]
    kinds = {(s.axes, s.shape, s.dtype) for s in series}
    if len(kinds) > 1:
        raise InputError(
            f"{path} holds {len(series)} images of different kinds: save each as a file of its own"
        )
    arrays = [_array(path, tiff, one) for one in series]
    axes = first.axes.upper().replace("Q", UNKNOWN).replace("I", UNKNOWN)
    if "IMAGEJ" in first.kind.upper() and _plain_stack(tiff.imagej_metadata or {}):
        axes = axes.replace("Z", "T")
    array: Any = arrays[0]
    if len(series) > 1:  # single pages are time points, whole movies are stage positions
        array = _Series(arrays)
        axes = ("T" if first.ndim == 2 else "P") + axes
    return movie_of_array(path, array, axes, _scale(tiff))


def _plain_stack(facts: dict[str, Any]) -> bool:
    named = facts.get("hyperstack") or facts.get("spacing") or facts.get("frames", 1) > 1
    return not named and facts.get("slices", 1) > 1


def _array(path: Path, tiff: Any, series: Any) -> Any:
    """Array-like of a series: a memory map if its pixels are contiguous, otherwise its pages."""
    if series.dataoffset is None or len(series.levels) > 1 or prod(series.shape) == 0:
        return _Pages(path, tiff, series)
    dtype = np.dtype(series.dtype).newbyteorder(tiff.byteorder)
    if series.dataoffset + prod(series.shape) * dtype.itemsize > path.stat().st_size:
        raise InputError(f"{path} is truncated: copy it again")
    return np.memmap(path, dtype, "r", series.dataoffset, series.shape)


class _Pages:
    """Pages of a series, read when they are indexed."""

    def __init__(self, path: Path, tiff: Any, series: Any) -> None:
        self.shape: tuple[int, ...] = series.shape
        self.dtype = np.dtype(series.dtype)
        self._path, self._tiff, self._pages = path, tiff, series.pages
        self._inner = 2 + ("S" in series.axes)
        self._numbers = np.arange(prod(self.shape[: -self._inner])).reshape(
            self.shape[: -self._inner]
        )
        if len(series.pages) < self._numbers.size:
            raise InputError(
                f"{path} has {len(series.pages)} of {self._numbers.size} pages: copy it again"
            )
        last = series.pages[-1]
        if last is not None and last.dataoffsets:
            end = max(map(sum, zip(last.dataoffsets, last.databytecounts, strict=True)))
            if end > last.parent.filehandle.size:
                raise InputError(f"{path} is truncated: copy it again")

    def __getitem__(self, key: tuple[int | slice, ...]) -> NDArray[Any]:
        outer, inner = key[: -self._inner], key[-self._inner :]
        numbers = np.asarray(self._numbers[outer])
        planes = [self._plane(int(number))[inner] for number in numbers.ravel()]
        return np.stack(planes).reshape(*numbers.shape, *planes[0].shape)

    def _plane(self, number: int) -> NDArray[Any]:
        import tifffile

        page = self._pages[number]
        if page is None:
            raise InputError(f"page {number} of {self._path} is missing: copy all its files again")
        try:
            if len(page.dataoffsets) != prod(page.keyframe.chunked):
                raise ValueError("a part of it is missing")
            with _quiet(), _opened(page.parent.filehandle):
                return np.asarray(page.asarray()).reshape(self.shape[-self._inner :])
        except (tifffile.TiffFileError, *DAMAGE) as error:
            raise InputError(
                f"page {number} of {self._path} cannot be read: {_line(error)}"
            ) from error


class _Series:
    """Several series of one kind, stacked along a new first axis."""

    def __init__(self, arrays: list[Any]) -> None:
        self.shape = (len(arrays), *arrays[0].shape)
        self.dtype = arrays[0].dtype
        self._arrays = arrays

    def __getitem__(self, key: tuple[Any, ...]) -> NDArray[Any]:
        return np.asarray(self._arrays[key[0]][key[1:]])


def _scale(tiff: Any) -> MovieUnits:
    if tiff.is_ome and tiff.ome_metadata:
        return _ome_scale(tiff.ome_metadata)
    if tiff.is_imagej and tiff.imagej_metadata:
        return _imagej_scale(tiff.imagej_metadata, tiff.pages[0].tags)
    return MovieUnits()


def _ome_scale(xml: str) -> MovieUnits:
    pixels = ElementTree.fromstring(xml).find(".//{*}Pixels")
    if pixels is None:
        return MovieUnits()

    def size_um(axis: str) -> float | None:
        unit = pixels.get(f"PhysicalSize{axis}Unit", "µm")
        return micrometers(pixels.get(f"PhysicalSize{axis}"), unit)

    interval = seconds(pixels.get("TimeIncrement"), pixels.get("TimeIncrementUnit", "s"))
    if interval is None:  # from the times of the planes
        times = {
            int(plane.get("TheT", 0)): seconds(plane.get("DeltaT"), plane.get("DeltaTUnit", "s"))
            for plane in pixels.findall("{*}Plane")
        }
        known = sorted((t, s) for t, s in times.items() if s is not None)
        if len(known) > 1:
            (t0, s0), (t1, s1) = known[0], known[-1]
            interval = seconds((s1 - s0) / (t1 - t0), "s")
    return MovieUnits(one_pixel_size(size_um("Y"), size_um("X")), interval, size_um("Z"))


def _imagej_scale(facts: dict[str, Any], tags: Any) -> MovieUnits:
    unit = facts.get("unit", "")
    sizes: list[float | None] = []
    for name in ("YResolution", "XResolution"):
        pixels, units = tags[name].value if name in tags else (0, 1)
        sizes.append(micrometers(units / pixels, facts.get(f"{name[0].lower()}unit", unit))
                     if pixels else None)  # fmt: skip
    interval = seconds(facts.get("finterval"), facts.get("tunit", "s"))
    if interval is None and facts.get("fps"):
        interval = seconds(1 / float(facts["fps"]), "s")
    z_step = micrometers(facts.get("spacing"), facts.get("zunit", unit))
    return MovieUnits(one_pixel_size(*sizes), interval, z_step)


def _line(error: BaseException) -> str:
    """The first line of an error's message."""
    return (str(error) or type(error).__name__).splitlines()[0]
