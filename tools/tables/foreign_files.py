"""Tables that are no text: TrackMate XML, Picasso and other HDF5, Parquet, GEFF, MTrackJ.

Each becomes columns by name; what the program adds is written as a text table beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from xml.parsers.expat import ExpatError

import numpy as np
from numpy.typing import ArrayLike, NDArray

from livespt.stream.errors import InputError, MissingError
from livespt.tools.tables.conventions import UM, calibrated, told
from livespt.tools.tables.trackmate_elements import LIGHT, PRECISIONS, TrackMateElements

MAGIC = {b"\x89HDF": "hdf5", b"PAR1": "parquet"}


class Columns(NamedTuple):
    """Columns (n,) of a table, and what is known of them.

    Positions that are not in pixels have their unit in the name of the column, so that a text table
    of them is read as what it is.
    """

    values: dict[str, NDArray[Any]]
    named: dict[str, str]  # name here: name of the column; empty: as conventions.py finds them
    unit: str  # of positions
    said: str
    pixel_size_um: float | None = None
    units: Mapping[str, str] = {}  # name here: unit of a column that is not that of positions


def kind_of(path: Path) -> str | None:
    """Kind of a file that is no text table, by its content; None: it is text."""
    if path.is_dir():
        return "geff" if any((path / name).exists() for name in (".zattrs", "zarr.json")) else None
    try:
        with path.open("rb") as file:
            begin = file.read(2000)
    except OSError:
        return None
    if begin[:4] in MAGIC:
        return MAGIC[begin[:4]]
    if begin.lstrip().startswith(b"<?xml") or begin.lstrip().startswith(b"<T"):
        return "xml"
    return "mdf" if begin.startswith(b"MTrackJ") else None


def read_columns(path: Path, kind: str) -> Columns:
    """Read a table of one of the kinds of `kind_of`.

    Raises
    ------
    InputError
        The file is damaged, or holds no spots.
    MissingError
        A library is not installed.
    """
    try:
        return READERS[kind](path)
    except (InputError, MissingError):
        raise
    except ImportError as error:
        raise MissingError(f"{path.name} needs {error.name}: pip install {error.name}") from error
    except (OSError, ValueError, KeyError, TypeError, IndexError, ExpatError) as error:
        line = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"{path} cannot be read as {kind}: {line}") from error


def _trackmate(path: Path) -> Columns:
    """Read TrackMate XML: the whole model, or `Export tracks to XML file`."""
    held = TrackMateElements(path)
    if held.root == "Tracks":
        return _exported_tracks(path, held)
    if held.root != "TrackMate" or held.model is None:
        raise InputError(f"{path} is no file of TrackMate: it begins with <{held.root}>")
    ids = np.array(held.spot_ids, np.int64)
    ends = np.array(held.edges, np.int64)
    order = np.argsort(ids, kind="stable")
    rows = order[np.minimum(np.searchsorted(ids, ends, sorter=order), len(ids) - 1)]
    if (lost := ids[rows] != ends).any():
        raise InputError(f"{path} links spot {ends[np.argmax(lost)]}, which it does not hold")
    links = rows.reshape(-1, 2)
    track = np.full(len(ids), -1, np.int64)
    track[links] = np.array(held.edge_tracks, np.int64)[:, None]
    features = {name: np.array(column) for name, column in held.spots.items()}
    frame = _whole(path, "FRAME", features["FRAME"])
    track, cut = unbranched(path, frame, track, links)
    places = {axis: features[f"POSITION_{axis.upper()}"] for axis in ("y", "x", "z")}
    unit = calibrated(held.model.get("spatialunits", "pixel"))
    pixel = float(held.image.get("pixelwidth", 0))
    size = pixel * UM[unit] if unit in UM and pixel > 0 else None
    values = {"ID": ids, "frame": frame, "track_id": track}
    light = next((name for name in LIGHT if np.isfinite(features[name]).all()), None)
    kept = ("QUALITY", light) if light and len(ids) else ("QUALITY",)
    more = {name: features[name] for name in kept}
    named = {"intensity": light} if light in more else {}
    for ours, name in PRECISIONS.items():  # of livespt
        if np.isfinite(features[name]).any():
            more[name], named[ours] = features[name], name
    found = _placed(values, places, unit, told("TrackMate XML", unit, 0) + cut, more, size)
    return found._replace(named=found.named | named)


def _exported_tracks(path: Path, held: TrackMateElements) -> Columns:
    if not held.detections:
        raise InputError(f"{path} holds no tracks")
    track, t, z, y, x = np.array(held.detections).reshape(-1, 5).T
    values = {"frame": _whole(path, "t", t), "track_id": track.astype(np.int64)}
    unit = calibrated(held.outer.get("spaceUnits", "pixel"))
    said = told("tracks exported by TrackMate", unit, 0)
    return _placed(values, {"y": y, "x": x, "z": z}, unit, said)


def _placed(
    values: dict[str, NDArray[Any]],
    places: Mapping[str, ArrayLike],
    unit: str,
    said: str,
    more: Mapping[str, NDArray[Any]] | None = None,
    pixel_size_um: float | None = None,
) -> Columns:
    """Columns with positions under names that tell the unit; a z of zeros is left out."""
    named = {"frame": "frame", "particle": "track_id"}
    named = {ours: name for ours, name in named.items() if name in values}
    for axis, place in places.items():
        place = np.asarray(place, np.float64)
        if axis != "z" or place.any():
            named[axis] = axis if unit == "pixel" else f"{axis}_{unit}"
            values[named[axis]] = place
    return Columns(values | dict(more or {}), named, unit, said, pixel_size_um)


def _whole(path: Path, name: str, values: ArrayLike, unit: str = "") -> NDArray[np.int64]:
    """Whole numbers of frames.

    Raises
    ------
    InputError
        One is not whole: times in seconds, for example, are no frames.
    """
    numbers = np.asarray(values, np.float64)
    good = np.isfinite(numbers)
    good[good] = numbers[good] == np.round(numbers[good])
    if not good.all():
        one = numbers[np.argmin(good)]
        raise InputError(
            f"{path}: {name} is {one:g}{' ' + unit if unit else ''}; frames are whole numbers"
        )
    return numbers.astype(np.int64)


def unbranched(
    path: Path, frame: NDArray[np.int64], track: NDArray[np.int64], links: NDArray[np.int64]
) -> tuple[NDArray[np.int64], str]:
    """Cut tracks where they merge or split, so that a track has one point in a frame.

    Parameters
    ----------
    frame, track
        (n,) Frame and track of each of n spots; track -1: not known.
    links
        (m, 2) Rows of the two spots of each link, in any order.

    Returns
    -------
    track : (n,)
        The first piece of a track keeps its number; other pieces, and spots without a link, have
        new ones above all others.
    said : str
        What was cut; empty: nothing.

    Raises
    ------
    InputError
        A link is between two spots of one frame.
    """
    links = np.where((frame[links[:, :1]] > frame[links[:, 1:]]), links[:, ::-1], links)
    if (same := frame[links[:, 0]] == frame[links[:, 1]]).any():
        one = frame[links[np.argmax(same), 0]]
        raise InputError(f"{path} links two spots of frame {one}; links lead to other frames")
    n = len(track)
    follows = np.bincount(links[:, 0], minlength=n)
    leads = np.bincount(links[:, 1], minlength=n)
    plain = links[(follows[links[:, 0]] == 1) & (leads[links[:, 1]] == 1)]
    first = np.arange(n)  # row of an earlier spot of the piece, in the end of its first
    first[plain[:, 1]] = plain[:, 0]
    while (first != first[first]).any():
        first = first[first]
    heads = np.unique(first)
    free = int(track.max(initial=-1)) + 1
    name = np.empty(n, np.int64)
    kept = np.zeros(len(heads), bool)
    known = track[heads] >= 0
    kept[np.flatnonzero(known)[np.unique(track[heads[known]], return_index=True)[1]]] = True
    name[heads] = np.where(kept, track[heads], free + np.cumsum(~kept) - 1)
    cut = len(links) - len(plain)
    return name[first], f"; tracks are cut at merges and splits ({cut} links)" if cut else ""


def _hdf5(path: Path) -> Columns:
    import h5py

    with h5py.File(path, "r") as file:
        if "locs" not in file:
            raise InputError(f"{path} has no dataset 'locs', in which Picasso keeps localizations")
        table = file["locs"][:]
    columns = {name: np.asarray(table[name]) for name in table.dtype.names or ()}
    named = {name: name for name in columns}
    said = told("Picasso localizations", "pixel", 0)
    if "z" in columns:
        return Columns(columns, named, "pixel", f"{said}, z in nm", units={"z": "nm"})
    return Columns(columns, named, "pixel", said)


def _parquet(path: Path) -> Columns:
    import pandas as pd

    table = pd.read_parquet(path)
    kept = [name for name in table.index.names if name is not None and name not in table]
    table = table.reset_index(level=kept) if kept else table  # laptrack, trackpy: frame as index
    return Columns({str(name): table[name].to_numpy() for name in table.columns}, {}, "", "")


def _geff(path: Path) -> Columns:
    import zarr

    group = zarr.open_group(path, mode="r")
    about = dict(group.attrs).get("geff")
    if not isinstance(about, dict):
        raise InputError(f"{path} is no GEFF graph: its attributes do not say so")
    holder: Any = group["nodes/props"]
    props = {name: _property(holder[name]) for name in holder.group_keys()}
    axes = {axis["name"]: axis for axis in about.get("axes") or []}
    time = next((name for name, axis in axes.items() if axis.get("type") == "time"), "t")
    if absent := [name for name in (time, "y", "x") if name not in props]:
        raise InputError(f"{path} has no property {', '.join(absent)} of nodes; it has: "
                         f"{', '.join(props)}")  # fmt: skip
    frame = _whole(path, time, props.pop(time), str(axes.get(time, {}).get("unit") or ""))
    unit = calibrated(str(axes.get("x", {}).get("unit") or "pixel"))
    places = {name: props.pop(name) for name in ("y", "x", "z") if name in props}
    tracklet = (about.get("track_node_props") or {}).get("tracklet")
    if tracklet is not None and tracklet in props:
        track, cut = _whole(path, tracklet, props.pop(tracklet)), ""
    else:
        ids: Any = group["nodes/ids"]
        links: Any = group["edges/ids"]
        order = np.argsort(ids[:])
        rows = order[np.searchsorted(ids[:], links[:], sorter=order)].astype(np.int64)
        track, cut = unbranched(path, frame, np.full(len(frame), -1), rows.reshape(-1, 2))
    values = {"frame": frame, "track_id": track}
    more = {name: one for name, one in props.items() if one.ndim == 1 and name not in values}
    return _placed(values, places, unit, told("GEFF graph", unit, 0) + cut, more)


def _property(holder: Any) -> NDArray[Any]:
    """Values of a property of the nodes; a missing one is NaN, or an empty text."""
    values = np.asarray(holder["values"][:])
    if "missing" not in holder:
        return values
    missing = np.asarray(holder["missing"][:], bool)
    if not missing.any():
        return values
    values = values.astype(np.float64 if values.dtype.kind in "fiub" else object)
    values[missing] = np.nan if values.dtype.kind == "f" else ""
    return values


def _mdf(path: Path) -> Columns:
    from livespt.tools.tables.positions import read

    found = read(path)
    track = np.repeat(np.arange(len(found.offset) - 1), np.diff(found.offset))
    values: dict[str, NDArray[Any]] = {"frame": found.frame, "track_id": track}
    places = dict(zip("zyx", found.point.T, strict=True))
    if found.ndim == 2:
        del places["z"]
    return _placed(values, places, "pixel", told("MTrackJ tracks", "pixel", 1))


READERS: dict[str, Callable[[Path], Columns]] = {
    "xml": _trackmate,
    "hdf5": _hdf5,
    "parquet": _parquet,
    "geff": _geff,
    "mdf": _mdf,
}
