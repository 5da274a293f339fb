"""Tracking errors: what tracking makes of known tracks: joined, broken, with wrong links."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.models.simulate.tracks import Tracks


def teleported(rng: np.random.Generator, tracks: Tracks, share: float) -> Tracks:
    """Wrong links: in this share of tracks one point lies up to twenty typical steps away."""
    point = tracks.point.copy()
    count = np.diff(tracks.offset)
    for i in np.flatnonzero((rng.random(len(count)) < share) & (count >= 4)):
        mine = slice(tracks.offset[i], tracks.offset[i + 1])
        steps = np.diff(point[mine], axis=0)
        length = np.exp(rng.uniform(0, np.log(20))) * np.median(np.linalg.norm(steps, axis=1))
        away = rng.normal(size=3) * (np.ptp(point[mine], axis=0) > 0)
        at = tracks.offset[i] + rng.integers(count[i])
        point[at] += length * away / max(np.linalg.norm(away), 1e-9)
    return tracks._replace(point=point)


def broken(rng: np.random.Generator, tracks: Tracks, share: float) -> Tracks:
    """Tracks of which this share broke in two, as when the linker loses a particle for a while.

    The later part keeps its frame numbers and does not know what was before: where that includes
    the uncoating, the part has none (`uncoat` -1) although all its points are uncoated.
    """
    count = np.diff(tracks.offset)
    breaks = (rng.random(len(count)) < share) & (count >= 10)
    at = tracks.offset[:-1] + 5 + (rng.random(len(count)) * (count - 9)).astype(np.int64)
    offset = np.sort(np.concatenate([tracks.offset, at[breaks]]))
    source = np.searchsorted(tracks.offset, offset[:-1], side="right") - 1
    uncoat = tracks.uncoat[source]
    inside = (uncoat > tracks.frame[offset[:-1]]) & (uncoat <= tracks.frame[offset[1:] - 1])
    return tracks._replace(offset=offset, uncoat=np.where(inside, uncoat, -1))


def join(parts: Sequence[Tracks]) -> Tracks:
    """Several sets of tracks as one."""
    count = np.concatenate([np.diff(part.offset) for part in parts])

    def field(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(part, name) for part in parts])

    rows = {name: field(name) for name in Tracks._fields if name not in ("offset", "intensity")}
    if any(part.intensity is not None for part in parts):
        rows["intensity"] = np.concatenate([intensities(part) for part in parts])
    return Tracks(offset=np.concatenate([[0], np.cumsum(count)]), **rows)


def intensities(tracks: Tracks) -> NDArray[np.float64]:
    """Intensities (total,) of all points, NaN where nobody knows them."""
    unknown = np.full(len(tracks.frame), np.nan)
    return unknown if tracks.intensity is None else tracks.intensity


def of_rows(tracks: Tracks, rows: NDArray[Any]) -> dict[str, Any]:
    """What is known of the points `rows`, indices or flags, by the name of the field."""
    known = {name: getattr(tracks, name) for name in Tracks._fields}
    apart = ("offset", "uncoat")
    return {k: v[rows] for k, v in known.items() if k not in apart and v is not None}
