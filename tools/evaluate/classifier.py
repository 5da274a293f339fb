"""Evaluate user classifiers: the two-class test of DeepSPT, the best possible accuracy, and cost.

Two classes of simulated tracks differ only in D, which is log-normal with the same spread in each.
The overlap is the overlap coefficient of the two densities of D, the integral of the smaller one.
An observer who knows the D of each track exactly has the best possible accuracy, 1 - overlap / 2,
which is 71.5 % at an overlap of 57 %. (The paper states 76 % there and does not define its overlap.
If it is the common part of the 95 % intervals of D, see `shared`, 57 % corresponds to an overlap
coefficient of 40 %, with a limit of 80 %.) An observer of the track alone knows D less precisely;
for normal diffusion, this limit is computed exactly as well.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.models.fingerprint import fingerprint
from livespt.models.fingerprint.classifier import TrackClassifier
from livespt.models.fingerprint.classifier_graph import save
from livespt.models.fingerprint.definitions import NAMES
from livespt.models.fingerprint.fingerprint import Units
from livespt.models.motion.segmenter import Segmenter
from livespt.models.runtime.card import write_card
from livespt.models.simulate.behaviours import Behaviour, draw_behaviour, move
from livespt.models.simulate.rng import log_uniform
from livespt.models.simulate.steps import NORMAL
from livespt.models.simulate.tracks import Tracks
from livespt.tools.score.readings import as_known
from livespt.tools.score.segmenter import UNSEEN, rounded
from livespt.tools.tables import positions
from livespt.tools.train import classifier_fit
from livespt.tools.train.classifier_fit import Samples

Floats = NDArray[np.float64]

OVERLAPS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.48, 0.57)
FULL_DISTANCE_SPREADS = 8.0  # distance of the classes for overlap 0 (in fact 6e-5)
SPREAD = 0.5  # standard deviation of ln D in a class
DIFFUSION, DT_S = 0.05, 0.1  # median D of the slower class, um2/s; frame interval
ERROR_UM = 0.01  # localization error; the step of the median D is 0.1 um
POINTS = (30, 200)  # range of the number of points of a track, log-uniform
STRETCH = (15, 60)  # duration of one motion in mixed tracks, frames
SETS = ("normal", "mixed")  # tracks with one motion, or with all four
MSD = {"msd alpha": ("alpha",), "msd D": ("D",), "msd alpha and D": ("alpha", "D")}
GRID = np.arange(-12, 12, 0.01) * SPREAD  # of ln D, to integrate over
WINDOW, LIVE = 30, 1000  # of the cost: points, tracks


class Two(NamedTuple):
    """Tracks of two classes that differ in D."""

    tracks: Tracks  # their `diffusion` is the D of the track
    label: NDArray[np.int64]  # (n,)
    log_d: Floats  # (n,) ln(D / DIFFUSION)
    apart: float  # distance of the two means of ln D


def evaluate_classifier(
    tracks: int = 1000, folds: int = 5, seed: int = 0, learner: str = "linear"
) -> dict[str, Any]:
    """Accuracy in the two-class test at every overlap, limits of accuracy, and cost."""
    segmenter = Segmenter(provider="cpu")
    result: dict[str, Any] = {}
    for name in SETS:
        rows = [
            one_overlap(segmenter, overlap, tracks, folds, UNSEEN + seed + 100 * k, learner, name)
            for k, overlap in enumerate(OVERLAPS)
        ]
        result[f"{name}: accuracy"] = rows
    figures: dict[str, Any] = rounded(result | {"cost": cost(seed)})
    return figures


def one_overlap(
    segmenter: Segmenter, overlap: float, n: int, folds: int, seed: int, learner: str, name: str
) -> dict[str, Any]:
    """A row of the table: limits, accuracy of the best rules on these tracks, and of features."""
    two = two_classes(n, overlap, seed, mixed=name == "mixed")
    middle = two.apart / 2
    known = float(((two.log_d > middle) == two.label).mean())
    row: dict[str, Any] = {
        "overlap": overlap,
        "shared": shared(two.apart),
        "limit_D": 1 - overlap / 2,
    }
    row |= {"limit_track": limit_of_tracks(two) if name == "normal" else None, "best_D": known}
    seen = log_step(two.tracks) - np.log(DIFFUSION)
    row["best_track"] = float(((seen > middle) == two.label).mean()) if name == "normal" else None
    tracks = two.tracks
    state = as_known(segmenter.network, tracks, (segmenter.lag,), 1.0)[segmenter.lag]
    features = fingerprint.of_tracks(
        tracks.offset, tracks.point, tracks.frame, state, Units(2, 1.0, DT_S)
    )
    samples = Samples(features, two.label, np.arange(n), ("slow", "fast"))
    validated = classifier_fit.cross_validate(samples, folds, seed, learner)
    scores = classifier_fit.figures(validated, samples)
    row |= {"classifier": scores["accuracy"], "sd": scores["accuracy_sd_of_folds"]}
    row["ece"] = scores["ece"]
    for key, which in MSD.items():
        only = np.zeros_like(features)
        at = [NAMES.index(one) for one in which]
        only[:, at] = features[:, at]
        some = samples._replace(features=only)
        validated = classifier_fit.cross_validate(some, folds, seed, "linear")
        row[key] = classifier_fit.figures(validated, some)["accuracy"]
    return row


def two_classes(n: int, overlap: float, seed: int, *, mixed: bool) -> Two:
    """Simulate `n` tracks, half of each class; `mixed` ones have all four motions at the same D."""
    apart = distance(overlap)
    label = np.arange(n) % 2
    log_d, size = np.empty(n), np.empty(n, np.int64)
    points = []
    for i in range(n):
        rng = np.random.default_rng((seed, i))
        log_d[i] = SPREAD * rng.standard_normal() + apart * label[i]
        size[i] = round(log_uniform(rng, *POINTS))
        diffusion = float(DIFFUSION * np.exp(log_d[i]))
        path = np.zeros((size[i], 3))
        at = 1
        while at < size[i]:
            stay = int(size[i] - at)
            behaviour = Behaviour(NORMAL, diffusion)
            if mixed:
                stay = min(stay, round(log_uniform(rng, *STRETCH)))
                behaviour = draw_behaviour(rng, int(rng.integers(4)), diffusion, 2, DT_S)
            path[at : at + stay, 1:] = path[at - 1, 1:] + move(rng, behaviour, stay, 2, DT_S)
            at += stay
        path[:, 1:] += rng.normal(0, ERROR_UM, (size[i], 2))
        points.append(path)
    total = int(size.sum())
    offset = np.concatenate([[0], np.cumsum(size)])
    tracks = Tracks(
        offset,
        np.concatenate(points),
        np.arange(total) - np.repeat(offset[:-1], size),
        np.zeros(total, np.int8),
        np.repeat(DIFFUSION * np.exp(log_d), size),
        np.zeros(total, bool),
        np.full(n, -1),
        (np.arange(total) - np.repeat(offset[:-1], size)) * DT_S,
    )
    return Two(tracks, label, log_d, apart)


def distance(overlap: float) -> float:
    """Distance of the means of two normal densities of ln D with this overlap coefficient."""
    if overlap <= 0:
        return FULL_DISTANCE_SPREADS * SPREAD
    return -2 * NormalDist().inv_cdf(overlap / 2) * SPREAD


def shared(apart: float) -> float:
    """Share of the 95 % interval of ln D that both classes have in common."""
    whole = 2 * NormalDist().inv_cdf(0.975) * SPREAD
    return max(0.0, 1 - apart / whole)


def log_step(tracks: Tracks) -> Floats:
    """ln D (n,) estimated from steps of normal diffusion, corrected for the localization error."""
    square = (np.diff(tracks.point, axis=0) ** 2).sum(axis=1)
    first = tracks.offset[:-1]
    inside = np.ones(len(square), bool)
    inside[first[1:] - 1] = False
    total = np.add.reduceat(np.append(np.where(inside, square, 0.0), 0.0), first)
    mean = total / (np.diff(tracks.offset) - 1)
    return np.asarray(np.log(np.maximum(mean - 4 * ERROR_UM**2, 1e-12) / (4 * DT_S)))


def limit_of_tracks(two: Two) -> float:
    """Accuracy of the best rule for tracks of normal diffusion, without localization error.

    The mean squared step contains all information about D: it is D chi2(k) / k with k = 2 (N - 1).
    The density of its logarithm is that of ln D convolved with that of ln(chi2 / k). The best rule
    chooses the class with the larger density, so its accuracy is half the integral of this density.
    """
    spread = np.exp(-0.5 * (GRID / SPREAD) ** 2)
    shift = two.apart / (GRID[1] - GRID[0])
    size, count = np.unique(np.diff(two.tracks.offset), return_counts=True)
    right = 0.0
    for n, share in zip(size, count / count.sum(), strict=True):
        k = 2.0 * (n - 1)
        noise = np.exp(0.5 * k * (GRID - np.expm1(GRID)))
        density = np.convolve(spread, noise)
        density /= density.sum()
        grid = np.arange(len(density), dtype=np.float64)
        wide = np.arange(-shift, len(density) + shift)
        other = np.interp(wide - shift, grid, density, 0.0, 0.0)
        mine = np.interp(wide, grid, density, 0.0, 0.0)
        right += share * 0.5 * float(np.maximum(mine, other).sum())
    return right


def cost(seed: int, rounds: int = 30) -> list[dict[str, Any]]:
    """Milliseconds for a frame with `LIVE` tracks: features of windows, and the classifier."""
    rows = []
    for ndim in (2, 3):
        rng = np.random.default_rng(seed)
        points = np.cumsum(rng.normal(size=(LIVE, WINDOW, 3)), axis=1)
        frames = np.tile(np.arange(WINDOW), (LIVE, 1))
        share = np.repeat(rng.dirichlet(np.full(4, 0.3), (LIVE, WINDOW // 10)), 10, axis=1)
        arguments = points, frames, share.astype(np.float32), Units(ndim, 0.1, DT_S)
        features = fingerprint.fingerprints(*arguments)
        task = _any_task(features, seed, ndim)
        described, classified = [], []
        for _ in range(rounds):
            begin = time.perf_counter()
            features = fingerprint.fingerprints(*arguments)
            middle = time.perf_counter()
            task(features)
            described.append(1000 * (middle - begin))
            classified.append(1000 * (time.perf_counter() - middle))
        row: dict[str, Any] = {"tracks": LIVE, "window": WINDOW, "dimensions": ndim}
        row |= {"features_ms": float(np.median(described)), "features_least_ms": min(described)}
        row |= {
            "classifier_ms": float(np.median(classified)),
            "classifier_least_ms": min(classified),
        }
        rows.append(row)
    return rows


def _any_task(features: NDArray[np.float32], seed: int, ndim: int) -> TrackClassifier:
    """A network with arbitrary weights, which has the cost of any other."""
    label = np.arange(len(features)) % 2
    samples = Samples(features, label, np.arange(len(features)), ("a", "b"))
    learned = classifier_fit.learn(samples, seed, "network")
    with tempfile.TemporaryDirectory() as folder:
        path = save(Path(folder) / "any.onnx", learned.scaling, learned.layers, learned.temperature)
        own: dict[str, Any] = {"input": {}, "training": {}, "metrics": {}, "provenance": {}}
        own |= {"classes": ["a", "b"], "positive": "b", "window": WINDOW, "shortest": 5}
        own |= {"prior": {"a": 0.5, "b": 0.5}, "abstain_below": 0.5, "segmenter": ""}
        units = Units(ndim, 1.0, DT_S)._asdict()
        write_card(path, task="classifier", seed=seed, units=units, **own)
        return TrackClassifier(path, provider="cpu")


def describe_real(
    path: Path, pixel_size_um: float, frame_interval_s: float
) -> tuple[dict[str, Any], NDArray[np.float32]]:
    """Number of tracks of a file that are long enough, and their features (n, 40)."""
    recorded = positions.read(path)
    segmenter = Segmenter(provider="cpu")
    rows, n = len(recorded.frame), len(recorded.offset) - 1
    nothing = np.zeros(rows)
    tracks = Tracks(
        recorded.offset,
        recorded.point,
        recorded.frame,
        nothing.astype(np.int8),
        nothing,
        nothing.astype(bool),
        np.full(n, -1),
        nothing,
    )
    state = as_known(segmenter.network, tracks, (segmenter.lag,), pixel_size_um)[segmenter.lag]
    units = Units(recorded.ndim, pixel_size_um, frame_interval_s)
    features = fingerprint.of_tracks(recorded.offset, recorded.point, recorded.frame, state, units)
    size = np.diff(recorded.offset)
    figures = {
        "tracks": n,
        "points": rows,
        "points_of_a_track": f"{size.min()}-{size.max()}, median {np.median(size):g}",
        "dimensions": recorded.ndim,
        "failures": int((~np.isfinite(features).all(axis=1)).sum()),
    }
    return figures, features
