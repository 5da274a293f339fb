"""Tracks: simulated ones whose behaviour is known at every point, truth to learn and to judge by.

Four behaviours, in the order of `types.MOTIONS`: normal, directed, confined and subdiffusive.
`simulate_tracks` strings them together in two variants, "deepspt" (the set of the DeepSPT paper,
quirks included, for comparison) and "physical", or as a user's function has it. Every track has
random numbers of its own, seeded by (seed, number of the track): it does not depend on how many
are made with it.
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
VARIANTS = ("deepspt", "physical")  # in the order of `series`
# Behaviours of a user's own: (rng, lengths, ndim, dt_s) -> points (n, ndim) um, labels (n,)
Maker = Callable[[Generator, tuple[int, int], int, float], tuple[Any, Any]]


class Tracks(NamedTuple):
    """Tracks one after another: track i is rows `offset[i]:offset[i + 1]` of the row fields."""

    offset: NDArray[np.int64]  # (n + 1,)
    point: Floats  # (total, 3) um: z, y, x; z = 0 in two dimensions
    frame: NDArray[np.int64]  # (total,) from 0 within a track; a jump is a gap
    label: NDArray[np.int8]  # (total,) index into MOTIONS: how the point was reached
    diffusion: Floats  # (total,) um2/s of that behaviour
    uncoated: NDArray[np.bool_]  # (total,)
    uncoat: NDArray[np.int64]  # (n,) first frame that is uncoated; -1: none
    time_s: Floats  # (total,) since the first point; frame * dt_s unless frames come unevenly
    intensity: Floats | None = None  # (total,) in any unit; NaN: not known, None: of no point


def join(rng: Generator, plan: Sequence[tuple[Behaviour, int]], ndim: int, dt_s: float) -> Track:
    """Behaviours one after another, each from where the last one ended; the origin is point 0."""
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
    """Localization error of `sigma` um per axis."""
    return path._replace(point=path.point + rng.normal(0, sigma, path.point.shape))


def collect(
    tracks: Sequence[Track],
    kept: Sequence[NDArray[np.bool_]],
    ndim: int,
    uncoat: Sequence[int] = (),
) -> Tracks:
    """Tracks of which some points are kept, in one value."""

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
    """Tracks in three dimensions; `uncoat` (n,) is the frame at which each uncoats, if any do."""
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
    """Tracks of the four behaviours, labelled at every point.

    Parameters
    ----------
    n, seed : int
        How many, and of which series.
    ndim : int
        2 or 3.
    variant : str or callable
        "deepspt": the training set of DeepSPT, see `deepspt_set`. "physical": see `physical`. A
        function of (rng, lengths, ndim, dt_s) makes tracks with behaviours of its own: it returns
        points (n, ndim) in um, one a frame, and their labels (n,); `rng` is a NumPy Generator of
        that track alone. Of the options below, `gaps` applies to its tracks.
    lengths : (int, int)
        Shortest and longest, in frames, uniform ("deepspt", one point more) or log-uniform.
    heterogeneous : float
        Share of tracks that change their behaviour.
    noise : bool
        Add the localization error.
    gaps : float
        Mean share of points that are missing.
    wrong_links : float
        Share of links that lead to another particle, one to ten steps away: half of them for up
        to ten frames, half for good. Labels are true of the particle that is there.
    exposure : float
        Share of the frame interval for which the shutter is open: positions are means over it
        ("physical" only).
    jitter : float
        Relative standard deviation of the frame interval ("physical" only). `Tracks.time_s` is
        when the shutter opened; a reader of windows can be told differences of it, in mean frame
        intervals, in place of differences of `frame`.
    dt_s : float
        Frame interval.
    first : int
        Number of the first track: `first=100` goes on where n = 100 ended.
    threads : int
        At work together; the tracks do not depend on it.

    Raises
    ------
    SettingError
        Unknown variant, or lengths, dimensions or options that cannot be.
    """
    check_lengths(ndim, lengths)
    if not (0 <= wrong_links <= 1 and 0 <= gaps <= 1 and 0 <= heterogeneous <= 1):
        raise SettingError(
            f"gaps {gaps}, wrong_links {wrong_links}, heterogeneous {heterogeneous}: "
            "shares lie between 0 and 1"
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
        return series.make(recipe, seed, begin, min(PART, first + n - begin), root)

    with ThreadPoolExecutor(threads) as pool:  # compiled code lets go of the interpreter
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
    """Tracks that a user's function makes; D is not known (NaN)."""
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
