"""The shipped uncoating classifier, and both networks as the analyzer calls them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

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
    infer.warm_up()


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


def test_networks_of_different_windows_do_not_go_together(tmp_path: Path) -> None:
    for suffix in (".onnx", ".json"):
        shutil.copy(shipped("uncoating").with_suffix(suffix), tmp_path / f"mine{suffix}")
    card = json.loads((tmp_path / "mine.json").read_text())
    card["window"] += 2
    (tmp_path / "mine.json").write_text(json.dumps(card))
    other = Uncoating(tmp_path / "mine.onnx", provider="cpu")
    with pytest.raises(ModelError, match=r"window 96 and mine\.onnx 98"):
        Infer(Segmenter(provider="cpu"), other)


def test_a_segmenter_is_no_classifier() -> None:
    with pytest.raises(ModelError, match="'segment', not for 'uncoating'"):
        Uncoating(shipped("segmenter"), provider="cpu")
