"""Readings: what a motion network says of tracks, as it would have known it live, or both ways."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from livespt.models.motion.follower import Network, TrackFollower
from livespt.models.simulate.tracks import Tracks

if TYPE_CHECKING:
    from livespt.models.motion.whole_tracks import WholeReader

TOGETHER = 512  # tracks followed side by side


def as_known(
    network: Network, tracks: Tracks, lags: Sequence[int], pixel_size_um: float | None = None
) -> dict[int, NDArray[np.float32]]:
    """Readings (total, outputs) of every point as they were `lag` points later, for each lag.

    Where a track ends sooner, its last point decides. Positions are taken as pixels.
    """
    offset = tracks.offset
    count = np.diff(offset)
    answers = {lag: np.empty((offset[-1], network.outputs), np.float32) for lag in lags}
    order = np.argsort(count, kind="stable")
    for group in (order[k : k + TOGETHER] for k in range(0, len(order), TOGETHER)):
        following = TrackFollower([network], max(lags), pixel_size_um, capacity=TOGETHER)
        slots = np.arange(len(group), dtype=np.int32)
        for t in range(int(count[group[-1]])):
            alive = count[group] > t
            rows = offset[group[alive]] + t
            seen = None if tracks.intensity is None else tracks.intensity[rows]
            now = following.push(slots[alive], tracks.frame[rows], tracks.point[rows], seen)
            last = count[group] == t + 1
            for lag, answer in answers.items():
                if lag == 0:
                    answer[rows] = now
                    continue
                if t >= lag:
                    ages = np.full(len(rows), lag)
                    answer[rows - lag] = following.read(slots[alive], ages)
                if last.any():  # the end settles what is left
                    left = np.arange(min(lag, t + 1))
                    at = np.repeat(slots[last], len(left))
                    ages = np.tile(left, int(last.sum()))
                    answer[offset[group[at]] + t - ages] = following.read(at, ages)
    return answers


def both_ways(
    whole: WholeReader, tracks: Tracks, pixel_size_um: float | None = None
) -> NDArray[np.float32]:
    """Readings (total, outputs) of every point, with its whole track in view."""
    told = tracks.offset, tracks.frame, tracks.point
    return whole(*told, pixel_size_um, tracks.intensity)
