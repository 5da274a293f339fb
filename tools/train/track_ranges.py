"""Track ranges: what the tracks of a training look like, for the card of the motion model.

A run compares its own tracks with them (stream/sample/likeness.py): outside these ranges the model
is asked about something that it has never seen.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.models.runtime.card import read_card, write_card
from livespt.models.runtime.session import shipped
from livespt.models.simulate.tracks import Tracks
from livespt.stream.errors import ModelError
from livespt.stream.sample.likeness import FEATURES, MIN_POINTS, POINTS, track_features
from livespt.tools.train.segmenter import tracks_of

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


def card_entry(n: int = TRACKS) -> dict[str, Any]:
    """Return what the card of the segmenter says of the tracks that it learned from."""
    return {
        "ranges": {name: list(ends) for name, ends in track_ranges(tracks_of(SEED, 0, n)).items()},
        "share": SHARE,
        "tracks": n,
        "command": "livespt train ranges",
    }


def write_ranges(model: Path | None = None) -> dict[str, Any]:
    """Write the ranges into the card of a segmenter of the recipe; the model stays as it is.

    Parameters
    ----------
    model : Path, optional
        NAME.onnx; default: the shipped one.

    Raises
    ------
    ModelError
        There is no card of a segmenter beside it.
    """
    path = shipped("segmenter") if model is None else model
    card = read_card(path)
    if card["task"] != "segment":
        raise ModelError(f"{path} is not a model of `train segmenter`")
    card.pop("sha256")
    card["tracks"] = card_entry()
    write_card(path, **card)
    return {"model": str(path), **card["tracks"]["ranges"]}


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
