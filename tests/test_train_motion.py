"""The motion recipes: what they refuse, that they resume exactly, and (slow) that they learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from livespt.models.classify import Infer, Uncoating
from livespt.models.motion import simulate_tracks
from livespt.models.segment import Segmenter
from livespt.stream.errors import SettingError
from livespt.tools import learning, train_segmenter, train_uncoating
from livespt.tools.evaluate_motion import announcements, as_known, event_scores, motion_scores
from livespt.tools.learning import fit

REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "no onnx": ("model.pt", {}, "must end in .onnx"),
    "no folder": ("no/where/model.onnx", {}, "there is no folder"),
    "nothing to resume": ("model.onnx", {"resume": True}, "nothing to resume"),
    "there already": ("old.onnx", {}, "exists"),
}


@pytest.mark.parametrize("recipe", [train_segmenter, train_uncoating], ids=["segment", "uncoat"])
@pytest.mark.parametrize("name", REFUSED)
def test_bad_wishes_are_refused_at_once(tmp_path: Path, recipe: Any, name: str) -> None:
    file, how, message = REFUSED[name]
    (tmp_path / "old.onnx").write_bytes(b"")
    with pytest.raises(SettingError, match=message):
        recipe.train(out=tmp_path / file, device="cpu", **how)


class Cut(Exception):
    """The power fails."""


def learn(folder: Path, cut_at: int | None, resume: bool = False) -> dict[str, Any]:
    torch.manual_seed(0)
    net = torch.nn.Linear(3, 1)

    def loss_of(step: int) -> torch.Tensor:
        if step == cut_at:
            raise Cut
        x = torch.from_numpy(np.random.default_rng(step).normal(size=(8, 3)).astype(np.float32))
        return (net(x)[:, 0] - x.sum(1)).square().mean()

    history = fit(net, loss_of, 120, 0.05, folder / "net.checkpoint", resume)
    return {"history": history, "weight": net.weight.detach().numpy()}


def test_resumed_is_as_if_never_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "KEEP_EVERY", 20)
    straight = learn(tmp_path, None)
    assert straight["history"][-1] < straight["history"][0]
    (tmp_path / "net.checkpoint").unlink()
    with pytest.raises(Cut):
        learn(tmp_path, 70)
    resumed = learn(tmp_path, None, resume=True)
    assert np.array_equal(resumed["weight"], straight["weight"])
    assert resumed["history"] == straight["history"]


def test_the_same_step_draws_the_same_windows() -> None:
    pools = learning.Pools(lambda k: train_uncoating.tracks_of(3, k * 40, 40))
    one = learning.batch(pools, 3, 7, lambda some: some.uncoated)
    again = learning.batch(pools, 3, 7, lambda some: some.uncoated)
    other = learning.batch(pools, 3, 8, lambda some: some.uncoated)
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    assert one[0].shape != other[0].shape or not torch.equal(one[0], other[0])
    assert not one[1][~one[2]].any(), "padding has no truth"


def test_scores_of_a_perfect_and_of_a_blind_reader() -> None:
    label = np.arange(400) % 4
    perfect = motion_scores(np.eye(4, dtype=np.float32)[label], label, 0.5)
    assert perfect["accuracy"] == perfect["macro_f1"] == 1 and perfect["ece"] == 0
    blind = motion_scores(np.full((400, 4), 0.25, np.float32), label, 0.5)
    assert blind["accuracy"] == 0.25 and blind["abstained"] == 1 and blind["ece"] < 1e-6
    mixed = motion_scores(np.eye(4, dtype=np.float32)[[0, 1, 3, 2]][label], label, 0.5)
    assert mixed["accuracy"] == 0.5 and mixed["three_classes"] == mixed["two_classes"] == 1


def test_readings_come_from_the_moment_they_were_known() -> None:
    """A reader that answers the number of points seen shows when each point was read."""
    tracks = simulate_tracks(4, 1, lengths=(8, 60))

    def read(windows: np.ndarray) -> np.ndarray:
        seen = windows[:, :, 4].sum(1)
        return np.repeat(seen[:, None], windows.shape[1], 1).astype(np.float32)

    now, later = as_known(read, tracks, 70, (0, 5))
    for first, end in zip(tracks.offset[:-1], tracks.offset[1:], strict=True):
        number = np.arange(1, end - first + 1)
        assert np.array_equal(now[first:end], number)
        assert np.array_equal(later[first:end], np.minimum(number + 5, end - first))


def test_announcements_are_dated_and_counted() -> None:
    tracks = train_uncoating.tracks_of(5, 0, 40)
    perfect = tracks.uncoated.astype(np.float32)
    starts = np.isin(np.arange(len(perfect)), tracks.offset[:-1])
    clear = perfect * ~np.repeat(tracks.uncoated[tracks.offset[:-1]], np.diff(tracks.offset))
    assert starts.sum() == len(tracks.uncoat)
    scores = event_scores(announcements(clear, tracks, 0.5, 3, 10), tracks)
    assert scores["found_share"] == 1 and scores["false_share"] == 0
    assert scores["timing_error_frames"] == 0 and 12 <= scores["delay_frames"] <= 16
    none = event_scores(announcements(0 * perfect, tracks, 0.5, 3, 10), tracks)
    assert none["found_share"] == 0 and none["delay_frames"] is None


@pytest.mark.slow
def test_a_minute_of_training_learns(tmp_path: Path) -> None:
    """From nothing to models that run, beat chance by far, and know how sure they are."""
    metrics = train_segmenter.train(preset="quick", out=tmp_path / "segmenter.onnx", device="cpu")
    offline = metrics["deepspt 2d"][-1]
    assert offline["accuracy"] > 0.6 and offline["ece"] < 0.1
    metrics = train_uncoating.train(preset="quick", out=tmp_path / "uncoating.onnx", device="cpu")
    assert metrics["movie"][1]["accuracy_mean"] > 0.75
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["segmenter.json", "segmenter.onnx", "uncoating.json", "uncoating.onnx"]
    infer = Infer(Segmenter(tmp_path / "segmenter.onnx"), Uncoating(tmp_path / "uncoating.onnx"))
    assert infer(np.zeros((1, 96, 5), np.float32)).shape == (1, 96, 5)
