"""Evaluate the motion segmenter on simulated tracks that were not used in training.

The figures are accuracy against lag, by length of the track and by localization error, calibration,
changepoints and cost, as stated in the model cards. The seeds of these tracks start at `UNSEEN`,
which the recipes never reach.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.models.motion.calibration import ece, reliability
from livespt.models.motion.follower import TrackFollower
from livespt.models.motion.segmenter import Segmenter
from livespt.models.motion.whole_tracks import WholeReader
from livespt.models.runtime.card import read_card
from livespt.models.runtime.session import shipped
from livespt.models.simulate.tracks import Tracks, simulate_tracks
from livespt.stream.types import MOTIONS
from livespt.tools.score.readings import as_known, both_ways

UNSEEN = 9_000_000  # first seed of evaluation tracks
LAGS = (0, 2, 5, 10, 20, 30)  # points
LENGTHS = ((5, 20), (20, 50), (50, 200), (200, 601))  # points of a track
MATCH_FRAMES = 10  # greatest distance of a found and a true changepoint
HOLD = 5  # points in a row with another motion that count as a change
ERRORS = (
    0.02,
    0.05,
    0.1,
    0.2,
    0.5,
    1.0,
    2.0,
)  # localization error / diffusive step; in training: 0.04-0.7
LIVING = (100, 1000, 5000)  # numbers of tracks in a frame
SETS: dict[str, dict[str, Any]] = {
    "deepspt 2d": {"ndim": 2},
    "deepspt 3d": {"ndim": 3},
    "physical 2d": {"ndim": 2, "variant": "physical", "gaps": 0.05},
    "physical 3d": {"ndim": 3, "variant": "physical", "gaps": 0.05},
}


def evaluate_segmenter(
    model: Path | None = None,
    tracks: int = 2000,
    seed: int = 0,
    provider: str = "auto",
    whole: Path | None = None,
) -> dict[str, Any]:
    """Evaluate a segmenter (default: the shipped ones) on `tracks` tracks of the DeepSPT sets.

    The other sets have a quarter as many.

    Parameters
    ----------
    model : Path
        A network that follows tracks, or one for whole tracks.
    whole : Path
        A network for whole tracks, evaluated in addition to `model`.

    Returns
    -------
    dict
        For each set a table: at each lag (points) and offline, accuracy and macro F1 over points,
        mean and median accuracy of a track, ECE, abstentions, recalls, accuracy with classes
        merged as in the DeepSPT paper; accuracy by length; changepoints; and the cost of a frame.
    """
    if model is None:
        model, whole = shipped("segmenter"), whole or shipped("segmenter_whole")
    if read_card(model)["task"] == "segment_whole":
        model, whole = None, model
    follower = Segmenter(model, provider=provider) if model else None
    reader = WholeReader(whole, "segment_whole", provider=provider) if whole else None
    network = follower or reader
    assert network is not None
    result: dict[str, Any] = {}
    for name, how in SETS.items():
        share = 1 if name.startswith("deepspt") else 4
        known = simulate_tracks(max(tracks // share, 10), UNSEEN + seed, **how)
        result |= _of_set(name, known, follower, reader, network.abstain_below)
        if name.startswith("deepspt"):
            few = max(tracks // 10, 50)
            result[f"{name}: accuracy by localization error"] = [
                by_error(how["ndim"], ratio, few, seed, follower, reader) for ratio in ERRORS
            ]
    if follower is not None:
        known = simulate_tracks(tracks, UNSEEN + seed, ndim=2)
        unknown = as_known(follower.network, known, (0, follower.lag))
        result["deepspt 2d, pixel size unknown"] = [
            {"reading": f"lag {lag}"} | _few(probability, known)
            for lag, probability in unknown.items()
        ]
        result["cost"] = [cost(follower, n) for n in LIVING]
    figures: dict[str, Any] = rounded(result)
    return figures


def _of_set(
    name: str,
    known: Tracks,
    follower: Segmenter | None,
    whole: WholeReader | None,
    abstain_below: float,
) -> dict[str, Any]:
    """All tables of one set; its tracks are in micrometres, so the pixel size is 1 um."""
    readings: dict[str, NDArray[np.float32]] = {}
    if follower is not None:
        lags = sorted({*LAGS, follower.lag})
        by_lag = as_known(follower.network, known, lags, 1.0)
        readings = {f"lag {lag}": probability for lag, probability in by_lag.items()}
    if whole is not None:
        readings["offline"] = both_ways(whole, known, 1.0)
    tables: dict[str, Any] = {
        name: [
            {"reading": key} | motion_scores(probability, known, abstain_below)
            for key, probability in readings.items()
        ]
    }
    count = np.diff(known.offset)
    tables[f"{name}: accuracy by length"] = [
        {"points": f"{low}-{high - 1}"}
        | {key: _accuracy(p, known, (count >= low) & (count < high)) for key, p in readings.items()}
        for low, high in LENGTHS
    ]
    tables[f"{name}: changepoints"] = [
        {"reading": key} | change_scores(p, known, int(key.split()[-1]) if "lag" in key else 0)
        for key, p in readings.items()
    ]
    summarized = {key: p for key, p in readings.items() if key in ("lag 0", "lag 30", "offline")}
    tables[f"{name}: reliability"] = {key: _reliability(p, known) for key, p in summarized.items()}
    return tables


def by_error(
    ndim: int,
    ratio: float,
    tracks: int,
    seed: int,
    follower: Segmenter | None,
    whole: WholeReader | None,
) -> dict[str, Any]:
    """Accuracy at a localization error of `ratio` diffusive steps sqrt(2 D dt) per axis."""
    known = simulate_tracks(tracks, UNSEEN + seed, ndim=ndim, noise=False)
    rng = np.random.default_rng((UNSEEN + seed, ndim, round(1000 * ratio)))
    error = ratio * np.sqrt(2 * known.diffusion)[:, None] * rng.normal(size=known.point.shape)
    error[:, : 3 - ndim] = 0
    known = known._replace(point=known.point + error)
    row: dict[str, Any] = {"error_in_steps": ratio}
    if follower is not None:
        by_lag = as_known(follower.network, known, (0, follower.lag), 1.0)
        row |= {f"lag {lag}": _few(p, known)["accuracy"] for lag, p in by_lag.items()}
    if whole is not None:
        row["offline"] = _few(both_ways(whole, known, 1.0), known)["accuracy"]
    return row


def motion_scores(
    probability: NDArray[np.float32], known: Tracks, abstain_below: float
) -> dict[str, Any]:
    """Scores of probabilities (total, 4), pooled over points and as means over tracks."""
    label = known.label.astype(np.int64)
    guess, sure = probability.argmax(1), probability.max(1)
    right, answered = guess == label, sure >= abstain_below
    count = np.zeros((len(MOTIONS), len(MOTIONS)))
    np.add.at(count, (label, guess), 1)
    hit, true, predicted = np.diag(count), count.sum(1), count.sum(0)
    track = np.add.reduceat(right, known.offset[:-1]) / np.diff(known.offset)
    one = np.maximum.reduceat(label, known.offset[:-1])
    homogeneous = one == np.minimum.reduceat(label, known.offset[:-1])
    three = np.array([0, 1, 2, 2])  # confined = subdiffusive
    two = np.array([0, 0, 1, 1])  # normal = directed, and confined = subdiffusive
    return {
        "accuracy": float(hit.sum() / count.sum()),
        "macro_f1": float(np.mean(2 * hit / np.maximum(true + predicted, 1))),
        "track_mean": float(track.mean()),
        "track_median": float(np.median(track)),
        "homogeneous": float(track[homogeneous].mean()) if homogeneous.any() else None,
        "three_classes": float(np.mean(three[guess] == three[label])),
        "two_classes": float(np.mean(two[guess] == two[label])),
        "ece": ece(sure.astype(np.float64), right),
        "abstained": float(1 - answered.mean()),
        "accuracy_answered": float(right[answered].mean()) if answered.any() else 0.0,
    } | {f"recall_{m}": float(h / max(t, 1)) for m, h, t in zip(MOTIONS, hit, true, strict=True)}


def change_scores(probability: NDArray[np.float32], known: Tracks, lag: int) -> dict[str, Any]:
    """Compare changepoints, `HOLD` points in a row with another motion, with the true ones.

    They are matched one to one within `MATCH_FRAMES`. The delay is the time from the true change to
    the prediction of the last of these points, which is `lag` frames after this point.
    """
    guess = probability.argmax(1)
    paired = predicted = true = 0
    delays: list[int] = []
    for low, high in zip(known.offset[:-1], known.offset[1:], strict=True):
        frame = known.frame[low:high]
        meant = frame[1:][np.diff(known.label[low:high]) != 0]
        found, seen = changes(guess[low:high], frame, lag)
        true, predicted = true + len(meant), predicted + len(found)
        free = np.ones(len(found), bool)
        for at in meant:
            near = np.flatnonzero(free & (np.abs(found - at) <= MATCH_FRAMES))
            if len(near):
                best = near[np.argmin(np.abs(found[near] - at))]
                free[best] = False
                paired += 1
                delays.append(int(seen[best] - at))
    return {
        "f1": 2 * paired / max(true + predicted, 1),
        "recall": paired / max(true, 1),
        "precision": paired / max(predicted, 1),
        "delay_frames": float(np.median(delays)) if delays else None,
        "false_per_1000_frames": 1000 * (predicted - paired) / len(guess),
    }


def changes(
    guess: NDArray[np.int64], frame: NDArray[np.int64], lag: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Frames at which the motion of a track changed for `HOLD` points, and when it was known."""
    edge = np.flatnonzero(np.diff(guess)) + 1
    start = np.concatenate([[0], edge])
    length = np.diff(np.concatenate([start, [len(guess)]]))
    start, motion = start[length >= HOLD], guess[start[length >= HOLD]]
    change = np.flatnonzero(np.diff(motion)) + 1
    known = np.minimum(start[change] + HOLD - 1 + lag, len(guess) - 1)
    return frame[start[change]], frame[known]


