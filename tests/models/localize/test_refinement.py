"""Refine: fits of simulated spots against the truth and the Cramer-Rao bound."""

from __future__ import annotations

import numpy as np
import pytest

from livespt.models.localize.radial_symmetry import radial_symmetry
from livespt.models.localize.refinement import Fits, fit_gaussian
from livespt.models.optics import spots

SHAPE = (256, 256)
BACKGROUND = 100.0


def grid(rng: np.random.Generator, apart: int = 21) -> np.ndarray:
    line = np.arange(12, 245, apart)
    points = np.stack(np.meshgrid(line, line, indexing="ij"), -1).reshape(-1, 2)
    return points + rng.uniform(-0.5, 0.5, points.shape)


def fitted(
    rng: np.random.Generator,
    points: np.ndarray,
    snr: float,
    sigma: float = 1.3,
    gain: float = 1.0,
    light: object = BACKGROUND,
    near: float = 0.25,
) -> Fits:
    """Fits of spots rendered at `points`, begun `near` (standard deviation) them."""
    photons = spots.photons_for_snr(snr, BACKGROUND, sigma)
    image = spots.render(points[:, 0], points[:, 1], photons, SHAPE, sigma, light)
    frame = spots.camera(image, rng, gain_e_per_count=1 / gain)
    noise = gain * float(np.sqrt(BACKGROUND + 1.5**2 + 1 / 12 / gain**2))
    return fit_gaussian(
        frame, points + rng.normal(0, near, points.shape), noise, sigma_px=(0.95, 2.1)
    )


CASES = {  # SNR, sigma, counts per photo-electron, uneven background
    "dim": (3, 1.3, 1.0, False),
    "middling": (5, 1.3, 1.0, False),
    "bright": (10, 1.3, 1.0, False),
    "brighter": (20, 1.3, 1.0, False),
    "narrow and dim": (3, 1.0, 1.0, False),
    "narrow": (10, 1.0, 1.0, False),
    "wide and dim": (3, 2.0, 1.0, False),
    "wide": (10, 2.0, 1.0, False),
    "few counts": (10, 1.3, 0.25, False),
    "many counts": (10, 1.3, 4.0, False),
    "uneven": (5, 1.3, 1.0, True),
}


@pytest.mark.parametrize("case", CASES)
def test_the_error_is_the_bound_and_the_claim_is_the_error(case: str) -> None:
    snr, sigma, gain, uneven = CASES[case]
    rng = np.random.default_rng(71)
    error, claim, missed = [], [], 0
    for _ in range(6):
        points = grid(rng)
        light = spots.uneven(SHAPE, BACKGROUND, rng) if uneven else BACKGROUND
        fit = fitted(rng, points, snr, sigma, gain, light)
        error.append((fit.points - points)[fit.good])
        claim.append(fit.spread[fit.good])
        missed += int((~fit.good).sum())
    rmse = float(np.sqrt(np.mean(np.concatenate(error) ** 2)))
    told = float(np.sqrt(np.mean(np.concatenate(claim) ** 2)))
    photons = spots.photons_for_snr(snr, BACKGROUND, sigma)
    bound = spots.precision_bound(photons, BACKGROUND, sigma, read_noise_e=1.5)[0, 0]
    assert missed <= 2
    # 864 spots: 1.7 % of it is luck; a dim one's likelihood has tails that no bound knows
    assert 0.93 * bound < rmse < (1.15 if snr == 3 else 1.07) * bound
    assert 0.87 * rmse < told < 1.13 * rmse


def test_width_counts_and_background_come_out() -> None:
    rng = np.random.default_rng(3)
    for sigma in (0.8, 1.3, 2.0):
        fit = fitted(rng, grid(rng), 20, sigma, 2.0)
        photons = float(spots.photons_for_snr(20, BACKGROUND, sigma))
        assert fit.good.all() and not fit.speck.any()
        assert np.median(fit.sigma) == pytest.approx(sigma, rel=0.02)
        assert np.median(fit.intensity) == pytest.approx(2 * photons, rel=0.02)
        assert np.median(fit.background) == pytest.approx(100 + 2 * BACKGROUND, rel=0.01)
        assert fit.gain == pytest.approx(2, rel=0.15)
        assert np.mean(fit.misfit) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("apart", [2.0, 3.0, 4.0, 6.0])
