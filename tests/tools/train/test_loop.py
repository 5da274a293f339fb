"""Learning: each track is learned from once, and a run that was cut ends as if it never was."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from livespt.models.motion import features
from livespt.models.simulate.tracks import Tracks, simulate_tracks
from livespt.stream.errors import SettingError
from livespt.tools.train import loop
from livespt.tools.train.loop import plan, train_network
from livespt.tools.train.track_batches import BATCHES, TrackBatches, ages, side_by_side

POOL = 150  # tracks


def some_tracks(number: int) -> Tracks:
    return simulate_tracks(POOL, 3, first=number * POOL, lengths=(5, 60), ndim=3)


def pools(both: bool = True) -> TrackBatches:
    """The truth of a point is its row in the pool."""
    return TrackBatches(some_tracks, 1, lambda some: np.arange(len(some.frame)), both)


def test_every_point_of_a_pool_is_in_one_batch() -> None:
    tracks, make = some_tracks(0), pools()
    seen = [make(k).truth for k in range(BATCHES)]
    rows = torch.cat([some[some >= 0] for some in seen]).numpy()
    assert np.array_equal(np.sort(rows), np.arange(len(tracks.frame)))
    points = [int((some >= 0).sum()) for some in seen]
    assert max(points) < 2 * np.mean(points) and min(points) > 0
    filled = [float((some >= 0).float().mean()) for some in seen]
    assert np.mean(filled) > 0.8, "tracks of similar length lie together"
    lengths = [len(some) for some in seen]
    assert lengths != sorted(lengths), "short and long ones come mixed"


def test_what_stands_beside_the_truth_tells_of_that_point() -> None:
    tracks, make = some_tracks(0), pools()
    last = np.repeat(tracks.offset[1:] - 1, np.diff(tracks.offset))
    first = np.repeat(tracks.offset[:-1], np.diff(tracks.offset))
    told = tracks.offset, tracks.frame, tracks.point
    known = {um: np.full(POOL, um) for um in (0.0, 1.0)}
    ahead = {um: features.of_tracks(*told, known[um]) for um in known}
    back = {um: features.of_tracks(*told, known[um], backwards=True) for um in known}
    sizes = []
    for k in range(0, BATCHES, 5):
        some = make(k)
        there = some.truth >= 0
        for i in range(there.shape[1]):
            n = int(there[:, i].sum())
            rows = some.truth[:n, i].numpy()
            assert np.array_equal(rows, np.arange(first[rows[0]], last[rows[0]] + 1))
            um = float(some.ahead[0, i, -1])  # the flag: whether the pixel size is told
            sizes.append(um)
            assert np.array_equal(some.ahead[:n, i], ahead[um][rows])
            assert np.array_equal(some.back[:n, i], back[um][rows[::-1]])
            assert np.array_equal(some.turn[:n, i], np.arange(n)[::-1])
        for part in (some.ahead, some.back, some.turn):
            assert not part[~there].any(), "padding tells nothing"
        assert (some.truth[~there] == -1).all() and some.truth.dtype == torch.int64
    assert 0.2 < np.mean(sizes) < 0.8


def test_the_same_step_is_the_same_batch_whatever_came_before() -> None:
    one, other = pools(), pools()
    here = [one(k) for k in (0, 1, BATCHES - 1, BATCHES, 2 * BATCHES + 3)]
    there = [other(k) for k in (2 * BATCHES + 3, BATCHES, BATCHES - 1, 1, 0)][::-1]
    for a, b in zip(here, there, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    assert here[0].ahead.shape != here[1].ahead.shape or not torch.equal(
        here[0].ahead, here[1].ahead
    )
    forwards = pools(both=False)(0)
    assert torch.equal(forwards.ahead, here[0].ahead)


def test_a_batch_without_a_track_and_one_of_a_single_point() -> None:
    offset, told = np.array([0, 1, 4]), np.ones((4, features.COUNT), np.float32)
    none = side_by_side(offset, told, told, np.arange(4), np.zeros(0, np.int64))
    assert none.ahead.shape == (1, 0, features.COUNT)
    one = side_by_side(offset, told, told, np.arange(4), np.array([0]))
    assert one.truth.tolist() == [[0]] and one.turn.tolist() == [[0]]


def test_questions_are_about_points_that_are_there() -> None:
    asked = ages(1, 7, (400, 50), 30)
    assert asked.min() == 0 and (asked <= np.arange(400)[:, None]).all()
    assert set(np.unique(asked[30:])) == set(range(31))
    assert 0.25 < np.mean(asked[30:] == 0) < 0.30 and 0.15 < np.mean(asked[30:] == 30) < 0.20
    assert np.array_equal(asked, ages(1, 7, (400, 50), 30))
    assert not np.array_equal(asked, ages(1, 8, (400, 50), 30))


class Cut(Exception):
    """The power fails."""


def learn(
    folder: Path,
    *,
    cut_at: int | None = None,
    resume: bool = False,
    judge: Callable[[torch.nn.Module], float] | None = None,
) -> dict[str, Any]:
    torch.manual_seed(0)
    net = torch.nn.Linear(3, 1)
    steps = []

    def loss_of(step: int) -> torch.Tensor:
        if step == cut_at:
            raise Cut
        steps.append(step)
        x = torch.from_numpy(np.random.default_rng(step).normal(size=(8, 3)).astype(np.float32))
        loss: torch.Tensor = (net(x)[:, 0] - x.sum(1)).square().mean()
        return loss

    look = None if judge is None else lambda: judge(net)
    history = train_network(
        net, loss_of, 120, 0.05, folder / "net.checkpoint", resume, held_out_loss=look
    )
    return {"history": history, "weight": net.weight.detach().numpy().copy(), "steps": steps}


def away_from_a_half(net: torch.nn.Module) -> float:
    """A judge to whom the weights are best on their way from 0 to 1."""
    return float((next(net.parameters()).detach() - 0.5).square().sum())


@pytest.mark.parametrize("judge", [None, away_from_a_half])
@pytest.mark.parametrize("cut_at", [20, 70, 99, 110])
def test_resumed_is_as_if_never_stopped(
    judge: Any, cut_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "KEEP_EVERY", 10)
    straight = learn(tmp_path, judge=judge)
    assert len(straight["history"]) == 2 and straight["history"][1] < straight["history"][0]
    (tmp_path / "net.checkpoint").unlink()
    with pytest.raises(Cut):
        learn(tmp_path, cut_at=cut_at, judge=judge)
    resumed = learn(tmp_path, resume=True, judge=judge)
    assert resumed["steps"] == list(range(cut_at // 10 * 10, 120))
    assert np.array_equal(resumed["weight"], straight["weight"])
    assert resumed["history"] == straight["history"]
    assert [p.name for p in tmp_path.iterdir()] == ["net.checkpoint"]


def test_learning_ends_when_it_no_longer_helps_and_keeps_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "KEEP_EVERY", 10)
    monkeypatch.setattr(loop, "PATIENCE", 3)
    losses, weights = iter([5.0, 3.0, 4.0, 2.0, 2.5, 2.0, 9.0, 8.0, 7.0]), []

    def judge(net: torch.nn.Module) -> float:
        weights.append(next(net.parameters()).detach().numpy().copy())
        return next(losses)

    learned = learn(tmp_path, judge=judge)
    assert learned["steps"] == list(range(70)), "three looks after the best one, at step 40"
    assert np.array_equal(learned["weight"], weights[3])


def test_patience_is_not_lost_when_the_power_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "KEEP_EVERY", 10)
    monkeypatch.setattr(loop, "PATIENCE", 3)
    straight = learn(tmp_path, judge=away_from_a_half)
    assert len(straight["steps"]) < 120
    for cut_at in range(15, len(straight["steps"]), 10):
        with pytest.raises(Cut):
            learn(tmp_path, cut_at=cut_at, judge=away_from_a_half)
        resumed = learn(tmp_path, resume=True, judge=away_from_a_half)
        assert resumed["steps"][-1] == straight["steps"][-1]
        assert np.array_equal(resumed["weight"], straight["weight"])


def test_the_end_may_be_the_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "KEEP_EVERY", 50)  # 120 is no multiple of it
    plain = learn(tmp_path)
    looks = itertools.count()
    judged = learn(tmp_path, judge=lambda net: -next(looks))  # each better than the one before
    assert next(looks) == 3
    assert np.array_equal(judged["weight"], plain["weight"])


FILES = {
    "nothing there": ([], False, {"follow": False, "whole": False}),
    "the second was cut": (["m.onnx", "m_whole.checkpoint"], True, {"whole": True}),
    "the first was cut": (["m.checkpoint"], True, {"follow": True, "whole": False}),
    "cut while it was judged": (["m.onnx", "m.checkpoint"], True, {"follow": True, "whole": False}),
}


@pytest.mark.parametrize("name", FILES)
def test_what_is_left_to_train(name: str, tmp_path: Path) -> None:
    files, resume, expected = FILES[name]
    for file in files:
        (tmp_path / file).touch()
    todo = plan(tmp_path / "m.onnx", "both", resume)
    assert {kind: begun for kind, (_, begun) in todo.items()} == expected
    names = {"follow": "m.onnx", "whole": "m_whole.onnx"}
    assert all(path.name == names[kind] for kind, (path, _) in todo.items())


@pytest.mark.parametrize(
    ("out", "only", "resume", "message"),
    [
        ("m.pt", "both", False, "must end in .onnx"),
        ("no/where/m.onnx", "both", False, "there is no folder"),
        ("old.onnx", "both", False, r"old\.onnx exists"),
        ("half.onnx", "both", False, r"half_whole\.onnx exists"),
        ("half.onnx", "whole", False, r"half_whole\.onnx exists"),
        ("m.onnx", "both", True, "nothing to resume"),
        ("begun.onnx", "whole", True, "nothing to resume"),
    ],
)
def test_what_cannot_be_trained_is_refused_at_once(
    out: str, only: str, resume: bool, message: str, tmp_path: Path
) -> None:
    for file in ("old.onnx", "half_whole.onnx", "begun.checkpoint"):
        (tmp_path / file).touch()
    with pytest.raises(SettingError, match=message) as caught:
        plan(tmp_path / out, only, resume)
    assert "\n" not in str(caught.value)
    assert list(plan(tmp_path / "half.onnx", "follow")) == ["follow"]
