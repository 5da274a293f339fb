"""One temperature makes overconfident scores honest."""

from __future__ import annotations

import numpy as np
import pytest

from livespt.models.motion.calibration import ece, fit_temperature, log_softmax, nll, reliability


@pytest.mark.parametrize("true", [0.4, 1.0, 3.0])
def test_the_temperature_that_made_the_labels_is_found(true: float) -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(0, 3, (40_000, 4))
    chance = np.exp(log_softmax(scores / true))
    label = (chance.cumsum(1) < rng.random((len(chance), 1))).sum(1)
    found = fit_temperature(scores, label)
    assert found == pytest.approx(true, rel=0.03)
    assert nll(scores, label, found) <= nll(scores, label, true) + 1e-9
    assert ece(chance.max(1), chance.argmax(1) == label) < 0.01


def test_ece_is_the_distance_between_confidence_and_share_right() -> None:
    sure = np.repeat([0.95, 0.55], 100)
    right = np.concatenate([np.arange(100) < 75, np.arange(100) < 55])
    assert ece(sure, right) == pytest.approx(0.5 * 0.2 + 0.5 * 0.0)
    assert reliability(np.ones(4), np.array([True, True, True, False])) == [(1.0, 1.0, 0.75)]


def test_log_softmax_survives_large_scores() -> None:
    assert np.allclose(np.exp(log_softmax(np.array([[1e4, 1e4, -1e4]]))), [[0.5, 0.5, 0.0]])
