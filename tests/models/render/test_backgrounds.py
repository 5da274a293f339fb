"""Backgrounds of training frames: light is positive, noise keeps its variance and correlates."""

from __future__ import annotations

import numpy as np
import pytest

from livespt.models.render import backgrounds, training_frames


def test_fields_are_light_of_many_kinds() -> None:
    fields = [backgrounds.draw_field(np.random.default_rng(k), 100.0, 48) for k in range(60)]
    assert all(np.isfinite(f).all() and f.min() >= 2.0 for f in fields)
    contrast = [f.max() / f.min() for f in fields]
    assert np.median(contrast) > 1.5 and max(contrast) > 10
    assert (fields[3] == backgrounds.draw_field(np.random.default_rng(3), 100.0, 48)).all()


def test_correlated_noise_has_the_stated_strength_in_a_filter() -> None:
    """A filter of the width of a spot sees `louder` times the noise of white noise."""
    n, sigma = 24, np.full(24, 1.3)
    grain = backgrounds.draw_grain(np.random.default_rng(1), n, np.ones(n, bool), sigma)
    noise = np.random.default_rng(2).standard_normal((n, 128, 128)).astype(np.float32)
    backgrounds.correlate(noise, grain)
    assert noise.var(axis=(1, 2)) == pytest.approx(1.0, abs=0.12)
    line = np.exp(-(np.arange(-6.0, 7.0) ** 2) / (2 * 1.3**2))
    spot = np.outer(line, line)
    spectrum = np.fft.rfft2(noise) * np.fft.rfft2(spot, (128, 128))
    seen = np.fft.irfft2(spectrum, (128, 128)).std(axis=(1, 2)) / np.sqrt((spot**2).sum())
    assert seen == pytest.approx(grain.louder, rel=0.12)
    assert grain.louder.max() > 1.5


def test_frames_of_the_common_kind_have_white_noise() -> None:
    batch = training_frames.simulated(np.random.default_rng(3), 8, 64, near=1.0)
    for k in range(8):
        if not (batch.specks.image == k).any():
            frame = batch.frames[k].astype(float)
            step = frame[1:] - frame[:-1]
            assert abs(np.corrcoef(step[2:].ravel(), step[:-2].ravel())[0, 1]) < 0.08
