"""The baselines of the segmenter's evaluation: what they see, that they label every point once."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from livespt.models.simulate.tracks import Tracks, simulate_tracks
from livespt.stream.errors import SettingError
from livespt.stream.types import MOTIONS
from livespt.tools.evaluate import baselines
from livespt.tools.evaluate.baselines import exponents, inputs_of, read, rolling_msd, runs_of

UNSEEN = 9_600_000  # a seed of its own
KINDS = ("lstm", "unet")


@pytest.fixture(scope="module")
def known() -> Tracks:
    return simulate_tracks(12, UNSEEN, ndim=3, lengths=(5, 80))


def one_track(point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    full = np.zeros((len(point), 3))
    full[:, 3 - point.shape[1] :] = point
    return np.array([0, len(point)]), full


STEADY = np.arange(40.0)[:, None]
SLOPES: dict[str, tuple[np.ndarray, float]] = {  # points, exponent
    "straight on": (STEADY * (0.1, 0.2), 2.0),
    "stuck": (np.zeros((40, 2)), 0.0),
    "to and fro, one lag of two": (np.array([[0.0], [1.0], [0.0]]), np.log(1e-12) / np.log(2)),
    "two points": (STEADY[:2] * (1.0, 0.0), 1.0),
    "one point": (np.zeros((1, 2)), 1.0),
}


@pytest.mark.parametrize("name", SLOPES)
def test_exponents_of_known_paths(name: str) -> None:
    point, slope = SLOPES[name]
    assert exponents(*one_track(point), 10) == pytest.approx(slope)


def test_exponents_equal_a_fit_by_hand() -> None:
    offset, point = one_track(np.random.default_rng(0).normal(size=(30, 2)).cumsum(0))
    found = exponents(offset, point, 10)
    for row, low in ((0, 0), (12, 7), (29, 20)):
        part = point[low : low + 10]
        msd = [np.mean(np.sum((part[lag:] - part[:-lag]) ** 2, 1)) for lag in range(1, 10)]
        slope = np.polyfit(np.log(np.arange(1, 10)), np.log(msd), 1)[0]
        assert found[row] == pytest.approx(slope, rel=1e-9)


def test_rolling_msd_never_says_confined(known: Tracks) -> None:
    told = rolling_msd(known)
    assert told.shape == (len(known.label), 4) and (told.sum(1) == 1).all()
    assert not told[:, MOTIONS.index("confined")].any()


@given(st.lists(st.integers(1, 200), min_size=1, max_size=6), st.sampled_from(KINDS))
def test_every_point_is_labelled_once_and_seen(count: list[int], kind: str) -> None:
    offset = np.concatenate([[0], np.cumsum(count)])
    runs = runs_of(kind, offset)
    labelled = [np.arange(a, b) for a, b in zip(runs.begin, runs.end, strict=True)]
    assert np.array_equal(np.concatenate(labelled), np.arange(offset[-1]))
    assert (runs.low <= runs.begin).all() and (runs.end <= runs.high).all()
    track = np.searchsorted(offset, runs.low, side="right")
    assert np.array_equal(track, np.searchsorted(offset, runs.high - 1, side="right"))
    if kind == "lstm":
        whole = np.diff(offset)[track - 1]
        assert np.array_equal(runs.high - runs.low, np.minimum(whole, baselines.WINDOW))


def test_inputs_are_those_of_the_literature() -> None:
    _, point = one_track(np.array([[5.0, 5.0], [5.0, 6.0], [7.0, 6.0], [7.0, 5.5]]))
    again = Tracks(
        np.array([0, 4, 8]), np.tile(point, (2, 1)), *(np.zeros(8) for _ in Tracks._fields[2:])
    )
    moves = [[0, 0, 0, 0], [0, 0, 1, 1], [0, 2, 0, 2], [0, 0, -0.5, 0.5]]
    places = [[0, 0, 0, 0, 0], [0, 0, 1, 1, 0], [0, 2, 1, 2, 0], [0, 2, 0.5, 0.5, 0]]
    assert np.array_equal(inputs_of("lstm", again), moves * 2)
    assert np.array_equal(inputs_of("unet", again), places * 2)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=5)
@given(seed=st.integers(0, 99))
def test_no_answer_depends_on_other_tracks(kind: str, known: Tracks, seed: int) -> None:
    torch.manual_seed(seed)
    net = baselines.network(kind).eval()
    together = read(net, kind, known)
    assert np.allclose(together.sum(1), 1, atol=1e-5)
    for i in (0, 5, 11):
        mine = slice(known.offset[i], known.offset[i + 1])
        alone = known._replace(
            offset=known.offset[i : i + 2] - known.offset[i], point=known.point[mine]
        )
        assert np.allclose(read(net, kind, alone), together[mine], atol=1e-5)


def test_the_unet_sees_far_and_the_lstm_its_window() -> None:
    offset, point = one_track(np.random.default_rng(1).normal(size=(160, 3)).cumsum(0))
    one = Tracks(offset, point, *(np.zeros(160) for _ in Tracks._fields[2:]))
    other = point.copy()
    other[120:] += 3.0
    first = {}
    for kind in KINDS:
        torch.manual_seed(0)
        net = baselines.network(kind).eval()
        before, after = read(net, kind, one), read(net, kind, one._replace(point=other))
        first[kind] = np.flatnonzero((before != after).any(1))[0]
    assert first["lstm"] == 110, "its window of 100 to 129 is the first with point 120"
    assert first["unet"] < 60


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("networks") / "new"
    with pytest.MonkeyPatch.context() as small:
        small.setattr(baselines, "POOL", 40)
        baselines.train_baselines(folder, steps=3)
    return folder


def test_training_is_repeatable_and_ends_clean(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sorted(path.name for path in trained.iterdir()) == ["lstm.pt", "unet.pt"]
    monkeypatch.setattr(baselines, "POOL", 40)
    baselines.train_baselines(tmp_path, steps=3)
    for kind in KINDS:
        nets = [baselines.load(kind, folder)[0] for folder in (trained, tmp_path)]
        first, second = (net.state_dict() for net in nets)
        assert all(torch.equal(first[name], second[name]) for name in first)


def test_rows_of_the_table(trained: Path) -> None:
    figures: dict[str, list[dict[str, object]]] = {"deepspt 2d": [{"reading": "lag 0"}]}
    figures |= {"deepspt 3d": [], "physical 2d": []}
    before = sorted(path.stat().st_mtime_ns for path in trained.iterdir())
    baselines.compare(figures, 10, 1, trained)
    names = [row["reading"] for row in figures["deepspt 2d"]]
    assert names == ["lag 0", "rolling MSD", "windowed LSTM", "whole-track U-Net"]
    assert figures["physical 2d"] == [] and len(figures["deepspt 3d"]) == 3
    assert all(0 <= row["accuracy"] <= 1 for row in figures["deepspt 3d"])
    assert before == sorted(path.stat().st_mtime_ns for path in trained.iterdir()), "not trained"
    assert json.dumps(figures)


def test_a_folder_without_networks_is_refused(known: Tracks, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"lstm\.pt: the baselines are not trained"):
        baselines.evaluate(known, tmp_path)
