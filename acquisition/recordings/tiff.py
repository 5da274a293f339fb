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

from livespt.acquisition.recordings.grid import UNKNOWN, FileFacts, movie_of_array
from livespt.acquisition.recordings.movie import NOTHING, Movie, Stated
from livespt.acquisition.recordings.tiff_metadata import imagej_facts, ome_facts
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


def open_tiff(path: Path, stated: Stated = NOTHING) -> Movie:
    """Open a TIFF file of any size; pixels are read frame by frame.

    Axis names of OME and ImageJ are used. The first axis of a stack without names is time. The
    first axis of an ImageJ stack that is no hyperstack and has no z spacing is time as well,
    because ImageJ calls the frames of any plain stack "slices". The images of an OME-TIFF set are
    read from the files that hold them.

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
            movie = _movie(path, tiff, stated)
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


def _movie(path: Path, tiff: Any, stated: Stated) -> Movie:
    if len(tiff.pages):
        _check_chain(path, tiff)
    _check_xml(path, tiff.ome_metadata)
    series = tiff.series
    if not series:
        raise InputError(f"{path} holds no frames: record it again or choose another movie")
    first = series[0]
    axes = first.axes.upper().replace("Q", UNKNOWN).replace("I", UNKNOWN)
    long = axes.find("T")  # images of different lengths are positions that stopped at other times
    kinds = {(s.axes, s.dtype, *(n for i, n in enumerate(s.shape) if i != long)) for s in series}
    if len(kinds) > 1:
        raise InputError(
            f"{path} holds {len(series)} images of different kinds: save each as a file of its own"
        )
    facts = FileFacts()
    if tiff.is_ome and tiff.ome_metadata:
        facts = _set_facts(path, tiff, series)
    elif tiff.is_imagej and tiff.imagej_metadata:
        facts = imagej_facts(tiff.imagej_metadata, tiff.pages[0].tags)
        if _plain_stack(tiff.imagej_metadata):
            axes = axes.replace("Z", "T")
    arrays = [_array(path, tiff, one) for one in series]
    array: Any = arrays[0]
    if len(series) > 1:  # single pages are time points, whole movies are stage positions
        array = _Series(arrays, 2 + ("S" in axes))
        axes = ("T" if first.ndim == 2 else "P") + axes
    elif tiff.is_imagej and len(tiff.pages) > len(first.pages) and not first.keyframe.is_tiled:
        array, facts = _all_pages(path, tiff, first, facts)
    return movie_of_array(path, array, axes, facts._replace(present=array.present), stated)


def _check_xml(path: Path, xml: str | None) -> None:
    """Refuse a document type: entities can expand without limit or refer to other files."""
    if "<!" in (xml or "").replace("<!--", ""):
        raise InputError(f"{path} declares a document type in its OME-XML: save it again")


def _set_facts(path: Path, tiff: Any, series: Any) -> FileFacts:
    """Facts of an OME-TIFF; in a set, each file may tell the times of its own planes alone."""
    shapes = [(one.axes, one.shape) for one in series]
    facts = ome_facts(tiff.ome_metadata, shapes)
    if all(_is_own(tiff, one) for one in series):
        return facts
    parents = {id(page.parent): page.parent for one in series for page in one.pages if page}
    for parent in parents.values():
        if parent is tiff:
            continue
        with _opened(parent.filehandle):
            xml = parent.ome_metadata
        _check_xml(path, xml)
        more = ome_facts(xml, shapes).time_s if xml else None
        if more is not None:
            own = facts.time_s
            times = more if own is None else np.where(np.isnan(own), more, own)
            facts = facts._replace(time_s=times)
    return facts


def _plain_stack(facts: dict[str, Any]) -> bool:
    named = facts.get("hyperstack") or facts.get("spacing") or facts.get("frames", 1) > 1
    return not named and facts.get("slices", 1) > 1


def _array(path: Path, tiff: Any, series: Any) -> Any:
    """Array-like of a series: a memory map if its pixels are contiguous, otherwise its pages."""
    own = _is_own(tiff, series)
    if not own or series.dataoffset is None or len(series.levels) > 1 or prod(series.shape) == 0:
        return _Pages(path, series)
    dtype = np.dtype(series.dtype).newbyteorder(tiff.byteorder)
    if series.dataoffset + prod(series.shape) * dtype.itemsize > path.stat().st_size:
        raise InputError(f"{path} is truncated: copy it again")
    return _Mapped(np.memmap(path, dtype, "r", series.dataoffset, series.shape))


def _is_own(tiff: Any, series: Any) -> bool:
    """Whether the pages of a series are in the file that was opened, and in no other of a set."""
    ends = series.pages[0], series.pages[-1]
    return all(page is None or page.parent is tiff for page in ends)


def _all_pages(path: Path, tiff: Any, series: Any, facts: FileFacts) -> tuple[Any, FileFacts]:
    """All pages of a stack whose header names fewer; which axis goes on is known of one only."""
    long = [axis for axis, n in zip(series.axes, series.shape, strict=True) if n > 1]
    pages = [page for page in tiff.pages if page.shape == series.keyframe.shape]
    said = f"the header names {len(series.pages)} images, the file holds {len(tiff.pages)}"
    if len(long) != 3 or len(pages) < len(tiff.pages):
        notice = f"{said}: only those that it names are read"
        return _array(path, tiff, series), facts._replace(notices=(*facts.notices, notice))
    at = series.axes.index(long[0])
    shape = (*series.shape[:at], len(pages), *series.shape[at + 1 :])
    array = _Pages(path, series, pages, shape)
    return array, facts._replace(notices=(*facts.notices, f"{said}: all are read"))


class _Mapped:
    """Pixels of a file that lie one after the other."""

    present = None

    def __init__(self, pixels: NDArray[Any]) -> None:
        self.shape, self.dtype = pixels.shape, pixels.dtype
        self._pixels = pixels

    def __getitem__(self, key: tuple[int | slice, ...]) -> NDArray[Any]:
        return self._pixels[key]


class _Pages:
    """Pages of a series, read when they are indexed, each from the file that holds it.

    Attributes
    ----------
    present : bool array
        Whether there is a page, by all axes but y, x and colour samples.
    """

    def __init__(
        self, path: Path, series: Any, pages: Any = None, shape: tuple[int, ...] | None = None
    ) -> None:
        self.shape: tuple[int, ...] = shape or series.shape
        self.dtype = np.dtype(series.dtype)
        self._path, self._pages = path, series.pages if pages is None else pages
        self._inner = 2 + ("S" in series.axes)
        outer = self.shape[: -self._inner]
        self._numbers = np.arange(prod(outer)).reshape(outer)
        self.present = self._numbers < len(self._pages)
        if series.kind == "ome":  # other kinds name no page that is not there
            there = np.array([page is not None for page in self._pages])
            self.present &= there[np.minimum(self._numbers, len(there) - 1)]
        if not self.present.any():
            raise InputError(f"{path} is truncated: copy it again")
        last = self._pages[int(self._numbers[self.present].max())]
        if last.dataoffsets:
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
    """Several series of one kind, stacked along a new first axis; some may be shorter in time."""

    def __init__(self, arrays: list[Any], inner: int) -> None:
        longest = tuple(map(max, zip(*(array.shape for array in arrays), strict=True)))
        self.shape = (len(arrays), *longest)
        self.dtype = arrays[0].dtype
        self._arrays = arrays
        self.present = np.zeros(self.shape[:-inner], bool)
        for i, array in enumerate(arrays):
            part: Any = (i, *(slice(0, n) for n in array.shape[:-inner]))
            self.present[part] = True if array.present is None else array.present

    def __getitem__(self, key: tuple[Any, ...]) -> NDArray[Any]:
        return np.asarray(self._arrays[key[0]][key[1:]])


def _line(error: BaseException) -> str:
    """The first line of an error's message."""
    return (str(error) or type(error).__name__).splitlines()[0]
