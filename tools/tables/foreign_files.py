"""Tables that are no text: TrackMate XML, Picasso and other HDF5, Parquet, GEFF, MTrackJ.

Each becomes columns by name; what the program adds is written as a text table beside them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from livespt.stream.errors import InputError, MissingError
from livespt.tools.tables.conventions import UM, calibrated

MAGIC = {b"\x89HDF": "hdf5", b"PAR1": "parquet"}


class Columns(NamedTuple):
    """Columns (n,) of a table, and what is known of them."""

    values: dict[str, NDArray[Any]]
    unit: str  # of positions
    said: str
    pixel_size_um: float | None = None


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
    except (OSError, ValueError, KeyError, TypeError, IndexError, ElementTree.ParseError) as error:
        line = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"{path} cannot be read as {kind}: {line}") from error


def _trackmate(path: Path) -> Columns:
    """Read TrackMate XML: the whole model, or `Export tracks to XML file`."""
    text = path.read_bytes()
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        raise InputError(f"{path} declares a document type: save it again")
    root = ElementTree.fromstring(text)
    if root.tag == "Tracks":
        return _exported_tracks(path, root)
    model = root.find("Model")
    if root.tag != "TrackMate" or model is None:
        raise InputError(f"{path} is no file of TrackMate: it begins with <{root.tag}>")
    spots = list(root.iter("Spot"))
    number = {int(spot.get("ID", -1)): i for i, spot in enumerate(spots)}
    names = ("FRAME", "POSITION_X", "POSITION_Y", "POSITION_Z", "QUALITY")
    values = {
        name: np.array([float(spot.get(name, "nan")) for spot in spots], np.float64)
        for name in names
    }
    track = np.arange(len(spots)) + 1_000_000_000  # a spot without a link is a track of its own
    for one in root.iter("Track"):
        for edge in one.iter("Edge"):
            for end in ("SPOT_SOURCE_ID", "SPOT_TARGET_ID"):
                track[number[int(edge.get(end, -1))]] = int(one.get("TRACK_ID", -1))
    image = root.find(".//ImageData")
    unit = calibrated(model.get("spatialunits", "pixel"))
    pixel = float(image.get("pixelwidth", 0)) if image is not None else 0.0
    named = {
        "ID": np.array([*number], np.int64), "frame": values["FRAME"].astype(np.int64),
        "particle": np.unique(track, return_inverse=True)[1].reshape(-1),
        "y": values["POSITION_Y"], "x": values["POSITION_X"], "z": values["POSITION_Z"],
    }  # fmt: skip
    if not named["z"].any():
        del named["z"]
    size = pixel * UM[unit] if unit in UM and pixel > 0 else None
    return Columns(named, unit, f"TrackMate XML: positions in {unit}, frames from 0", size)


def _exported_tracks(path: Path, root: ElementTree.Element) -> Columns:
    rows = [
        (i, *(float(one.get(name, "nan")) for name in ("t", "z", "y", "x")))
        for i, particle in enumerate(root.iter("particle"))
        for one in particle.iter("detection")
    ]
    if not rows:
        raise InputError(f"{path} holds no tracks")
    particle, t, z, y, x = np.array(rows, np.float64).T
    named = {"frame": t.astype(np.int64), "particle": particle.astype(np.int64), "y": y, "x": x}
    unit = calibrated(root.get("spaceUnits", "pixel"))
    if z.any():
        named["z"] = z
    return Columns(named, unit, f"tracks exported by TrackMate: positions in {unit}, frames from 0")


def _hdf5(path: Path) -> Columns:
    import h5py

    with h5py.File(path, "r") as file:
        if "locs" not in file:
            raise InputError(f"{path} has no dataset 'locs', in which Picasso keeps localizations")
        table = file["locs"][:]
    names = table.dtype.names or ()
    columns = {name: np.asarray(table[name]) for name in names}
    columns["frame"] = columns["frame"].astype(np.int64)
    for name in ("track_id", "group"):
        if name in columns and "particle" not in columns:
            columns["particle"] = columns[name].astype(np.int64)
    return Columns(columns, "pixel", "Picasso localizations: positions in pixels, frames from 0")


def _parquet(path: Path) -> Columns:
    import pandas as pd

    table = pd.read_parquet(path)
    return Columns({str(name): table[name].to_numpy() for name in table.columns}, "", "")


def _geff(path: Path) -> Columns:
    import zarr

    group = zarr.open_group(path, mode="r")
    about = dict(group.attrs).get("geff")
    if not isinstance(about, dict):
        raise InputError(f"{path} is no GEFF graph: its attributes do not say so")
    axes = {axis["name"]: axis for axis in about.get("axes") or []}
    holder: Any = group["nodes/props"]
    props = {name: np.asarray(holder[f"{name}/values"][:]) for name in holder.group_keys()}
    time = next((name for name, axis in axes.items() if axis.get("type") == "time"), "t")
    columns = {name: values for name, values in props.items() if values.ndim == 1}
    columns["frame"] = columns[time].astype(np.int64)
    shown = about.get("track_node_props") or {}
    if shown.get("tracklet") in columns and "particle" not in columns:
        columns["particle"] = columns[shown["tracklet"]].astype(np.int64)
    unit = calibrated(str(axes.get("x", {}).get("unit") or "pixel"))
    return Columns(columns, unit, f"GEFF graph: positions in {unit}, frames from 0")


def _mdf(path: Path) -> Columns:
    from livespt.tools.tables.positions import read

    found = read(path)
    track = np.repeat(np.arange(len(found.offset) - 1), np.diff(found.offset))
    columns = {"frame": found.frame, "particle": track, "y": found.point[:, 1],
               "x": found.point[:, 2]}  # fmt: skip
    if found.ndim == 3:
        columns["z"] = found.point[:, 0]
    return Columns(columns, "pixel", "MTrackJ tracks: positions in pixels, frames from 1")


READERS: dict[str, Callable[[Path], Columns]] = {
    "xml": _trackmate,
    "hdf5": _hdf5,
    "parquet": _parquet,
    "geff": _geff,
    "mdf": _mdf,
}
