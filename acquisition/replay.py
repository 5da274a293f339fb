"""Opens a recorded movie of any kind as an iterable of frames."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from livespt.acquisition.ndtiff import open_ndtiff
from livespt.acquisition.ngff import METADATA, open_zarr
from livespt.acquisition.recording import PLACE, Movie, Scale
from livespt.acquisition.tiff import open_tiff
from livespt.stream.errors import InputError
from livespt.stream.image import movie_dtype
from livespt.stream.store import open_run

__all__ = ["Movie", "open_movie"]

TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
READ = "a livespt run, OME-Zarr, a Zarr array, TIFF, OME-TIFF, an ImageJ stack, an NDTiff folder"


def open_movie(path: Path | str) -> Movie:
    """Open a movie; nothing but its first frame is read until frames are asked for.

    Parameters
    ----------
    path
        Of a livespt run, an OME-Zarr image, a Zarr array, a TIFF file (OME, ImageJ or plain), or
        an NDTiff folder.

    Raises
    ------
    InputError
        There is no such file, it is damaged, empty, none of these, or its pixels or axes are not
        those of a movie.
    """
    path = Path(path)
    try:
        if path.is_dir():
            return _open_folder(path)
        if not path.exists():
            raise InputError(f"{path} does not exist: check the name of the movie")
        with path.open("rb") as file:
            magic = file.read(4)
    except PermissionError as error:
        raise InputError(f"{path} may not be read: change its permissions") from error
    if magic in TIFF:
        return open_tiff(path)
    raise InputError(f"{path} is no movie that livespt reads ({READ}): convert it, say with Fiji")


def _open_folder(path: Path) -> Movie:
    if (path / "NDTiff.index").exists():
        return open_ndtiff(path)
    if _is_run(path):
        return _open_run(path)
    if path.name == "movie" and _is_run(path.parent):  # the log there says which frames exist
        return _open_run(path.parent)
    if any((path / name).exists() for name in METADATA):
        return open_zarr(path)
    inside = sorted(p.name for p in path.iterdir() if p.suffix in (".tif", ".tiff", ".zarr"))
    hint = f"name one in it, such as {inside[0]}" if inside else f"livespt reads {READ}"
    raise InputError(f"{path} is a folder and no movie: {hint}")


def _is_run(path: Path) -> bool:
    try:
        document = json.loads((path / "zarr.json").read_text("utf-8"))
        return "livespt" in document["attributes"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return False


def _open_run(path: Path) -> Movie:
    """The movie of a run, frames as recorded, as of now."""
    run = open_run(path)
    start = run.start
    if not run.has_movie:
        source = start.source or "its source"
        raise InputError(f"{path} was stored without its movie (--no-movie): replay {source}")
    places = np.zeros(run.n_frames, PLACE)
    for name in PLACE.names or ():
        places[name] = run.log[name]
    analyzed = np.ones(run.n_frames, bool)  # where the run was cut, the rest is not analyzed yet
    rows = run.frames[: run.n_frames]
    analyzed[: len(rows)] = rows["analyzed"] != 0
    places["level"][: len(rows)] = rows["level"]
    scale = Scale(start.pixel_size_um, start.frame_interval_s, start.z_step_um)
    return Movie(
        path,
        start.axes,
        start.shape,
        movie_dtype(start),
        lambda i: run.frame(i).image,
        places,
        scale,
        run,
        analyzed,
    )
