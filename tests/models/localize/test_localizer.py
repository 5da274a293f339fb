"""Localize: the shipped models on spots of known place, on bad input, on what they cannot do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from livespt.models.localize.localizer import Localizer, measure
from livespt.models.render.spot_movies import SpotCase, spot_frame
from livespt.models.runtime.session import shipped
from livespt.stream.errors import ModelError, SettingError


@pytest.fixture(scope="module")
def spots_model() -> Localizer:
    localizer = Localizer(shipped("spots"), provider="cpu")
    localizer.warm_up((64, 64))
    return localizer


def test_counts_are_measured_above_the_local_background() -> None:
    y, x = np.indices((60, 60))
    spot = 5000 / (2 * np.pi * 1.3**2) * np.exp(-((y - 30) ** 2 + (x - 25) ** 2) / (2 * 1.3**2))
    frame = (200 + 2.0 * x + spot).astype(np.float32)
    total, background, pixels = measure(frame, np.array([[30.0, 25.0], [0.0, 0.0]]), 4.0)
    assert total[0] == pytest.approx(5000, rel=0.03)
    assert background[0] == pytest.approx(250, abs=4)
    assert pixels[0] == pytest.approx(np.pi * 16, rel=0.1) and np.isfinite(total).all()


def test_spots_are_found_where_they_are(spots_model: Localizer) -> None:
    rng = np.random.default_rng(11)
    error, missed, false = [], 0, 0
    for snr in (6, 10, 20):
        image, points = spot_frame(rng, SpotCase(snr=snr))
        spots = spots_model(image)
        gap = np.hypot(
            np.subtract.outer(points[:, 0], spots["y"]), np.subtract.outer(points[:, 1], spots["x"])
        )
        inside = ((points > 6) & (points < 249)).all(axis=1)
        missed += int((gap.min(axis=1)[inside] > 2).sum())
        false += int((gap.min(axis=0) > 2).sum())
        for k in np.flatnonzero(inside & (gap.min(axis=1) < 2)):
            one = spots[gap[k].argmin()]
            error.append((one["y"] - points[k, 0], one["x"] - points[k, 1]))
    assert missed <= 1 and false <= 1 and len(error) > 60
    offset, rmse = np.mean(error, axis=0), np.sqrt(np.mean(np.square(error)))
    assert (np.abs(offset) < 0.05).all() and rmse < 0.15


def test_rows_tell_intensity_background_and_precision(spots_model: Localizer) -> None:
    image, _ = spot_frame(np.random.default_rng(2), SpotCase(snr=10))
    spots = spots_model(image)
    assert len(spots) > 20 and np.isnan(spots["dz"]).all()
    photons = 1718  # of SNR 10 at this width and background
    assert np.median(spots["intensity"]) == pytest.approx(photons, rel=0.15)
    assert np.median(spots["background"]) == pytest.approx(200, abs=5)
    assert 0.03 < np.median(spots["dy"]) < 0.15 and (spots["score"] >= spots_model.cutoff).all()


def test_gain_offset_and_bit_depth_do_not_matter(spots_model: Localizer) -> None:
    image, _ = spot_frame(np.random.default_rng(4), SpotCase(snr=10))
    plain = spots_model(image)
    for other in (image.astype(np.float32) * 0.1 - 50, image * np.uint16(7) + np.uint16(3000)):
        spots = spots_model(other)
        assert len(spots) == len(plain)
        assert (
            max(np.abs(spots["y"] - plain["y"]).max(), np.abs(spots["x"] - plain["x"]).max()) < 0.03
        )
    byte = np.clip(image // 4, 0, 255).astype(np.uint8)
    assert abs(len(spots_model(byte)) - len(plain)) <= 1


def test_noise_alone_gives_hardly_anything(spots_model: Localizer) -> None:
    rng = np.random.default_rng(7)
    false = sum(
        len(spots_model(rng.normal(500, 12, (256, 256)).astype(np.float32))) for _ in "abcd"
    )
    assert false <= 1


def test_cutoff_and_quantile_choose_how_many() -> None:
    image, points = spot_frame(np.random.default_rng(8), SpotCase(snr=7))
    counts = [
        len(Localizer(shipped("spots"), provider="cpu", cutoff=c)(image)) for c in (0.1, 0.5, 0.99)
    ]
    assert counts[0] >= counts[1] >= counts[2] and counts[2] < len(points) / 2
    by_quantile = Localizer(shipped("spots"), provider="cpu", quantile=0.99)(image)
    assert abs(len(by_quantile) - len(points)) <= 6
    for bad in ({"cutoff": 1.5}, {"cutoff": 0.0}, {"quantile": -0.1}):
        with pytest.raises(SettingError, match="between 0 and 1"):
            Localizer(shipped("spots"), provider="cpu", **bad)


def test_a_model_of_another_task_is_refused(tmp_path: object) -> None:
    with pytest.raises(ModelError, match="no model file"):
        Localizer(f"{tmp_path}/none.onnx")


@pytest.fixture(scope="module")
def fast_model() -> Localizer:
    localizer = Localizer(shipped("fast"), provider="cpu")
    localizer.warm_up((64, 64))
    localizer.warm_up((64, 64), "float32")
    return localizer


def test_gain_offset_and_pixel_type_do_not_matter_to_a_student(fast_model: Localizer) -> None:
    image, points = spot_frame(np.random.default_rng(31), SpotCase(snr=15))
    plain = fast_model(image)
    assert len(plain) >= len(points) - 3 and np.isfinite(plain["sigma"]).mean() > 0.9
    others = {
        "float32": image.astype(np.float32),
        "big-endian float": image.astype(">f4"),
        "scaled": image.astype(np.float32) * 3e-4 - 7,
        "gain and offset": image * np.uint16(7) + np.uint16(3000),
        "uint8": np.clip(image // 3, 0, 255).astype(np.uint8),
    }
    for name, other in others.items():
        spots = fast_model(other)
        gap = np.hypot(
            np.subtract.outer(plain["y"], spots["y"]), np.subtract.outer(plain["x"], spots["x"])
        )
        assert len(spots) == pytest.approx(len(plain), abs=1), name
        assert np.median(gap.min(axis=1)) < 0.02, name


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(-6, 6), st.integers(-6, 6))
def test_a_shift_by_whole_cells_shifts_a_students_spots(seed: int, down: int, right: int) -> None:
    localizer = Localizer(shipped("fast"), provider="cpu")
    image, _ = spot_frame(np.random.default_rng(seed), SpotCase(snr=12))
    here = localizer(image)
    for step in (4, 1):  # whole cells, and any pixels
        there = localizer(np.roll(image, (step * down, step * right), (0, 1)))
        inner = (np.abs(here["y"] - 127.5) < 80) & (np.abs(here["x"] - 127.5) < 80)
        gap = np.hypot(
            np.subtract.outer(here["y"] + step * down, there["y"]),
            np.subtract.outer(here["x"] + step * right, there["x"]),
        )
        away = gap[inner].min(axis=1)
        if step == 4:
            assert away.max(initial=0.0) < 0.15
        else:
            assert np.median(away) < 0.03 if len(away) else True


def test_hot_pixels_and_cosmic_rays_are_no_particles(fast_model: Localizer) -> None:
    rng = np.random.default_rng(33)
    for share, most in ((1e-4, 0), (1e-3, 2), (1e-2, 16)):  # of many, some lie side by side
        image, _ = spot_frame(rng, SpotCase(n=0))
        hot = rng.choice(image.size, int(share * image.size), replace=False)
        image.flat[hot] = np.clip(image.flat[hot] + rng.exponential(1500, len(hot)), 0, 65535)
        assert len(fast_model(image)) <= most
    image, _ = spot_frame(rng, SpotCase(n=0))
    for k in range(8):
        y = np.arange(20, 40)
        image[y + 25 * k, 20 + 25 * k + (y * k) // 20] += np.uint16(2000)
    assert len(fast_model(image)) <= 1


@pytest.mark.parametrize("refine", ["gauss", "radial", "none"])
def test_a_user_chooses_how_positions_are_refined(refine: str) -> None:
    localizer = Localizer(shipped("spots"), provider="cpu", refine=refine)
    error = []
    for seed in range(4):
        image, points = spot_frame(np.random.default_rng(40 + seed), SpotCase(snr=10))
        spots = localizer(image)
        gap = np.hypot(
            np.subtract.outer(points[:, 0], spots["y"]), np.subtract.outer(points[:, 1], spots["x"])
        )
        near = gap.min(axis=1) < 1
        at = spots[gap.argmin(axis=1)][near]
        error.append(np.stack([at["y"], at["x"]], 1) - points[near])
        assert np.isfinite(spots["sigma"]).any() == (refine == "gauss")
    assert np.sqrt(np.mean(np.concatenate(error) ** 2)) < {"gauss": 0.071, "radial": 0.13}.get(
        refine, 0.11
    )
    with pytest.raises(SettingError, match="refine must be one of"):
        Localizer(shipped("spots"), provider="cpu", refine="best")
