"""Rolling: what a user's classifier says of a track depends on that track's last points alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from livespt.models.fingerprint import classifier_graph, fingerprint
from livespt.models.fingerprint.classifier import TrackClassifier
from livespt.models.fingerprint.definitions import COUNT
from livespt.models.fingerprint.fingerprint import Units
from livespt.models.fingerprint.live_classifier import WindowClassifier
from livespt.models.infer import Infer
from livespt.models.motion.segmenter import Segmenter
from livespt.models.motion.uncoating import Uncoating
from livespt.models.runtime.card import write_card
from livespt.models.simulate.tracks import simulate_tracks
from livespt.stream.errors import ModelError, SettingError
from livespt.stream.states import States
from livespt.tools.tables.analyze import point_by_point, readings
from livespt.tools.tables.fingerprints import class_columns, describe

WINDOW, LENGTH = 12, 30
Floats = NDArray[np.float64]


def card(made_with: Segmenter, **changes: Any) -> dict[str, Any]:
    """What `train classifier` writes into the card of a classifier of two classes."""
    own: dict[str, Any] = {"input": {}, "training": {}, "metrics": {}, "provenance": {}}
    units = Units(2, 0.1, 0.05)._asdict()
    own |= {"classes": ["early", "late"], "positive": "late", "window": WINDOW, "shortest": 5}
    own |= {"prior": {"early": 0.75, "late": 0.25}, "abstain_below": 0.6, "units": units}
    return own | {"segmenter": made_with.session.sha256} | changes


@pytest.fixture(scope="module")
def segmenter(networks: Path) -> Segmenter:
    return Segmenter(networks / "segmenter.onnx", provider="cpu")


def a_task(folder: Path, made_with: Segmenter, **changes: Any) -> TrackClassifier:
    """A classifier of random weights."""
    rng = np.random.default_rng(0)
    by = classifier_graph.fit_scaling(rng.normal(size=(100, COUNT)).astype(np.float32))
    layers = [(rng.normal(size=(COUNT, 2)), np.zeros(2))]
    path = classifier_graph.save(folder / "mine.onnx", by, layers, 2.0)
    write_card(path, task="classifier", seed=0, **card(made_with, **changes))
    return TrackClassifier(path, provider="cpu")


@pytest.fixture(scope="module")
def infer(networks: Path, segmenter: Segmenter, tmp_path_factory: pytest.TempPathFactory) -> Infer:
    task = a_task(tmp_path_factory.mktemp("task"), segmenter)
    infer = Infer(segmenter, Uncoating(networks / "uncoating.onnx", provider="cpu"), task)
    infer.measure(0.1, 0.05, 2)
    return infer


def walks(n: int, seed: int = 0) -> Floats:
    """Positions (LENGTH, n, 3), z = 0, of tracks that differ in size."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(size=(LENGTH, n, 3)) * rng.uniform(0.1, 5, (1, n, 1)) * (0, 1, 1)
    return np.cumsum(steps, axis=0)


def follow(infer: Infer, points: Floats) -> NDArray[np.float32]:
    """Readings (LENGTH, n, 2, 6): at once, and of the point 3 back."""
    memory, slots = infer(), np.arange(points.shape[1], dtype=np.int32)
    told = []
    for t, some in enumerate(points):
        now = memory.push(slots, np.full(len(slots), t), some)
        told.append(np.stack([now, memory.read(slots, np.full(len(slots), min(t, 3)))], axis=1))
    return np.array(told)


def test_fingerprints_are_those_of_the_finished_track() -> None:
    units, points, n = Units(2, 0.1, 0.05), walks(5), 5
    states = np.random.default_rng(1).dirichlet(np.ones(4), (LENGTH, n)).astype(np.float32)
    frames = np.arange(LENGTH) + np.cumsum(np.arange(LENGTH) % 7 == 3)  # with gaps
    memory, slots = WindowClassifier(WINDOW, units, capacity=1), np.array([4, 9, 0, 2, 7], np.int32)
    seen = []
    for t in range(LENGTH):
        told, held = memory.push(slots, np.full(n, frames[t]), points[t], states[t])
        assert (held == min(t + 1, WINDOW)).all()
        seen.append(told)
    offset = LENGTH * np.arange(n + 1)
    whole = fingerprint.rolling(
        offset,
        points.swapaxes(0, 1).reshape(-1, 3),
        np.tile(frames, n),
        states.swapaxes(0, 1).reshape(-1, 4),
        units,
        WINDOW,
    )
    assert np.array_equal(np.array(seen).swapaxes(0, 1).reshape(-1, COUNT), whole)


