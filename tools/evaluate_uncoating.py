"""Evaluation of the uncoating classifier, on simulated virus entry that no training ever saw.

Accuracy at lag 0 and settled, calibration and events, as the model card states them. The seeds of
these tracks start where the recipe's never come (`UNSEEN`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.acquisition.simulate import Scenario
from livespt.models import crops
from livespt.models.calibrate import ece
from livespt.models.classify import Uncoating
from livespt.models.motion import Tracks, simulate_entry, simulate_tracks
from livespt.models.segment import Whole
from livespt.models.session import read_card, shipped
from livespt.tools.evaluate_segmenter import UNSEEN, rounded
from livespt.tools.readings import as_known, both_ways

LAGS = (0, 10, 20)  # points
WITHIN = 20  # frames between an announced uncoating and the true one
# entries as broad as in training, with one track in four begun anew after a loss; and those of the
# simulated movie, as the tracker delivers them
ENTRIES: dict[str, dict[str, Any]] = {
    "entry 2d": {"ndim": 2, "n_frames": (30, 600), "dt_s": 0.05},
    "entry 3d": {"ndim": 3, "n_frames": (30, 600), "dt_s": 0.05},
    "movie": {"n_frames": (300, 1000), "dt_s": 0.05, "entry": Scenario().entry},
}


class Events(NamedTuple):
    """Uncoatings announced, one row a track that has one."""

    track: NDArray[np.int64]  # index
    frame: NDArray[np.int64]  # where the probability rose
    announced: NDArray[np.int64]  # frame at which that was known


def evaluate_uncoating(
    model: Path | None = None,
    tracks: int = 400,
    seed: int = 0,
    provider: str = "auto",
    whole: Path | None = None,
) -> dict[str, Any]:
    """Judge an uncoating classifier (default: the shipped ones) on `tracks` tracks of every set.

    Parameters
    ----------
    model : Path
        A network that follows tracks, or one that reads whole tracks.
    whole : Path
        One that reads whole tracks, judged beside `model`.

    Returns
    -------
    dict
        For each set, at each lag (points) and offline: mean and median over tracks of the share
        of points read right at probability 0.5, both recalls, ECE; and the events that the card's
        decision announces.
    """
    if model is None:
        model, whole = shipped("uncoating"), whole or shipped("uncoating_whole")
    if read_card(model)["task"] == "uncoating_whole":
        model, whole = None, model
    follower = Uncoating(model, provider=provider) if model else None
    reader = Whole(whole, "uncoating_whole", provider=provider) if whole else None
    result: dict[str, Any] = {}
    for name, how in ENTRIES.items():
        known = entries(tracks, UNSEEN + seed, how)
        parts: dict[str, NDArray[np.float32]] = {}
        if follower is not None:
            told = as_known(follower.network, known, sorted({*LAGS, follower.lag}), 1.0)
            parts = {f"lag {lag}": probability[:, 0] for lag, probability in told.items()}
            rule = follower.decision["threshold"], follower.decision["hold"], follower.lag
            events = announcements(parts[f"lag {follower.lag}"], known, *rule)
            result[f"{name}: events"] = event_scores(events, known)
        if reader is not None:
            parts["offline"] = both_ways(reader, known, 1.0)[:, 0]
        result[name] = [{"reading": key} | uncoating_scores(p, known) for key, p in parts.items()]
    told_of: dict[str, Any] = rounded(result)
    return told_of


def entries(n: int, seed: int, how: dict[str, Any]) -> Tracks:
    """Virus entry with holes, a quarter of the tracks broken in two, and other particles."""
    virus = simulate_entry(n, seed, gaps=0.03, **how)
    other = {"ndim": how.get("ndim", 2), "lengths": (20, 500), "dt_s": how["dt_s"]}
    others = simulate_tracks(n // 4, seed + 1, variant="physical", gaps=0.03, **other)
    return crops.broken(np.random.default_rng((seed, n)), crops.join([virus, others]), 0.25)


def uncoating_scores(probability: NDArray[np.float32], tracks: Tracks) -> dict[str, float]:
    """Scores of probabilities (total,) of having uncoated, over tracks that uncoat."""
    right = (probability >= 0.5) == tracks.uncoated
    change = np.flatnonzero(tracks.uncoat >= 0)
    share = [right[tracks.offset[i] : tracks.offset[i + 1]].mean() for i in change]
    mine = np.concatenate([np.arange(tracks.offset[i], tracks.offset[i + 1]) for i in change])
    after = tracks.uncoated[mine]
    sure = np.maximum(probability, 1 - probability).astype(np.float64)
    return {
        "accuracy_mean": float(np.mean(share)),
        "accuracy_median": float(np.median(share)),
        "before": float(right[mine][~after].mean()),
        "after": float(right[mine][after].mean()),
        "all_points": float(right.mean()),
        "ece": ece(sure, right),
    }


def announcements(
    probability: NDArray[np.float32], tracks: Tracks, threshold: float, hold: int, lag: int
) -> Events:
    """What stream/decide.py announces: `hold` settled points in a row at `threshold` or above.

    Dated, as there, where the probability rose to one half for good.
    """
    rows = []
    for i in range(len(tracks.uncoat)):
        first, last = int(tracks.offset[i]), int(tracks.offset[i + 1]) - 1
        high = probability[first : last + 1] >= threshold
        run = np.convolve(high, np.ones(hold, np.int64))[: len(high)]
        done = np.flatnonzero(run == hold)
        if len(done):
            known = min(first + int(done[0]) + lag, last)
            below = np.flatnonzero(probability[first : first + int(done[0])] < 0.5)
            start = tracks.frame[first + int(below[-1]) + 1 if len(below) else first]
            rows.append((i, start, tracks.frame[known]))
    table = np.array(rows, np.int64).reshape(-1, 3)
    return Events(table[:, 0], table[:, 1], table[:, 2])


def event_scores(events: Events, tracks: Tracks) -> dict[str, Any]:
    """Announcements against the truth; uncoatings within 10 points of a track's end are let off."""
    first = tracks.frame[tracks.offset[:-1]]
    last = tracks.frame[tracks.offset[1:] - 1]
    clear = (tracks.uncoat - first >= 10) & (last - tracks.uncoat >= 10) & (tracks.uncoat >= 0)
    true = tracks.uncoat[events.track]
    apart = events.frame - true
    hit = (true >= 0) & (np.abs(apart) <= WITHIN)
    found = int(np.sum(hit & clear[events.track]))
    return {
        "true": int(clear.sum()),
        "found_share": found / max(int(clear.sum()), 1),
        "false_share": float(np.mean(~hit)) if len(hit) else 0.0,
        "false_per_1000_points": 1000 * float(np.sum(~hit)) / len(tracks.frame),
        "timing_error_frames": float(np.median(np.abs(apart[hit]))) if hit.any() else None,
        "delay_frames": float(np.median((events.announced - true)[hit])) if hit.any() else None,
    }
