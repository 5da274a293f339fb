"""A recorded movie as frames: random access, iteration, and the rules for axes and pixels.

Whatever the axes of the file, a frame is (y, x) or (z, y, x). There is one frame for each time
point, stage position and channel; the channel changes fastest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.stream.errors import InputError
from livespt.stream.store.run import RunReader
from livespt.stream.types import CLOCKS, Frame

PIXELS = ("uint8", "uint16", "float32")
UNKNOWN = "?"  # an axis that the file does not name

# One row for each frame of a movie: its number, coordinates and time.
MOVIE_ROW = np.dtype(
    [
        ("number", "<i8"),
        ("t", "<i8"),
        ("channel", "<i2"),
        ("position", "<i2"),
        ("time_s", "<f8"),
        ("clock", "u1"),  # index into CLOCKS
        ("level", "u1"),  # degradation level at which the run that recorded it analyzed it
    ]
)


class MovieUnits(NamedTuple):
    """Units from the metadata of a file; None where a file does not state them."""

    pixel_size_um: float | None = None
    frame_interval_s: float | None = None
    z_step_um: float | None = None


class Movie:
    """A recorded movie: it has a length, `frame(i)`, and can be iterated any number of times.

    Attributes
    ----------
    path : Path
    axes : str
        Axes of a frame: "yx" or "zyx".
    shape : tuple of int
        Shape of a frame.
    dtype : numpy dtype
        Pixel type: uint8, uint16 or float32, in native byte order.
    pixel_size_um, frame_interval_s, z_step_um : float or None
        None where the file does not state them.
    analyzed : ndarray of bool, (n_frames,)
        False where the live run that recorded this movie skipped the frame.
    run : RunReader or None
        The run to which this movie belongs; None for other files.
    """

    def __init__(
        self,
        path: Path,
        axes: str,
        shape: Sequence[int],
        dtype: np.dtype[Any],
        read: Callable[[int], NDArray[Any]],
        rows: NDArray[np.void],
        scale: MovieUnits,
        run: RunReader | None = None,
        analyzed: NDArray[np.bool_] | None = None,
    ) -> None:
        check_pixels(path, dtype)
        if len(rows) == 0 or prod(shape) == 0:
            raise InputError(f"{path} holds no frames: record it again or choose another movie")
        self.path = path
        self.axes = axes
        self.shape = tuple(int(n) for n in shape)
        self.dtype = np.dtype(dtype).newbyteorder("=")
        self.pixel_size_um, self.frame_interval_s, self.z_step_um = scale
        self.run = run
        self.analyzed = np.ones(len(rows), bool) if analyzed is None else analyzed
        self._read = read
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def n_frames(self) -> int:
        """Number of frames, over all time points, positions and channels."""
        return len(self._rows)

    def __iter__(self) -> Iterator[Frame]:
        return (self.frame(i) for i in range(len(self)))

    def frame(self, i: int) -> Frame:
        """Return frame i, counted from 0.

        Its image is contiguous, in native byte order, and belongs to the caller.

        Raises
        ------
        IndexError
            The movie has no such frame.
        InputError
            The file is damaged at this frame.
        """
        if not 0 <= i < len(self):
            raise IndexError(f"there is no frame {i} in {self.path}, which has {len(self)}")
        stored = self._read(i)
        if stored.shape != self.shape or stored.dtype.newbyteorder("=") != self.dtype:
            raise InputError(
                f"frame {i} of {self.path} is {stored.dtype} {stored.shape} but the first is "
                f"{self.dtype} {self.shape}: save frames of different kinds as separate movies"
            )
        image = np.array(stored, dtype=self.dtype, order="C")
        row = self._rows[i]
        return Frame(
            int(row["number"]),
            int(row["t"]),
            int(row["channel"]),
            int(row["position"]),
            float(row["time_s"]),
            image,
            int(row["clock"]),
            level=int(row["level"]),
        )


def check_pixels(path: Path, dtype: np.dtype[Any]) -> None:
    """Raise InputError for a pixel type that livespt does not analyze."""
    if dtype.newbyteorder("=") in [np.dtype(name) for name in PIXELS]:
        return
    to = "float32" if dtype.kind in "fc" else "uint8" if dtype.kind == "b" else "uint16 or float32"
    raise InputError(
        f"{path} has {dtype.name} pixels; livespt reads {', '.join(PIXELS)}: convert it to {to}"
    )


def name_axes(path: Path, axes: str, shape: Sequence[int]) -> str:
    """Name every axis by a letter of "tpczyx", or by "-" if it is dropped (its length is 1).

    Parameters
    ----------
    axes
        One letter for each axis, `UNKNOWN` for an axis that the file does not name; "s" is the
        axis of colour samples.

    Raises
    ------
    InputError
        The movie is in colour, has an axis of another kind, has more than one unnamed axis longer
        than 1, or lacks y or x.
    """
    named = axes.lower()
    if len(shape) > 1 and set(named) == {UNKNOWN}:
        if len(shape) > 2 and shape[-1] in (3, 4) and shape[-2] > 4:
            named = named[:-3] + "yxs"
        else:
            named = "tczyx" if len(shape) == 5 else named[:-2] + "yx"
    if any(axis == "s" and n > 1 for axis, n in zip(named, shape, strict=True)):
        raise InputError(f"{path} is in colour: convert it to grey values, or split its channels")
    named = "".join(
        "-" if n == 1 and axis not in "tzyxpc" else axis
        for axis, n in zip(named, shape, strict=True)
    )
    if named.count(UNKNOWN) == 1 and "t" not in named:
        named = named.replace(UNKNOWN, "t")
    kept = named.replace("-", "")
    if len(set(kept)) != len(kept) or set(kept) - set("tpczyx") or not {"y", "x"} <= set(kept):
        raise InputError(
            f"{path} has {len(shape)} axes ({axes}) of lengths {tuple(shape)}; livespt reads "
            "movies with axes from t, p, c, z, y, x: save it with named axes"
        )
    return named


def movie_of_array(
    path: Path,
    array: Any,
    axes: str,
    scale: MovieUnits,
    *,
    single_z: bool = False,
) -> Movie:
    """Make a movie of an array-like with `shape`, `dtype` and indexing by integers and slices.

    Parameters
    ----------
    axes
        One letter for each axis, as for `name_axes`.
    single_z
        Keep a z axis that has one plane only.

    Raises
    ------
    InputError
        The array is empty, or its axes or pixels are not those of a movie.
    """
    if 0 in array.shape:
        raise InputError(f"{path} holds no frames: record it again or choose another movie")
    named = name_axes(path, axes, array.shape)
    size = dict(zip(named, array.shape, strict=True))
    if size.get("z") == 1 and not single_z:
        named = named.replace("z", "-")
    frame_axes = "zyx" if "z" in named else "yx"
    outer = [size.get(axis, 1) for axis in "tpc"]
    left = [axis for axis in named if axis in frame_axes]
    order = [left.index(axis) for axis in frame_axes]

    def read(i: int) -> NDArray[Any]:
        at = dict(zip("tpc", (int(k) for k in np.unravel_index(i, outer)), strict=True))
        key = tuple(slice(None) if axis in frame_axes else at.get(axis, 0) for axis in named)
        return np.asarray(array[key]).transpose(order)

    t, position, channel = (index.ravel() for index in np.indices(outer))
    rows = np.zeros(prod(outer), MOVIE_ROW)
    rows["number"], rows["t"] = np.arange(len(rows)), t
    rows["position"], rows["channel"] = position, channel
    if scale.frame_interval_s is not None:
        rows["time_s"], rows["clock"] = t * scale.frame_interval_s, CLOCKS.index("file")
    shape = [size[axis] for axis in frame_axes]
    return Movie(path, frame_axes, shape, np.dtype(array.dtype), read, rows, scale)


def one_pixel_size(y: float | None, x: float | None) -> float | None:
    """Side of a pixel; None if it is unknown or pixels are not square."""
    if not x or not y or abs(x - y) > 0.01 * x:
        return None
    return x
