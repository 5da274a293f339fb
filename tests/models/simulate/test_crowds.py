"""Scenes: densities, motions, errors and lives are those that are promised."""

from __future__ import annotations

import numpy as np
import pytest

from livespt.models.simulate.crowds import (
    DENSITIES,
    DEPTH_PX,
    ERROR_PX,
    ERROR_Z_PX,
    FIELD_PX,
    LIFE,
    MOTION,
    CrowdScene,
    scene,
    steps,
)
from livespt.stream.errors import SettingError


@pytest.mark.parametrize("scenario", MOTION)
def test_a_scene_is_what_was_asked_for(scenario: str) -> None:
    made = scene(scenario, 300, 5, missed=0.1, false=0.2, frames=60)
    truth = np.bincount(made.true_frame)
    assert len(truth) == 60
    assert truth.mean() == pytest.approx(300, rel=0.03)
    real = made.particle >= 0
    assert real.sum() == pytest.approx(0.9 * len(made.true_frame), rel=0.02)
    assert (~real).sum() == pytest.approx(0.2 * 300 * 60, rel=0.1)
    assert (np.diff(made.frame) >= 0).all()
    size = np.array([DEPTH_PX, FIELD_PX, FIELD_PX])[-MOTION[scenario].ndim :]
    assert made.point.shape[1] == len(size)
    assert ((made.true_point >= 0) & (made.true_point <= size)).all()
    assert ((made.point[~real] >= 0) & (made.point[~real] <= size)).all()
    assert scenario in DENSITIES


@pytest.mark.parametrize("scenario", MOTION)
def test_localizations_lie_where_their_particles_are(scenario: str) -> None:
    made = scene(scenario, 200, 6, frames=20)
    key = made.true_particle * 1000 + made.true_frame
    assert len(np.unique(key)) == len(key)  # one place a frame
    real = made.particle >= 0
    order = np.argsort(key)
    row = order[np.searchsorted(key[order], made.particle[real] * 1000 + made.frame[real])]
    error = made.point[real] - made.true_point[row]
    expected = np.array([ERROR_Z_PX, ERROR_PX, ERROR_PX])[-error.shape[1] :]
    np.testing.assert_allclose(error.std(0), expected, rtol=0.05)


def test_lives_are_exponential_where_nobody_leaves() -> None:
    made = scene("receptors", 500, 7, frames=100)
    inside = np.ones(made.true_particle.max() + 1, np.bool_)
    margin = ((made.true_point < 40) | (made.true_point > FIELD_PX - 40)).any(1)
    inside[made.true_particle[margin]] = False
    last = np.zeros(len(inside), np.int64)
    np.maximum.at(last, made.true_particle, made.true_frame)
    frames = np.bincount(made.true_particle)[inside].sum()
    deaths = (last[inside] < 99).sum()
    assert frames / deaths == pytest.approx(LIFE, rel=0.1)


def _of(made: CrowdScene) -> np.ndarray:
    return np.linalg.norm(steps(made), axis=1)


def test_steps_are_those_of_the_motion() -> None:
    vesicles = _of(scene("vesicles", 300, 8))
    assert np.mean(vesicles**2) == pytest.approx(2 * (1.5**2 + 2 * ERROR_PX**2), rel=0.03)
    tips = _of(scene("microtubules", 300, 8))
    assert tips.mean() == pytest.approx(3.0, abs=0.1)
    turning = steps(scene("microtubules", 300, 8, missed=0.0, false=0.0))
    along = np.sum(turning[1:] * turning[:-1], 1) / np.prod(
        np.linalg.norm(np.stack([turning[1:], turning[:-1]]), axis=2), axis=0
    )
    assert np.median(along) > 0.98  # nearly straight
    receptors, viruses = _of(scene("receptors", 300, 8)), _of(scene("viruses", 300, 8))
    assert 1.0 < np.median(receptors) < 2.5
    assert 1.5 < np.median(viruses) < 3.5


def test_a_seed_makes_the_same_scene_again_and_another_another() -> None:
    one, same, other = (scene("viruses", 50, seed, frames=10) for seed in (1, 1, 2))
    assert all((a == b).all() for a, b in zip(one, same, strict=True))
    assert one.point.shape != other.point.shape or (one.point != other.point).any()


@pytest.mark.parametrize(
    ("scenario", "values"),
    [
        ("cells", {}),
        ("vesicles", {"density": 0}),
        ("vesicles", {"missed": 1.0}),
        ("vesicles", {"false": -0.1}),
        ("vesicles", {"frames": 0}),
    ],
)
def test_bad_settings_are_refused(scenario: str, values: dict[str, float]) -> None:
    with pytest.raises(SettingError):
        scene(scenario, **{"density": 10, "seed": 1, **values})  # type: ignore[arg-type]
