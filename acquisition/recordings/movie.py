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
from livespt.stream.types import Frame

PIXELS = ("uint8", "uint16", "float32")
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
    exposure_s: float | None = None


class Stated(NamedTuple):
    """What the user states of a movie, which rules over what its file says; None: nothing."""

    axes: str | None = None  # letters from "tpczyx", one for each axis of the file longer than 1
    pixel_size_um: float | None = None
    frame_interval_s: float | None = None
    z_step_um: float | None = None
    exposure_s: float | None = None
    channel: str | None = None  # name or number of the only one to read

    def words(self) -> dict[str, str | float]:
        """Return what is stated, by name."""
        return {name: value for name, value in self._asdict().items() if value is not None}


NOTHING = Stated()


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
    pixel_size_um, frame_interval_s, z_step_um, exposure_s : float or None
        None where neither the user nor the file states them. The interval is the median step
        between time points.
    origins : dict of str
        Where each of these, and "axes", is taken from; without those that are unknown.
    notices : tuple of str
        What a person has to know of the file: what is missing, contradicts itself or is doubtful.
    positions, channels : tuple of str
        Their names; empty where the file has none.
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
        *,
        origins: dict[str, str] | None = None,
        notices: Sequence[str] = (),
        positions: Sequence[str] = (),
        channels: Sequence[str] = (),
    ) -> None:
        check_pixels(path, dtype)
        if len(rows) == 0 or prod(shape) == 0:
            raise InputError(f"{path} holds no frames: record it again or choose another movie")
        self.path = path
        self.axes = axes
        self.shape = tuple(int(n) for n in shape)
        self.dtype = np.dtype(dtype).newbyteorder("=")
        self.pixel_size_um, self.frame_interval_s, self.z_step_um, self.exposure_s = scale
        self.origins, self.notices = dict(origins or {}), tuple(notices)
        self.positions, self.channels = tuple(positions), tuple(channels)
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

    def counts(self) -> dict[str, int]:
        """Number of time points, and of positions and channels where there are several."""
        names = {"t": "time points", "position": "positions", "channel": "channels"}
        numbers = {name: len(np.unique(self._rows[field])) for field, name in names.items()}
        return {name: n for name, n in numbers.items() if n > 1 or name == "time points"}

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


def one_pixel_size(y: float | None, x: float | None) -> float | None:
    """Side of a pixel; None if it is unknown or pixels are not square."""
    if not x or not y or abs(x - y) > 0.01 * x:
        return None
    return x
