"""Zarr recordings: OME-Zarr images (0.1 to 0.5, at full resolution) and plain Zarr arrays."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import WrapperStore

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

DAMAGE = (
    OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, ArithmeticError,
    RuntimeError, MemoryError,
)  # fmt: skip
METADATA = ("zarr.json", ".zarray", ".zgroup")


def open_zarr(path: Path, stated: Stated = NOTHING) -> Movie:
    """Open an OME-Zarr image or a plain array; pixels are read frame by frame.

    The axes of a plain array are its `dimension_names`. Without names, the last two axes are y and
    x, and a third is time.

    Raises
    ------
    InputError
        The file is damaged, or is neither an image nor an array.
    """
    try:
        node = zarr.open(path, mode="r")
        if isinstance(node, zarr.Array):
            names = getattr(node.metadata, "dimension_names", None) or [None] * node.ndim
            letters = "".join(_letter(name) for name in names)
            return _movie(path, node, letters, FileFacts(), stated)
        return _image(path, node, stated)
    except InputError:
        raise
    except DAMAGE as error:
        line = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"{path} cannot be read as Zarr: {line}") from error


def _image(path: Path, group: zarr.Group, stated: Stated) -> Movie:
    facts: dict[str, Any] = dict(group.attrs.asdict())
    image: dict[str, Any] = facts.get("ome", facts)
    if "multiscales" not in image:
        if "bioformats2raw.layout" in image and (path / "0").is_dir():
            if (path / "1").is_dir():
                raise InputError(f"{path} holds several images: name one, such as {path / '0'}")
            return open_zarr(path / "0", stated)
        raise InputError(f"{path} is a Zarr group, not an image: name an image or array inside it")
    scales = image["multiscales"][0]
    name = PurePosixPath(scales["datasets"][0]["path"])
    if name.is_absolute() or ".." in name.parts:
        raise InputError(f"{path} refers to {name}, which lies outside it: do not use this file")
    array = group[str(name)]
    if not isinstance(array, zarr.Array):
        raise InputError(f"{path} is damaged: {name} is not an array")
    named: list[Any] = scales.get("axes") or list("tczyx")[-array.ndim :]
    axes = [axis if isinstance(axis, dict) else {"name": axis} for axis in named]
    if len(axes) != array.ndim:
        raise InputError(f"{path} is damaged: it names {len(axes)} axes but has {array.ndim}")
    letters = "".join(_letter(a.get("name")) for a in axes)
    return _movie(path, array, letters, _facts(facts, axes, scales, array.shape), stated)


def _movie(path: Path, array: Any, axes: str, facts: FileFacts, stated: Stated) -> Movie:
    movie = movie_of_array(path, _Chunks(path, array), axes, facts, stated)
    movie.frame(0)
    return movie


def _letter(name: Any) -> str:
    known = {"time": "t", "channel": "c", "position": "p"}
    text = str(name or UNKNOWN).lower()
    return known.get(text, text if len(text) == 1 else UNKNOWN)


def _facts(
    attributes: dict[str, Any],
    axes: list[dict[str, Any]],
    scales: dict[str, Any],
    shape: tuple[int, ...],
) -> FileFacts:
    """Read units, times and names from the attributes of an image."""
    units = _scale(axes, scales)
    notices = []
    if units.pixel_size_um == 1.0 and units.frame_interval_s in (1.0, None):
        # what writers put where nobody has told them a scale
        units = MovieUnits()
        notices.append("a scale of 1 micrometer and 1 second stands for unknown: both are left out")
    letters = [_letter(axis.get("name")) for axis in axes]
    times, present = _frame_times(attributes, letters, shape)
    omero = attributes.get("ome", attributes).get("omero") or {}
    names = [str(channel.get("label", "")) for channel in omero.get("channels") or []]
    return FileFacts(
        units,
        units_origin="the scale of the image",
        interval_origin="the scale of the time axis",
        time_s=times,
        time_origin="delta_t of the frames",
        present=present,
        notices=tuple(notices),
        channels=tuple(names) if all(names) else (),
    )


def _scale(axes: list[dict[str, Any]], scales: dict[str, Any]) -> MovieUnits:
    """Units at full resolution: the scales of the dataset times those of the whole image."""
    factors = [1.0] * len(axes)
    dataset = scales["datasets"][0]
    for holder in (dataset, scales):
        for transform in holder.get("coordinateTransformations") or []:
            if transform.get("type") == "scale":
                factors = [a * float(b) for a, b in zip(factors, transform["scale"], strict=True)]
    found = {_letter(a.get("name")): (f, a.get("unit")) for a, f in zip(axes, factors, strict=True)}
    y, x, z = (micrometers(*found.get(axis, (None, None))) for axis in "yxz")
    return MovieUnits(one_pixel_size(y, x), seconds(*found.get("t", (None, None))), z)


def _frame_times(
    attributes: dict[str, Any], letters: list[str], shape: tuple[int, ...]
) -> tuple[NDArray[np.float64] | None, NDArray[np.bool_] | None]:
    """Seconds of each image, and which were written, as ome-writers tells of its frames.

    An acquisition that stops early leaves a time axis of full length, with nothing at its end.
    """
    told = attributes.get("ome_writers") or {}
    frames = told.get("frame_metadata") or [] if isinstance(told, dict) else []
    outer = tuple(n for axis, n in zip(letters, shape, strict=True) if axis not in "yx")
    times, listed = np.full(outer, np.nan), np.zeros(outer, bool)
    for frame in frames:
        at = tuple(int(i) for i in frame.get("storage_index") or ())
        if len(at) == len(outer) and all(0 <= i < n for i, n in zip(at, outer, strict=True)):
            listed[at] = True
            times[at] = float(frame.get("delta_t", np.nan))
    if not listed.any():
        return None, None
    last = int(np.flatnonzero(listed.ravel()).max())
    present = None
    if listed.sum() == last + 1 < listed.size:  # all are told of, up to the end
        present = listed
    return (times if np.isfinite(times).any() else None), present


class _Chunks:
    """A Zarr array that raises InputError for damaged chunks, whatever Zarr raises."""

    def __init__(self, path: Path, array: Any) -> None:
        self.shape: tuple[int, ...] = array.shape
        self.dtype = array.dtype
        self._path, self._array = path, array
        if array.compressors and "blosc" in type(array.compressors[-1]).__name__.lower():
            store = _WholeChunks(array.store)
            self._array = zarr.open_array(store, path=array.path, mode="r")

    def __getitem__(self, key: tuple[int | slice, ...]) -> NDArray[Any]:
        try:
            pixels: NDArray[Any] = self._array[key]
            return pixels
        except DAMAGE as error:
            line = (str(error) or type(error).__name__).splitlines()[0]
            raise InputError(f"{self._path} is damaged at {key}: {line}") from error


class _WholeChunks(WrapperStore[Store]):
    """Store of chunks of Blosc, which are refused if they are shorter than their headers say.

    numcodecs does not compare the two: it reads on in the memory behind a truncated chunk.
    """

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        buffer = await super().get(key, prototype, byte_range)
        if buffer is not None and not key.endswith((*METADATA, ".zattrs")):
            header = buffer[:16].to_bytes()
            if int.from_bytes(header[12:], "little") > len(buffer) or len(header) < 16:
                raise ValueError(f"{key} is truncated")
        return buffer
