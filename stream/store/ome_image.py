"""The movie of a run as an OME-Zarr 0.5 image: its metadata, and how many frames they show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from livespt.stream.errors import StoreError
from livespt.stream.host.atomic_files import write_json
from livespt.stream.store.shards import codecs, frames_a_shard
from livespt.stream.types import Start


def movie_dtype(start: Start) -> np.dtype[Any]:
    """Little-endian dtype of the frames of a run."""
    return np.dtype(start.dtype).newbyteorder("<")


def create_movie(run: Path, start: Start, frames: int | None = None) -> None:
    """Create the empty movie of the run in the folder `run`, with its OME-Zarr metadata."""
    folder, dtype = run / "movie", movie_dtype(start)
    zarr.create_group(folder, attributes={"ome": ome_metadata(start)})
    zarr.create_array(
        folder,
        name="0",
        shape=(0, *start.shape),
        shards=(frames or frames_a_shard(start.shape, dtype), *start.shape),
        chunks=(1, *start.shape),
        dtype=dtype,
        compressors=codecs(dtype),
        fill_value=0,
        dimension_names=("t", *start.axes),
    )


def restate_movie(run: Path, start: Start) -> None:
    """Write the axes and scales of the movie of `run`, if it has one, from its first word."""
    path = run / "movie" / "zarr.json"
    if path.is_file():
        document = json.loads(path.read_text("utf-8"))
        document["attributes"]["ome"] = ome_metadata(start)
        write_json(path, document)


def ome_metadata(start: Start) -> dict[str, Any]:
    """OME-Zarr 0.5 `ome` attribute: axes, units, scales; an unknown scale is 1 without a unit."""
    known = {
        "t": start.frame_interval_s,
        "z": start.z_step_um,
        "y": start.pixel_size_um,
        "x": start.pixel_size_um,
    }
    axes, scale = [], []
    for name in ("t", *start.axes):
        axis = {"name": name, "type": "time" if name == "t" else "space"}
        value = known[name]
        if value:
            axis["unit"] = "second" if name == "t" else "micrometer"
        axes.append(axis)
        scale.append(float(value or 1.0))
    transforms = [{"type": "scale", "scale": scale}]
    dataset = {"path": "0", "coordinateTransformations": transforms}
    name = Path(start.source).name or start.run
    return {"version": "0.5", "multiscales": [{"name": name, "axes": axes, "datasets": [dataset]}]}


def shard_frames(folder: Path) -> int:
    """Frames a shard of this array; StoreError if it has none."""
    try:
        document = json.loads((folder / "zarr.json").read_text("utf-8"))
        if document["codecs"][0]["name"] == "sharding_indexed":
            return int(document["chunk_grid"]["configuration"]["chunk_shape"][0])
    except (ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
        raise StoreError(f"{folder}/zarr.json is damaged: {error}") from error
    raise StoreError(f"{folder} was begun by an older livespt: replay its source into a new run")


def show(folder: Path, count: int) -> None:
    """Let the array's shape, which is all that other Zarr readers go by, say so many frames."""
    document = json.loads((folder / "zarr.json").read_text("utf-8"))
    if document["shape"][0] != count:
        document["shape"][0] = count
        write_json(folder / "zarr.json", document)
