"""The segmenters as they are opened: what they refuse, read alike to the bit, and find."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from livespt.models.motion.follower import TrackFollower
from livespt.models.motion.segmenter import Segmenter
from livespt.models.motion.whole_tracks import BATCH_TRACKS, LENGTH_STEP, WholeReader
from livespt.models.runtime.session import shipped
from livespt.models.simulate.tracks import Tracks, simulate_tracks
from livespt.stream.errors import ModelError
from livespt.stream.types import MOTIONS
from livespt.tools.score.readings import as_known, both_ways

UNSEEN = 9_500_000  # a seed of its own: neither training nor the card came here
LENGTHS = (1, 2, LENGTH_STEP - 1, LENGTH_STEP, LENGTH_STEP + 1, 3 * LENGTH_STEP + 5, 7, 200)


@pytest.fixture(scope="module")
def reader(networks: Path) -> WholeReader:
    return WholeReader(networks / "segmenter_whole.onnx", "segment_whole", provider="cpu")


def walk(n: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Frames (n,) with gaps and positions (n, 3) of one track."""
    rng = np.random.default_rng(seed)
    frame = np.cumsum(rng.choice([1, 1, 3], n)).astype(np.int64)
    return frame, np.cumsum(rng.normal(size=(n, 3)) * rng.uniform(0.2, 3), axis=0)


def joined(tracks: list[tuple[NDArray[np.int64], NDArray[np.float64]]]) -> tuple[Any, Any, Any]:
    """Offsets, frames and positions of these tracks, one after another."""
    offset = np.concatenate([[0], np.cumsum([len(frame) for frame, _ in tracks])])
    frame, point = (np.concatenate(part) for part in zip(*tracks, strict=True))
    return offset, frame, point


def with_card(source: Path, folder: Path, **changes: Any) -> Path:
    """A copy of a model with another card; what is None is left out."""
    for suffix in (".onnx", ".json"):
        shutil.copy(source.with_suffix(suffix), folder / f"mine{suffix}")
    card = json.loads((folder / "mine.json").read_text()) | changes
    kept = {key: value for key, value in card.items() if value is not None}
    (folder / "mine.json").write_text(json.dumps(kept))
    return folder / "mine.onnx"


REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "another task": ("uncoating", {}, "'uncoating', not for 'segment'"),
    "no lag": ("segmenter", {"lag": None}, "no 'lag'"),
    "a lag in words": ("segmenter", {"lag": "long"}, "'lag' must be a whole number"),
    "a lag beyond the farthest": ("segmenter", {"lag": 31}, "at most 30"),
    "no farthest": ("segmenter", {"farthest": None}, "no 'farthest'"),
    "other answers": ("uncoating", {"task": "segment"}, "1 outputs where 4 are needed"),
    "whole tracks": (
        "segmenter_whole",
        {"task": "segment", "lag": 20, "farthest": 30},
        "does not follow tracks",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_models_that_cannot_follow_are_refused(name: str, networks: Path, tmp_path: Path) -> None:
    source, changes, message = REFUSED[name]
    path = with_card(networks / f"{source}.onnx", tmp_path, **changes)
    with pytest.raises(ModelError, match=message) as caught:
        Segmenter(path, provider="cpu")
    assert "\n" not in str(caught.value)


def test_what_the_card_says_is_used(networks: Path) -> None:
    segmenter = Segmenter(networks / "segmenter.onnx", provider="cpu")
    assert (segmenter.lag, segmenter.farthest, segmenter.abstain_below) == (20, 30, 0.3)
    assert segmenter.provider == "cpu"
    assert segmenter.network.outputs == len(MOTIONS)


def test_a_network_that_follows_does_not_read_whole_tracks(networks: Path) -> None:
    with pytest.raises(ModelError, match="'segment', not for 'segment_whole'"):
        WholeReader(networks / "segmenter.onnx", "segment_whole", provider="cpu")


def test_not_one_bit_depends_on_the_other_tracks(reader: WholeReader) -> None:
    """Whatever their number, lengths and order; and so the padding does not matter either."""
    tracks = [walk(n, seed) for seed, n in enumerate([*LENGTHS * 3, *[40] * (BATCH_TRACKS + 3)])]
    offset, frame, point = joined(tracks)
    together = reader(offset, frame, point, 0.1)
    assert together.shape == (len(frame), 4) and together.dtype == np.float32
    np.testing.assert_allclose(together.sum(1), 1, atol=1e-6)
    order = np.random.default_rng(0).permutation(len(tracks))
    shuffled = reader(*joined([tracks[i] for i in order]), 0.1)
    ends = np.cumsum([len(tracks[i][0]) for i in order])
    for i in range(0, len(tracks), 3):
        mine = together[offset[i] : offset[i + 1]]
        assert np.array_equal(reader(*joined([tracks[i]]), 0.1), mine), "not one bit may differ"
        end = ends[int(np.flatnonzero(order == i)[0])]
        assert np.array_equal(shuffled[end - len(mine) : end], mine)


def test_no_tracks_and_tracks_without_points(reader: WholeReader) -> None:
    none = np.zeros(0, np.int64), np.zeros((0, 3))
    assert reader(np.zeros(1, np.int64), *none).shape == (0, 4)
    assert reader(np.zeros(4, np.int64), *none).shape == (0, 4)
    frame, point = walk(20, 1)
    alone = reader(np.array([0, 20]), frame, point)
    assert np.array_equal(reader(np.array([0, 0, 20, 20]), frame, point), alone)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e12])
