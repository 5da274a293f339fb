"""Recordings of other formats (CZI, LIF, ...), through the plugins of bioio that are installed."""

from __future__ import annotations

import importlib
import io
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.acquisition.recordings.grid import FileFacts, movie_of_array
from livespt.acquisition.recordings.movie import (
    NOTHING,
    Movie,
    MovieUnits,
    Stated,
    one_pixel_size,
)
from livespt.acquisition.recordings.units import micrometers
from livespt.stream.errors import InputError

AXES = "TCZYX"  # of every image that bioio opens, and S for colour samples


class KnownFormat(NamedTuple):
    """A format that is recognised by its content, and the plugin of bioio that reads it."""

    name: str
    plugin: str
    begins: bytes  # regular expression


KNOWN = (
    KnownFormat("a Zeiss CZI file", "bioio-czi", rb"ZISRAWFILE"),
    KnownFormat("a Leica LIF file", "bioio-lif", rb"p\0\0\0....\*"),
    KnownFormat("an Olympus OIR file", "bioio-bioformats", rb"OLYMPUSRAWFORMAT"),
    KnownFormat("an OIB or ZVI file", "bioio-bioformats", rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
    KnownFormat("an ND2 file before NIS-Elements 3, or JPEG 2000", "bioio-nd2", rb"\0{3}\x0cjP  "),
    KnownFormat("an HDF5 file (Imaris?)", "bioio-bioformats", rb"\x89HDF\r\n\x1a\n"),
    KnownFormat("a DeltaVision file", "bioio-dv", rb".{96}(\xa0\xc0|\xc0\xa0)"),
)
VSI = KnownFormat("a cellSens VSI file", "bioio-bioformats", b"")


def is_vsi(path: Path) -> bool:
    """Whether a file is of cellSens: a TIFF of an overview, with the movie in files beside it."""
    return path.suffix.lower() == ".vsi"


def open_bioio(path: Path, stated: Stated = NOTHING) -> Movie | None:
    """Open a file by a plugin of bioio; pixels are read plane by plane.

    Scenes are stage positions. Times are those of the images where the plugin tells them; else the
    interval is bioio's, for several formats a mean over the recording.

    Returns
    -------
    Movie or None
        None: the file is of no format that is known here or to an installed plugin.

    Raises
    ------
    InputError
        bioio or its plugin for this format is not installed, or the file is truncated, damaged, in
        colour, or holds scenes of different kinds.
    """
    known = _known_format(path)
    image = _image(path, known)
    if image is None and known is not None:
        raise InputError(
            f"{path} is {known.name}: pip install bioio {known.plugin} to read it, or convert it, "
            "for example with Fiji"
        )
    if image is None:
        return None
    with _one_error(path, known):
        movie = _movie(path, image, known, stated)
        movie.frame(0)
    return movie


def _known_format(path: Path) -> KnownFormat | None:
    if is_vsi(path):
        return VSI
    with path.open("rb") as file:
        begin = file.read(128)
    return next((one for one in KNOWN if re.match(one.begins, begin, re.DOTALL)), None)


def _image(path: Path, known: KnownFormat | None) -> Any:
    """Open a file as bioio's image; None where no plugin for it is installed.

    The content names the plugin where it is known; bioio itself goes by the name of the file.
    """
    try:
        from bioio import BioImage
        from bioio_base.exceptions import UnsupportedFileFormatError
    except ImportError:
        return None
    reader = None
    if known and find_spec(module := known.plugin.replace("-", "_")):
        reader = importlib.import_module(module).Reader
    with _one_error(path, known):
        try:
            return BioImage(path, reader=reader)
        except UnsupportedFileFormatError as error:
            if known and reader:
                raise InputError(
                    f"{path} is {known.name} that {known.plugin} cannot read, truncated or "
                    "damaged: copy it again"
                ) from error
            return None


@contextmanager
def _one_error(path: Path, known: KnownFormat | None = None) -> Iterator[None]:
    """Turn what bioio and its plugins raise into InputError, and keep them off the terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # each plugin has a logger of its own, and warns of metadata
    try:
        with redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except InputError:
        raise
    except Exception as error:  # each plugin raises what its own library does
        line = (str(error) or type(error).__name__).splitlines()[0]
        what = f"{path} is {known.name} that {known.plugin}" if known else f"{path}: bioio"
        raise InputError(f"{what} cannot read: {line}") from error
    finally:
        logging.disable(before)


def _movie(path: Path, image: Any, known: KnownFormat | None, stated: Stated) -> Movie:
    array = _Scenes(path, image, known)
    sizes = image.physical_pixel_sizes
    x, y, z = (micrometers(size, "um") for size in (sizes.X, sizes.Y, sizes.Z))
    times = _from_first([_times(one.reader, array.shape[1:3]) for one in array.scenes], array.shape)
    interval = image.time_interval if times is None else None  # often a mean of those times
    names = [str(name) for name in image.channel_names or ()]
    facts = FileFacts(
        MovieUnits(one_pixel_size(y, x), interval.total_seconds() if interval else None, z),
        units_origin="bioio",
        interval_origin="bioio, a mean of the recording or a planned interval",
        time_s=times,
        time_origin="the acquisition time of each image",
        present=array.present,
        positions=tuple(image.scenes) if len(image.scenes) > 1 else (),
        channels=tuple(names) if all(names) else (),
    )
    return movie_of_array(path, array, "p" + AXES.lower(), facts, stated)


class _Scenes:
    """Planes by scene, t, c, z, y, x, read when they are indexed; scenes may be shorter in time.

    Each scene has an image of its own, because an image that changes its scene reads its metadata
    again.
    """

    def __init__(self, path: Path, image: Any, known: KnownFormat | None) -> None:
        self.scenes = [image]
        for index in range(1, len(image.scenes)):
            other = _image(path, known)
            other.set_scene(index)
            self.scenes.append(other)
        axes = {one.dims.order for one in self.scenes}
        if axes == {AXES + "S"}:
            raise InputError(
                f"{path} is in colour: convert it to grey values, or split its channels"
            )
        shapes = [tuple(one.dims.shape) for one in self.scenes]
        kinds = {(one.dims.shape[1:], np.dtype(one.dtype)) for one in self.scenes}
        if axes != {AXES} or len(kinds) > 1:
            raise InputError(
                f"{path} holds {len(shapes)} scenes with axes {', '.join(sorted(axes))} of lengths "
                f"{', '.join(map(str, sorted(set(shapes))))}: save each kind as a file of its own"
            )
        self.dtype = np.dtype(image.dtype)
        self.shape = (len(shapes), max(shape[0] for shape in shapes), *shapes[0][1:])
        self.present = np.zeros(self.shape[:4], bool)
        for index, shape in enumerate(shapes):
            self.present[index, : shape[0]] = True
        self._path = path

    def __getitem__(self, key: tuple[Any, ...]) -> NDArray[Any]:
        scene, t, c, z, y, x = key
        image = self.scenes[scene]
        planes = range(self.shape[3])[z] if isinstance(z, slice) else [z]
        with _one_error(self._path):  # delayed, since some plugins read all for a part otherwise
            images = [
                image.get_image_dask_data("YX", T=t, C=c, Z=plane).compute(scheduler="synchronous")
                for plane in planes
            ]
        return np.stack(images)[:, y, x] if isinstance(z, slice) else np.asarray(images[0])[y, x]


def _times(reader: Any, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Seconds of the images (t, c) of a scene, of its earliest plane; NaN: not told."""
    out = np.full(shape, np.nan)
    known = list(getattr(reader, "acquisition_times", None) or ())
    first = {axis: min((int(one.get(axis, 0)) for one in known), default=0) for axis in "TC"}
    for one in known:
        at = tuple(int(one.get(axis, 0)) - first[axis] for axis in "TC")
        if all(i < n for i, n in zip(at, shape, strict=True)):
            out[at] = np.fmin(out[at], one["acquisition_time"].timestamp())
    return out


def _from_first(
    times: list[NDArray[np.float64]], shape: tuple[int, ...]
) -> NDArray[np.float64] | None:
    """Times (p, t, c, z) since the first image, of scenes with this shape; None: there are none."""
    all_times = np.stack(times)
    if not np.isfinite(all_times).any():
        return None
    since = all_times - np.nanmin(all_times)
    return np.broadcast_to(since[..., None], shape[:4])
