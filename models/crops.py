"""Crops: windows cut from known tracks, as the live path would have seen them at that moment.

A window holds the last `length` points of a track that is still growing, padded on the left where
it is younger; columns as in stream/window.py. Training and evaluation cut them here, so both see
what `stream.window.Windows` hands to the networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.models.motion import Tracks


class Crops(NamedTuple):
    """Windows and the truth of their points; rows of padding hold 0 / False."""

    windows: NDArray[np.float32]  # (n, N, 5): dt, z, y, x, valid
    label: NDArray[np.int8]  # (n, N) index into MOTIONS
    uncoated: NDArray[np.bool_]  # (n, N)


def cut(
    tracks: Tracks,
    which: NDArray[np.int64],
    seen: NDArray[np.int64],
    length: int,
    pixel_size_um: float = 0.1,
) -> Crops:
    """Windows of the tracks `which` (n,) when `seen` (n,) of their points had been seen."""
    back = np.arange(length - 1, -1, -1)
    start = tracks.offset[which]
    row = (start + seen - 1)[:, None] - back  # (n, N)
    valid = row >= start[:, None]
    row = np.maximum(row, start[:, None])
    windows = np.zeros((len(which), length, 5), np.float32)
    stepped = valid[:, 1:] & valid[:, :-1]  # the first point held has no dt
    windows[:, 1:, 0] = np.diff(tracks.frame[row], axis=1) * stepped
    newest = tracks.point[row[:, -1]][:, None]
    windows[:, :, 1:4] = (tracks.point[row] - newest) * (valid / pixel_size_um)[:, :, None]
    windows[:, :, 4] = valid
    return Crops(windows, tracks.label[row] * valid, tracks.uncoated[row] & valid)


def draw(rng: np.random.Generator, tracks: Tracks, n: int, length: int) -> Crops:
    """`n` windows at random moments: every point of every track is as likely to be the last."""
    row = rng.integers(0, tracks.offset[-1], n)
    which = np.searchsorted(tracks.offset, row, side="right") - 1
    return cut(tracks, which, row - tracks.offset[which] + 1, length)


def whole(tracks: Tracks, which: NDArray[np.int64]) -> Crops:
    """The tracks `which`, each from its first point to its last."""
    seen = np.diff(tracks.offset)[which]
    return cut(tracks, which, seen, int(seen.max()))


def teleport(rng: np.random.Generator, crops: Crops, share: float) -> Crops:
    """Wrong links: in this share of windows one point lies up to twenty typical steps away."""
    windows = crops.windows.copy()
    for i in np.flatnonzero(rng.random(len(windows)) < share):
        valid = np.flatnonzero(windows[i, :-1, 4])
        if len(valid) < 4:
            continue
        steps = np.diff(windows[i, valid, 1:4], axis=0)
        length = np.exp(rng.uniform(0, np.log(20))) * np.median(np.linalg.norm(steps, axis=1))
        away = rng.normal(size=3) * (np.ptp(windows[i, :, 1:4], axis=0) > 0)
        windows[i, rng.choice(valid), 1:4] += length * away / max(np.linalg.norm(away), 1e-9)
    return crops._replace(windows=windows)


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

    rows = {name: field(name) for name in Tracks._fields if name != "offset"}
    return Tracks(offset=np.concatenate([[0], np.cumsum(count)]), **rows)
