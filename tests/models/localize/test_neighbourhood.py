"""Noise that neighbours share is measured; the light of edges and lines is none of a spot."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from livespt.models.localize import neighbourhood
from livespt.models.optics import spots

WIDTH = 1.33
Floats = NDArray[np.float64]


def test_white_noise_is_not_shared() -> None:
    each = [
        neighbourhood.shared_noise(
            np.random.default_rng(k).normal(200, 10, (300, 256)).astype(np.uint16), WIDTH
        )
        for k in range(12)
    ]
    assert np.mean(each) == pytest.approx(1.03, abs=0.05)  # it is never said to be below 1


def test_noise_of_averaged_neighbours_is_stronger_in_a_filter() -> None:
    """Two neighbours averaged along y: the variance of the filter rises by 1 + exp(-1 / 4 w^2)."""
    rng = np.random.default_rng(3)
    each = []
    for _ in range(12):
        white = rng.normal(0, 10, (301, 256))
        each.append(neighbourhood.shared_noise(200 + (white[1:] + white[:-1]) / 2, WIDTH))
    assert np.mean(each) == pytest.approx(np.sqrt(1 + np.exp(-1 / (4 * WIDTH**2))), abs=0.07)


def light_beyond(field: Floats, points: Floats, photons: float, seed: int) -> Floats:
    lit = field + spots.render(points[:, 0], points[:, 1], photons, field.shape, 1.3, 0.0)
    image = np.random.default_rng(seed).poisson(lit).astype(np.uint16)
    asked = np.ones(len(points), np.bool_)
    return neighbourhood.beyond_lines(image, points, asked, WIDTH, 10.0)


FIELDS = {
    "soft edge": lambda u: 100 + 300 / (1 + np.exp(-u / 1.5)),
    "sharp edge": lambda u: 100 + 300 / (1 + np.exp(-u / 0.4)),
    "filament": lambda u: 100 + 250 * np.exp(-(u**2) / (2 * 1.5**2)),
}


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("bend", [0.0, 0.03])
def test_a_spot_stands_out_of_a_line_and_the_line_does_not(name: str, bend: float) -> None:
    y, x = np.mgrid[:200, :40].astype(float)
    field = FIELDS[name](x - 20 - 0.3 * (y - 100) / 10 + bend * ((y % 40) - 20) ** 2 / 2)
    points = np.array([[20.0 + 40 * k, 20 + 0.3 * (20.0 + 40 * k - 100) / 10] for k in range(5)])
    none = np.concatenate([light_beyond(field, points, 0.0, k) for k in range(8)])
    spot = np.concatenate([light_beyond(field, points, 2500.0, k) for k in range(8)])
    assert (none < neighbourhood.UNBOUND).mean() > 0.9  # the line is noticed
    assert (none < 4.85).mean() > 0.95 and (spot > 4.85).mean() > 0.95


def test_on_a_flat_field_there_is_no_line() -> None:
    points = np.stack(np.mgrid[10:190:20, 10:190:20], -1).reshape(-1, 2) + 0.3
    found = light_beyond(np.full((200, 200), 100.0), points, 1500.0, 1)
    assert (found == neighbourhood.UNBOUND).mean() > 0.9