def cost(follower: Segmenter, n: int, frames: int = 60) -> dict[str, Any]:
    """Milliseconds for a frame with `n` tracks: a provisional and a settled state of each."""
    following = TrackFollower([follower.network], follower.lag, 0.1)
    rng = np.random.default_rng(0)
    slots = np.arange(n, dtype=np.int32)
    ages = np.full(n, follower.lag)
    points = np.cumsum(rng.normal(size=(frames, n, 3)), axis=0)
    took = []
    for t in range(frames):
        begin = time.perf_counter()
        following.push(slots, np.full(n, t), points[t])
        following.read(slots, np.minimum(ages, t))
        took.append(1000 * (time.perf_counter() - begin))
    return {"tracks": n, "median_ms": float(np.median(took[5:])), "least_ms": min(took[5:])}


def _few(probability: NDArray[np.float32], known: Tracks) -> dict[str, Any]:
    scores = motion_scores(probability, known, 0.0)
    return {key: scores[key] for key in ("accuracy", "macro_f1", "ece")}


def _accuracy(
    probability: NDArray[np.float32], known: Tracks, which: NDArray[np.bool_]
) -> float | None:
    rows = np.repeat(which, np.diff(known.offset))
    return float(np.mean(probability[rows].argmax(1) == known.label[rows])) if rows.any() else None


def _reliability(probability: NDArray[np.float32], known: Tracks) -> list[dict[str, float]]:
    right = probability.argmax(1) == known.label
    rows = reliability(probability.max(1).astype(np.float64), right)
    return [{"share": a, "confidence": b, "right": c} for a, b, c in rows]


def rounded(value: Any) -> Any:
    """Round to four decimals; more are not significant with this number of tracks."""
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [rounded(part) for part in value]
    return round(value, 4) if isinstance(value, float) else value
