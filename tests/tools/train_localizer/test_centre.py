"""Localizer centre: symmetry to a fraction of a pixel, clicks, and what the card says of it."""

from __future__ import annotations

import numpy as np
import pytest

from livespt.models.render import particle_shapes
from livespt.stream.errors import SettingError
from livespt.tools.train_localizer import centre
from livespt.tools.train_localizer.measure import Particle

SYMMETRIC = ("point", "sphere", "annulus", "ellipse")
CLICK = np.array([0.3, -0.2])


def noisy(kind: str, at: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """A crop in noise units with photon noise, the particle at `at` from its middle."""
    image = 30 * particle_shapes.expected(kind, (20 + at[0], 20 + at[1]), 0.8, 41)
    return image + rng.normal(size=image.shape) * np.sqrt(1 + 0.35 * image)


@pytest.mark.parametrize("kind", SYMMETRIC)
def test_symmetric_particles_have_their_centre(kind: str) -> None:
    rng = np.random.default_rng(3)
    particle = Particle(8.0, 30.0, 0.35)
    errors, claims = [], []
    for at in ((0.0, 0.0), (0.4, -0.7), (-1.1, 0.25), (2.2, 1.6)):
        found = centre.find(noisy(kind, at, rng), particle, CLICK)
        assert found.method == "symmetry" and found.symmetry > 0.95
        errors.append(found.at - at)
        claims.append(found.uncertainty_px)
    assert np.abs(errors).max() < 0.2
    assert 0.3 < np.sqrt(np.mean(np.square(errors))) / np.mean(claims) < 2.5


def test_a_crescent_needs_a_click() -> None:
    crop = noisy("crescent", (0, 0), np.random.default_rng(0))
    particle = Particle(8.0, 30.0, 0.35)
    found = centre.find(crop, particle, CLICK)
    assert found.method == "click" and found.at.tolist() == CLICK.tolist()
    assert found.uncertainty_px < 0.1
    whole = np.zeros(2)  # a click that only points at the particle
    assert centre.find(crop, particle, whole).method == "none"
    assert centre.find(crop, particle, whole, "click").uncertainty_px > 0.2
    assert centre.find(crop, particle, CLICK, "none").method == "none"
    with pytest.raises(SettingError, match="no centre of symmetry"):
        centre.find(crop, particle, CLICK, "symmetry")
    with pytest.raises(SettingError, match="unknown centre 'eye'"):
        centre.find(crop, particle, CLICK, "eye")


def test_only_a_sure_difference_is_taken_off() -> None:
    keys = {"offset_px": [0.1, 0.0], "cutoff": 0.5}
    at = centre.Centre("click", CLICK, 0.05, 0.8)
    for gap, taken in (((0.8, -0.5), (0.8, -0.5)), ((0.03, 0.04), (0.0, 0.0))):
        card = centre.calibrate(keys, [CLICK + gap], 0.1, [at])
        assert card["offset_px"] == pytest.approx([0.1 + taken[0], taken[1]])
        assert card["centre"]["taken_off_px"] == pytest.approx(taken)
        assert card["centre"]["difference_px"] == pytest.approx(gap)
    none = at._replace(method="none")
    card = centre.calibrate(keys, [CLICK + 1], 0.1, [none])
    assert card["offset_px"] == [0.1, 0.0] and card["centre"]["uncertainty_px"] is None


def test_several_crops_tell_the_centre_better() -> None:
    keys = {"offset_px": [0.0, 0.0]}
    rng = np.random.default_rng(0)
    clicks = [centre.Centre("click", rng.normal(0, 0.3, 2), 0.3, 0.5) for _ in range(4)]
    one = centre.calibrate(keys, [np.ones(2)], 0.1, clicks[:1])["centre"]
    four = centre.calibrate(keys, [np.ones(2)] * 4, 0.1, clicks)["centre"]
    assert four["crops"] == 4
    assert four["uncertainty_px"] == pytest.approx(one["uncertainty_px"] / 2, rel=0.01)
