"""Simulated viruses in two colours, which lose the second colour on uncoating, with their truth."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.models.simulate.tracks import Tracks
from livespt.models.simulate.virus_entry import simulate_entry

FRAMES = (60, 200)  # length of a track
BEGIN = 60  # first frames in which tracks start
DEPTH = 0.15  # depth of the sample, in units of its side
ALONE = 0.1  # share of particles that never had a second colour
DRIFT_UM = 0.05  # drift per frame of a coat that stays behind


class ChannelSpots(NamedTuple):
    """Localizations in one channel, in random order."""

    frame: NDArray[np.int64]
    particle: NDArray[np.int64]
    point: NDArray[np.float64]  # (n, 3) um: z, y, x


class TwoColours(NamedTuple):
    """Both channels, and the truth of the particles in the first one."""

    first: ChannelSpots
    second: ChannelSpots
    change: dict[int, int]  # first frame in which the particle is alone; -1: never
    alone: set[int]  # particles that never had a partner


class _Camera:
    """Collects localizations of one channel, with errors and missed points."""

    def __init__(self, rng: np.random.Generator, error: Any, shift: Any, missed: float) -> None:
        self.rng, self.error, self.shift, self.missed = rng, error, shift, missed
        self.parts: list[tuple[Any, Any, Any]] = []

    def see(self, frame: Any, path: Any, name: int) -> None:
        kept = self.rng.random(len(frame)) >= self.missed
        point = path[kept] + self.rng.normal(size=(kept.sum(), 3)) * self.error + self.shift
        self.parts.append((frame[kept], np.full(kept.sum(), name), point))

    def seen(self) -> ChannelSpots:
        frame, name, point = (np.concatenate(column) for column in zip(*self.parts, strict=True))
        order = self.rng.permutation(len(frame))
        return ChannelSpots(frame[order], name[order], point[order])


def two_colours(
    seed: int,
    *,
    n: int = 60,
    ndim: int = 3,
    side_um: float = 20.0,
    offset_um: tuple[float, float, float] = (0.2, -0.05, 0.1),
    error_um: float = 0.04,
    missed: float = 0.03,
    fragments: float = 0.2,
    strangers: float = 0.5,
    dt_s: float = 4.2,
) -> TwoColours:
    """Simulate viruses that enter a cell (`simulate_entry`), in two channels.

    Parameters
    ----------
    seed : int
    n, ndim : int
        Number of viruses, and of dimensions. One virus in ten has no second colour.
    side_um : float
        Side of the field in which they start.
    offset_um : (z, y, x)
        Chromatic offset of the second channel (z in three dimensions only).
    error_um : float
        Localization error per axis, in both channels.
    missed : float
        Share of localizations that are missed, in both channels.
    fragments : float
        Share of coats whose track is broken in two.
    strangers : float
        Number of particles that have only the second colour, divided by `n`.
    dt_s : float
        Frame interval.

    Returns
    -------
    TwoColours
        Half of the coats that come off disappear; the others stay where they were, and drift.
    """
    rng = np.random.default_rng((seed, n))
    tracks, others = (
        simulate_entry(m, s, n_frames=FRAMES, dt_s=dt_s, ndim=ndim, noise=False)
        for m, s in ((n, seed), (round(n * strangers), seed + 1))
    )
    flat = np.array([0.0 if ndim == 2 else 1.0, 1.0, 1.0])
    size = side_um * flat * (DEPTH, 1, 1)
    first = _Camera(rng, error_um * flat, np.zeros(3), missed)
    second = _Camera(rng, error_um * flat, -np.array(offset_um) * flat, missed)
    ids = iter(rng.permutation(10 * n + 100).tolist())
    change: dict[int, int] = {}
    alone: set[int] = set()
    for i in range(n):
        frame, path = _placed(rng, tracks, i, size)
        name, uncoat = next(ids), int(tracks.uncoat[i])
        first.see(frame, path, name)
        if rng.random() < ALONE:
            alone.add(name)
            continue
        change[name] = int(frame[uncoat]) if uncoat >= 0 else -1
        coat, end = path.copy(), len(path)
        if uncoat >= 0:
            drift = rng.normal(0, DRIFT_UM, (end - uncoat, 3)) * flat
            coat[uncoat:] = path[uncoat - 1] + drift.cumsum(0)
            end = uncoat if rng.random() < 0.5 else end
        cut = int(rng.integers(1, end)) if rng.random() < fragments else end
        second.see(frame[:cut], coat[:cut], next(ids))
        second.see(frame[cut:end], coat[cut:end], next(ids))
    for i in range(len(others.uncoat)):
        second.see(*_placed(rng, others, i, size), next(ids))
    return TwoColours(first.seen(), second.seen(), change, alone)


def _placed(rng: np.random.Generator, tracks: Tracks, i: int, size: Any) -> tuple[Any, Any]:
    """Track i at a random position in the field, from one of the first frames on."""
    own = slice(tracks.offset[i], tracks.offset[i + 1])
    return tracks.frame[own] + rng.integers(BEGIN), tracks.point[own] + rng.random(3) * size