def test_the_sixth_number_is_the_classifiers_and_begins_with_what_is_usual(infer: Infer) -> None:
    told = follow(infer, walks(8))
    assert told.shape == (LENGTH, 8, 2, 6) and told.dtype == np.float32
    assert (told[:4, :, :, 5] == 0.25).all(), "too short to tell"
    assert told[WINDOW:, :, 0, 5].std(axis=1).min() > 0.01, "tracks differ"
    assert np.array_equal(told[:, :, 0, 5], told[:, :, 1, 5]), "3 back, both in the first half"
    assert infer.task is not None
    plain = follow(Infer(infer.segmenter, infer.uncoating), walks(8))
    assert plain.shape[-1] == 5 and np.isfinite(plain).all()


@pytest.mark.parametrize("n", [2, 17, 300])
def test_not_one_bit_depends_on_the_others(infer: Infer, n: int) -> None:
    alone, points = follow(infer, walks(1, seed=7)), walks(n, seed=n)
    points[:, n // 2] = walks(1, seed=7)[:, 0]
    assert np.array_equal(follow(infer, points)[:, n // 2], alone[:, 0])


def test_a_place_that_says_nothing_changes_nothing_and_a_slot_begins_anew(infer: Infer) -> None:
    memory, points = infer(), walks(2)
    slots = np.arange(2, dtype=np.int32)
    for t in range(20):
        before = memory.push(slots, np.full(2, t), points[t])
    blind = np.full((2, 3), np.nan)
    assert np.array_equal(memory.push(slots, np.full(2, 20), blind)[:, 5], before[:, 5])
    memory.clear(slots[:1])
    after = memory.push(slots, np.full(2, 21), points[21])[:, 5]
    assert after[0] == 0.25 and after[1] != 0.25


def test_states_hold_the_probability_where_one_was_asked_for(infer: Infer) -> None:
    slots = np.arange(3, dtype=np.int32)
    for some, there in ((infer, True), (Infer(infer.segmenter, infer.uncoating), False)):
        states = States(some(), lag=5)
        for t in range(10):
            now, settled = states.step(t, slots, slots.astype(np.int64), walks(3)[t])
        for rows in (now, settled.rows):
            assert np.isfinite(rows["p_task"]).all() == there and len(rows) == 3


def test_a_classifier_that_cannot_follow_is_refused(
    infer: Infer, segmenter: Segmenter, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="whole tracks"):
        Infer(segmenter, infer.uncoating, a_task(tmp_path, segmenter, window=0))
    with pytest.raises(ModelError, match="another segmenter"):
        Infer(segmenter, infer.uncoating, a_task(tmp_path, segmenter, segmenter="0" * 64))
    for sizes, seen in (((None, 0.05, 2), "pixel size"), ((0.1, None, 2), "frame interval")):
        with pytest.raises(SettingError, match=seen):
            infer.measure(*sizes)
    with pytest.raises(ModelError, match="3"):
        infer.measure(0.1, 0.05, 3)


def test_a_table_is_told_what_a_run_would_have_been(infer: Infer) -> None:
    """`analyze --classifier`, of windows, beside the states of a live run with that classifier."""
    known = simulate_tracks(9, 3, lengths=(5, 40), gaps=0.1)
    particles = np.repeat(np.arange(9), np.diff(known.offset))
    task = infer.task
    assert task is not None
    table = known.frame + 5, particles, known.point * (0, 1, 1) / 0.1
    live = point_by_point(infer, *table)
    plain = Infer(infer.segmenter, infer.uncoating)
    plain.measure(0.1, 0.05, 2)
    states = readings(plain, task.window, *table)
    told = describe(*table, states, task.units(0.1, 0.05, 2), task.window, infer.lag)
    np.testing.assert_array_equal(class_columns(task, told)["p_late"], live["p_task"])
