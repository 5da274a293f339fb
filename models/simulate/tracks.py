"""Motion: simulated tracks whose behaviour is known at every point, truth to learn and to judge by.

Four behaviours, in the order of `types.MOTIONS`: normal, directed, confined and subdiffusive.
`simulate_tracks` strings them together in two variants, "deepspt" (the set of the DeepSPT paper,
quirks included, for comparison) and "physical", or as a user's function has it;
`simulate_entry` tells the story of a virus that enters a cell and may uncoat. Every track has
random numbers of its own, seeded by (seed, number of the track): it does not depend on how many
are made with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from livespt.models.simulate import series
from livespt.models.simulate.behaviours import (
    CONFINED,
    DIRECTED,
    NORMAL,
    SUBDIFFUSIVE,
    Behaviour,
    Floats,
    draw,
    log_uniform,
    move,
)
from livespt.models.simulate.fractional_noise import roots
from livespt.models.simulate.series import SHORTEST, Recipe, Rows
from livespt.models.simulate.steps import Track
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


def _join(rng: Generator, plan: Sequence[tuple[Behaviour, int]], ndim: int, dt_s: float) -> Track:
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


def _blur(rng: Generator, path: Track, sigma: float) -> Track:
    """Localization error of `sigma` um per axis."""
    return path._replace(point=path.point + rng.normal(0, sigma, path.point.shape))


def _collect(
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


def _check(ndim: int, lengths: tuple[int, int]) -> None:
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
    _check(ndim, lengths)
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
    recipe = Recipe(
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
    return _collect(tracks, kept, ndim)


class Entry(NamedTuple):
    """Ranges of the entry story, drawn log-uniformly for each track.

    D of the engulfed particle is the unit of the other diffusion coefficients; `pull` and the
    two `room`s are in diffusive steps sqrt(2 D dt) of their own behaviour.
    """

    diffusion: tuple[float, float] = (5e-4, 2e-2)  # um2/s, engulfed
    membrane: tuple[float, float] = (1.0, 4.0)  # times that, before it is engulfed
    carrier: tuple[float, float] = (0.5, 2.0)  # times that, beside the directed motion
    release: tuple[float, float] = (2.5, 12.0)  # times that, once uncoated
    diffusion_most: float = math.inf  # um2/s, once uncoated
    pull: tuple[float, float] = (0.5, 3.0)
    room: tuple[float, float] = (0.8, 4.0)  # engulfed
    room_uncoated: tuple[float, float] = (4.0, 20.0)
    alpha: tuple[float, float] = (0.15, 0.7)  # engulfed, uniform
    alpha_uncoated: tuple[float, float] = (0.6, 0.95)  # uniform
    dwell: tuple[float, float] = (12.0, 120.0)  # frames of one behaviour
    between: tuple[float, float] = (0.1, 0.9)  # uncoats in this part of the track, uniform
    error: tuple[float, float] = (0.05, 1.0)  # localization, in steps of the engulfed particle
    after: tuple[float, float] | None = None  # um2/s, once uncoated, whatever it was; no `release`


ENTRY = Entry()


def _escaped(rng: Generator, diffusion: float, ndim: int, dt_s: float, entry: Entry) -> Behaviour:
    """What an uncoated particle does: mostly free, sometimes in a large room or a mesh."""
    motion = int(rng.choice([NORMAL, CONFINED, SUBDIFFUSIVE], p=[0.6, 0.25, 0.15]))
    faster = diffusion * log_uniform(rng, *entry.release)
    if entry.after is not None:
        faster = log_uniform(rng, *entry.after)
    faster = min(faster, entry.diffusion_most)
    return draw(
        rng, motion, faster, ndim, dt_s, room=entry.room_uncoated, alpha=entry.alpha_uncoated
    )


def _entry(
    rng: Generator, n: int, uncoating: float, midway: float, ndim: int, dt_s: float, entry: Entry
) -> tuple[Track, int, float]:
    """One virus, the frame at which it uncoats, and the diffusive step when engulfed, um."""
    diffusion = log_uniform(rng, *entry.diffusion)
    uncoat = -1
    if rng.random() < uncoating:
        low, high = (round(share * n) for share in entry.between)
        uncoat = int(rng.integers(max(low, 1), min(max(high, low + 1), n - 1) + 1))
    end = uncoat if uncoat > 0 else n
    plan: list[tuple[Behaviour, int]] = []
    at, carried = 0, False
    if rng.random() < midway:
        carried = rng.random() < 0.5
    else:  # still on the membrane
        at = max(1, min(round(log_uniform(rng, *entry.dwell)), end // 2))
        faster = diffusion * log_uniform(rng, *entry.membrane)
        plan.append((Behaviour(NORMAL, faster), at))
    while at < end:
        stay = max(1, min(round(log_uniform(rng, *entry.dwell)), end - at))
        if carried:
            other = diffusion * log_uniform(rng, *entry.carrier)
            behaviour = draw(rng, DIRECTED, other, ndim, dt_s, pull=entry.pull)
        else:
            motion = CONFINED if rng.random() < 0.6 else SUBDIFFUSIVE
            behaviour = draw(rng, motion, diffusion, ndim, dt_s, room=entry.room, alpha=entry.alpha)
        plan.append((behaviour, stay))
        at, carried = at + stay, not carried
    if uncoat > 0:
        plan.append((_escaped(rng, diffusion, ndim, dt_s, entry), n - uncoat))
    return _join(rng, plan, ndim, dt_s), uncoat, math.sqrt(2 * diffusion * dt_s)


def simulate_entry(
    n: int,
    seed: int,
    *,
    n_frames: int | tuple[int, int] = (30, 600),
    dt_s: float = 0.05,
    uncoating: float = 0.7,
    midway: float = 0.5,
    ndim: int = 2,
    noise: bool = True,
    gaps: float = 0.0,
    entry: Entry = ENTRY,
    first: int = 0,
) -> Tracks:
    """Viruses that enter a cell; most of them uncoat.

    A virus diffuses on the membrane (normal), is engulfed (confined or subdiffusive), then is
    carried (directed) with pauses (engulfed again) until it uncoats: from that frame on it moves
    several times faster and mostly freely. The others are engulfed and carried to the end.

    The stages are those of rotavirus entry (DeepSPT paper, figure 3a; its two-colour movies have a
    frame every 4.2 s). The ranges are ours, wider than the one imitation of uncoating that goes
    with the paper, whose tutorial glues D of 2e-3 to 5e-3 to 5e-3 to 9e-3 um2/s and grows axes of
    confinement from 0.05-0.25 to 0.15-0.35 um, alpha from 0.3-0.5 to 0.5-0.7: a ratio of D of 2,
    below `Entry.release`, which `Entry.after` can have. Dwell times of the stages in a cell are
    not known to us in frames: they are drawn over a decade.

    Parameters
    ----------
    n, seed, ndim, noise, gaps, first
        As in `simulate_tracks`.
    n_frames : int or (int, int)
        Length of the tracks, or its range (log-uniform).
    dt_s : float
        Frame interval.
    uncoating : float
        Share that uncoats.
    midway : float
        Share that is engulfed already when its track begins.
    entry : Entry
        The ranges.

    Raises
    ------
    SettingError
        Lengths or dimensions that cannot be.
    """
    lengths = (n_frames, n_frames) if isinstance(n_frames, int) else n_frames
    _check(ndim, lengths)
    tracks, kept, uncoats = [], [], []
    for number in range(first, first + n):
        rng = np.random.default_rng((seed, number))
        length = min(round(log_uniform(rng, *lengths)), lengths[1])
        path, uncoat, step = _entry(rng, length, uncoating, midway, ndim, dt_s, entry)
        if noise:
            path = _blur(rng, path, step * log_uniform(rng, *entry.error))
        tracks.append(path)
        kept.append(series.seen(rng, length, gaps))
        uncoats.append(uncoat)
    return _collect(tracks, kept, ndim, uncoats)
