"""The motion recipes: what they learn from, that they resume exactly; (slow) that they learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from livespt.models.infer import Infer
from livespt.models.motion import features
from livespt.models.motion.segmenter import Segmenter
from livespt.models.motion.uncoating import Uncoating
from livespt.models.motion.whole_tracks import WholeReader as Reader
from livespt.models.networks.motion import LAG, Follow, Whole
from livespt.models.runtime.card import read_card
from livespt.models.simulate.tracks import Tracks
from livespt.models.simulate.virus_entry import simulate_entry
from livespt.stream.errors import SettingError
from livespt.tools.score import segmenter as evaluate_segmenter, uncoating as evaluate_uncoating
from livespt.tools.train import (
    loop,
    segmenter as train_segmenter,
    track_networks,
    uncoating as train_uncoating,
)
from livespt.tools.train.track_batches import TrackBatch
from livespt.tools.train.track_networks import (
    TrackNetworkRecipe,
    calibrate,
    learn,
    scores_and_targets,
    threshold,
)

RECIPES = {"segment": train_segmenter, "uncoating": train_uncoating}


def few_tracks(seed: int, first: int, n: int) -> Tracks:
    """Short viruses, labelled for either network."""
    return simulate_entry(n, seed, first=first, n_frames=(10, 40))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pools of a few short tracks, and a look at the held-out ones every third step."""
    monkeypatch.setattr(track_networks, "POOL", 60)
    monkeypatch.setattr(loop, "KEEP_EVERY", 3)


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("wish", [{"out": "model.pt"}, {"resume": True}, {"out": "no/model.onnx"}])
def test_bad_wishes_are_refused_at_once(tmp_path: Path, name: str, wish: dict[str, Any]) -> None:
    how = {"out": "model.onnx"} | wish
    how["out"] = tmp_path / how["out"]
    with pytest.raises(SettingError, match=r"onnx|no folder|nothing to resume"):
        RECIPES[name].train(device="cpu", **how)


@pytest.mark.parametrize("name", RECIPES)
def test_the_tracks_of_a_recipe_are_as_meant(name: str) -> None:
    recipe = RECIPES[name]
    tracks = recipe.tracks_of(3, 0, 200)
    again = recipe.tracks_of(3, 0, 200)
    later = recipe.tracks_of(3, 200, 200)
    for one, two in zip(tracks, again, strict=True):
        assert (one is None and two is None) or np.array_equal(one, two, equal_nan=True)
    assert not np.array_equal(tracks.point[:50], later.point[:50])
    assert len(tracks.uncoat) >= 198 and np.diff(tracks.offset).min() >= 5
    flat = np.add.reduceat(tracks.point[:, 0] != 0, tracks.offset[:-1]) == 0
    assert 0.5 < flat.mean() < 0.75
    if name == "segment":
        share = np.bincount(tracks.label, minlength=4) / len(tracks.label)
        assert share.min() > 0.15
    else:
        assert 0.1 < tracks.uncoated.mean() < 0.5
        assert tracks.intensity is not None and 0.3 < np.isfinite(tracks.intensity).mean() < 0.7


def of_ages(age: int, length: int, n: int) -> torch.Tensor:
    return torch.arange(length)[:, None].expand(length, n).clamp(max=age)


def batch(outputs: int = 4, length: int = 20) -> TrackBatch:
    """Two tracks, of 20 and 12 points, each point with a truth of its own."""
    x = torch.randn(length, 2, features.COUNT, generator=torch.Generator().manual_seed(0))
    truth = torch.arange(length)[:, None].repeat(1, 2) % max(outputs, 2)
    truth[12:, 1] = -1
    return TrackBatch(x, x.flip(0), torch.arange(length).flip(0)[:, None].repeat(1, 2), truth)


