"""Track ranges: what the tracks of a training look like, for the card of the motion model.

A run compares its own tracks with them (stream/sample/likeness.py): outside these ranges the model
is asked about something that it has never seen.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.models.simulate.tracks import Tracks
from livespt.stream.sample.likeness import FEATURES, MIN_POINTS, POINTS, track_features
from livespt.tools.train.track_networks import MakeTracks

TRACKS = 12_000
SHARE = 0.99  # of the tracks inside each range
SEED = 9_000_001  # of tracks that no training and no evaluation uses


def track_ranges(tracks: Tracks, seed: int = SEED) -> dict[str, tuple[float, float | None]]:
    """Range of each feature that a sample is judged by, over simulated tracks.

    Each track gives its last points at one moment of its life, drawn at random. Of the length of a
    track only the low end counts: longer tracks than those of the training are no harm.

    Parameters
    ----------
    tracks : Tracks
    seed : int

    Returns
    -------
    dict
        Low and high end by feature; None: there is no such end.
    """
    rng = np.random.default_rng(seed)
    count = np.diff(tracks.offset)
    long = np.flatnonzero(count >= MIN_POINTS)
    end = rng.integers(MIN_POINTS, count[long] + 1)
    held = np.minimum(end, POINTS)
    at = tracks.offset[long, None] + end[:, None] - POINTS + np.arange(POINTS)
    points: NDArray[np.float64] = tracks.point[np.maximum(at, 0)]
    outside = (1 - SHARE) / 2
    ends = np.quantile(track_features(points, held), (outside, 1 - outside), axis=0)
    found: dict[str, tuple[float, float | None]] = {
        name: (_rounded(low), _rounded(high))
        for name, (low, high) in zip(FEATURES, ends.T.tolist(), strict=True)
    }
    return found | {"points": (_rounded(float(np.quantile(count, outside))), None)}


def card_entry(make: MakeTracks, n: int = TRACKS) -> dict[str, Any]:
    """Return what the card of a motion model says of the tracks that it learned from.

    Parameters
    ----------
    make : callable
        Returns tracks of the training, from (seed, number of the first, how many).
    n : int
        Tracks to look at.
    """
    ranges = track_ranges(make(SEED, 0, n))
    return {
        "ranges": {name: list(ends) for name, ends in ranges.items()},
        "share": SHARE,
        "tracks": n,
    }


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
