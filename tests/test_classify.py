"""The shipped uncoating classifier, and both networks as the analyzer calls them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from livespt.models import crops
from livespt.models.classify import Infer, Uncoating
from livespt.models.motion import simulate_entry
from livespt.models.segment import Segmenter
from livespt.models.session import shipped
from livespt.stream.errors import ModelError
from livespt.tools.evaluate_motion import (
    ENTRIES,
    announcements,
    as_known,
    entries,
    event_scores,
    uncoating_scores,
)

UNSEEN = 9_500_000


@pytest.fixture(scope="module")
def uncoating() -> Uncoating:
    return Uncoating(provider="cpu")


@pytest.fixture(scope="module")
def infer(uncoating: Uncoating) -> Infer:
    return Infer(Segmenter(provider="cpu"), uncoating)


def test_both_networks_answer_in_one_array(infer: Infer) -> None:
    tracks = simulate_entry(10, UNSEEN)
    windows = crops.draw(np.random.default_rng(0), tracks, 20, infer.window).windows
    answer = infer(windows)
    assert answer.shape == (20, infer.window, 5) and answer.dtype == np.float32
    assert np.array_equal(answer[:, :, :4], infer.segmenter(windows))
    assert np.array_equal(answer[:, :, 4], infer.uncoating(windows))


def test_a_window_that_says_nothing_has_not_uncoated(uncoating: Uncoating) -> None:
    windows = np.ones((2, 96, 5), np.float32)
    windows[1, 3, 3] = np.nan
    assert (uncoating(windows)[1] == 0).all()


def test_the_decision_is_on_the_card(infer: Infer) -> None:
    rule = infer.decision
    assert rule["lag"] == infer.lag and 0.5 <= rule["threshold"] < 1 and rule["hold"] >= 1


def test_a_sudden_freedom_is_seen_and_steadiness_is_not(uncoating: Uncoating) -> None:
    rng = np.random.default_rng(1)
    steps = rng.normal(size=(2, 96, 2))
    cage = np.zeros((2, 96, 2))
    for t in range(1, 96):  # a spring holds it
        cage[:, t] = 0.5 * cage[:, t - 1] + steps[:, t]
    cage[1, 60:] = cage[1, 59] + (4 * steps[1, 60:]).cumsum(0)  # lets go
    windows = np.zeros((2, 96, 5), np.float32)
    windows[:, 1:, 0] = windows[:, :, 4] = 1
    windows[:, :, 2:4] = cage
    probability = uncoating(windows)
    assert probability[0].max() < 0.5
    assert probability[1, :50].max() < 0.5 < 0.9 < probability[1, 70:].min()


def test_what_it_finds_on_viruses_it_never_saw(uncoating: Uncoating) -> None:
    tracks = entries(25, UNSEEN, ENTRIES["movie"])
    now, settled = as_known(uncoating, tracks, uncoating.window, (0, uncoating.lag))
    early, late = uncoating_scores(now, tracks), uncoating_scores(settled, tracks)
    assert early["accuracy_median"] > 0.85 and late["accuracy_median"] > 0.9
    rule = uncoating.decision
    events = announcements(settled, tracks, rule["threshold"], rule["hold"], uncoating.lag)
    scores = event_scores(events, tracks)
    assert scores["found_share"] > 0.8 and scores["false_share"] < 0.15
    assert scores["delay_frames"] <= uncoating.lag + rule["hold"] + 10


def with_card(folder: Path, **changes: Any) -> Path:
    """A copy of the shipped classifier with another card."""
    for suffix in (".onnx", ".json"):
        shutil.copy(shipped("uncoating").with_suffix(suffix), folder / f"mine{suffix}")
    card = json.loads((folder / "mine.json").read_text()) | changes
    (folder / "mine.json").write_text(json.dumps(card))
    return folder / "mine.onnx"


@pytest.mark.parametrize(
    ("threshold", "hold"),
    [(0.49, 8), (1.0, 8), (float("nan"), 8), ("0.9", 8), (None, 8), (0.9, 0), (0.9, 1.5)],
)
def test_a_decision_that_no_run_can_use_is_refused(
    threshold: Any, hold: Any, tmp_path: Path
) -> None:
    path = with_card(tmp_path, decision={"lag": 20, "threshold": threshold, "hold": hold})
    with pytest.raises(ModelError, match=f"threshold {threshold}, hold {hold}:") as caught:
        Uncoating(path, provider="cpu")
    assert "\n" not in str(caught.value)


def test_the_least_decision_is_taken_and_none_is_refused(tmp_path: Path) -> None:
    least = {"lag": 20, "threshold": 0.5, "hold": 1}
    assert Uncoating(with_card(tmp_path, decision=least), provider="cpu").decision == least
    with pytest.raises(ModelError, match="threshold None"):
        Uncoating(with_card(tmp_path, decision=None), provider="cpu")


def test_networks_of_different_windows_do_not_go_together(tmp_path: Path) -> None:
    other = Uncoating(with_card(tmp_path, window=98), provider="cpu")
    with pytest.raises(ModelError, match=r"window 96 and mine\.onnx 98"):
        Infer(Segmenter(provider="cpu"), other)


def test_a_segmenter_is_no_classifier() -> None:
    with pytest.raises(ModelError, match="'segment', not for 'uncoating'"):
        Uncoating(shipped("segmenter"), provider="cpu")
