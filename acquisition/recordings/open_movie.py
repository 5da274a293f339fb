"""Open a recorded movie of any supported format as an iterable of frames."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from livespt.acquisition.recordings.bioio import is_vsi, open_bioio
from livespt.acquisition.recordings.grid import FileFacts, movie_of_rows
from livespt.acquisition.recordings.image_folder import image_files, open_image_folder
from livespt.acquisition.recordings.movie import MOVIE_ROW, NOTHING, Movie, MovieUnits, Stated
from livespt.acquisition.recordings.nd2 import is_nd2, open_nd2
from livespt.acquisition.recordings.ndtiff import open_ndtiff
from livespt.acquisition.recordings.ome_zarr import METADATA, open_zarr
from livespt.acquisition.recordings.tiff import open_tiff
from livespt.acquisition.recordings.video import is_video, open_video
from livespt.stream.errors import InputError
from livespt.stream.store.ome_image import movie_dtype
from livespt.stream.store.run import open_run
from livespt.stream.types import CLOCKS

TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
BEGIN = 128  # bytes of a file by which formats are told apart


class Format(NamedTuple):
    """A format of recordings: how its content is recognised, and what opens it."""

    name: str
    fits: Callable[[Path, bytes], bool]  # path and first bytes of a file, none of a folder
    open: Callable[[Path, Stated], Movie | None]  # None: it is of another format after all


def open_movie(path: Path | str, stated: Stated = NOTHING) -> Movie:
    """Open a movie. Only the first frame is read at once; others are read when they are requested.

    The content of a file or folder decides what reads it, not its name.

    Parameters
    ----------
    path
        A livespt run, an OME-Zarr image, a Zarr array, a TIFF file (OME, ImageJ or plain), an
        NDTiff folder, a folder of numbered images, a film, an ND2 file, or a file for which a
        plugin of bioio is installed.
    stated
        What the user states of it, which rules over what the file says.

    Raises
    ------
    InputError
        The file does not exist, is empty, damaged or of another format, or its pixels or axes are
        not those of a movie.
    """
    path = Path(path)
    try:
        if not path.exists():
            raise InputError(f"{path} does not exist: check the name of the movie")
        begin = b""
        if not path.is_dir():
            with path.open("rb") as file:
                begin = file.read(BEGIN)
        for known in FORMATS:
            if known.fits(path, begin) and (movie := known.open(path, stated)) is not None:
                return movie
    except PermissionError as error:
        raise InputError(f"no permission to read {path}: change its permissions") from error
    raise _no_movie(path)


def _no_movie(path: Path) -> InputError:
    """Say that a file is no movie, or what is in a folder that is none itself."""
    if not path.is_dir():
        return InputError(
            f"{path} is not a movie that livespt reads ({READ}): convert it, for example with Fiji"
        )
    inside = sorted(p.name for p in path.iterdir() if p.suffix in (".tif", ".tiff", ".zarr"))
    hint = f"name a movie in it, such as {inside[0]}" if inside else f"livespt reads {READ}"
    return InputError(f"{path} is a folder, not a movie: {hint}")


def _is_run(path: Path) -> bool:
    try:
        document = json.loads((path / "zarr.json").read_text("utf-8"))
        return "livespt" in document["attributes"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return False


def _open_run(path: Path, stated: Stated) -> Movie:
    """Open the movie of a run, with the frames that are recorded at this moment."""
    run = open_run(path)
    start = run.start
    if not run.has_movie:
        source = start.source or "its source"
        raise InputError(f"{path} was stored without its movie (--no-movie): replay {source}")
    movie_rows = np.zeros(run.n_frames, MOVIE_ROW)
    for name in MOVIE_ROW.names or ():
        movie_rows[name] = run.log[name]
    # frames behind the end of an interrupted table have not been analyzed, so they are not skipped
    analyzed = np.ones(run.n_frames, bool)
    rows = run.frames[: run.n_frames]
    analyzed[: len(rows)] = rows["analyzed"] != 0
    movie_rows["level"][: len(rows)] = rows["level"]
    kept = np.arange(run.n_frames)
    if stated.axes is not None:
        raise InputError(f"{path} is a run, whose axes are known: leave out --axes")
    if stated.channel is not None:
        kept = np.flatnonzero(movie_rows["channel"].astype(str) == stated.channel)
    timed = movie_rows["clock"] != CLOCKS.index("none")
    units = [getattr(start, name) for name in MovieUnits._fields]
    return movie_of_rows(
        path,
        start.axes,
        start.shape,
        movie_dtype(start),
        lambda i: run.frame(int(kept[i])).image,
        movie_rows[kept],
        FileFacts(
            MovieUnits(*units),
            units_origin="the run",
            interval_origin="the first word of the run",
            time_s=np.where(timed, movie_rows["time_s"], np.nan)[kept],
            time_origin="the clock of the frames",
        ),
        stated,
        run,
        analyzed[kept],
    )


def _run_of(path: Path) -> Path:
    """The run to which a folder belongs: the movie of a run is opened as the run.

    The run knows which frames exist.
    """
    return path.parent if path.name == "movie" and not _is_run(path) else path


FORMATS = (
    Format(
        "an NDTiff folder",
        lambda path, begin: (path / "NDTiff.index").exists(),
        open_ndtiff,
    ),
    Format(
        "a livespt run",
        lambda path, begin: _is_run(_run_of(path)),
        lambda path, stated: _open_run(_run_of(path), stated),
    ),
    Format(
        "OME-Zarr or a Zarr array",
        lambda path, begin: any((path / name).exists() for name in METADATA),
        open_zarr,
    ),
    Format(
        "a folder of numbered images",
        lambda path, begin: path.is_dir() and len(image_files(path)) > 1,
        lambda path, stated: open_image_folder(path, image_files(path), stated),
    ),
    Format(
        "TIFF, OME-TIFF or an ImageJ stack",
        lambda path, begin: begin[:4] in TIFF and not is_vsi(path),
        open_tiff,
    ),
    Format("ND2", lambda path, begin: is_nd2(begin), open_nd2),
    Format("a film", lambda path, begin: is_video(begin), open_video),
    Format("what a plugin of bioio reads", lambda path, begin: bool(begin), open_bioio),
)
READ = ", ".join(one.name for one in FORMATS)
