"""Evaluate trackers of one crop: frames as they are said to be, figures of all cases."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from livespt.stream.errors import SettingError
from livespt.tools.evaluate_localizer import one_crop


@pytest.mark.parametrize("shape", ["2", "ring"])
def test_frames_have_the_noise_and_the_brightness_of_their_case(shape: str) -> None:
    frame, points = one_crop.draw_frame(np.random.default_rng(1), shape, 10.0)
    quiet, same = one_crop.draw_frame(np.random.default_rng(1), shape, 10.0, noise=0.1)
    bright, _ = one_crop.draw_frame(np.random.default_rng(1), shape, 10.0, brightness=2.0)
    assert (points == same).all() and len(points) >= 5
    gap = np.hypot(*(points[:, None] - points).transpose(2, 0, 1)) + 999 * np.eye(len(points))
    assert gap.min() >= 20
    far = np.hypot(
        *(np.indices(frame.shape)[None] - points[:, :, None, None]).transpose(1, 0, 2, 3)
    )
    empty = far.min(axis=0) > 18
    assert np.std(frame[empty]) == pytest.approx(10, rel=0.1)
    assert np.std(quiet[empty]) == pytest.approx(1, rel=0.15)
    ring = np.abs(far.min(axis=0) - (6 if shape == "ring" else 0)) < 0.7
    assert quiet[ring].mean() - 1000 == pytest.approx(96, rel=0.06)
    assert bright[ring].mean() - 1000 == pytest.approx(192, rel=0.06)


def test_every_case_has_its_figures(tmp_path: Path) -> None:
    figures = one_crop.evaluate(shapes=("1.3",), frames=1, steps=150, out=tmp_path)
    assert [row["case"] for row in figures["rows"]] == [case.name for case in one_crop.CASES]
    assert all(row["shape"] == "1.3" and 0 <= row["recall"] <= 1 for row in figures["rows"])
    assert set(figures["converged"]) == {"1.3"} and (tmp_path / "1_3.onnx").exists()
    again = one_crop.evaluate(shapes=("1.3",), frames=1, steps=10, out=tmp_path)
    assert again == figures  # the model that is there


def test_an_unknown_shape_is_refused() -> None:
    with pytest.raises(SettingError, match="unknown shape '9'"):
        one_crop.evaluate(shapes=("9",))