def test_overlapping_spots_are_told_apart(apart: float) -> None:
    rng = np.random.default_rng(5)
    error, claim = [], []
    for _ in range(4):
        middle, angle = grid(rng), rng.uniform(0, np.pi, 144)
        gap = apart / 2 * np.stack([np.sin(angle), np.cos(angle)], 1)
        points = np.concatenate([middle - gap, middle + gap])
        fit = fitted(rng, points, 10)
        error.append((fit.points - points)[fit.good])
        claim.append(fit.spread[fit.good])
        assert fit.good.mean() > 0.97
    rmse = np.sqrt(np.mean(np.concatenate(error) ** 2))
    told = np.sqrt(np.mean(np.concatenate(claim) ** 2))
    assert rmse < {2.0: 0.2, 3.0: 0.13, 4.0: 0.1, 6.0: 0.08}[apart]
    assert 0.8 * rmse < told < 1.3 * rmse


def test_what_is_sharper_than_light_is_a_speck() -> None:
    rng = np.random.default_rng(6)
    points = grid(rng)
    frame = spots.render(points[:, 0], points[:, 1], 1700, SHAPE, 1.3, BACKGROUND)
    hot = np.array([[50, 61], [113, 40], [190, 211]])
    counts = spots.camera(frame, rng)
    counts[hot[:, 0], hot[:, 1]] += 900
    fit = fit_gaussian(counts, np.concatenate([points, hot.astype(float)]), 10.1)
    assert fit.speck[-3:].all() and not fit.speck[:-3].any()


def test_two_spots_that_pass_for_one_are_said_to_be_unsure() -> None:
    rng = np.random.default_rng(8)
    points = grid(rng)
    twin = points.copy()
    twin[:6, 1] += 2.4
    photons = spots.photons_for_snr(15, BACKGROUND, 1.3)
    both = np.concatenate([points, twin[:6]])
    frame = spots.camera(spots.render(both[:, 0], both[:, 1], photons, SHAPE, 1.3, BACKGROUND), rng)
    fit = fit_gaussian(frame, (points + twin) / 2, 10.1)
    assert fit.spread[:6].mean() > 5 * fit.spread[6:].mean()


def test_order_and_neighbours_out_of_reach_do_not_matter() -> None:
    rng = np.random.default_rng(9)
    points = grid(rng)
    frame = spots.camera(spots.render(*points.T, 1700, SHAPE, 1.3, BACKGROUND), rng)
    mixed = rng.permutation(len(points))
    here, there = fit_gaussian(frame, points, 10.1), fit_gaussian(frame, points[mixed], 10.1)
    np.testing.assert_allclose(there.points, here.points[mixed], atol=1e-6)
    again = fit_gaussian(frame, points, 10.1)
    assert again.points.tobytes() == here.points.tobytes()


BAD = {
    "nothing": np.zeros(SHAPE, np.uint16),
    "full": np.full(SHAPE, 65535, np.uint16),
    "huge": np.full(SHAPE, 1e30, np.float32),
    "noise": np.random.default_rng(0).normal(0, 1, SHAPE).astype(np.float32),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_frames_without_spots_are_survived(case: str, noise: float) -> None:
    points = np.array([[0.0, 0.0], [255.4, 255.4], [-0.4, 100.0], [50.0, 50.0], [51.0, 51.0]])
    fit = fit_gaussian(BAD[case], points, noise)
    for name in ("points", "spread", "intensity", "background"):
        assert np.isfinite(getattr(fit, name)[fit.good]).all()
    assert len(fit_gaussian(BAD[case], np.empty((0, 2)), noise).good) == 0
    assert np.isfinite(radial_symmetry(BAD[case], points, 4.0)).all()


def test_a_spot_at_the_edge_is_fitted_with_what_is_left_of_it() -> None:
    rng = np.random.default_rng(10)
    points = np.array([[0.3, 20.2], [30.4, 1.1], [254.8, 255.1], [100.0, 100.3]])
    fit = fitted(rng, points, 20)
    assert fit.good.all() and np.abs(fit.points - points).max() < 0.3


@pytest.mark.parametrize("snr", [5, 10, 20])
def test_radial_symmetry_finds_the_centre(snr: float) -> None:
    rng = np.random.default_rng(12)
    points = grid(rng)
    photons = spots.photons_for_snr(snr, BACKGROUND, 1.3)
    frame = spots.camera(spots.render(*points.T, photons, SHAPE, 1.3, BACKGROUND), rng)
    found = radial_symmetry(frame, np.rint(points), 4.0)
    bound = spots.precision_bound(photons, BACKGROUND, 1.3, read_noise_e=1.5)[0, 0]
    assert np.sqrt(np.mean((found - points) ** 2)) < 3 * bound
    exact = spots.render(*points.T, 1e4, SHAPE, 1.3, BACKGROUND)
    assert np.abs(radial_symmetry(exact, np.rint(points), 4.0) - points).max() < 0.02
