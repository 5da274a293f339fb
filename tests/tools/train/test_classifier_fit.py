"""How classifiers are learned and judged: folds, limits, calibration, the same result twice."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest

from livespt.models.fingerprint.definitions import COUNT
from livespt.stream.errors import InputError, SettingError
from livespt.tools.train import classifier_fit
from livespt.tools.train.classifier_fit import CrossValidation, Samples

APART = 2.0  # standard deviations between two classes: the best rule is right in 84 %


def samples(n: int, seed: int, size: int = 1, classes: int = 2) -> Samples:
    """Rows that differ by class in column 4; `size` rows in a group, nearly alike."""
    rng = np.random.default_rng(seed)
    label = np.repeat(np.arange(n // size) % classes, size)
    noise = np.repeat(rng.normal(size=(n // size, COUNT)), size, axis=0)
    made = noise + rng.normal(0, 0.01, (n, COUNT))
    made[:, 4] += APART * label
    group = np.repeat(np.arange(n // size), size)
    return Samples(made.astype(np.float32), label, group, tuple("abc"[:classes]))


def test_folds_keep_groups_whole_and_classes_even() -> None:
    rng = np.random.default_rng(0)
    group = rng.integers(0, 60, 900)
    label = (group % 3 == 0).astype(np.int64)
    some = Samples(np.zeros((900, COUNT), np.float32), label, group, ("a", "b"))
    seen = np.zeros(900, int)
    for train, test in classifier_fit._folds(some, 5, 3):
        assert not set(group[train]) & set(group[test])
        assert label[test].mean() == pytest.approx(label.mean(), abs=0.06)
        assert len(test) == pytest.approx(180, abs=30)
        seen[test] += 1
    assert (seen == 1).all()


@pytest.mark.parametrize("kind", ["linear", "network"])
def test_it_comes_close_to_what_is_possible(kind: str) -> None:
    some = samples(400, 1)
    judged = classifier_fit.cross_validate(some, 3, 1, kind)
    told = classifier_fit.figures(judged, some)
    limit = NormalDist().cdf(APART / 2)
    assert limit - 0.06 < told["accuracy"] < limit + 0.03
    assert told["ece"] < 0.06
    assert np.allclose(judged.probability.sum(axis=1), 1)


def test_copies_in_one_group_teach_nothing() -> None:
    """Labels at random: only leaked copies could be told apart."""
    some = samples(400, 2, size=8)
    label = np.repeat(np.random.default_rng(5).permutation(50) % 2, 8)
    noise = some.features.copy()
    noise[:, 4] = 0
    some = some._replace(features=noise, label=label)
    told = classifier_fit.figures(classifier_fit.cross_validate(some, 3, 1), some)
    assert told["accuracy"] < 0.65


def test_three_classes_and_the_same_twice() -> None:
    some = samples(240, 3, classes=3)
    first, second = (classifier_fit.learn(some, 7, "auto") for _ in range(2))
    given = some.features[:50]
    assert classifier_fit.ask(first, given).tobytes() == classifier_fit.ask(second, given).tobytes()
    right = classifier_fit.ask(first, given).argmax(axis=1) == some.label[:50]
    assert right.mean() > 0.7


def test_figures_of_a_judge_that_is_perfect() -> None:
    some = samples(20, 4)
    judged = CrossValidation(np.eye(2)[some.label], np.arange(20) % 4)
    told = classifier_fit.figures(judged, some)
    assert told["accuracy"] == told["balanced_accuracy"] == 1
    assert told["ece"] == 0 and told["confusion"] == [[10, 0], [0, 10]]
    assert all(row["accuracy"] == 1 and row["answered"] == 1 for row in told["curve"])
    assert classifier_fit.threshold(told["curve"], 0.99) == 0.5


def test_surer_answers_are_better_and_fewer() -> None:
    some = samples(400, 6)
    told = classifier_fit.figures(classifier_fit.cross_validate(some, 3, 1), some)
    rows = told["curve"]
    assert rows[0]["threshold"] == 0.5 and rows[0]["answered"] == 1
    answered = [row["answered"] for row in rows]
    assert answered == sorted(answered, reverse=True)
    at = classifier_fit.threshold(rows, 0.93)
    assert 0.5 < at < 0.95
    with pytest.raises(SettingError, match="no threshold reaches"):
        classifier_fit.threshold(rows[:3], 0.999)


def test_what_cannot_be_learned_is_refused() -> None:
    some = samples(40, 1)
    with pytest.raises(InputError, match=r"all tracks are labelled 'a': .* two classes"):
        classifier_fit.check_samples(some._replace(label=some.label * 0, classes=("a",)), 5)
    few = some._replace(label=(np.arange(40) < 3).astype(np.int64))
    with pytest.raises(InputError, match=r"class 'b' has 3 groups .* fewer than 5: .*--folds 3"):
        classifier_fit.check_samples(few, 5)
    classifier_fit.check_samples(few, 3)
