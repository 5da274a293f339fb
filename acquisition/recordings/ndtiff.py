"""NDTiff recordings: the folders that acquisitions of Micro-Manager write."""

from __future__ import annotations

import io
import warnings
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.acquisition.recordings.movie import MOVIE_ROW, Movie, MovieUnits
from livespt.acquisition.recordings.units import micrometers, seconds
from livespt.stream.errors import InputError
from livespt.stream.types import CLOCKS

Key = tuple[int, int, int]  # time, position, channel


def open_ndtiff(path: Path) -> Movie:
    """Open an NDTiff folder; pixels are read frame by frame. Times come from the image metadata.

    Raises
    ------
    InputError
        The folder is damaged, stitched or of an old version, or has axes other than time,
        position, channel and z.
    """
    from ndstorage import NDTiffDataset

    # ndstorage prints its progress, and warns about an index without an end. An interrupted
    # recording has such an index; the images that it lists do exist.
    with redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        with _one_error(f"{path} cannot be read as NDTiff"):
            data = NDTiffDataset(str(path))
    try:
        with _one_error(f"{path} is damaged"):
            movie = _movie(path, data)
            movie.frame(0)
    except InputError:
        data.close()
        raise
    weakref.finalize(movie, data.close)
    return movie


def _movie(path: Path, data: Any) -> Movie:
    channels: dict[str, int] = {}
    stacks: dict[Key, dict[int, dict[str, Any]]] = {}
    for at in data.get_image_coordinates_list():
        others = set(at) - {"time", "position", "channel", "z"}
        if any(at[name] != 0 for name in others):
            raise InputError(f"{path} has axes {sorted(others)}: livespt reads t, p, c, z, y, x")
        channel = channels.setdefault(str(at.get("channel", "")), len(channels))
        key = int(at.get("time", 0)), int(at.get("position", 0)), channel
        stacks.setdefault(key, {})[int(at.get("z", 0))] = at
    if not stacks:
        raise InputError(f"{path} holds no frames: record it again or choose another movie")
    keys = sorted(stacks)
    planes = sorted(stacks[keys[0]])
    keys = [key for key in keys if sorted(stacks[key]) == planes]  # the last may be incomplete
    first = stacks[keys[0]][planes[0]]
    facts = data.read_metadata(**first)
    image = np.asarray(data.read_image(**first))
    if image.ndim != 2:
        raise InputError(f"{path} is in colour: convert it to grey values, or split its channels")

    def read(i: int) -> NDArray[Any]:
        images = [_image(path, data, stacks[keys[i]][z]) for z in planes]
        with _one_error(f"stack {keys[i]} of {path} is damaged"):
            return np.stack(images) if len(images) > 1 else images[0]

    scale = _scale(data.summary_metadata or {}, facts)
    times = [_time(data.read_metadata(**stacks[key][planes[0]])) for key in keys]
    shape = (len(planes), *image.shape) if len(planes) > 1 else image.shape
    axes = "zyx" if len(planes) > 1 else "yx"
    return Movie(path, axes, shape, image.dtype, read, _rows(keys, times, scale), scale)


def _image(path: Path, data: Any, at: dict[str, Any]) -> NDArray[Any]:
    with _one_error(f"image {at} of {path} cannot be read"):
        return np.asarray(data.read_image(**at))


@contextmanager
def _one_error(message: str) -> Iterator[None]:
    """Turn every error of ndstorage, which raises bare Exception on damage, into InputError."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{message}: {error or type(error).__name__}") from error


def _time(facts: dict[str, Any]) -> float | None:
    value = facts.get("ElapsedTime-ms")
    return None if value is None else float(value) / 1000


def _rows(keys: list[Key], times: list[float | None], scale: MovieUnits) -> NDArray[np.void]:
    rows = np.zeros(len(keys), MOVIE_ROW)
    rows["number"] = np.arange(len(keys))
    rows["t"], rows["position"], rows["channel"] = np.array(keys).T
    known = [time for time in times if time is not None]
    if len(known) == len(keys):
        rows["time_s"] = np.array(known) - known[0]
    elif scale.frame_interval_s is not None:
        rows["time_s"] = rows["t"] * scale.frame_interval_s
    else:
        return rows
    rows["clock"] = CLOCKS.index("file")
    return rows


def _scale(summary: dict[str, Any], facts: dict[str, Any]) -> MovieUnits:
    size = facts.get("PixelSizeUm") or summary.get("PixelSize_um")
    return MovieUnits(
        micrometers(size, "um"),
        seconds(summary.get("Interval_ms"), "ms"),
        micrometers(summary.get("z-step_um"), "um"),
    )
