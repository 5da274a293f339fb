"""A recorded movie as frames: random access, iteration, and the rules for axes and pixels.

Whatever a file calls its axes, a frame is (y, x) or (z, y, x), and there is one for each time
point, stage position and channel, in this order.
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

# Where a frame stands in its movie.
PLACE = np.dtype(
    [
        ("number", "<i8"),
        ("t", "<i8"),
        ("channel", "<i2"),
        ("position", "<i2"),
        ("time_s", "<f8"),
        ("clock", "u1"),  # index into CLOCKS
        ("level", "u1"),  # of `stream.degradation`: at which the run that recorded it analyzed it
    ]
)


class MovieUnits(NamedTuple):
    """What a file says about its units; None: nothing."""

    pixel_size_um: float | None = None
    frame_interval_s: float | None = None
    z_step_um: float | None = None


class Movie:
    """A recorded movie: `len`, `frame(i)`, iteration as often as wanted.

    Attributes
    ----------
    path : Path
    axes : str
        Of a frame: "yx" or "zyx".
    shape : tuple of int
        Of a frame.
    dtype : numpy dtype
        uint8, uint16 or float32, native byte order.
    pixel_size_um, frame_interval_s, z_step_um : float or None
        None where the file does not say.
    analyzed : ndarray of bool, (n_frames,)
        False where the live run that recorded this movie skipped the frame.
    run : RunReader or None
        The run this movie is of.
    """

    def __init__(
        self,
        path: Path,
        axes: str,
        shape: Sequence[int],
        dtype: np.dtype[Any],
        read: Callable[[int], NDArray[Any]],
        places: NDArray[np.void],
        scale: MovieUnits,
        run: RunReader | None = None,
        analyzed: NDArray[np.bool_] | None = None,
    ) -> None:
        check_pixels(path, dtype)
        if len(places) == 0 or prod(shape) == 0:
            raise InputError(f"{path} holds no frames: record it again or choose another movie")
        self.path = path
        self.axes = axes
        self.shape = tuple(int(n) for n in shape)
        self.dtype = np.dtype(dtype).newbyteorder("=")
        self.pixel_size_um, self.frame_interval_s, self.z_step_um = scale
        self.run = run
        self.analyzed = np.ones(len(places), bool) if analyzed is None else analyzed
        self._read = read
        self._places = places

    def __len__(self) -> int:
        return len(self._places)

    @property
    def n_frames(self) -> int:
        """Frames, all time points, positions and channels."""
        return len(self._places)

    def __iter__(self) -> Iterator[Frame]:
        return (self.frame(i) for i in range(len(self)))

    def frame(self, i: int) -> Frame:
        """The i-th frame, from 0; its image is contiguous, in native byte order, and the caller's.

        Raises
        ------
        IndexError
            There is no such frame.
        InputError
            The file is damaged there.
        """
        if not 0 <= i < len(self):
            raise IndexError(f"frame {i} of {len(self)} in {self.path}")
        stored = self._read(i)
        if stored.shape != self.shape or stored.dtype.newbyteorder("=") != self.dtype:
            raise InputError(
                f"frame {i} of {self.path} is {stored.dtype} {stored.shape} but the first is "
                f"{self.dtype} {self.shape}: save one kind a movie"
            )
        image = np.array(stored, dtype=self.dtype, order="C")
        place = self._places[i]
        return Frame(
            int(place["number"]),
            int(place["t"]),
            int(place["channel"]),
            int(place["position"]),
            float(place["time_s"]),
            image,
            int(place["clock"]),
            level=int(place["level"]),
        )


def check_pixels(path: Path, dtype: np.dtype[Any]) -> None:
    """Raise InputError for pixels that are not analyzed as they are."""
    if dtype.newbyteorder("=") in [np.dtype(name) for name in PIXELS]:
        return
    to = "float32" if dtype.kind in "fc" else "uint8" if dtype.kind == "b" else "uint16 or float32"
    raise InputError(
        f"{path} has {dtype.name} pixels; livespt reads {', '.join(PIXELS)}: convert it to {to}"
    )


def name_axes(path: Path, axes: str, shape: Sequence[int]) -> str:
    """Lower-case names out of "tpczyx" for every axis, "-" for one to drop (its length is 1).

    Parameters
    ----------
    axes
        A letter an axis, `UNKNOWN` for those the file does not name; "s" is a colour sample.

    Raises
    ------
    InputError
        Colour; an axis of another kind; more than one unknown axis that matters; no y and x.
    """
    named = axes.lower()
    if len(shape) > 1 and set(named) == {UNKNOWN}:
        if len(shape) > 2 and shape[-1] in (3, 4) and shape[-2] > 4:
            named = named[:-3] + "yxs"
        else:
            named = "tczyx" if len(shape) == 5 else named[:-2] + "yx"
    if any(axis == "s" and n > 1 for axis, n in zip(named, shape, strict=True)):
        raise InputError(f"{path} is in colour: convert it to one gray value a pixel, or split it")
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


def cut(
    path: Path,
    array: Any,
    axes: str,
    scale: MovieUnits,
    *,
    single_z: bool = False,
) -> Movie:
    """The movie in an array-like: `shape`, `dtype`, and indexing by a tuple of integers and slices.

    Parameters
    ----------
    axes
        A letter an axis, as for `name_axes`.
    single_z
        Keep a z axis of one plane.

    Raises
    ------
    InputError
        Its axes or pixels cannot be read as a movie, or it is empty.
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
    places = np.zeros(prod(outer), PLACE)
    places["number"], places["t"] = np.arange(len(places)), t
    places["position"], places["channel"] = position, channel
    if scale.frame_interval_s is not None:
        places["time_s"], places["clock"] = t * scale.frame_interval_s, CLOCKS.index("file")
    shape = [size[axis] for axis in frame_axes]
    return Movie(path, frame_axes, shape, np.dtype(array.dtype), read, places, scale)


def one_pixel_size(y: float | None, x: float | None) -> float | None:
    """The side of a pixel, if pixels are square and their size is known."""
    if not x or not y or abs(x - y) > 0.01 * x:
        return None
    return x
