"""A grid of images as a movie: which axis is what, which images are there, and when each was taken.

Every format with named axes becomes an array-like and what its file says beside the pixels
(`FileFacts`); the rules are here, once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.acquisition.recordings.clock import StatedInterval, movie_clock
from livespt.acquisition.recordings.movie import MOVIE_ROW, NOTHING, Movie, MovieUnits, Stated
from livespt.stream.errors import InputError
from livespt.stream.frame_times import lanes
from livespt.stream.store.run import RunReader
from livespt.stream.types import CLOCKS

UNKNOWN = "?"  # an axis that the file does not name
NAMES = {"t": "time point", "p": "position", "c": "channel", "z": "plane"}
MANY = 5  # images along another axis at a single time point, from which this may be a movie
DOUBTFUL_UM = 100.0  # a larger pixel is none of a microscope: often dots per inch of a printer
USER = "what you state"


class FileFacts(NamedTuple):
    """What a file says beside its pixels.

    `time_s` and `present` have one axis for each axis of the images but y, x and colour samples, in
    the order of the file.
    """

    units: MovieUnits = MovieUnits()
    units_origin: str = "the file"
    interval_origin: str = "the file"
    time_s: NDArray[np.float64] | None = None  # seconds; NaN: none of this image
    time_origin: str = ""
    present: NDArray[np.bool_] | None = None  # whether an image is in the file; None: all are
    notices: tuple[str, ...] = ()
    positions: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()


def movie_of_array(
    path: Path,
    array: Any,
    axes: str,
    facts: FileFacts,
    stated: Stated = NOTHING,
    *,
    single_z: bool = False,
) -> Movie:
    """Make a movie of an array-like with `shape`, `dtype` and indexing by integers and slices.

    An image that is missing before the last one of its channel and position counts as a lost
    exposure; what would follow the last one was never recorded.

    Parameters
    ----------
    axes
        One letter for each axis, as for `name_axes`.
    facts
        What the file says beside its pixels.
    stated
        What the user states.
    single_z
        Keep a z axis that has one plane only.

    Raises
    ------
    InputError
        The array is empty, or its axes or pixels are not those of a movie.
    """
    if 0 in array.shape:
        raise InputError(f"{path} holds no frames: record it again or choose another movie")
    named = name_axes(path, _chosen(path, axes, array.shape, stated.axes), array.shape)
    size = dict(zip(named, array.shape, strict=True))
    if size.get("z") == 1 and not single_z:
        named = named.replace("z", "-")
    frame_axes = "zyx" if "z" in named else "yx"
    outer = tuple(size.get(axis, 1) for axis in "tpc")
    left = [axis for axis in named if axis in frame_axes]
    order = [left.index(axis) for axis in frame_axes]
    letters = [new for old, new in zip(axes, named, strict=True)
               if new not in "yx" and old.lower() != "s"]  # fmt: skip
    present = np.ones(outer, bool)
    if facts.present is not None:
        present = np.asarray(_arranged(facts.present, letters).all(axis=3))
    present &= _of_channel(path, facts, stated, outer[2])
    number, holes = numbered(path, present)
    t, position, channel = (index[present] for index in np.indices(outer))
    rows = np.zeros(len(t), MOVIE_ROW)
    rows["number"], rows["t"] = number[present], t
    rows["position"], rows["channel"] = position, channel

    def read(i: int) -> NDArray[Any]:
        at = {"t": int(t[i]), "p": int(position[i]), "c": int(channel[i])}
        key = tuple(slice(None) if axis in frame_axes else at.get(axis, 0) for axis in named)
        return np.asarray(array[key]).transpose(order)

    times = None if facts.time_s is None else _arranged(facts.time_s, letters)[..., 0][present]
    return movie_of_rows(
        path,
        frame_axes,
        [size[axis] for axis in frame_axes],
        np.dtype(array.dtype),
        read,
        rows,
        facts._replace(
            time_s=times, notices=(*facts.notices, *_doubts(named, array.shape, stated), *holes)
        ),
        stated,
    )


def movie_of_rows(
    path: Path,
    axes: str,
    shape: Sequence[int],
    dtype: np.dtype[Any],
    read: Any,
    rows: NDArray[np.void],
    facts: FileFacts,
    stated: Stated = NOTHING,
    run: RunReader | None = None,
    analyzed: NDArray[np.bool_] | None = None,
) -> Movie:
    """Make a movie of its rows (MOVIE_ROW) and of what its file says.

    `facts.time_s` has one value for each row. The times of a run stay as they were recorded, unless
    the user states an interval: the same times give the same bytes.
    """
    clock = movie_clock(
        rows["t"].astype(np.int64),
        lanes(rows["channel"], rows["position"]),
        facts.time_s,
        facts.time_origin,
        StatedInterval(facts.units.frame_interval_s, facts.interval_origin),
        stated.frame_interval_s,
    )
    if run is None or stated.frame_interval_s is not None:
        rows["time_s"] = clock.time_s
        rows["clock"] = CLOCKS.index("file" if clock.known else "none")
    units, origins = _units(facts, stated)
    units = units._replace(frame_interval_s=clock.interval_s)
    origins |= {"frame_interval_s": clock.origin} if clock.known else {}
    origins["axes"] = USER if stated.axes else "the file"
    notices = [*facts.notices, *clock.notices]
    if (size := units.pixel_size_um) and size > DOUBTFUL_UM and not stated.pixel_size_um:
        notices.append(
            f"a pixel of {size:.4g} um ({facts.units_origin}) is larger than those of any "
            "microscope: give --pixel-size-um"
        )
    return Movie(
        path, axes, shape, dtype, read, rows, units, run, analyzed,
        origins=origins, notices=notices, positions=facts.positions, channels=facts.channels,
    )  # fmt: skip


def numbered(path: Path, present: NDArray[np.bool_]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Number the exposures of a grid (t, p, c), and say what is missing.

    A lane (channel and position) ends with its last image; what is missing before is a hole.

    Returns
    -------
    number : (t, p, c)
        Number of each exposure, counted in order of t, p, c.
    notices : tuple of str
    """
    points = np.arange(len(present))[:, None, None]
    used = present.any(axis=0)
    last = np.where(present, points, -1).max(axis=0)
    exposed = points <= last
    number = (np.cumsum(exposed.ravel()) - 1).reshape(present.shape)
    notices = []
    holes = exposed & ~present
    if holes.any():
        first = int(np.argwhere(holes)[0][0])
        notices.append(
            f"{int(holes.sum())} of {int(exposed.sum())} frames are missing in {path.name}, the "
            f"first at time point {first}: they count as lost"
        )
    ends = sorted({int(n) + 1 for n in last[used]})
    if len(ends) > 1:
        notices.append(f"positions or channels have {', '.join(map(str, ends))} time points")
    elif ends and ends[0] < len(present):
        notices.append(f"{ends[0]} of {len(present)} time points are there: it stopped early")
    return number, tuple(notices)


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


