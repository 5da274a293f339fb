"""Behaviour: each way of moving has the moments that theory gives it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from livespt.models.simulate.behaviours import Behaviour, draw_behaviour, fractional_noise, move
from livespt.models.simulate.steps import CONFINED, DIRECTED, NORMAL, SUBDIFFUSIVE


@pytest.mark.parametrize("ndim", [2, 3])
def test_normal_diffusion_has_msd_2dDt(ndim: int) -> None:
    rng = np.random.default_rng(1)
    path = move(rng, Behaviour(NORMAL, 0.3), 40_000, ndim, dt_s=0.5)
    for lag in (1, 4):
        steps = path[lag:] - path[:-lag]
        assert np.mean(np.sum(steps**2, 1)) == pytest.approx(2 * ndim * 0.3 * 0.5 * lag, rel=0.03)


@pytest.mark.parametrize("alpha", [0.05, 0.4, 1.0, 1.6])
def test_fractional_noise_has_the_exact_covariance(alpha: float) -> None:
    rng = np.random.default_rng(2)
    n = 6
    noise = fractional_noise(rng, n, 60_000, alpha)  # axes are independent: many samples
    lag = np.abs(np.subtract.outer(np.arange(n), np.arange(n))).astype(float)
    exact = ((lag + 1) ** alpha - 2 * lag**alpha + np.abs(lag - 1) ** alpha) / 2
    np.testing.assert_allclose(noise @ noise.T / 60_000, exact, atol=0.02)


def test_subdiffusion_has_a_power_law_msd() -> None:
    rng = np.random.default_rng(3)
    n, alpha = 200, 0.5
    paths = [move(rng, Behaviour(SUBDIFFUSIVE, 0.1, alpha), n, 2, 1.0) for _ in range(1500)]
    msd = np.mean([np.sum(path**2, 1) for path in paths], axis=0)  # after 1..n steps
    expected = 4 * 0.1 * np.arange(1, n + 1) ** alpha
    np.testing.assert_allclose(msd[[0, 9, 99, 199]], expected[[0, 9, 99, 199]], rtol=0.12)


@pytest.mark.parametrize("ndim", [2, 3])
def test_directed_motion_has_its_velocity(ndim: int) -> None:
    rng = np.random.default_rng(4)
    velocity = (0.5, -1.0, 2.0)[:ndim]
    path = move(rng, Behaviour(DIRECTED, 0.01, velocity=velocity), 5000, ndim, 0.1)
    np.testing.assert_allclose(path[-1] / 500, velocity, atol=5 * math.sqrt(2 * 0.01 / 500))


@pytest.mark.parametrize("ndim", [2, 3])
def test_direction_is_forgotten_after_the_persistence(ndim: int) -> None:
    rng = np.random.default_rng(5)
    velocity = (0.0,) * (ndim - 1) + (2.0,)
    behaviour = Behaviour(DIRECTED, 1e-12, velocity=velocity, persistence=30.0)
    step = np.diff(move(rng, behaviour, 60_000, ndim, 1.0), axis=0)
    np.testing.assert_allclose(np.linalg.norm(step, axis=1), 2.0, rtol=1e-4)
    cosine = np.mean(np.sum(step[30:] * step[:-30], 1)) / 4
    assert cosine == pytest.approx(math.exp(-1), abs=0.07)


@pytest.mark.parametrize("ndim", [2, 3])
def test_confinement_is_never_left_and_filled_evenly(ndim: int) -> None:
    rng = np.random.default_rng(6)
    half = (0.3, 0.3, 0.3)[:ndim]
    behaviour = Behaviour(CONFINED, 0.05, half_axes=half)
    path = move(rng, behaviour, 6000, ndim, 1.0)  # a ball, begun at its centre
    radius = np.linalg.norm(path, axis=1)
    assert radius.max() <= 0.3
    inner = np.mean(radius < 0.3 * 0.5 ** (1 / ndim))  # a ball of half the volume
    assert inner == pytest.approx(0.5, abs=0.03)


def test_ellipse_is_as_long_as_its_axes_in_any_direction() -> None:
    rng = np.random.default_rng(7)
    behaviour = Behaviour(CONFINED, 0.05, half_axes=(0.1, 0.5), centred=False)
    angles = []
    for _ in range(20):
        path = move(rng, behaviour, 2000, 2, 1.0)
        spread, axes = np.linalg.eigh(np.cov(path.T))
        # variance of a uniform ellipse along a half axis a is a^2 / 4
        np.testing.assert_allclose(np.sqrt(spread * 4), [0.1, 0.5], rtol=0.1)
        angles.append(math.degrees(math.atan2(axes[0, 1], axes[1, 1])) % 180)
    assert max(angles) - min(angles) > 60


def test_confinement_begun_anywhere_is_stationary() -> None:
    rng = np.random.default_rng(8)
    behaviour = Behaviour(CONFINED, 1e-3, half_axes=(1.0, 1.0), centred=False)
    moved = np.array([move(rng, behaviour, 1, 2, 1.0)[0] for _ in range(4000)])
    assert np.mean(moved**2) == pytest.approx(2e-3, rel=0.1)  # as if free
    long = np.array(
        [move(rng, behaviour._replace(diffusion=0.1), 60, 2, 1.0)[-1] for _ in range(1500)]
    )
    # difference of two independent points of a unit disc: variance 2 / 4 per axis
    assert np.mean(long**2) == pytest.approx(0.5, rel=0.1)


def test_draws_are_in_units_of_the_diffusive_step() -> None:
    rng = np.random.default_rng(9)
    step = math.sqrt(2 * 0.02 * 0.1)
    for _ in range(50):
        confined = draw_behaviour(rng, CONFINED, 0.02, 2, 0.1, room=(1.0, 5.0))
        assert all(step <= half <= 5 * step for half in confined.half_axes)
        directed = draw_behaviour(rng, DIRECTED, 0.02, 3, 0.1, pull=(0.4, 3.0))
        assert 0.4 * step <= np.linalg.norm(directed.velocity) * 0.1 <= 3 * step
        assert 0.2 <= draw_behaviour(rng, SUBDIFFUSIVE, 0.02, 2, 0.1).alpha <= 0.75
