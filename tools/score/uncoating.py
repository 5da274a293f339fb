"""Evaluate the uncoating classifier on simulated virus entry that was not used in training.

The figures are accuracy, error of the uncoating time, calibration and events, at lag 0, settled and
offline, as stated in the model card, and false announcements for particles that do not uncoat. The
seeds of these tracks start at `UNSEEN`, which the recipe never reaches.
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
from livespt.models.simulate.intensities import with_intensities
from livespt.models.simulate.tracks import Tracks, simulate_tracks
from livespt.models.simulate.virus_entry import Entry, simulate_entry
from livespt.tools.score.readings import as_known, both_ways
from livespt.tools.score.segmenter import UNSEEN, rounded

LAGS = (0, 10, 20)  # points
MATCH_FRAMES = 20  # greatest distance of an announced and a true uncoating
# D before and after uncoating are drawn independently and overlap by 0.57, as in the hardest
# two-class case of the DeepSPT paper (figure 2e): equal widths of ln 10, shifted by 0.43 ln 10
HARD = Entry(diffusion=(1e-3, 1e-2), carrier=(1.0, 1.0), after=(1e-3 * 10**0.43, 1e-2 * 10**0.43))
BROAD: dict[str, Any] = {"n_frames": (30, 600), "dt_s": 0.05}
# entries with the ranges of training, where one track in four starts again after a loss; the same
# with known intensities; hard ones; other frame intervals, also that of the rotavirus in the paper;
# those of the simulated movie, as the linker gives them
ENTRIES: dict[str, dict[str, Any]] = {
    "entry 2d": {"ndim": 2, **BROAD},
    "entry 3d": {"ndim": 3, **BROAD},
    "entry 2d, intensity": {"ndim": 2, **BROAD, "intensity": True},
    "entry 3d, intensity": {"ndim": 3, **BROAD, "intensity": True},
    "hard": {"ndim": 3, **BROAD, "entry": HARD},
    "hard, intensity": {"ndim": 3, **BROAD, "entry": HARD, "intensity": True},
    "entry 3d, 1 s": {"ndim": 3, "n_frames": (30, 300), "dt_s": 1.0},
    "entry 3d, 4.2 s": {"ndim": 3, "n_frames": (30, 300), "dt_s": 4.2},
    "movie": {"n_frames": (300, 1000), "dt_s": 0.05, "entry": Scenario().entry},
}
# particles for which nothing should be announced
CONTROLS: dict[str, Callable[[int, int], Tracks]] = {
    "viruses that never uncoat": lambda n, seed: simulate_entry(
        n, seed, gaps=0.03, uncoating=0.0, **BROAD
    ),
    "viruses that never uncoat, intensity": lambda n, seed: with_intensities(
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
    """Announced uncoatings, one row for each track that has one."""

    track: NDArray[np.int64]  # index of the track
    frame: NDArray[np.int64]  # frame at which the probability rose
    announced: NDArray[np.int64]  # frame at which this was known


def evaluate_uncoating(
    model: Path | None = None,
    tracks: int = 400,
    seed: int = 0,
    provider: str = "auto",
    whole: Path | None = None,
) -> dict[str, Any]:
    """Evaluate an uncoating classifier (default: the shipped ones) on `tracks` tracks of every set.

    Parameters
    ----------
    model : Path
        A network that follows tracks, or one for whole tracks.
    whole : Path
        A network for whole tracks, evaluated in addition to `model`.

    Returns
    -------
    dict
        For each set, at each lag (points) and offline, `uncoating_scores` and the `event_scores`
        of the announcements by the rule of the card; for each set, D before and after uncoating
        (`change_of_d`); and announcements for particles that do not uncoat.
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
        result |= scores_of_set(name, known, follower, reader)
    if follower is not None:
        result["controls"] = [
            {"tracks of": name} | _false_alarms(make(tracks, UNSEEN + seed), follower)
            for name, make in CONTROLS.items()
        ]
    figures: dict[str, Any] = rounded(result)
    return figures


