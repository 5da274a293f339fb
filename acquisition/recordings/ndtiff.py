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

from livespt.acquisition.recordings.grid import FileFacts, movie_of_array
from livespt.acquisition.recordings.movie import NOTHING, Movie, MovieUnits, Stated
from livespt.acquisition.recordings.units import micrometers, seconds
from livespt.stream.errors import InputError

SPARSE = 1000  # time points without an image for each with one, which no recording has


def open_ndtiff(path: Path, stated: Stated = NOTHING) -> Movie:
    """Open an NDTiff folder; pixels are read frame by frame. Times come from the image metadata.

    Raises
    ------
    InputError
        The folder is damaged, stitched or of an old version, has axes other than time, position,
        channel and z, or channels with different numbers of planes of which none is chosen.
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
            movie = _movie(path, data, stated)
            movie.frame(0)
    except InputError:
        data.close()
        raise
    weakref.finalize(movie, data.close)
    return movie


def _movie(path: Path, data: Any, stated: Stated) -> Movie:
    grid = _Grid(path, data, stated.channel)
    first = grid.places[min(grid.places)]
    facts = data.read_metadata(**first)
    scale = _units(data.summary_metadata or {}, facts)
    return movie_of_array(
        path,
        grid,
        "tpczyx",
        FileFacts(
            scale,
            units_origin="the metadata of the images",
            interval_origin="Interval_ms",
            time_s=grid.times(),
            time_origin="ElapsedTime-ms of the images",
            present=grid.present,
            positions=tuple(grid.positions),
            channels=tuple(grid.channels) if any(grid.channels) else (),
        ),
        stated,
    )


class _Grid:
    """Images of a recording by time, position, channel and plane, read when they are indexed."""

    def __init__(self, path: Path, data: Any, channel: str | None) -> None:
        self._path, self._data = path, data
        coordinates = data.get_image_coordinates_list()
        if not coordinates:
            raise InputError(f"{path} holds no frames: record it again or choose another movie")
        for at in coordinates:
            others = set(at) - {"time", "position", "channel", "z"}
            if any(at[name] != 0 for name in others):
                raise InputError(
                    f"{path} has axes {sorted(others)}: livespt reads t, p, c, z, y, x"
                )
        self.channels = list(dict.fromkeys(str(at.get("channel", "")) for at in coordinates))
        if channel is not None:  # the others may have other planes
            chosen = _chosen(path, self.channels, channel)
            coordinates = [at for at in coordinates if str(at.get("channel", "")) == chosen]
        else:
            _check_planes(path, coordinates)
        positions = list(dict.fromkeys(at.get("position", 0) for at in coordinates))
        named = any(isinstance(position, str) for position in positions)
        self.positions = [str(position) for position in positions] if named else []
        if not named:
            positions = list(range(int(max(positions)) + 1))
        planes = sorted({int(at.get("z", 0)) for at in coordinates})
        self.places = {
            (
                int(at.get("time", 0)),
                positions.index(at.get("position", 0)),
                self.channels.index(str(at.get("channel", ""))),
                planes.index(int(at.get("z", 0))),
            ): at
            for at in coordinates
        }
        points = 1 + max(place[0] for place in self.places)
        if points > SPARSE * len(self.places):
            raise InputError(f"{path} is damaged: {len(self.places)} images to time {points}")
        outer = (points, len(positions), len(self.channels), len(planes))
        self.present = np.zeros(outer, bool)
        for place in self.places:
            self.present[place] = True
        image = self._image(self.places[min(self.places)])
        if image.ndim != 2:
            raise InputError(
                f"{path} is in colour: convert it to grey values, or split its channels"
            )
        self.shape, self.dtype = (*outer, *image.shape), image.dtype

    def __getitem__(self, key: tuple[int | slice, ...]) -> NDArray[Any]:
        t, position, channel, plane = key[:4]
        if isinstance(plane, slice):
            return np.stack([self[(t, position, channel, z)] for z in range(self.shape[3])])
        at = self.places[(t, position, channel, plane)]  # type: ignore[index]
        return self._image(at)

    def times(self) -> NDArray[np.float64]:
        """Seconds of each image; NaN: its metadata holds none, or it is no first plane."""
        times = np.full(self.present.shape, np.nan)
        for place, at in self.places.items():
            if place[3] == 0:
                value = self._data.read_metadata(**at).get("ElapsedTime-ms")
                times[place] = np.nan if value is None else float(value) / 1000
        return times

    def _image(self, at: dict[str, Any]) -> NDArray[Any]:
        with _one_error(f"image {at} of {self._path} cannot be read"):
            return np.asarray(self._data.read_image(**at))


def _chosen(path: Path, channels: list[str], wanted: str) -> str:
    """Name of the channel that is wanted by its name or number."""
    for i, name in enumerate(channels):
        if wanted in (name, str(i)):
            return name
    known = ", ".join(name or str(i) for i, name in enumerate(channels))
    raise InputError(f"{path} has no channel {wanted!r}; it has {known}")


def _check_planes(path: Path, coordinates: list[dict[str, Any]]) -> None:
    """Refuse channels with different numbers of planes: a run has frames of one kind."""
    planes: dict[str, set[int]] = {}
    for at in coordinates:
        planes.setdefault(str(at.get("channel", "")), set()).add(int(at.get("z", 0)))
    counts = {name: len(found) for name, found in planes.items()}
    if len(set(counts.values())) > 1:
        said = ", ".join(f"{name!r} has {n}" for name, n in counts.items())
        raise InputError(
            f"the channels of {path} have different numbers of planes ({said}), and frames of a "
            "run are all alike: choose one with --channel"
        )


@contextmanager
def _one_error(message: str) -> Iterator[None]:
    """Turn every error of ndstorage, which raises bare Exception on damage, into InputError."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{message}: {error or type(error).__name__}") from error


def _units(summary: dict[str, Any], facts: dict[str, Any]) -> MovieUnits:
    size = facts.get("PixelSizeUm") or summary.get("PixelSize_um")
    return MovieUnits(
        micrometers(size, "um"),
        seconds(summary.get("Interval_ms"), "ms"),
        micrometers(summary.get("z-step_um"), "um"),
        seconds(facts.get("Exposure-ms") or facts.get("Exposure"), "ms"),
    )
