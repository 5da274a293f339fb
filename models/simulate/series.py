"""Many simulated tracks at once, compiled, each with its own random numbers.

The errors of localization and linking are added here: missed points and links to other particles.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.models.simulate import deepspt_tracks, physical_tracks, steps
from livespt.models.simulate.rng import Dice, dice, integer, log_uniform, random, uniform
from livespt.models.simulate.steps import Complex, Floats, Ints, Track
from livespt.stream.compiled import njit

DEEPSPT, PHYSICAL = 0, 1
SHORTEST = deepspt_tracks.SHORTEST
Bools = NDArray[np.bool_]


class TrackRecipe(NamedTuple):
    """Parameters of the tracks; see `simulate_tracks`."""

    variant: int
    shortest: int
    longest: int
    heterogeneous: float
    ndim: int
    dt_s: float
    noise: bool
    gaps: float
    wrong_links: float
    exposure: float
    jitter: float


class Rows(NamedTuple):
    """Points of n concatenated tracks, without those that were missed."""

    points: Ints  # (n,) number of points of each track
    point: Floats  # (total, ndim) um
    frame: Ints  # (total,)
    label: NDArray[np.int8]  # (total,)
    diffusion: Floats  # (total,) um2/s
    time_s: Floats  # (total,)


@njit()
def seen(rng: Dice, n: int, gaps: float) -> Bools:
    """Which of n points are localized; gaps of one or two frames are on average `gaps` of all."""
    kept = np.ones(n, np.bool_)
    if gaps > 0:
        chance = np.array([random(rng) for _ in range(n)])
        often = uniform(rng, 0, 2 * gaps) / 1.5
        for k in range(n):
            if chance[k] < often:
                kept[k] = False
                kept[min(k + integer(rng, 0, 2), n - 1)] = False
        kept[0] = kept[-1] = True
    return kept


@njit()
def _simulate_track(
    rng: Dice, recipe: TrackRecipe, shortest: int, longest: int, root: Complex
) -> Track:
    """Simulate a track of `shortest` to `longest` frames, without missed points or wrong links."""
    r, lengths = recipe, (shortest, longest)
    if r.variant == DEEPSPT:
        return deepspt_tracks.simulate_track(
            rng, lengths, r.heterogeneous, r.ndim, r.dt_s, r.noise, root
        )
    return physical_tracks.simulate_track(
        rng, lengths, r.heterogeneous, r.ndim, r.dt_s, r.noise, r.exposure, r.jitter, root
    )


@njit()
def _mislink(rng: Dice, recipe: TrackRecipe, track: Track, root: Complex) -> None:
    """Add wrong links to another particle, in place: until the end, or for up to ten frames.

    The other particle is one to ten typical steps away. Labels are those of the particle at each
    point.
    """
    point, n = track.point, len(track.label)
    step = math.sqrt(((point[1:] - point[:-1]) ** 2).sum() / max(n - 1, 1))
    at = 1
    while at < n:
        if random(rng) < recipe.wrong_links:
            stay = n - at
            if random(rng) < 0.5:
                stay = min(integer(rng, 1, 11), n - at)
            length = max(stay, SHORTEST)
            other = _simulate_track(rng, recipe, length, length, root)
            away = steps.direction(rng, recipe.ndim) * (step * log_uniform(rng, 1, 10))
            point[at : at + stay] = other.point[:stay] + (point[at - 1] + away - other.point[0])
            track.label[at : at + stay] = other.label[:stay]
            track.diffusion[at : at + stay] = other.diffusion[:stay]
            at += stay
        at += 1


@njit(nogil=True)
def simulate_series(recipe: TrackRecipe, seed: int, first: int, n: int, root: Complex) -> Rows:
    """Simulate tracks `first` to `first + n - 1` of the series `seed`."""
    most = n * (max(recipe.longest, 4 * SHORTEST) + 5)  # the DeepSPT set may add five points
    point, frame = np.empty((most, recipe.ndim)), np.empty(most, np.int64)
    label, diffusion, time_s = np.empty(most, np.int8), np.empty(most), np.empty(most)
    points = np.zeros(n, np.int64)
    row = 0
    for i in range(n):
        rng = dice(seed, first + i)
        track = _simulate_track(rng, recipe, recipe.shortest, recipe.longest, root)
        if recipe.wrong_links > 0:
            _mislink(rng, recipe, track, root)
        kept = seen(rng, len(track.label), recipe.gaps)
        for k in range(len(kept)):
            if kept[k]:
                point[row], frame[row], label[row] = track.point[k], k, track.label[k]
                diffusion[row], time_s[row] = track.diffusion[k], track.time_s[k]
                row += 1
                points[i] += 1
    return Rows(points, point[:row], frame[:row], label[:row], diffusion[:row], time_s[:row])
