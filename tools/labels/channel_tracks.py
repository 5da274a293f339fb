"""Tracks of one channel, of a run or of a table, in micrometres."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.stream.errors import InputError, SettingError
from livespt.stream.link.corrections import corrected
from livespt.stream.store.run import open_run
from livespt.tools.tables.user_table import read_table

OPTIONAL_COLUMNS = ("z", "intensity")
KEPT_COLUMNS = ("y", "x", *OPTIONAL_COLUMNS)


class ChannelTracks(NamedTuple):
    """Points of one channel, one row each, in the order of their source."""

    frame: NDArray[np.int64]
    position: NDArray[np.int64]  # stage position; tracks of different positions are independent
    particle: NDArray[np.int64]
    columns: dict[str, NDArray[Any]]  # those of KEPT_COLUMNS that the source has
    point: NDArray[np.float64]  # (n, 3) um: z, y, x


def of_run(
    source: Path, channels: tuple[int, int], pixel_size_um: float | None, z_step_um: float | None
) -> tuple[ChannelTracks, ChannelTracks]:
    """Tracks of two channels, links corrected."""
    if channels[0] == channels[1]:
        raise SettingError(f"channel {channels[0]} cannot be its own partner: name two channels")
    reader = open_run(source)
    start = reader.start
    pixel = pixel_size_um or start.pixel_size_um
    if not pixel:
        raise SettingError(f"the pixel size of {source} is unknown: give --pixel-size-um")
    spots = corrected(reader.spots, reader.events)
    axes = ("z", "y", "x")[-len(start.axes) :]
    scale = (z_step_um or start.z_step_um or pixel, pixel, pixel)
    both = []
    for channel in channels:
        rows = spots[spots["channel"] == channel]
        if not len(rows):
            there = ", ".join(map(str, np.unique(spots["channel"]))) or "none"
            raise SettingError(f"{source} has no tracks in channel {channel}; channels: {there}")
        columns = {name: rows[name] for name in (*axes, "intensity")}
        frame, position, track = (
            rows[name].astype(np.int64) for name in ("frame", "position", "track")
        )
        both.append(ChannelTracks(frame, position, track, columns, _points(columns, scale)))
    return both[0], both[1]


def of_table(path: Path, pixel_size_um: float | None, z_step_um: float | None) -> ChannelTracks:
    if not pixel_size_um:
        raise SettingError("the pixel size of a table is unknown: give --pixel-size-um")
    values = read_table(path, ("frame", "particle", "y", "x"), optional=OPTIONAL_COLUMNS).values
    if not len(values["frame"]):
        raise InputError(f"{path} holds no points")
    columns = {name: values[name] for name in KEPT_COLUMNS if name in values}
    point = _points(columns, (z_step_um or pixel_size_um, pixel_size_um, pixel_size_um))
    nowhere = np.zeros(len(point), np.int64)
    return ChannelTracks(values["frame"], nowhere, values["particle"], columns, point)


def _points(
    columns: dict[str, NDArray[Any]], scale: tuple[float, float, float]
) -> NDArray[np.float64]:
    """Points (n, 3) z, y, x in um; z = 0 in two dimensions."""
    point = np.zeros((len(columns["y"]), 3))
    for k, axis in enumerate(("z", "y", "x")):
        if axis in columns:
            point[:, k] = columns[axis].astype(np.float64) * scale[k]
    return point
