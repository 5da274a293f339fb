"""The judge of the segmenter: what it says of readers that are perfect, blind, or late."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from livespt.models.simulate.tracks import Tracks, simulate_tracks
from livespt.tools.score import segmenter as judge
from livespt.tools.score.segmenter import change_scores, changes, motion_scores

LAG = 10


def labelled(*labels: list[int], gap: int = 1) -> Tracks:
    """Tracks of which only the labels matter; `gap` frames from point to point."""
    count = np.array([len(some) for some in labels])
    total = int(count.sum())
    return Tracks(
        offset=np.concatenate([[0], np.cumsum(count)]),
        point=np.zeros((total, 3)),
        frame=np.concatenate([gap * np.arange(n) for n in count]),
        label=np.concatenate([np.array(some, np.int8) for some in labels]),
        diffusion=np.ones(total),
        uncoated=np.zeros(total, bool),
        uncoat=np.full(len(count), -1),
        time_s=np.zeros(total),
    )


def sure(label: NDArray[Any]) -> NDArray[np.float32]:
    probability: NDArray[np.float32] = np.eye(4, dtype=np.float32)[label]
    return probability


@pytest.fixture(scope="module")
def tracks() -> Tracks:
    return simulate_tracks(150, 4, lengths=(30, 120))


def test_a_perfect_reader(tracks: Tracks) -> None:
    scores = motion_scores(sure(tracks.label), tracks, 0.5)
    for name in ("accuracy", "macro_f1", "track_mean", "track_median", "homogeneous"):
        assert scores[name] == 1, name
    assert scores["three_classes"] == scores["two_classes"] == scores["accuracy_answered"] == 1
    assert all(value == 1 for name, value in scores.items() if name.startswith("recall_"))
    assert scores["ece"] == scores["abstained"] == 0


def test_a_blind_reader(tracks: Tracks) -> None:
    label = (np.arange(len(tracks.label)) % 4).astype(np.int8)
    even = tracks._replace(label=label)
    scores = motion_scores(np.full((len(label), 4), 0.25, np.float32), even, 0.5)
    assert scores["accuracy"] == pytest.approx(0.25, abs=1e-3) and scores["ece"] < 1e-3
    assert scores["abstained"] == 1 and scores["accuracy_answered"] == 0
    assert scores["recall_normal"] == 1 and scores["recall_directed"] == 0
    assert scores["macro_f1"] == pytest.approx(0.1, abs=1e-3)
    assert scores["homogeneous"] is None, "no track is of one motion"


def test_confusions_within_the_merged_classes_cost_nothing_there(tracks: Tracks) -> None:
    mixed = motion_scores(sure(np.array([0, 1, 3, 2])[tracks.label]), tracks, 0.5)
    right = np.mean(tracks.label < 2)
    assert mixed["accuracy"] == pytest.approx(right)
    assert mixed["three_classes"] == mixed["two_classes"] == 1
    mixed = motion_scores(sure(np.array([1, 0, 2, 3])[tracks.label]), tracks, 0.5)
    assert mixed["two_classes"] == 1 and mixed["three_classes"] == pytest.approx(1 - right)
    assert mixed["ece"] == pytest.approx(right, abs=1e-6), "sure, and wrong"


def test_points_and_tracks_are_averaged_each_in_their_own_way() -> None:
    known = labelled([0] * 30, [1] * 10)
    scores = motion_scores(sure(np.array([0] * 30 + [1] * 5 + [2] * 5)), known, 0.5)
    assert scores["accuracy"] == pytest.approx(35 / 40)
    assert scores["track_mean"] == scores["track_median"] == pytest.approx(0.75)


def test_a_perfect_reader_finds_every_change_as_soon_as_it_may() -> None:
    known = labelled([0] * 30 + [1] * 30 + [3] * 30, [2] * 50, gap=2)
    scores = change_scores(sure(known.label), known, LAG)
    assert scores["f1"] == scores["recall"] == scores["precision"] == 1
    assert scores["delay_frames"] == 2 * (judge.HOLD - 1 + LAG)
    assert scores["false_per_1000_frames"] == 0


def test_a_blind_reader_finds_no_change(tracks: Tracks) -> None:
    blind = change_scores(np.full((len(tracks.label), 4), 0.25, np.float32), tracks, LAG)
    assert blind["f1"] == blind["recall"] == blind["precision"] == 0
    assert blind["delay_frames"] is None and blind["false_per_1000_frames"] == 0


SAID: dict[str, tuple[list[int], dict[str, float]]] = {
    "late by nine frames": ([0] * 39 + [1] * 21, {"f1": 1, "delay_frames": 9 + 4 + LAG}),
    "early by nine frames": ([0] * 21 + [1] * 39, {"f1": 1, "delay_frames": -9 + 4 + LAG}),
    "too late": ([0] * 41 + [1] * 19, {"f1": 0, "false_per_1000_frames": 1000 / 60}),
    "a short doubt is no change": ([0] * 10 + [2] * 4 + [0] * 16 + [1] * 30, {"f1": 1}),
    "a long one is two": (
        [0] * 10 + [2] * 5 + [0] * 15 + [1] * 30,
        {"recall": 1, "precision": 1 / 3, "f1": 0.5, "false_per_1000_frames": 2000 / 60},
    ),
    "to and fro counts once": (
        [0] * 27 + [1] * 5 + [0] * 5 + [1] * 23,
        {"recall": 1, "precision": 1 / 3},
    ),
    "known at the end of the track": ([0] * 55 + [1] * 5, {"f1": 0}),
}


@pytest.mark.parametrize("name", SAID)
def test_changes_are_paired_one_to_one_within_ten_frames(name: str) -> None:
    guess, expected = SAID[name]
    known = labelled([0] * 30 + [1] * 30)
    scores = change_scores(sure(np.array(guess)), known, LAG)
    assert {key: scores[key] for key in expected} == pytest.approx(expected)


def test_one_change_that_was_said_answers_for_one_that_was() -> None:
    known = labelled([0] * 20 + [1] * 6 + [2] * 34)
    scores = change_scores(sure(np.array([0] * 23 + [2] * 37)), known, 0)
    assert (scores["recall"], scores["precision"]) == (0.5, 1)
    assert scores["f1"] == pytest.approx(2 / 3)


def test_a_change_is_dated_where_it_began_and_known_when_it_was_read() -> None:
    frame = np.arange(40) * 3
    at, known = changes(np.array([0] * 20 + [1] * 20), frame, 4)
    assert at.tolist() == [60] and known.tolist() == [3 * (20 + 4 + 4)]
    at, known = changes(np.array([0] * 34 + [1] * 6), frame, 4)
    assert known.tolist() == [3 * 39], "the end of the track settles it"
    assert changes(np.array([0]), frame[:1], 0)[0].tolist() == []


def test_one_model_or_both_are_judged(networks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "SETS", {"deepspt 2d": {"ndim": 2, "lengths": (5, 30)}})
    monkeypatch.setattr(judge, "LIVING", (10,))
    monkeypatch.setattr(judge, "LAGS", (0, 30))
    monkeypatch.setattr(judge, "ERRORS", (0.1,))
    one, whole = networks / "segmenter.onnx", networks / "segmenter_whole.onnx"
    both = judge.evaluate_segmenter(one, tracks=12, whole=whole, provider="cpu")
    told = [row["reading"] for row in both["deepspt 2d"]]
    assert told == ["lag 0", "lag 20", "lag 30", "offline"]
    assert both["cost"][0]["tracks"] == 10 and both["cost"][0]["median_ms"] > 0
    offline = judge.evaluate_segmenter(whole, tracks=12, provider="cpu")
    assert offline["deepspt 2d"] == both["deepspt 2d"][-1:] and "cost" not in offline
    again = judge.evaluate_segmenter(one, tracks=12, provider="cpu")
    assert again["deepspt 2d"] == both["deepspt 2d"][:-1]
