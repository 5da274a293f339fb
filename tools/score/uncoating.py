"""Evaluation of the uncoating classifier, on simulated virus entry that no training ever saw.

Accuracy, dating, calibration and events at lag 0, settled and offline, as the model card states
them, and what is announced of particles that do not uncoat. The seeds of these tracks start where
the recipe's never come (`UNSEEN`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.acquisition.simulated import Scenario
from livespt.models.motion.calibration import ece
from livespt.models.motion.uncoating import Uncoating
from livespt.models.motion.whole_tracks import WholeReader
from livespt.models.runtime.card import read_card
from livespt.models.runtime.session import shipped
from livespt.models.simulate import tracking_errors
from livespt.models.simulate.intensities import lit
from livespt.models.simulate.tracks import Tracks, simulate_tracks
from livespt.models.simulate.virus_entry import Entry, simulate_entry
from livespt.tools.score.readings import as_known, both_ways
from livespt.tools.score.segmenter import UNSEEN, rounded

LAGS = (0, 10, 20)  # points
WITHIN = 20  # frames between an announced uncoating and the true one
# D engulfed and D uncoated, each drawn by itself, overlap by 0.57, as in the hardest case of two
# classes in the DeepSPT paper (figure 2e): equal widths of ln 10, apart by 0.43 of that
HARD = Entry(diffusion=(1e-3, 1e-2), carrier=(1.0, 1.0), after=(1e-3 * 10**0.43, 1e-2 * 10**0.43))
BROAD: dict[str, Any] = {"n_frames": (30, 600), "dt_s": 0.05}
# entries as broad as in training, with one track in four begun anew after a loss; the same with
# their intensities told; the hard ones; other frame intervals, among them that of the paper's
# rotavirus; those of the simulated movie, as the tracker delivers them
ENTRIES: dict[str, dict[str, Any]] = {
    "entry 2d": {"ndim": 2, **BROAD},
    "entry 3d": {"ndim": 3, **BROAD},
    "entry 2d, intensity": {"ndim": 2, **BROAD, "told": True},
    "entry 3d, intensity": {"ndim": 3, **BROAD, "told": True},
    "hard": {"ndim": 3, **BROAD, "entry": HARD},
    "hard, intensity": {"ndim": 3, **BROAD, "entry": HARD, "told": True},
    "entry 3d, 1 s": {"ndim": 3, "n_frames": (30, 300), "dt_s": 1.0},
    "entry 3d, 4.2 s": {"ndim": 3, "n_frames": (30, 300), "dt_s": 4.2},
    "movie": {"n_frames": (300, 1000), "dt_s": 0.05, "entry": Scenario().entry},
}
# particles of which nothing should be announced
CONTROLS: dict[str, Callable[[int, int], Tracks]] = {
    "viruses that never uncoat": lambda n, seed: simulate_entry(
        n, seed, gaps=0.03, uncoating=0.0, **BROAD
    ),
    "viruses that never uncoat, intensity": lambda n, seed: lit(
        simulate_entry(n, seed, gaps=0.03, uncoating=0.0, **BROAD), np.random.default_rng(seed)
    ),
    "motion that changes": lambda n, seed: simulate_tracks(
        n, seed, variant="physical", gaps=0.03, lengths=(30, 600), dt_s=0.05, heterogeneous=1.0
    ),
    "motion that stays": lambda n, seed: simulate_tracks(
        n, seed, variant="physical", gaps=0.03, lengths=(30, 600), dt_s=0.05, heterogeneous=0.0
    ),
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
        For each set, at each lag (points) and offline: `uncoating_scores`, and the events that
        the card's decision announces: `event_scores`; for each set, D before and after:
        `change_of_d`; what is announced of particles that do not uncoat.
    """
    if model is None:
        model, whole = shipped("uncoating"), whole or shipped("uncoating_whole")
    if read_card(model)["task"] == "uncoating_whole":
        model, whole = None, model
    follower = Uncoating(model, provider=provider) if model else None
    reader = WholeReader(whole, "uncoating_whole", provider=provider) if whole else None
    result: dict[str, Any] = {"D": []}
    for name, how in ENTRIES.items():
        known = entries(tracks, UNSEEN + seed, how)
        result["D"].append({"set": name} | change_of_d(drawn_alike(how, UNSEEN + seed)))
        result |= judged(name, known, follower, reader)
    if follower is not None:
        result["controls"] = [
            {"tracks of": name} | _false_alarms(make(tracks, UNSEEN + seed), follower)
            for name, make in CONTROLS.items()
        ]
    told_of: dict[str, Any] = rounded(result)
    return told_of


def judged(
    name: str, known: Tracks, follower: Uncoating | None, reader: WholeReader | None
) -> dict[str, Any]:
    """Scores of every reading of these tracks, as `name`, and of their events."""
    parts: dict[str, NDArray[np.float32]] = {}
    events = []
    if follower is not None:
        told = as_known(follower.network, known, sorted({*LAGS, follower.lag}), 1.0)
        parts = {f"lag {lag}": probability[:, 0] for lag, probability in told.items()}
    if reader is not None:
        parts["offline"] = both_ways(reader, known, 1.0)[:, 0]
    result = {name: [{"reading": key} | uncoating_scores(p, known) for key, p in parts.items()]}
    if follower is not None:
        rule = follower.decision["threshold"], follower.decision["hold"]
        for key, p in parts.items():
            lag = 0 if key == "offline" else int(key.removeprefix("lag "))
            row = event_scores(announcements(p, known, *rule, lag), known)
            if key == "offline":
                row["delay_frames"] = None  # known when the track is over
            events.append({"reading": key} | row)
        result[f"{name}: events"] = events
    return result