@torch.no_grad()
@pytest.mark.parametrize("age", [0, 3])
def test_the_truth_is_that_of_the_point_asked_for(age: int) -> None:
    some, net = batch(), Follow(4, hidden=8)
    scores, truth = scores_and_targets(net, some, of_ages(age, 20, 2))
    assert scores.shape == (32, 4)
    expected = [max(t - age, 0) % 4 for t in range(20) for track in (20, 12) if t < track]
    assert truth.tolist() == expected
    said = net(some.ahead, of_ages(age, 20, 2))
    torch.testing.assert_close(scores[-1], said[19, 0])


@torch.no_grad()
def test_a_single_score_is_a_choice_of_two() -> None:
    some = batch(1)
    for net in (Follow(1, hidden=8), Whole(1, hidden=8)):
        scores, truth = scores_and_targets(net, some, of_ages(0, 20, 2))
        assert scores.shape == (32, 2) and not scores[:, 0].any() and truth.max() == 1
        torch.testing.assert_close(scores.softmax(1)[:, 1], scores[:, 1].sigmoid())


class Told(Follow):
    """A network that was told the truth, the first trait, and is three times too sure of it."""

    def forward(self, x: torch.Tensor, age: torch.Tensor) -> torch.Tensor:
        rows = torch.arange(len(x))[:, None] - age
        hint = torch.gather(x[..., 0], 0, rows)
        scores = 3 * torch.stack([-hint, hint, -hint, -hint], -1)
        answer: torch.Tensor = scores / self.temperature[age][..., None]
        return answer


def test_calibration_finds_how_sure_the_network_may_be() -> None:
    def make(k: int) -> TrackBatch:
        rng = torch.Generator().manual_seed(k)
        hint = torch.randn(60, 20, features.COUNT, generator=rng)
        scores = torch.stack([-hint[..., 0], hint[..., 0], -hint[..., 0], -hint[..., 0]], -1)
        drawn = torch.multinomial(scores.softmax(-1).reshape(-1, 4), 1, generator=rng)
        return TrackBatch(hint, hint, torch.zeros(60, 20, dtype=torch.int64), drawn.reshape(60, 20))

    net = Told(4, hidden=4)
    told = calibrate(net, make, 5)  # type: ignore[arg-type]
    assert told["seed"] == 5 and told["age"] == list(track_networks.AGES)
    assert net.temperature.shape == (LAG + 1,)
    np.testing.assert_allclose(net.temperature.numpy(), 3, rtol=0.1)
    assert max(told["ece"]) < 0.03 and max(told["nll"]) < min(told["nll_before"])
    assert 0.25 <= told["threshold"] < 0.9


def test_the_threshold_is_where_readings_are_right_half_of_the_time() -> None:
    confidence = np.linspace(0.25, 0.999, 4000)
    rng = np.random.default_rng(0)
    assert threshold(confidence, rng.random(4000) < confidence) == pytest.approx(0.5, abs=0.051)
    assert threshold(confidence, np.ones(4000, bool)) == 0.25
    assert threshold(confidence[:5], np.zeros(5, bool)) == 0.25


class Cut(Exception):
    """The power fails."""


@pytest.mark.parametrize(
    ("kind", "outputs"),
    [
        ("follow", 4),
        ("whole", 1),
        pytest.param("follow", 1, marks=pytest.mark.slow),
        pytest.param("whole", 4, marks=pytest.mark.slow),
    ],
)
@pytest.mark.usefixtures("small")
def test_a_recipe_learns_and_resumes_as_if_never_stopped(
    kind: str, outputs: int, tmp_path: Path
) -> None:
    calls: list[int] = []
    cut = [False]

    def tracks(seed: int, first: int, n: int) -> Tracks:
        calls.append(seed)
        if cut[0] and first > 0:
            raise Cut
        return few_tracks(seed, first, n)

    def truth(some: Tracks) -> Any:
        return some.label if outputs == 4 else some.uncoated

    def run(folder: str, resume: bool = False) -> tuple[dict[str, Any], dict[str, Any]]:
        (tmp_path / folder).mkdir(exist_ok=True)
        recipe = TrackNetworkRecipe(outputs, 8, 0.01, truth, tracks, 700)
        path = tmp_path / folder / "net.onnx"
        net, facts = learn(recipe, kind, path, seed=2, device="cpu", steps=26, resume=resume)
        return net.state_dict(), facts

    straight, facts = run("one")
    assert set(calls) == {2, 702}, "held-out tracks are of a series of their own"
    assert facts["steps"] == 26 and facts["hidden"] == 8
    ages = [0] if kind == "whole" else list(track_networks.AGES)
    assert facts["calibration"]["age"] == ages and facts["calibration"]["seed"] == 702
    assert len(facts["calibration"]["temperature"]) == len(ages)
    cut[0] = True
    with pytest.raises(Cut):  # step 24 needs another pool
        run("two")
    cut[0] = False
    resumed, again = run("two", resume=True)
    assert again == facts
    assert all(torch.equal(straight[key], resumed[key]) for key in straight)


