"""Predictions of a motion network for whole tracks, as in a live run, or offline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from livespt.models.motion.follower import Network, TrackFollower
from livespt.models.simulate.tracks import Tracks

if TYPE_CHECKING:
    from livespt.models.motion.whole_tracks import WholeReader


BATCH_TRACKS = 512


def as_known(
    network: Network, tracks: Tracks, lags: Sequence[int], pixel_size_um: float | None = None
) -> dict[int, NDArray[np.float32]]:
    """Predictions (total, outputs) for every point, made `lag` points later, for each lag.

    If a track ends sooner, they are made at its last point. Positions are in pixels.
    """
    offset = tracks.offset
    count = np.diff(offset)
    by_lag = {lag: np.empty((offset[-1], network.outputs), np.float32) for lag in lags}
    order = np.argsort(count, kind="stable")
    for group in (order[k : k + BATCH_TRACKS] for k in range(0, len(order), BATCH_TRACKS)):
        following = TrackFollower([network], max(lags), pixel_size_um, capacity=BATCH_TRACKS)
        slots = np.arange(len(group), dtype=np.int32)
        for t in range(int(count[group[-1]])):
            alive = count[group] > t
            rows = offset[group[alive]] + t
            seen = None if tracks.intensity is None else tracks.intensity[rows]
            now = following.push(slots[alive], tracks.frame[rows], tracks.point[rows], seen)
            last = count[group] == t + 1
            for lag, probability in by_lag.items():
                if lag == 0:
                    probability[rows] = now
                    continue
                if t >= lag:
                    ages = np.full(len(rows), lag)
                    probability[rows - lag] = following.read(slots[alive], ages)
                if last.any():  # the end of a track settles the remaining points
                    left = np.arange(min(lag, t + 1))
                    at = np.repeat(slots[last], len(left))
                    ages = np.tile(left, int(last.sum()))
                    probability[offset[group[at]] + t - ages] = following.read(at, ages)
    return by_lag


def both_ways(
    whole: WholeReader, tracks: Tracks, pixel_size_um: float | None = None
) -> NDArray[np.float32]:
    """Predictions (total, outputs) for every point, made from its whole track."""
    rows = tracks.offset, tracks.frame, tracks.point
    return whole(*rows, pixel_size_um, tracks.intensity)
