"""Frames composed of one particle: its noise is gone, its copies lie where they are said to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from livespt.models.render import composed_frames

LINE = np.arange(25) - 12.0


def spot(peak: float, y: float, x: float) -> Any:
    """A noisy crop (25, 25) of a Gaussian spot in noise units, its neighbourhood faded out."""
    r = np.hypot(LINE[:, None] - y, LINE - x)
    noise = np.random.default_rng(5).standard_normal((25, 25))
    return (peak * np.exp(-(r**2) / (2 * 1.4**2)) + noise) * (r < 8)


def shape(kind: str) -> Any:
    u, v = LINE[:, None] - 0.2, LINE + 0.3
    noise = 0.3 * np.random.default_rng(6).standard_normal((25, 25))
    if kind == "rod":
        return 15 * np.exp(-(u**2) / 18 - v**2 / 3) + noise
    return 15 * np.exp(-(u**2 + v**2) / 8) * (1 + np.tanh(u + 0.5 * v)) / 2 + noise


@pytest.mark.parametrize("peak", [12.0, 60.0, -20.0])
def test_a_spot_loses_its_noise(peak: float) -> None:
    one = composed_frames.pattern(spot(peak, 0.3, -0.2), (0.3, -0.2), 3.3)
    assert one.fold == composed_frames.FOLDS[0]
    half = len(one.image) // 2
    line = (np.arange(len(one.image)) - half) / composed_frames.POINTS_PER_PIXEL
    ideal = peak * np.exp(-(np.hypot(line[:, None], line) ** 2) / (2 * 1.4**2))
    error = np.sqrt(np.mean((one.image - ideal) ** 2) / np.mean(ideal**2))
    assert error < max(0.03, 1.5 / abs(peak))
    assert one.peak == pytest.approx(peak, rel=0.15)


@pytest.mark.parametrize(("kind", "fold"), [("rod", 2), ("half", 1)])
def test_what_turning_changes_is_kept(kind: str, fold: int) -> None:
    crop = shape(kind)
    one = composed_frames.pattern(crop, (0.2, -0.3), 6.0)
    assert one.fold == fold
    half = len(one.image) // 2
    middle = one.image[half - 12 : half + 13 : 4, half - 12 : half + 13 : 4]
    expected = crop[9:16, 9:16]  # a crop's pixels lie 0.2 and 0.3 px aside
    assert np.corrcoef(middle.ravel(), expected.ravel())[0, 1] > 0.9


def test_copies_lie_where_they_should() -> None:
    one = composed_frames.pattern(spot(60.0, 0.0, 0.0), (0.0, 0.0), 3.3)
    rng = np.random.default_rng(9)
    errors = []
    for _ in range(40):
        batch = composed_frames.composed(rng, 1, 48, one, snr=(60.0, 60.0), most=4.0)
        frame, specks = batch.frames[0], batch.specks
        for y, x in zip(specks.y, specks.x, strict=True):
            gaps = np.hypot(specks.y - y, specks.x - x)
            if not (8 < y < 39 and 8 < x < 39) or (np.sort(gaps)[1:2] < 12).any():
                continue
            i, j = round(y), round(x)
            part = np.clip(frame[i - 4 : i + 5, j - 4 : j + 5], 0, None)
            part = np.clip(part - np.median(part) - 6, 0, None)
            grid = np.arange(-4, 5)
            errors.append(part.sum(1) @ grid / part.sum() + i - y)
            errors.append(part.sum(0) @ grid / part.sum() + j - x)
    assert len(errors) > 10
    assert abs(np.median(errors)) < 0.05 and np.median(np.abs(errors)) < 0.15


def test_noise_is_white_and_its_own() -> None:
    one = composed_frames.pattern(spot(30.0, 0.0, 0.0), (0.0, 0.0), 3.3)
    frames = composed_frames.composed(np.random.default_rng(2), 32, 64, one, most=0.0).frames
    frames = frames - np.median(frames, axis=(1, 2), keepdims=True)
    step = np.diff(frames, axis=2)
    noise = 1.4826 * np.median(np.abs(step)) / np.sqrt(2)
    assert noise == pytest.approx(1.0, abs=0.05)
    neighbours = np.clip(step[:, :, 2:], -4, 4) * np.clip(step[:, :, :-2], -4, 4)
    assert abs(neighbours.mean()) < 0.05


def test_brightness_is_the_wanted_snr() -> None:
    one = composed_frames.pattern(spot(30.0, 0.0, 0.0), (0.0, 0.0), 3.3)
    batch = composed_frames.composed(
        np.random.default_rng(4), 200, 32, one, snr=(8.0, 8.0), most=2.0
    )
    assert np.median(batch.specks.snr) == pytest.approx(8.0, rel=0.05)
    assert len(batch.specks.snr) > 50


@pytest.mark.parametrize(
    ("kind", "fold", "left"), [("spot", 32, 0.4), ("rod", 2, 0.75), ("half", 1, 0.95)]
)
def test_a_crop_is_given_back_with_less_noise(kind: str, fold: int, left: float) -> None:
    centre = (0.2, -0.3)
    crop = spot(15.0, *centre) if kind == "spot" else shape(kind)
    one = composed_frames.pattern(crop, centre, 6.0 if fold < 32 else 3.3)
    still = composed_frames.without_noise(one, centre, 25)
    assert one.fold == fold and still.shape == (25, 25)
    u, v = LINE[:, None] - 0.2, LINE + 0.3
    ideal = {
        "spot": 15 * np.exp(-(u**2 + v**2) / (2 * 1.4**2)),
        "rod": 15 * np.exp(-(u**2) / 18 - v**2 / 3),
        "half": 15 * np.exp(-(u**2 + v**2) / 8) * (1 + np.tanh(u + 0.5 * v)) / 2,
    }[kind]
    near = np.hypot(u, v) < 6
    error = np.sqrt(np.mean((still - ideal)[near] ** 2))
    before = np.sqrt(np.mean((crop - ideal)[near] ** 2))
    assert error < left * before


def test_scattered_particles_are_as_bright_and_as_far_apart_as_wanted() -> None:
    one = composed_frames.pattern(spot(60.0, 0.0, 0.0), (0.0, 0.0), 3.3)
    frame, points = composed_frames.scattered(np.random.default_rng(3), 128, one, 0.5, 0.0)
    assert frame.shape == (128, 128) and len(points) == 10
    gap = np.hypot(*(points[:, None] - points).transpose(2, 0, 1)) + 99 * np.eye(10)
    assert gap.min() >= 12 and points.min() >= 12 and points.max() <= 115
    y, x = np.mgrid[:128, :128]
    ideal = sum(30 * np.exp(-((y - p) ** 2 + (x - q) ** 2) / (2 * 1.4**2)) for p, q in points)
    assert np.std(frame - ideal) == pytest.approx(1, abs=0.1)
    few = composed_frames.scattered(np.random.default_rng(3), 32, one, 0.5, 0.0)[1]
    assert 1 <= len(few) < 10
