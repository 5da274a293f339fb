"""Simulated tracks with a known kind of motion at every point, for training and evaluation.

There are four kinds of motion, in the order of `types.MOTIONS`: normal, directed, confined and
subdiffusive. `simulate_tracks` makes tracks that change between them, in the variants "deepspt"
(the set of the DeepSPT paper, for comparison) and "physical", or with a function of the user.
`simulate_entry` makes viruses that enter a cell and may uncoat. Every track has its own random
numbers, seeded by (seed, number of the track), so it does not depend on how many tracks are made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from livespt.models.simulate import series
from livespt.models.simulate.behaviours import Behaviour, move
from livespt.models.simulate.fractional_noise import roots
from livespt.models.simulate.series import SHORTEST, Rows, TrackRecipe
from livespt.models.simulate.steps import Floats, Track
from livespt.stream.errors import SettingError

PART = 100  # tracks that a thread makes at a time
VARIANTS = ("deepspt", "physical")  # in the order of series.py
# a user's function: (rng, lengths, ndim, dt_s) -> points (n, ndim) in um, labels (n,)
Maker = Callable[[Generator, tuple[int, int], int, float], tuple[Any, Any]]


class Tracks(NamedTuple):
    """Concatenated tracks: track i is rows `offset[i]:offset[i + 1]` of the fields by row."""

    offset: NDArray[np.int64]  # (n + 1,)
    point: Floats  # (total, 3) um: z, y, x; z = 0 in two dimensions
    frame: NDArray[np.int64]  # (total,) from 0 within a track; a difference above 1 is a gap
    label: NDArray[np.int8]  # (total,) index into MOTIONS: motion that led to the point
    diffusion: Floats  # (total,) um2/s, of this motion
    uncoated: NDArray[np.bool_]  # (total,)
    uncoat: NDArray[np.int64]  # (n,) first frame after uncoating; -1: none
    time_s: Floats  # (total,) since the first point; frame * dt_s unless the interval varies
    intensity: Floats | None = None  # (total,) in any unit; NaN, or None for all: unknown


def join(rng: Generator, plan: Sequence[tuple[Behaviour, int]], ndim: int, dt_s: float) -> Track:
    """Join behaviours, each starting where the last one ended; the origin is point 0."""
    point = [np.zeros((1, ndim))]
    for k, (behaviour, n) in enumerate(plan):
        steps = n - 1 if k == 0 else n
        if steps:
            point.append(point[-1][-1] + move(rng, behaviour, steps, ndim, dt_s))
    count = [n for _, n in plan]
    label = np.repeat([behaviour.motion for behaviour, _ in plan], count)
    diffusion = np.repeat([behaviour.diffusion for behaviour, _ in plan], count)
    time_s = np.multiply(np.arange(len(label)), dt_s)
    return Track(np.concatenate(point), label.astype(np.int8), diffusion, time_s)


def blur(rng: Generator, path: Track, sigma: float) -> Track:
    """Add a localization error of `sigma` um per axis."""
    return path._replace(point=path.point + rng.normal(0, sigma, path.point.shape))


def collect(
    tracks: Sequence[Track],
    kept: Sequence[NDArray[np.bool_]],
    ndim: int,
    uncoat: Sequence[int] = (),
) -> Tracks:
    """Collect the kept points of several tracks."""

    def rows(name: str, empty: NDArray[Any]) -> NDArray[Any]:
        parts = [getattr(track, name)[seen] for track, seen in zip(tracks, kept, strict=True)]
        return np.concatenate([empty, *parts]).astype(empty.dtype, copy=False)

    frames = [np.empty(0, np.int64), *(np.flatnonzero(seen) for seen in kept)]
    made = Rows(
        points=np.array([np.count_nonzero(seen) for seen in kept], np.int64),
        point=rows("point", np.empty((0, ndim))),
        frame=np.concatenate(frames),
        label=rows("label", np.empty(0, np.int8)),
        diffusion=rows("diffusion", np.empty(0)),
        time_s=rows("time_s", np.empty(0)),
    )
    return _tracks(made, uncoat)


def _tracks(rows: Rows, uncoat: Sequence[int] = ()) -> Tracks:
    """Make `Tracks`, in three dimensions; `uncoat` (n,) holds the frames of uncoating, if any."""
    total, ndim = rows.point.shape
    point = np.zeros((total, 3))
    point[:, 3 - ndim :] = rows.point
    when = np.array(uncoat, np.int64) if len(uncoat) else np.full(len(rows.points), -1)
    since = np.repeat(when, rows.points)
    return Tracks(
        offset=np.concatenate([[0], np.cumsum(rows.points, dtype=np.int64)]),
        point=point,
        frame=rows.frame,
        label=rows.label,
        diffusion=rows.diffusion,
        uncoated=(since >= 0) & (rows.frame >= since),
        uncoat=when,
        time_s=rows.time_s,
    )


def check_lengths(ndim: int, lengths: tuple[int, int]) -> None:
    """Refuse (SettingError) dimensions and lengths that no track has."""
    if ndim not in (2, 3):
        raise SettingError(f"ndim is {ndim}: tracks have 2 or 3 dimensions")
    if not SHORTEST <= lengths[0] <= lengths[1]:
        raise SettingError(
            f"track lengths {lengths}: give (shortest, longest), the shortest at least {SHORTEST}"
        )


def simulate_tracks(
    n: int,
    seed: int,
    *,
    ndim: int = 2,
    variant: str | Maker = "deepspt",
    lengths: tuple[int, int] = (5, 599),
    heterogeneous: float = 0.8,
    noise: bool = True,
    gaps: float = 0.0,
    wrong_links: float = 0.0,
    exposure: float = 0.0,
    jitter: float = 0.0,
    dt_s: float = 1.0,
    first: int = 0,
    threads: int = 1,
) -> Tracks:
    """Simulate tracks of the four kinds of motion, labelled at every point.

    Parameters
    ----------
    n, seed : int
        Number of tracks, and seed of their series.
    ndim : int
        2 or 3.
    variant : str or callable
        "deepspt" is the training set of DeepSPT (deepspt_tracks.py), "physical" that of
        physical_tracks.py. A function of (rng, lengths, ndim, dt_s) makes a track with motion of
        its own: it returns points (n, ndim) in um, one for each frame, and their labels (n,);
        `rng` is a NumPy Generator for this track alone. Of the options below, only `gaps` applies
        to its tracks.
    lengths : (int, int)
        Shortest and longest track in frames; uniform ("deepspt", plus one point) or log-uniform.
    heterogeneous : float
        Share of tracks in which the motion changes.
    noise : bool
        Add the localization error.
    gaps : float
        Mean share of points that are missing.
    wrong_links : float
        Share of links to another particle, which is one to ten steps away: half of them last up to
        ten frames, half until the end. Labels are those of the particle at each point.
    exposure : float
        Share of the frame interval in which the shutter is open; positions are means over this
        time ("physical" only).
    jitter : float
        Relative standard deviation of the frame interval ("physical" only). `Tracks.time_s` is
        the time at which the shutter opened. Differences of it, in mean frame intervals, can
        replace differences of `frame`.
    dt_s : float
        Frame interval.
    first : int
        Number of the first track: `first=100` continues after a call with n = 100.
    threads : int
        Threads to use; the tracks do not depend on it.

    Raises
    ------
    SettingError
        The variant is unknown, or lengths, dimensions or options are out of range.
    """
    check_lengths(ndim, lengths)
    if not (0 <= wrong_links <= 1 and 0 <= gaps <= 1 and 0 <= heterogeneous <= 1):
        raise SettingError(
            f"gaps {gaps}, wrong_links {wrong_links}, heterogeneous {heterogeneous}: "
            "shares must be between 0 and 1"
        )
    if threads < 1:
        raise SettingError(f"threads is {threads}: give at least 1")
    if callable(variant):
        return _own(variant, range(first, first + n), seed, lengths, ndim, dt_s, gaps)
    if variant not in VARIANTS:
        names = ", ".join(VARIANTS)
        raise SettingError(f"no tracks of variant {variant!r}: choose one of {names}")
    if variant == "deepspt" and (exposure > 0 or jitter > 0):
        raise SettingError("exposure and jitter need variant 'physical': the DeepSPT set has none")
    if not (0 <= exposure <= 1 and 0 <= jitter <= 0.5):
        raise SettingError(f"exposure {exposure}, jitter {jitter}: give 0 to 1 and 0 to 0.5")
    recipe = TrackRecipe(
        VARIANTS.index(variant), *lengths, float(heterogeneous), ndim, float(dt_s), noise,
        float(gaps), float(wrong_links), float(exposure), float(jitter),
    )  # fmt: skip
    root = roots(lengths[1] + 1)

    def some(begin: int) -> Rows:
        return series.simulate_series(recipe, seed, begin, min(PART, first + n - begin), root)

    with ThreadPoolExecutor(threads) as pool:  # compiled code releases the interpreter lock
        parts = list(pool.map(some, range(first, first + n, PART))) or [some(first)]
    return _tracks(Rows(*(np.concatenate(part) for part in zip(*parts, strict=True))))


def _own(
    make: Maker,
    numbers: range,
    seed: int,
    lengths: tuple[int, int],
    ndim: int,
    dt_s: float,
    gaps: float,
) -> Tracks:
    """Make tracks with a user's function; their D is unknown (NaN)."""
    tracks, kept = [], []
    for number in numbers:
        rng = np.random.default_rng((seed, number))
        point, label = (np.asarray(part) for part in make(rng, lengths, ndim, dt_s))
        n = len(label)
        if point.shape != (n, ndim) or n == 0 or not np.isfinite(point).all():
            raise SettingError(
                f"track {number} of {make!r}: points {point.shape}, labels {label.shape}; "
                f"give finite points (n, {ndim}) and labels (n,), n at least 1"
            )
        time_s = np.multiply(np.arange(n), dt_s)
        tracks.append(Track(point, label.astype(np.int8), np.full(n, np.nan), time_s))
        kept.append(series.seen(rng, n, gaps))
    return collect(tracks, kept, ndim)
