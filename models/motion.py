"""Motion: simulated tracks whose behaviour is known at every point, truth to learn and to judge by.

Four behaviours, in the order of `types.MOTIONS`: normal, directed, confined and subdiffusive.
`simulate_tracks` strings them together in two variants, "deepspt" (the set of the DeepSPT paper,
quirks included, for comparison) and "physical"; `simulate_entry` tells the story of a virus that
enters a cell and may uncoat. Every track has a random generator of its own, seeded by
(seed, number of the track): it does not depend on how many tracks are made with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from livespt.models import deepspt_set
from livespt.models.behaviour import (
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
from livespt.models.deepspt_set import SHORTEST
from livespt.models.noise import roots
from livespt.models.walk import Complex, Track
from livespt.stream.errors import SettingError
from livespt.stream.types import MOTIONS

PART = 50  # tracks that a thread makes at a time


class Tracks(NamedTuple):
    """Tracks one after another: track i is rows `offset[i]:offset[i + 1]` of the row fields."""

    offset: NDArray[np.int64]  # (n + 1,)
    point: Floats  # (total, 3) um: z, y, x; z = 0 in two dimensions
    frame: NDArray[np.int64]  # (total,) from 0 within a track; a jump is a gap
    label: NDArray[np.int8]  # (total,) index into MOTIONS: how the point was reached
    diffusion: Floats  # (total,) um2/s of that behaviour
    uncoated: NDArray[np.bool_]  # (total,)
    uncoat: NDArray[np.int64]  # (n,) first frame that is uncoated; -1: none


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
    return Track(np.concatenate(point), label.astype(np.int8), diffusion)


def _blur(rng: Generator, path: Track, sigma: float) -> Track:
    """Localization error of `sigma` um per axis."""
    return path._replace(point=path.point + rng.normal(0, sigma, path.point.shape))


def _physical(
    rng: Generator,
    lengths: tuple[int, int],
    heterogeneous: float,
    ndim: int,
    dt_s: float,
    noise: bool,
    _: Complex,
) -> Track:
    """One track whose behaviours have a scale set by its steps, begun when it was under way.

    Unlike the DeepSPT set: confinement of 1-5 diffusive steps, directed steps of 0.4-3 in a
    direction that turns, D that varies by segment, the same localization error all along, and
    no memory of that error in the motion.
    """
    n = min(max(round(log_uniform(rng, lengths[0], lengths[1] + 1)), lengths[0]), lengths[1])
    base = log_uniform(rng, 1e-4, 0.5)
    dwell = log_uniform(rng, 10, 150)  # mean frames of a behaviour
    motion = int(rng.integers(len(MOTIONS)))
    changes = rng.random() < heterogeneous
    plan: list[tuple[Behaviour, int]] = []
    left = n
    while left:
        stay = left
        if changes:
            stay = min(left, SHORTEST + int(rng.exponential(dwell)))
            if not plan:
                stay = min(left, int(rng.integers(1, stay + 1)))  # its beginning was not seen
        diffusion = base * log_uniform(rng, 0.5, 2)
        plan.append((draw(rng, motion, diffusion, ndim, dt_s), stay))
        motion = (motion + int(rng.integers(1, len(MOTIONS)))) % len(MOTIONS)
        left -= stay
    path = _join(rng, plan, ndim, dt_s)
    if noise:
        path = _blur(rng, path, math.sqrt(2 * base * dt_s) * log_uniform(rng, 0.03, 1))
    return path


def _keep(rng: Generator, n: int, gaps: float) -> NDArray[np.bool_]:
    """Which of n points are seen: holes of one or two frames, about `gaps` of all on average."""
    seen = np.ones(n, np.bool_)
    if gaps > 0:
        hole = np.flatnonzero(rng.random(n) < rng.uniform(0, 2 * gaps) / 1.5)
        seen[hole] = False
        seen[np.minimum(hole + rng.integers(0, 2, len(hole)), n - 1)] = False
        seen[[0, -1]] = True
    return seen


class _Seen(NamedTuple):
    """A track, and which of its points (n,) are seen."""

    track: Track
    seen: NDArray[np.bool_]
    uncoat: int = -1


def _collect(paths: Sequence[_Seen]) -> Tracks:
    """Many tracks in one value."""
    count = [int(path.seen.sum()) for path in paths]
    offset = np.concatenate([[0], np.cumsum(count, dtype=np.int64)])
    point = np.zeros((offset[-1], 3))
    uncoat = np.array([path.uncoat for path in paths], np.int64)
    if paths:
        ndim = paths[0].track.point.shape[1]
        point[:, 3 - ndim :] = np.concatenate([path.track.point[path.seen] for path in paths])

    def rows(part: list[NDArray[Any]], dtype: type) -> NDArray[Any]:
        return np.concatenate([np.empty(0, dtype), *part]).astype(dtype, copy=False)

    frame = rows([np.flatnonzero(path.seen) for path in paths], np.int64)
    since = np.repeat(uncoat, count)
    return Tracks(
        offset=offset,
        point=point,
        frame=frame,
        label=rows([path.track.label[path.seen] for path in paths], np.int8),
        diffusion=rows([path.track.diffusion[path.seen] for path in paths], np.float64),
        uncoated=(since >= 0) & (frame >= since),
        uncoat=uncoat,
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
    variant: str = "deepspt",
    lengths: tuple[int, int] = (5, 599),
    heterogeneous: float = 0.8,
    noise: bool = True,
    gaps: float = 0.0,
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
    variant : str
        "deepspt": the training set of DeepSPT (D log-uniform 1e-4-0.5 um2/s, one a track; at
        the upper end its "confined" is white noise). "physical": see `_physical`.
    lengths : (int, int)
        Shortest and longest, in frames, uniform ("deepspt", one point more) or log-uniform.
    heterogeneous : float
        Share of tracks that change their behaviour.
    noise : bool
        Add the localization error.
    gaps : float
        Mean share of points that are missing.
    dt_s : float
        Frame interval.
    first : int
        Number of the first track: `first=100` goes on where n = 100 ended.
    threads : int
        At work together; the tracks do not depend on it.

    Raises
    ------
    SettingError
        Unknown variant, or lengths or dimensions that cannot be.
    """
    _check(ndim, lengths)
    makers: dict[str, Any] = {"deepspt": deepspt_set.make, "physical": _physical}
    if variant not in makers:
        raise SettingError(f"no tracks of variant {variant!r}: choose one of {', '.join(makers)}")
    maker, root = makers[variant], roots(max(lengths[1] + 1, 4 * SHORTEST))

    def some(numbers: range) -> list[_Seen]:
        made = []
        for number in numbers:
            rng = np.random.default_rng((seed, number))
            track = maker(rng, lengths, heterogeneous, ndim, dt_s, noise, root)
            made.append(_Seen(track, _keep(rng, len(track.point), gaps)))
        return made

    numbers = range(first, first + n)
    if threads == 1:
        return _collect(some(numbers))
    parts = [numbers[k : k + PART] for k in range(0, n, PART)]
    with ThreadPoolExecutor(threads) as pool:  # compiled code lets go of the interpreter
        return _collect([track for part in pool.map(some, parts) for track in part])


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


ENTRY = Entry()


def _escaped(rng: Generator, diffusion: float, ndim: int, dt_s: float, entry: Entry) -> Behaviour:
    """What an uncoated particle does: mostly free, sometimes in a large room or a mesh."""
    motion = int(rng.choice([NORMAL, CONFINED, SUBDIFFUSIVE], p=[0.6, 0.25, 0.15]))
    faster = min(diffusion * log_uniform(rng, *entry.release), entry.diffusion_most)
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
    several times faster and mostly freely. The others are engulfed and carried to the end. The
    stages are those of rotavirus entry (DeepSPT paper, figure 3a); the ranges are ours.

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
    paths = []
    for number in range(first, first + n):
        rng = np.random.default_rng((seed, number))
        length = min(round(log_uniform(rng, *lengths)), lengths[1])
        path, uncoat, step = _entry(rng, length, uncoating, midway, ndim, dt_s, entry)
        if noise:
            path = _blur(rng, path, step * log_uniform(rng, *entry.error))
        paths.append(_Seen(path, _keep(rng, length, gaps), uncoat))
    return _collect(paths)