def _chosen(path: Path, axes: str, shape: Sequence[int], stated: str | None) -> str:
    """Axes of the file, or those that the user states, for the axes that are longer than 1."""
    if stated is None:
        return axes
    wanted = stated.lower()
    long = [i for i, n in enumerate(shape) if n > 1]
    places = list(range(len(shape))) if len(wanted) == len(shape) else long
    if len(wanted) != len(places) or not {"y", "x"} <= set(wanted) <= set("tpczyx"):
        raise InputError(
            f"axes {stated!r} do not fit {path}, which has axes of lengths {tuple(shape)}: give "
            "one letter from t, p, c, z, y, x for each that is longer than 1, such as tyx"
        )
    letters = ["s" if axis.lower() == "s" else "o" for axis in axes]  # one that is dropped
    for i, letter in zip(places, wanted, strict=True):
        letters[i] = letter
    return "".join(letters)


def _arranged(values: NDArray[Any], letters: Sequence[str]) -> NDArray[Any]:
    """Values with axes `letters` as (t, p, c, z); of a dropped axis, its only element."""
    at = tuple(0 if letter == "-" else slice(None) for letter in letters)
    kept = [letter for letter in letters if letter != "-"]
    chosen = np.asarray(values)[at].transpose([kept.index(a) for a in "tpcz" if a in kept])
    return chosen[tuple(slice(None) if a in kept else None for a in "tpcz")]


def _of_channel(path: Path, facts: FileFacts, stated: Stated, n: int) -> NDArray[np.bool_]:
    """Which channels (n,) are read."""
    if stated.channel is None:
        return np.ones(n, bool)
    names = [*facts.channels, *("" for _ in range(n - len(facts.channels)))]
    wanted = [stated.channel in (name, str(i)) for i, name in enumerate(names)]
    if not any(wanted):
        known = ", ".join(name or str(i) for i, name in enumerate(names))
        raise InputError(f"{path} has no channel {stated.channel!r}; it has {known}")
    return np.array(wanted)


def _doubts(named: str, shape: Sequence[int], stated: Stated) -> list[str]:
    """Ask whether a single time point with many other images is a movie."""
    size = dict(zip(named, shape, strict=True))
    others = [axis for axis in "czp" if size.get(axis, 1) >= MANY]
    if stated.axes or size.get("t", 1) > 1 or not others:
        return []
    most = max(others, key=lambda axis: size[axis])
    long = "".join(axis for axis, n in zip(named, shape, strict=True) if n > 1 and axis != "-")
    return [
        f"1 time point and {size[most]} {NAMES[most]}s: is this a movie? Then give --axes "
        f"{long.replace(most, 't')}"
    ]


def _units(facts: FileFacts, stated: Stated) -> tuple[MovieUnits, dict[str, str]]:
    """Pixel size, z step and exposure, and where each comes from."""
    values, origins = {}, {}
    for name in ("pixel_size_um", "z_step_um", "exposure_s"):
        own, told = getattr(stated, name), getattr(facts.units, name)
        values[name] = own if own is not None else told
        if values[name] is not None:
            origins[name] = USER if own is not None else facts.units_origin
    return MovieUnits(**values), origins