@pytest.mark.usefixtures("small")
def test_from_nothing_to_files_that_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both recipes with hardly a step: files, cards, metrics, and no checkpoint left."""
    monkeypatch.setattr(evaluate_segmenter, "LIVING", (10,))
    monkeypatch.setattr(evaluate_segmenter, "SETS", {"deepspt 2d": {"ndim": 2, "lengths": (5, 30)}})
    monkeypatch.setattr(evaluate_segmenter, "ERRORS", ())
    monkeypatch.setattr(evaluate_segmenter, "LAGS", (0, 30))
    movie = evaluate_uncoating.ENTRIES["movie"] | {"n_frames": (30, 60)}
    monkeypatch.setattr(evaluate_uncoating, "ENTRIES", {"movie": movie})
    metrics = {}
    for recipe in RECIPES.values():
        name = recipe.__name__.rpartition(".")[2]
        out = tmp_path / f"{name}.onnx"
        how: dict[str, Any] = {
            "tracks": few_tracks,
            "steps": 5,
            "evaluation_tracks": 10,
            "device": "cpu",
        }
        metrics[name] = recipe.train(out=out, **how)
        assert set(metrics[name]) == {"follow", "whole"}
        for kind, end in (("follow", ""), ("whole", "_whole")):
            card = read_card(tmp_path / f"{name}{end}.onnx")
            assert card["metrics"] == metrics[name][kind] and card["seed"] == 1
            assert card["training"]["steps"] <= 5
    names = ["segmenter", "segmenter_whole", "uncoating", "uncoating_whole"]
    files = sorted(f"{name}{end}" for name in names for end in (".json", ".onnx"))
    assert sorted(p.name for p in tmp_path.iterdir()) == files
    last = metrics["segmenter"]["whole"]["deepspt 2d"][-1]
    assert last["reading"] == "offline"
    infer = Infer(Segmenter(tmp_path / "segmenter.onnx"), Uncoating(tmp_path / "uncoating.onnx"))
    assert infer.lag == train_segmenter.SETTLED == train_uncoating.SETTLED
    assert infer.farthest == LAG and infer.decision["threshold"] in train_uncoating.THRESHOLDS
    Reader(tmp_path / "uncoating_whole.onnx", "uncoating_whole")


@pytest.mark.slow
def test_minutes_of_training_learn(tmp_path: Path) -> None:
    """From nothing to models that beat chance by far and know how sure they are."""
    how: dict[str, Any] = {"preset": "quick", "device": "cpu"}
    metrics = train_segmenter.train(out=tmp_path / "segmenter.onnx", **how)
    lag_0, *_, lag_30 = metrics["follow"]["deepspt 2d"]
    assert lag_0["accuracy"] > 0.5 and lag_30["accuracy"] > 0.55 and lag_30["ece"] < 0.1
    (offline,) = metrics["whole"]["deepspt 2d"]
    assert offline["accuracy"] > 0.6 and offline["ece"] < 0.1
    metrics = train_uncoating.train(out=tmp_path / "uncoating.onnx", **how)
    assert metrics["follow"]["movie"][-1]["accuracy_mean"] > 0.75
    assert metrics["whole"]["movie"][-1]["accuracy_mean"] > 0.75