def _false_alarms(tracks: Tracks, follower: Uncoating) -> dict[str, Any]:
    """What is announced, settled, of particles that do not uncoat."""
    told = as_known(follower.network, tracks, (follower.lag,), 1.0)[follower.lag][:, 0]
    rule = follower.decision["threshold"], follower.decision["hold"]
    events = announcements(told, tracks, *rule, follower.lag)
    return {
        "tracks": len(tracks.uncoat),
        "false_events": len(events.track),
        "false_per_1000_points": 1000 * len(events.track) / len(tracks.frame),
        "points_called_uncoated": float(np.mean(told >= 0.5)),
    }


def drawn_alike(how: dict[str, Any], seed: int) -> Tracks:
    """Many short viruses whose D is drawn as in a set: the overlap of a few looks too small."""
    how = {k: v for k, v in how.items() if k != "told"} | {"n_frames": 30}
    return simulate_entry(2000, seed, uncoating=1.0, noise=False, **how)


def change_of_d(tracks: Tracks) -> dict[str, float]:
    """How D just before and just after uncoating differ, over tracks that uncoat.

    Returns
    -------
    dict
        overlap: coefficient of both distributions over tracks, the area under the lower of the
        densities: 1 less the largest distance of the cumulative distributions, where the densities
        cross once. ratio: median of D after over D before. slower: share in which D falls.
    """
    after = np.flatnonzero(np.diff(tracks.uncoated.astype(np.int8)) == 1) + 1
    after = after[~np.isin(after, tracks.offset)]
    before, now = tracks.diffusion[after - 1], tracks.diffusion[after]
    at = np.concatenate([before, now])
    lower, upper = (np.searchsorted(np.sort(x), at, side="right") for x in (before, now))
    return {
        "overlap": 1 - float(np.abs(lower - upper).max()) / len(after),
        "ratio": float(np.median(now / before)),
        "slower": float(np.mean(now < before)),
    }


def entries(n: int, seed: int, how: dict[str, Any]) -> Tracks:
    """Virus entry with holes, a quarter of the tracks broken in two, and other particles.

    `how` is `simulate_entry`'s; where it has "told", intensities are known.
    """
    how = dict(how)
    told = how.pop("told", False)
    virus = simulate_entry(n, seed, gaps=0.03, **how)
    other = {"ndim": how.get("ndim", 2), "lengths": (20, 500), "dt_s": how["dt_s"]}
    others = simulate_tracks(n // 4, seed + 1, variant="physical", gaps=0.03, **other)
    rng = np.random.default_rng((seed, n))
    tracks = tracking_errors.broken(rng, tracking_errors.join([virus, others]), 0.25)
    return lit(tracks, rng) if told else tracks


def uncoating_scores(probability: NDArray[np.float32], tracks: Tracks) -> dict[str, Any]:
    """Scores of probabilities (total,) of having uncoated, over tracks that uncoat.

    Returns
    -------
    dict
        Mean and median over tracks of the share of points read right at probability 0.5; both
        recalls; share of all points, other tracks' too, and their ECE; the median error of the
        date: the start of the last run above 0.5, as in DeepSPT; one without is infinitely late.
    """
    right = (probability >= 0.5) == tracks.uncoated
    change = np.flatnonzero(tracks.uncoat >= 0)
    share = [right[tracks.offset[i] : tracks.offset[i + 1]].mean() for i in change]
    mine = np.concatenate([np.arange(tracks.offset[i], tracks.offset[i + 1]) for i in change])
    after = tracks.uncoated[mine]
    sure = np.maximum(probability, 1 - probability).astype(np.float64)
    error = float(np.median(np.abs(_dates(probability, tracks)[change] - tracks.uncoat[change])))
    return {
        "accuracy_mean": float(np.mean(share)),
        "accuracy_median": float(np.median(share)),
        "before": float(right[mine][~after].mean()),
        "after": float(right[mine][after].mean()),
        "all_points": float(right.mean()),
        "ece": ece(sure, right),
        "timing_error_frames": error if np.isfinite(error) else None,
    }


def _dates(probability: NDArray[np.float32], tracks: Tracks) -> NDArray[np.float64]:
    """Frame (n,) in which the last run above 0.5 begins; infinite without one."""
    high = probability >= 0.5
    rises = high.copy()
    rises[1:] &= ~high[:-1]
    rises[tracks.offset[:-1]] = high[tracks.offset[:-1]]
    date = np.full(len(tracks.uncoat), np.inf)
    at = np.flatnonzero(rises)
    track = np.searchsorted(tracks.offset, at, side="right") - 1
    date[track] = tracks.frame[at]  # of several, the last written
    return date


def announcements(
    probability: NDArray[np.float32], tracks: Tracks, threshold: float, hold: int, lag: int
) -> Events:
    """What stream/decisions.py announces: `hold` settled points in a row at `threshold` or above.

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
