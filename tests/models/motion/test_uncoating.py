"""The uncoating classifier, and both networks as the analyzer asks them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from livespt.models.infer import Infer
from livespt.models.motion.follower import TrackFollower
from livespt.models.motion.segmenter import Segmenter
from livespt.models.motion.uncoating import Uncoating
from livespt.stream.errors import ModelError
from livespt.tools.score.readings import as_known
from livespt.tools.score.uncoating import (
    ENTRIES,
    announcements,
    entries,
    event_scores,
    uncoating_scores,
)

UNSEEN = 9_500_000


@pytest.fixture(scope="module")
def infer(networks: Path) -> Infer:
    segmenter = Segmenter(networks / "segmenter.onnx", provider="cpu")
    return Infer(segmenter, Uncoating(networks / "uncoating.onnx", provider="cpu"))


def test_a_reading_is_four_motions_and_uncoating(infer: Infer) -> None:
    both, alone = infer(), infer.uncoating.network
    other = Infer(infer.segmenter, infer.uncoating)()
    slots = np.arange(6, dtype=np.int32)
    for t, points in enumerate(np.random.default_rng(0).normal(size=(40, 6, 3)).cumsum(0)):
        now = both.push(slots, np.full(6, t), points)
        assert now.shape == (6, 5) and now.dtype == np.float32
        assert np.array_equal(other.push(slots, np.full(6, t), points), now), "memory of its own"
    np.testing.assert_allclose(now[:, :4].sum(1), 1, atol=1e-6)
    assert both.lag == infer.farthest == 30 and infer.lag == 20 and both.networks[1] is alone
    assert both.read(slots, np.full(6, infer.farthest)).shape == (6, 5)


def test_the_pixel_size_reaches_every_memory_made_after(infer: Infer) -> None:
    assert infer().pixel_size_um == 0
    infer.measure(0.16, None, 2)
    assert infer().pixel_size_um == 0.16
    infer.measure(None, None, 2)


def with_card(networks: Path, folder: Path, **changes: Any) -> Path:
    """A copy of the classifier with another card."""
    for suffix in (".onnx", ".json"):
        shutil.copy(networks / f"uncoating{suffix}", folder / f"mine{suffix}")
    card = json.loads((folder / "mine.json").read_text()) | changes
    (folder / "mine.json").write_text(json.dumps(card))
    return folder / "mine.onnx"


@pytest.mark.parametrize(
    ("threshold", "hold"),
    [(0.49, 8), (1.0, 8), (float("nan"), 8), ("0.9", 8), (None, 8), (0.9, 0), (0.9, 1.5)],
)
def test_a_decision_that_no_run_can_use_is_refused(
    threshold: Any, hold: Any, networks: Path, tmp_path: Path
) -> None:
    decision = {"lag": 20, "threshold": threshold, "hold": hold}
    path = with_card(networks, tmp_path, decision=decision)
    words = "NaN" if threshold != threshold else f"threshold {threshold} and hold {hold}:"
    with pytest.raises(ModelError, match=words) as caught:
        Uncoating(path, provider="cpu")
    assert "\n" not in str(caught.value)


def test_the_least_decision_is_taken_and_none_is_refused(networks: Path, tmp_path: Path) -> None:
    least = {"lag": 20, "threshold": 0.5, "hold": 1}
    path = with_card(networks, tmp_path, decision=least)
    assert Uncoating(path, provider="cpu").decision == least
    path = with_card(networks, tmp_path, decision=None)
    with pytest.raises(ModelError, match="'decision' must be an object"):
        Uncoating(path, provider="cpu")


def test_networks_of_different_lags_do_not_go_together(
    infer: Infer, networks: Path, tmp_path: Path
) -> None:
    other = Uncoating(with_card(networks, tmp_path, lag=10), provider="cpu")
    with pytest.raises(ModelError, match=r"segmenter\.onnx has lag 20 and mine\.onnx has lag 10"):
        Infer(infer.segmenter, other)


def test_a_segmenter_is_no_classifier(networks: Path) -> None:
    with pytest.raises(ModelError, match="'segment', not for 'uncoating'"):
        Uncoating(networks / "segmenter.onnx", provider="cpu")


# ---- the shipped networks


@pytest.fixture(scope="module")
def uncoating() -> Uncoating:
    return Uncoating(provider="cpu")


def test_the_shipped_networks_go_together(uncoating: Uncoating) -> None:
    infer = Infer(Segmenter(provider="cpu"), uncoating)
    rule = infer.decision
    assert rule["lag"] == infer.lag and 0.5 <= rule["threshold"] < 1 and rule["hold"] >= 1


def test_a_sudden_freedom_is_seen_and_steadiness_is_not(uncoating: Uncoating) -> None:
    rng = np.random.default_rng(1)
    steps = 0.5 * rng.normal(size=(2, 150, 2))
    cage = np.zeros((150, 2, 3))
    for t in range(1, 150):  # a spring holds it
        cage[t, :, 1:] = 0.5 * cage[t - 1, :, 1:] + steps[:, t]
    cage[90:, 1, 1:] = cage[89, 1, 1:] + (5 * steps[1, 90:]).cumsum(0)  # lets go
    following, slots = (
        TrackFollower([uncoating.network], uncoating.lag, 0.1),
        np.arange(2, dtype="i4"),
    )
    settled = []
    for t, points in enumerate(cage):
        following.push(slots, np.full(2, t), points)
        settled.append(following.read(slots, np.full(2, min(t, uncoating.lag)))[:, 0])
    probability = np.array(settled[uncoating.lag :])  # of point t at index t
    assert probability[:, 0].max() < 0.6
    assert probability[:80, 1].max() < 0.6 < 0.8 < probability[100:, 1].min()


def test_what_it_finds_on_viruses_it_never_saw(uncoating: Uncoating) -> None:
    tracks = entries(25, UNSEEN, ENTRIES["movie"])
    told = as_known(uncoating.network, tracks, (0, uncoating.lag), 1.0)
    now, settled = (told[lag][:, 0] for lag in (0, uncoating.lag))
    early, late = uncoating_scores(now, tracks), uncoating_scores(settled, tracks)
    assert early["accuracy_median"] > 0.85 and late["accuracy_median"] > 0.9
    rule = uncoating.decision
    events = announcements(settled, tracks, rule["threshold"], rule["hold"], uncoating.lag)
    scores = event_scores(events, tracks)
    assert scores["found_share"] > 0.75 and scores["false_share"] < 0.2
    assert scores["delay_frames"] <= uncoating.lag + rule["hold"] + 10