def scores_of_set(
    name: str, known: Tracks, follower: Uncoating | None, reader: WholeReader | None
) -> dict[str, Any]:
    """Scores of all predictions for these tracks, with `name`, and of their events."""
    parts: dict[str, NDArray[np.float32]] = {}
    events = []
    if follower is not None:
        by_lag = as_known(follower.network, known, sorted({*LAGS, follower.lag}), 1.0)
        parts = {f"lag {lag}": probability[:, 0] for lag, probability in by_lag.items()}
    if reader is not None:
        parts["offline"] = both_ways(reader, known, 1.0)[:, 0]
    result = {name: [{"reading": key} | uncoating_scores(p, known) for key, p in parts.items()]}
    if follower is not None:
        rule = follower.decision["threshold"], follower.decision["hold"]
        for key, p in parts.items():
            lag = 0 if key == "offline" else int(key.removeprefix("lag "))
            row = event_scores(announcements(p, known, *rule, lag), known)
            if key == "offline":
                row["delay_frames"] = None  # offline, events are known after the end of the track
            events.append({"reading": key} | row)
        result[f"{name}: events"] = events
    return result


def _false_alarms(tracks: Tracks, follower: Uncoating) -> dict[str, Any]:
    """Announcements from settled states for particles that do not uncoat."""
    probability = as_known(follower.network, tracks, (follower.lag,), 1.0)[follower.lag][:, 0]
    rule = follower.decision["threshold"], follower.decision["hold"]
    events = announcements(probability, tracks, *rule, follower.lag)
    return {
        "tracks": len(tracks.uncoat),
        "false_events": len(events.track),
        "false_per_1000_points": 1000 * len(events.track) / len(tracks.frame),
        "points_called_uncoated": float(np.mean(probability >= 0.5)),
    }


def drawn_alike(how: dict[str, Any], seed: int) -> Tracks:
    """Many short tracks with D as in a set, because few tracks would underestimate the overlap."""
    how = {k: v for k, v in how.items() if k != "intensity"} | {"n_frames": 30}
    return simulate_entry(2000, seed, uncoating=1.0, noise=False, **how)


def change_of_d(tracks: Tracks) -> dict[str, float]:
    """Difference of D just before and just after uncoating, over tracks that uncoat.

    Returns
    -------
    dict
        overlap: overlap coefficient of both distributions over tracks, the area under the lower
        density; if the densities cross once, it is 1 minus the greatest distance of the cumulative
        distributions. ratio: median of D after / D before. slower: share of tracks in which D
        decreases.
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
    """Simulate virus entry with gaps, a quarter of the tracks broken in two, and other particles.

    `how` are arguments of `simulate_entry`; with "intensity", intensities are known.
    """
    how = dict(how)
    is_known = how.pop("intensity", False)
    virus = simulate_entry(n, seed, gaps=0.03, **how)
    other = {"ndim": how.get("ndim", 2), "lengths": (20, 500), "dt_s": how["dt_s"]}
    others = simulate_tracks(n // 4, seed + 1, variant="physical", gaps=0.03, **other)
    rng = np.random.default_rng((seed, n))
    tracks = tracking_errors.broken(rng, tracking_errors.join([virus, others]), 0.25)
    return with_intensities(tracks, rng) if is_known else tracks


def uncoating_scores(probability: NDArray[np.float32], tracks: Tracks) -> dict[str, Any]:
    """Scores of probabilities (total,) of having uncoated, over tracks that uncoat.

    Returns
    -------
    dict
        Mean and median over tracks of the accuracy at probability 0.5; both recalls; the accuracy
        over all points, also of other tracks, and their ECE; the median error of the uncoating
        time, which is the start of the last run above 0.5, as in DeepSPT. Without such a run, the
        error is infinite.
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
    """Announcements as in stream/decisions.py: `hold` settled points in a row at `threshold`.

    As there, the time of uncoating is where the probability last rose above one half.
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
    """Compare announcements with the truth, except uncoatings within 10 points of a track's end."""
    first = tracks.frame[tracks.offset[:-1]]
    last = tracks.frame[tracks.offset[1:] - 1]
    clear = (tracks.uncoat - first >= 10) & (last - tracks.uncoat >= 10) & (tracks.uncoat >= 0)
    true = tracks.uncoat[events.track]
    apart = events.frame - true
    hit = (true >= 0) & (np.abs(apart) <= MATCH_FRAMES)
    found = int(np.sum(hit & clear[events.track]))
    return {
        "true": int(clear.sum()),
        "found_share": found / max(int(clear.sum()), 1),
        "false_share": float(np.mean(~hit)) if len(hit) else 0.0,
        "false_per_1000_points": 1000 * float(np.sum(~hit)) / len(tracks.frame),
        "timing_error_frames": float(np.median(np.abs(apart[hit]))) if hit.any() else None,
        "delay_frames": float(np.median((events.announced - true)[hit])) if hit.any() else None,
    }
