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
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

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
from livespt.stream.errors import SettingError
from livespt.stream.types import MOTIONS

SHORTEST = 5  # frames of one behaviour


class Tracks(NamedTuple):
    """Tracks one after another: track i is rows `offset[i]:offset[i + 1]` of the row fields."""

    offset: NDArray[np.int64]  # (n + 1,)
    point: Floats  # (total, 3) um: z, y, x; z = 0 in two dimensions
    frame: NDArray[np.int64]  # (total,) from 0 within a track; a jump is a gap
    label: NDArray[np.int8]  # (total,) index into MOTIONS: how the point was reached
    diffusion: Floats  # (total,) um2/s of that behaviour
    uncoated: NDArray[np.bool_]  # (total,)
    uncoat: NDArray[np.int64]  # (n,) first frame that is uncoated; -1: none


class _Path(NamedTuple):
    """One track while it is made."""

    point: Floats  # (n, ndim) um
    label: NDArray[np.int8]  # (n,)
    diffusion: Floats  # (n,)
    uncoat: int = -1


def _join(rng: Generator, plan: Sequence[tuple[Behaviour, int]], ndim: int, dt_s: float) -> _Path:
    """Behaviours one after another, each from where the last one ended; the origin is point 0."""
    point = [np.zeros((1, ndim))]
    for k, (behaviour, n) in enumerate(plan):
        steps = n - 1 if k == 0 else n
        if steps:
            point.append(point[-1][-1] + move(rng, behaviour, steps, ndim, dt_s))
    count = [n for _, n in plan]
    label = np.repeat([behaviour.motion for behaviour, _ in plan], count)
    diffusion = np.repeat([behaviour.diffusion for behaviour, _ in plan], count)
    return _Path(np.concatenate(point), label.astype(np.int8), diffusion)


def _deepspt_segments(
    rng: Generator, lengths: tuple[int, int], heterogeneous: float
) -> tuple[list[int], list[int]]:
    """Behaviours of a track and how many steps each lasts."""
    total = int(rng.integers(lengths[0], lengths[1] + 1))
    if rng.random() >= heterogeneous:
        return [int(rng.integers(len(MOTIONS)))], [total]
    count = int(rng.integers(2, 5))
    kept: list[int] = []
    while len(kept) < 2:  # the first is compared with the last
        drawn = [int(k) for k in rng.integers(0, len(MOTIONS), count)]
        kept = [motion for k, motion in enumerate(drawn) if motion != drawn[k - 1]]
    least = SHORTEST * len(kept)
    if total < least:
        total = int(rng.integers(least, max(lengths[1] + 1, least) + 1))
    steps: list[int] = []
    for later in range(len(kept) - 1, 0, -1):
        steps.append(int(rng.integers(SHORTEST, total - sum(steps) - SHORTEST * later + 1)))
    return kept, [*steps, total - sum(steps)]


def _deepspt_velocity(rng: Generator, diffusion: float, ndim: int, dt_s: float) -> Floats:
    """Velocity (ndim,), um/s: v = sqrt(4 R D / T). Their directions crowd at the poles in 3-D."""
    ratio, duration = rng.uniform(5, 25), rng.integers(5, 600) * dt_s
    theta = rng.uniform(0, math.pi if ndim == 3 else 2 * math.pi)
    flat = math.sin(theta), math.cos(theta)  # y, x
    phi = rng.uniform(0, 2 * math.pi) if ndim == 3 else math.pi / 2
    vector = np.array([math.cos(phi), *(math.sin(phi) * part for part in flat)])[3 - ndim :]
    return vector * math.sqrt(4 * ratio * diffusion / duration)


