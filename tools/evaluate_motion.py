"""Evaluation of the motion networks, on simulated tracks that no training ever saw.

Accuracy against lag, calibration and events, as the model cards state them. The seeds of these
tracks start where the recipes' never come (`UNSEEN`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.acquisition.simulate import Scenario
from livespt.models import crops
from livespt.models.calibrate import ece
from livespt.models.classify import Uncoating
from livespt.models.motion import Tracks, simulate_entry, simulate_tracks
from livespt.models.segment import Segmenter
from livespt.stream.types import MOTIONS

Read = Callable[[NDArray[np.float32]], NDArray[np.float32]]
UNSEEN = 9_000_000  # first seed of evaluation
LAGS = (0, 4, 8, 16)  # reported beside the settled lag
WITHIN = 20  # frames between an announced uncoating and the true one
LENGTHS = ((5, 20), (20, 50), (50, 200), (200, 601))  # points of a track
SETS: dict[str, dict[str, Any]] = {
    "deepspt 2d": {"ndim": 2},
    "deepspt 3d": {"ndim": 3},
    "physical 2d": {"ndim": 2, "variant": "physical", "gaps": 0.05},
    "physical 3d": {"ndim": 3, "variant": "physical", "gaps": 0.05},
}
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


def evaluate_segmenter(
    model: Path | None = None, tracks: int = 2000, seed: int = 0, provider: str = "auto"
) -> dict[str, Any]:
    """Judge a segmenter (default: the shipped one) on `tracks` tracks of every set.

    Returns
    -------
    dict
        For each set a table: at each lag (in points) and offline, accuracy per point, macro F1,
        ECE, share of abstentions, recalls, and accuracy with classes merged as in the DeepSPT
        paper; and a table of accuracy by the length of the track.
    """
    segmenter = Segmenter(model, provider=provider)
    lags = sorted({*LAGS, segmenter.lag})
    result: dict[str, Any] = {}
    for name, how in SETS.items():
        known = simulate_tracks(tracks, UNSEEN + seed, **how)
        parts = {
            f"lag {lag}": part
            for lag, part in at_lags(
                segmenter, known, known.label, segmenter.window, lags, seed
            ).items()
        }
        parts["offline"] = both_ways(segmenter, known, known.label)
        result[name] = [
            {"reading": reading} | motion_scores(probability, label, segmenter.abstain_below)
            for reading, (probability, label, _) in parts.items()
        ]
        result[f"{name}: accuracy by length"] = [
            {"points": f"{low}-{high - 1}"}
            | {reading: _accuracy(part, low, high) for reading, part in parts.items()}
            for low, high in LENGTHS
        ]
    rounded: dict[str, Any] = _rounded(result)
    return rounded


def motion_scores(
    probability: NDArray[np.float32], label: NDArray[np.int64], abstain_below: float
) -> dict[str, float]:
    """Scores of probabilities (n, 4) against labels (n,), pooled over points."""
    guess, sure = probability.argmax(1), probability.max(1)
    right, answered = guess == label, sure >= abstain_below
    count = np.zeros((len(MOTIONS), len(MOTIONS)))
    np.add.at(count, (label, guess), 1)
    hit, true, said = np.diag(count), count.sum(1), count.sum(0)
    three = np.array([0, 1, 2, 2])  # confined = subdiffusive
    two = np.array([0, 0, 1, 1])  # normal and directed against them
    return {
        "accuracy": float(hit.sum() / count.sum()),
        "macro_f1": float(np.mean(2 * hit / np.maximum(true + said, 1))),
        "three_classes": float(np.mean(three[guess] == three[label])),
        "two_classes": float(np.mean(two[guess] == two[label])),
        "ece": ece(sure.astype(np.float64), right),
        "abstained": float(1 - answered.mean()),
        "accuracy_answered": float(right[answered].mean()) if answered.any() else 0.0,
    } | {f"recall_{m}": float(h / max(t, 1)) for m, h, t in zip(MOTIONS, hit, true, strict=True)}


def at_lags(
    read: Read,
    tracks: Tracks,
    truth: NDArray[Any],
    window: int,
    lags: list[int],
    seed: int,
) -> dict[int, tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]]:
    """Readings, truth and track lengths at random moments, for each lag (in points)."""
    rng = np.random.default_rng((seed, UNSEEN))
    n = min(20 * len(tracks.uncoat), int(tracks.offset[-1]))
    row = rng.choice(int(tracks.offset[-1]), n, replace=False)
    which = np.searchsorted(tracks.offset, row, side="right") - 1
    seen = row - tracks.offset[which] + 1
    answers = [
        read(crops.cut(tracks, which[i : i + 256], seen[i : i + 256], window).windows)
        for i in range(0, n, 256)
    ]
    answer = np.concatenate(answers)
    length = np.diff(tracks.offset)[which]
    result = {}
    for lag in lags:
        there = np.flatnonzero(seen > lag)
        label = truth[row[there] - lag].astype(np.int64)
        result[lag] = answer[there, window - 1 - lag], label, length[there]
    return result


def both_ways(
    read: Read, tracks: Tracks, truth: NDArray[Any]
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """Readings, truth and track lengths of every point, with the whole track in view."""
    readings, labels, lengths = [], [], []
    for which, answer, valid in _whole(read, tracks):
        count = np.diff(tracks.offset)[which]
        readings.append(answer[valid])
        labels += [truth[tracks.offset[i] : tracks.offset[i + 1]] for i in which]
        lengths.append(np.repeat(count, count))
    label = np.concatenate(labels).astype(np.int64)
    return np.concatenate(readings), label, np.concatenate(lengths)


def _whole(
    read: Read, tracks: Tracks
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.bool_]]]:
    """Tracks of similar length together: which, their readings, what is no padding."""
    order = np.argsort(np.diff(tracks.offset), kind="stable")
    for i in range(0, len(order), 32):
        windows = crops.whole(tracks, order[i : i + 32]).windows
        yield order[i : i + 32], read(windows), windows[:, :, 4] > 0


def _accuracy(
    part: tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]], low: int, high: int
) -> float | None:
    probability, label, length = part
    some = (length >= low) & (length < high)
    return float(np.mean(probability[some].argmax(1) == label[some])) if some.any() else None


def evaluate_uncoating(
    model: Path | None = None, tracks: int = 400, seed: int = 0, provider: str = "auto"
) -> dict[str, Any]:
    """Judge an uncoating classifier (default: the shipped one) on `tracks` tracks of every set.

    Returns
    -------
    dict
        For each set, at lag 0, settled and offline: mean and median over tracks of the share of
        points read right at probability 0.5, both recalls, ECE; and the events that the card's
        decision announces.
    """
    classifier = Uncoating(model, provider=provider)
    rule = classifier.decision
    result: dict[str, Any] = {}
    for name, how in ENTRIES.items():
        known = entries(tracks, UNSEEN + seed, how)
        lags = (0, classifier.lag)
        now, settled = as_known(classifier, known, classifier.window, lags)
        ahead, _, _ = both_ways(classifier, known, known.uncoated)
        parts = {"lag 0": now, f"lag {classifier.lag}": settled, "offline": _in_order(ahead, known)}
        result[name] = [
            {"reading": reading} | uncoating_scores(probability, known)
            for reading, probability in parts.items()
        ]
        events = announcements(settled, known, rule["threshold"], rule["hold"], classifier.lag)
        result[f"{name}: events"] = event_scores(events, known)
    rounded: dict[str, Any] = _rounded(result)
    return rounded


def entries(n: int, seed: int, how: dict[str, Any]) -> Tracks:
    """Virus entry with holes, a quarter of the tracks broken in two, and other particles."""
    virus = simulate_entry(n, seed, gaps=0.03, **how)
    other = {"ndim": how.get("ndim", 2), "lengths": (20, 500), "dt_s": how["dt_s"]}
    others = simulate_tracks(n // 4, seed + 1, variant="physical", gaps=0.03, **other)
    return crops.broken(np.random.default_rng((seed, n)), crops.join([virus, others]), 0.25)


def as_known(
    read: Read, tracks: Tracks, window: int, lags: tuple[int, ...]
) -> list[NDArray[np.float32]]:
    """Readings (total,) of every point: for each lag, as they were then, or at the track's end."""
    start, end = tracks.offset[:-1], tracks.offset[1:]
    which = np.repeat(np.arange(len(start)), end - start)
    row = np.arange(len(which))
    answers = [np.empty(len(which), np.float32) for _ in lags]
    for i in range(0, len(which), 256):
        newest, mine = row[i : i + 256], which[i : i + 256]
        seen = newest - start[mine] + 1
        reading = read(crops.cut(tracks, mine, seen, window).windows)
        for lag, answer in zip(lags, answers, strict=True):
            old = np.flatnonzero(seen > lag)
            answer[newest[old] - lag] = reading[old, window - 1 - lag]
            for k in np.flatnonzero(newest == end[mine] - 1):  # the end settles what is left
                left = min(lag, seen[k])
                answer[newest[k] + 1 - left : newest[k] + 1] = reading[k, window - left :]
    return answers


def _in_order(answer: NDArray[np.float32], tracks: Tracks) -> NDArray[np.float32]:
    """Readings of `both_ways`, which come by length, as the tracks lie."""
    count = np.diff(tracks.offset)
    by_length = np.argsort(count, kind="stable")
    rows = [np.arange(tracks.offset[i], tracks.offset[i + 1]) for i in by_length]
    ordered = np.empty_like(answer)
    ordered[np.concatenate(rows)] = answer
    return ordered


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


def _rounded(value: Any) -> Any:
    """Four decimals: what the number of tracks supports, and no more."""
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_rounded(part) for part in value]
    return round(value, 4) if isinstance(value, float) else value
