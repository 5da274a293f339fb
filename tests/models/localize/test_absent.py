"""Pixels that were not measured are found, filled like their surroundings, and hold no spots."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from livespt.models.localize.absent import fill_absent
from livespt.models.localize.localizer import Localizer
from livespt.models.optics import spots
from livespt.models.runtime.session import shipped


def frame(seed: int, points: Any = (), level: float = 100.0) -> NDArray[np.uint16]:
    at = np.reshape(np.asarray(points, float), (-1, 2))
    light = spots.render(at[:, 0], at[:, 1], 1500.0, (96, 80), 1.3, level)
    return spots.camera(light, np.random.default_rng(seed))


def masks() -> dict[str, NDArray[np.bool_]]:
    y, x = np.mgrid[:96, :80]
    return {
        "thin border": (y < 2) | (x > 77),
        "wide border": (y < 13) | (x > 60),
        "disc outside": np.hypot(y - 48, x - 40) > 36,
        "island inside": np.hypot(y - 48, x - 40) < 12,
        "wedge of a rotation": y < 6 - 0.12 * x,
    }


@pytest.mark.parametrize("name", masks())
@pytest.mark.parametrize("fill", [0, 65535, 320])
def test_areas_of_one_value_are_absent(name: str, fill: int) -> None:
    mask = masks()[name]
    image = frame(1)
    image[mask] = fill
    measured = fill_absent(image)
    assert measured is not None and measured.absent is not None
    assert (measured.absent == mask).mean() > 0.999  # a pixel beside it may have its value
    assert (measured.frame[~measured.absent] == image[~measured.absent]).all()
    filled = measured.frame[measured.absent].astype(float)
    assert abs(filled.mean() - 200) < 3 and 6 < filled.std() < 14


def test_nan_is_absent_and_single_pixels_too() -> None:
    image = frame(2).astype(np.float32)
    image[:9], image[40, 40], image[50, 7] = np.nan, np.inf, np.nan
    measured = fill_absent(image)
    assert measured is not None and measured.absent is not None
    assert measured.absent.sum() == 9 * 80 + 2 and np.isfinite(measured.frame).all()


def test_a_frame_without_measured_pixels_has_none() -> None:
    assert fill_absent(np.full((64, 64), np.nan, np.float32)) is None
    assert fill_absent(np.zeros((64, 64), np.uint16)) is None


@pytest.mark.parametrize("gain", [10.0, 40.0, 100.0])
def test_a_grey_level_in_common_is_not_absent(gain: float) -> None:
    """8 bits with noise below a grey level have large areas of one value."""
    image = np.round(frame(3) / gain).astype(np.uint8)
    measured = fill_absent(image)
    assert measured is None or measured.absent is None or measured.absent.mean() > 0.95


def test_a_clipped_dark_background_is_not_absent() -> None:
    """Spots fade into it, and would be lost."""
    points = [(20, 20), (48, 40), (70, 60)]
    dark = np.clip(frame(4, points).astype(int) - 212, 0, None).astype(np.uint16)
    measured = fill_absent(dark)
    assert measured is not None and measured.absent is None
    found = Localizer(shipped("fast"), provider="cpu")(dark)
    for y, x in points:
        assert np.hypot(found["y"] - y, found["x"] - x).min() < 1


def test_no_spot_is_found_beyond_a_border_and_none_is_lost_before_it() -> None:
    points = [(20.0, 5.0), (30.0, 40.0), (60.0, 70.0), (80.0, 10.0)]
    image = frame(5, points)
    localizer = Localizer(shipped("fast"), provider="cpu")
    image[:14], image[:, 74:] = 0, 0
    found = localizer(image)
    at = np.stack([found["y"], found["x"]], axis=1)
    assert len(at) == 4
    assert np.abs(np.sort(at, axis=0) - np.sort(np.array(points), axis=0)).max() < 0.5


def test_borders_may_move() -> None:
    localizer = Localizer(shipped("fast"), provider="cpu")
    false = 0
    for k in range(1, 12):
        image = frame(20 + k)
        image[: 2 * k], image[:, :k] = 0, 0
        found = localizer(image)
        assert (found["y"] > 2 * k - 1).all() and (found["x"] > k - 1).all()
        false += len(found)
    assert false <= 2  # of noise, in 84 000 pixels
