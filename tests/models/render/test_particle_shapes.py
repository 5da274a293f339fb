"""Shapes: the image model of the paper's figure, and where its particles are."""

from __future__ import annotations

import math

import numpy as np
import pytest

from livespt.models.render import particle_shapes
from livespt.stream.errors import SettingError


def middle(image: np.ndarray) -> np.ndarray:
    line = np.arange(len(image))
    sums = [float((image.sum(axis=k) * line).sum()) for k in (1, 0)]
    return np.array(sums) / float(image.sum())


@pytest.mark.parametrize("kind", particle_shapes.KINDS[:-1])
def test_symmetric_shapes_lie_about_their_centre(kind: str) -> None:
    for centre, angle in (((31.3, 30.8), 0.4), ((28.0, 35.5), 2.0)):
        image = particle_shapes.expected(kind, centre, angle)
        assert np.abs(middle(image) - centre).max() < 0.005
        assert image.min() == 0 and image.max() == 1


def test_a_crescent_is_mirrored_about_its_axis() -> None:
    rng = np.random.default_rng(1)
    for _ in range(5):
        angle = rng.uniform(0, 6)
        gap = middle(particle_shapes.expected("crescent", (31.0, 32.0), angle)) - (31.0, 32.0)
        axis = np.array([math.sin(angle), math.cos(angle)])
        assert abs(gap[0] * axis[1] - gap[1] * axis[0]) < 0.01
        assert -6 < gap @ axis < -2


def test_the_axis_of_an_ellipse_is_its_long_one() -> None:
    image = particle_shapes.expected("ellipse", (32, 32), math.pi / 2)  # x turned towards y
    assert np.count_nonzero(image[:, 32] > 0.5) > 1.5 * np.count_nonzero(image[32] > 0.5)


@pytest.mark.parametrize("snr", [3.0, 20.0])
def test_counts_have_the_ratio_asked_for(snr: float) -> None:
    rng = np.random.default_rng(0)
    drawn = [particle_shapes.draw_particle("annulus", snr, rng) for _ in range(60)]
    corner = np.array([one.counts[:12, :12] for one in drawn], np.float64)
    assert corner.mean() == pytest.approx(0.1 * (snr / 1.1) ** 2, rel=0.03)
    assert corner.var() == pytest.approx(corner.mean(), rel=0.05)
    bright = [np.sort(one.counts.ravel())[-100:].mean() for one in drawn]
    assert np.mean(bright) == pytest.approx(snr**2 / 1.1, rel=0.25 if snr > 5 else 0.8)
    centres = np.array([one.centre for one in drawn])
    assert 27 <= centres.min() and centres.max() <= 37
    assert np.allclose([np.hypot(*one.axis) for one in drawn], 1)


def test_unknown_shapes_are_refused() -> None:
    with pytest.raises(SettingError, match="unknown shape 'cube'"):
        particle_shapes.draw_particle("cube", 5, np.random.default_rng(0))
    with pytest.raises(SettingError, match="above 0"):
        particle_shapes.draw_particle("point", 0, np.random.default_rng(0))
