"""Virus entry: simulated tracks of viruses that enter a cell and may uncoat, with their truth."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from livespt.models.simulate import series
from livespt.models.simulate.behaviours import Behaviour, draw_behaviour
from livespt.models.simulate.rng import log_uniform
from livespt.models.simulate.steps import CONFINED, DIRECTED, NORMAL, SUBDIFFUSIVE, Track
from livespt.models.simulate.tracks import Tracks, blur, check_lengths, collect, join


class Entry(NamedTuple):
    """Ranges of virus entry, from which each track is drawn (log-uniformly unless stated).

    The D of the engulfed particle is the unit of the other diffusion coefficients. `pull` and the
    `room`s are in diffusive steps sqrt(2 D dt) of their motion.
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
    """Draw the motion after uncoating: mostly free, sometimes weakly confined or subdiffusive."""
    motion = int(rng.choice([NORMAL, CONFINED, SUBDIFFUSIVE], p=[0.6, 0.25, 0.15]))
    faster = diffusion * log_uniform(rng, *entry.release)
    if entry.after is not None:
        faster = log_uniform(rng, *entry.after)
    faster = min(faster, entry.diffusion_most)
    return draw_behaviour(
        rng, motion, faster, ndim, dt_s, room=entry.room_uncoated, alpha=entry.alpha_uncoated
    )


def _entry(
    rng: Generator, n: int, uncoating: float, midway: float, ndim: int, dt_s: float, entry: Entry
) -> tuple[Track, int, float]:
    """Draw one virus, the frame at which it uncoats, and its diffusive step when engulfed, um."""
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
            behaviour = draw_behaviour(rng, DIRECTED, other, ndim, dt_s, pull=entry.pull)
        else:
            motion = CONFINED if rng.random() < 0.6 else SUBDIFFUSIVE
            behaviour = draw_behaviour(
                rng, motion, diffusion, ndim, dt_s, room=entry.room, alpha=entry.alpha
            )
        plan.append((behaviour, stay))
        at, carried = at + stay, not carried
    if uncoat > 0:
        plan.append((_escaped(rng, diffusion, ndim, dt_s, entry), n - uncoat))
    return join(rng, plan, ndim, dt_s), uncoat, math.sqrt(2 * diffusion * dt_s)


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
    """Simulate viruses that enter a cell; most of them uncoat.

    A virus diffuses on the membrane (normal) and is engulfed (confined or subdiffusive). It is then
    transported (directed), with pauses (like engulfed), until it uncoats. From this frame on it
    moves several times faster, and mostly freely. Viruses that do not uncoat are engulfed and
    transported until the end.

    The stages are those of rotavirus entry (DeepSPT paper, figure 3a; its two-colour movies have a
    frame every 4.2 s). The ranges are assumptions of this project, and wider than the simulation of
    uncoating in the tutorial of that paper: there D increases from 2e-3..5e-3 to 5e-3..9e-3 um2/s,
    the axes of confinement from 0.05..0.25 to 0.15..0.35 um, and alpha from 0.3..0.5 to 0.5..0.7.
    Its ratio of D of 2 is below `Entry.release`; `Entry.after` can reproduce it. The durations of
    the stages in frames are unknown, so they are drawn over a decade.

    Parameters
    ----------
    n, seed, ndim, noise, gaps, first
        As in `simulate_tracks`.
    n_frames : int or (int, int)
        Length of the tracks, or its range (log-uniform).
    dt_s : float
        Frame interval.
    uncoating : float
        Share of the viruses that uncoat.
    midway : float
        Share of the viruses that are already engulfed when their track begins.
    entry : Entry
        Ranges of the parameters.

    Raises
    ------
    SettingError
        Lengths or dimensions are out of range.
    """
    lengths = (n_frames, n_frames) if isinstance(n_frames, int) else n_frames
    check_lengths(ndim, lengths)
    tracks, kept, uncoats = [], [], []
    for number in range(first, first + n):
        rng = np.random.default_rng((seed, number))
        length = min(round(log_uniform(rng, *lengths)), lengths[1])
        path, uncoat, step = _entry(rng, length, uncoating, midway, ndim, dt_s, entry)
        if noise:
            path = blur(rng, path, step * log_uniform(rng, *entry.error))
        tracks.append(path)
        kept.append(series.seen(rng, length, gaps))
        uncoats.append(uncoat)
    return collect(tracks, kept, ndim, uncoats)