def test_a_place_that_is_none_is_left_out_of_its_track(reader: WholeReader, value: float) -> None:
    offset, frame, point = joined([walk(30, 1), walk(50, 2), walk(3, 3)])
    clean = reader(offset, frame, point)
    for bad in (30, 55, 79):
        spoilt = point.copy()
        spoilt[bad, 1] = value
        answer = reader(offset, frame, spoilt)
        assert (answer[bad] == 0.25).all()
        rows = np.setdiff1d(np.arange(30, 80), [bad])
        without = reader(np.array([0, 49]), frame[rows], point[rows])
        assert np.array_equal(answer[rows], without)
        others = np.r_[0:30, 80:83]
        assert np.array_equal(answer[others], clean[others])
    nowhere = np.full_like(point, value)
    assert (reader(offset, frame, nowhere) == 0.25).all()


def test_both_directions_and_the_pixel_size_are_read(reader: WholeReader) -> None:
    offset, frame, point = joined([walk(60, 1)])
    plain = reader(offset, frame, point)
    for row in (0, 59):
        moved = point.copy()
        moved[row] += 5
        changed = (reader(offset, frame, moved) != plain).any(1)
        assert changed.sum() >= 59  # the size of a first step alone says nothing
    assert np.array_equal(reader(offset, frame, point, 0.0), plain)
    assert np.abs(reader(offset, frame, point, 0.1) - plain).max() > 1e-3


# ---- the shipped networks


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter(provider="cpu")


@pytest.fixture(scope="module")
def whole() -> WholeReader:
    return WholeReader(shipped("segmenter_whole"), "segment_whole", provider="cpu")


def test_the_card_says_what_the_analyzer_needs(segmenter: Segmenter, whole: WholeReader) -> None:
    assert 0 < segmenter.lag <= segmenter.farthest == 30
    assert 1 / len(MOTIONS) <= segmenter.abstain_below < 1
    assert 1 / len(MOTIONS) <= whole.abstain_below < 1


def share_right(probability: NDArray[np.float32], tracks: Tracks) -> float:
    return float(np.mean(probability.argmax(1) == tracks.label))


@pytest.mark.parametrize("ndim", [2, 3])
def test_what_it_finds_on_tracks_it_never_saw(
    segmenter: Segmenter, whole: WholeReader, ndim: int
) -> None:
    """60 tracks: +- 0.03."""
    tracks = simulate_tracks(60, UNSEEN, ndim=ndim)
    told = as_known(segmenter.network, tracks, (0, segmenter.lag, segmenter.farthest), 1.0)
    assert share_right(told[0], tracks) > 0.7
    assert share_right(told[segmenter.lag], tracks) > 0.78
    assert share_right(told[segmenter.farthest], tracks) > 0.8
    assert share_right(both_ways(whole, tracks, 1.0), tracks) > 0.82


def test_other_threads_tell_the_same_within_1e_4(segmenter: Segmenter) -> None:
    tracks, other = simulate_tracks(300, UNSEEN, lengths=(30, 40)), Segmenter(threads=2)
    lags = (0, segmenter.lag)
    one, two = (as_known(some.network, tracks, lags, 0.1) for some in (segmenter, other))
    for lag in lags:
        assert np.abs(one[lag] - two[lag]).max() < 1e-4


def test_without_a_pixel_size_it_finds_nearly_as_much(segmenter: Segmenter) -> None:
    tracks = simulate_tracks(60, UNSEEN, ndim=2)
    told = as_known(segmenter.network, tracks, (segmenter.lag,))
    assert share_right(told[segmenter.lag], tracks) > 0.75


def test_the_plainest_motions_are_named_rightly(segmenter: Segmenter) -> None:
    rng = np.random.default_rng(0)
    steps = {
        "normal": rng.normal(size=(96, 2)),
        "directed": rng.normal(size=(96, 2)) * 0.3 + (1, 0.5),
    }
    for name, step in steps.items():
        following, slot = TrackFollower([segmenter.network], segmenter.lag), np.zeros(1, np.int32)
        for t, (y, x) in enumerate(np.cumsum(step, axis=0)):
            following.push(slot, np.array([t]), np.array([[0, y, x]]))
        (settled,) = following.read(slot, np.array([segmenter.lag]))
        assert MOTIONS[settled.argmax()] == name
