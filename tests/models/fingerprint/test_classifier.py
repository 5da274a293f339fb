"""Task classifiers as files: what they compute, alike to the bit in any company, and refuse."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from livespt.models.fingerprint.classifier import UNSURE, TrackClassifier
from livespt.models.fingerprint.classifier_graph import (
    Layer,
    Scaling,
    fit_scaling,
    save,
    scaled,
    scores,
)
from livespt.models.fingerprint.definitions import COUNT
from livespt.models.fingerprint.fingerprint import Units
from livespt.models.runtime.card import write_card
from livespt.stream.errors import InputError, ModelError, SettingError

CARD: dict[str, Any] = {
    "task": "classifier",
    "seed": 1,
    "input": {},
    "training": {},
    "metrics": {},
    "provenance": {},
    "classes": ["early", "late", "other"],
    "positive": "late",
    "window": 30,
    "shortest": 5,
    "prior": {"early": 0.5, "late": 0.3, "other": 0.2},
    "abstain_below": 0.6,
    "segmenter": "5" * 64,
    "units": Units(2, 1.0, 4.2)._asdict(),
}


def features(n: int, seed: int = 0) -> NDArray[np.float32]:
    """Numbers of many sizes and both signs; one column is constant."""
    rng = np.random.default_rng(seed)
    made = rng.normal(size=(n, COUNT)) * np.exp(rng.normal(0, 3, COUNT))
    made[:, 7] = 2.5
    return made.astype(np.float32)


def network(seed: int = 1, classes: int = 3) -> tuple[Scaling, tuple[Layer, ...]]:
    rng = np.random.default_rng(seed)
    sizes = (COUNT, 32, classes)
    layers = tuple(
        (rng.normal(size=(a, b)) / np.sqrt(a), rng.normal(size=b))
        for a, b in itertools.pairwise(sizes)
    )
    return fit_scaling(features(200, seed)), layers


@pytest.fixture
def path(tmp_path: Path) -> Path:
    by, layers = network()
    made = save(tmp_path / "endosome.onnx", by, layers, 1.7)
    write_card(made, **CARD)
    return made


@pytest.fixture
def task(path: Path) -> TrackClassifier:
    return TrackClassifier(path, provider="cpu")


def test_the_file_computes_what_was_learned(task: TrackClassifier) -> None:
    given = features(40, 3)
    given[0] *= 1e20  # absurd, and still an answer
    given[1] = 0
    by, layers = network()
    told = scores(scaled(given, by), layers) / 1.7
    expected = np.exp(told) / np.exp(told).sum(axis=1, keepdims=True)
    answer = task(given)
    assert answer.dtype == np.float32 and answer.shape == (40, 3)
    np.testing.assert_allclose(answer, expected, atol=2e-5)


def test_a_row_does_not_depend_on_its_company(task: TrackClassifier) -> None:
    given = features(300, 4)  # more than a batch
    together = task(given)
    alone = np.concatenate([task(given[i : i + 1]) for i in range(len(given))])
    assert alone.tobytes() == together.tobytes()
    assert task(given[::-1])[::-1].tobytes() == together.tobytes()
    assert task(given[:0]).shape == (0, 3)


def test_what_cannot_be_told_gets_the_shares_of_training(task: TrackClassifier) -> None:
    given = features(4)
    given[1, 5], given[2, 9] = np.nan, np.inf
    answer = task(given, np.array([5, 30, 30, 4]))
    for row in (1, 2, 3):
        assert answer[row].tolist() == pytest.approx([0.5, 0.3, 0.2])
    assert answer[0].tolist() != pytest.approx([0.5, 0.3, 0.2], abs=1e-3)
    assert task.decide(answer)[1:].tolist() == [UNSURE] * 3


def test_it_says_what_it_is(task: TrackClassifier) -> None:
    assert task.classes == ("early", "late", "other") and task.classes[task.positive] == "late"
    assert (task.window, task.shortest, task.abstain_below) == (30, 5, 0.6)
    sure = np.array([[0.61, 0.3, 0.09], [0.5, 0.41, 0.09]], np.float32)
    assert task.decide(sure).tolist() == [0, UNSURE]
    assert task.units(0.1, 4.2, 2) == Units(2, 0.1, 4.2)
    assert task.units(0.1, 4.21, 2).frame_interval_s == 4.2
    task.check_segmenter("5" * 64)


MISUSED: dict[str, tuple[Any, type[Exception], str]] = {
    "three dimensions": (lambda t: t.units(0.1, 4.2, 3), ModelError, "in 2 dimensions"),
    "other frames": (lambda t: t.units(0.1, 2.0, 2), ModelError, "4.2 s per frame, these tracks"),
    "no pixel size": (lambda t: t.units(0.0, 4.2, 2), SettingError, "pixel_size_um"),
    "another segmenter": (lambda t: t.check_segmenter("6" * 64), ModelError, "--segmenter"),
    "too few features": (lambda t: t(np.zeros((3, 39))), InputError, r"\(n, 40\)"),
}


@pytest.mark.parametrize("name", MISUSED)
def test_misuse_is_refused(name: str, task: TrackClassifier) -> None:
    call, error, words = MISUSED[name]
    with pytest.raises(error, match=words):
        call(task)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "another task": ({"task": "segment"}, "'segment', not for 'classifier'"),
    "no classes": ({"classes": None}, "'classes' must be a list"),
    "a class too few": ({"classes": ["early", "late"]}, "3 probabilities"),
    "positive of another": ({"positive": "lysosome"}, "not that of a classifier"),
    "no prior": ({"prior": {}}, "not that of a classifier"),
    "strange units": ({"units": {"metre": 1}}, "not that of a classifier"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_card_that_does_not_fit_is_refused(name: str, path: Path) -> None:
    changes, words = REFUSED[name]
    card = json.loads(path.with_suffix(".json").read_text()) | changes
    path.with_suffix(".json").write_text(json.dumps(card))
    with pytest.raises(ModelError, match=words):
        TrackClassifier(path, provider="cpu")