def _deepspt(
    rng: Generator,
    lengths: tuple[int, int],
    heterogeneous: float,
    ndim: int,
    dt_s: float,
    noise: bool,
) -> _Path:
    """One track as DeepSPT's simulator makes it: one D; noise is inherited by the next segment."""
    diffusion = log_uniform(rng, 1e-4, 0.5)
    quality = rng.uniform(1, 16)  # Q: step length over localization error
    alpha = max(rng.uniform(0, 0.7), 1e-9)
    half = tuple(rng.uniform(0.05, 0.25, ndim) / 2)
    motions, steps = _deepspt_segments(rng, lengths, heterogeneous)
    points, labels = [], []
    at = np.zeros(ndim)
    for k, (motion, n) in enumerate(zip(motions, steps, strict=True)):
        n += k > 0 and n == SHORTEST  # a later segment of 5 has 6 points
        velocity = np.zeros(ndim)
        if motion == DIRECTED:
            velocity = _deepspt_velocity(rng, diffusion, ndim, dt_s)
        behaviour = Behaviour(motion, diffusion, alpha, tuple(velocity), half_axes=half)
        path = at + move(rng, behaviour, n, ndim, dt_s)
        if k == 0:
            path = np.concatenate([at[None], path])  # the origin is a point
        spread = math.sqrt(diffusion * dt_s + float(velocity @ velocity) * dt_s**2) / quality
        if noise:
            path += rng.normal(0, spread, path.shape)
        at = path[-1]
        points.append(path)
        labels.append(np.full(len(path), motion, np.int8))
    label = np.concatenate(labels)
    return _Path(np.concatenate(points), label, np.full(len(label), diffusion))


def _blur(rng: Generator, path: _Path, sigma: float) -> _Path:
    """Localization error of `sigma` um per axis."""
    return path._replace(point=path.point + rng.normal(0, sigma, path.point.shape))


def _physical(
    rng: Generator,
    lengths: tuple[int, int],
    heterogeneous: float,
    ndim: int,
    dt_s: float,
    noise: bool,
) -> _Path:
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


def _collect(paths: Sequence[tuple[_Path, NDArray[np.bool_]]]) -> Tracks:
    """Many tracks in one value."""
    count = [int(seen.sum()) for _, seen in paths]
    offset = np.concatenate([[0], np.cumsum(count, dtype=np.int64)])
    point = np.zeros((offset[-1], 3))
    uncoat = np.array([path.uncoat for path, _ in paths], np.int64)
    if paths:
        ndim = paths[0][0].point.shape[1]
        point[:, 3 - ndim :] = np.concatenate([path.point[seen] for path, seen in paths])

    def rows(part: list[NDArray[Any]], dtype: type) -> NDArray[Any]:
        return np.concatenate([np.empty(0, dtype), *part]).astype(dtype, copy=False)

    frame = rows([np.flatnonzero(seen) for _, seen in paths], np.int64)
    since = np.repeat(uncoat, count)
    return Tracks(
        offset=offset,
        point=point,
        frame=frame,
        label=rows([path.label[seen] for path, seen in paths], np.int8),
        diffusion=rows([path.diffusion[seen] for path, seen in paths], np.float64),
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

    Raises
    ------
    SettingError
        Unknown variant, or lengths or dimensions that cannot be.
    """
    _check(ndim, lengths)
    makers = {"deepspt": _deepspt, "physical": _physical}
    if variant not in makers:
        raise SettingError(f"no tracks of variant {variant!r}: choose one of {', '.join(makers)}")
    paths = []
    for number in range(first, first + n):
        rng = np.random.default_rng((seed, number))
        path = makers[variant](rng, lengths, heterogeneous, ndim, dt_s, noise)
        paths.append((path, _keep(rng, len(path.point), gaps)))
    return _collect(paths)


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
) -> tuple[_Path, float]:
    """One virus, and the diffusive step of its engulfed state, um."""
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
    path = _join(rng, plan, ndim, dt_s)._replace(uncoat=uncoat)
    return path, math.sqrt(2 * diffusion * dt_s)


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
        path, step = _entry(rng, length, uncoating, midway, ndim, dt_s, entry)
        if noise:
            path = _blur(rng, path, step * log_uniform(rng, *entry.error))
        paths.append((path, _keep(rng, length, gaps)))
    return _collect(paths)
