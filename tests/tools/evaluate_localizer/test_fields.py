"""Evaluate a localizer on real fields: scenes are what they say, and lines count what is found."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from livespt.models.localize.localizer import Localizer
from livespt.models.runtime.session import shipped
from livespt.tools.evaluate_localizer import field_scenes, fields
from livespt.tools.evaluate_localizer.field_scenes import NOISES, SCENES, SIDE, scene_frame


@pytest.mark.parametrize("name", [*SCENES, *NOISES])
def test_spots_lie_on_measured_pixels_apart(name: str) -> None:
    draw = {**SCENES, **NOISES}[name]
    rng = np.random.default_rng(3)
    one = scene_frame(rng, draw(rng), 5.0, 12)
    assert one.image.shape == (SIDE, SIDE) and len(one.points) == 12
    assert one.counted[tuple(np.rint(one.points).astype(int).T)].all()
    gap = np.hypot(*(one.points[:, None] - one.points[None]).transpose(2, 0, 1))
    assert gap[~np.eye(12, dtype=bool)].min() >= field_scenes.APART_PX


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_noise_has_its_correlation(share: float) -> None:
    rng = np.random.default_rng(4)
    field = NOISES[f"correlation {share:g}"](rng)
    noise = scene_frame(rng, field, 1.0, 0).image.astype(float)
    found = np.corrcoef(noise[1:].ravel(), noise[:-1].ravel())[0, 1]
    assert found == pytest.approx(share, abs=0.02)
    assert noise.std() == pytest.approx(math.sqrt(100 + 1.5**2), rel=0.03)


def test_a_line_counts_false_and_found_spots() -> None:
    """A finder that returns the truth of one frame, and one point more in each."""

    def find(image: NDArray[Any]) -> NDArray[Any]:
        return np.array([[5.0, 5.0]])

    line = fields._line(find, SCENES["flat"], 0, 2)
    assert line["false_per_megapixel"] == pytest.approx(2e6 / (2 * SIDE**2), rel=1e-3)
    assert line["recall_10"] <= 0.05 and line["precision_10"] <= 0.5


def test_false_spots_on_fields_are_rare_and_spots_are_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The shipped localizer; the same scenes without tests of it had hundreds a megapixel."""
    chosen = ("flat", "cells, soft edges", "zero border")
    monkeypatch.setattr(fields, "SCENES", {name: SCENES[name] for name in chosen})
    monkeypatch.setattr(fields, "NOISES", {"neighbours averaged": NOISES["neighbours averaged"]})
    result = fields.evaluate(shipped("fast"), frames=3, judges=False)
    for row in (*result["fields"], *result["noises"]):
        assert row["false_per_megapixel"] < 60, row["scene"]
        assert row["recall_10"] > 0.85, row["scene"]
    assert {line["target"].split(":")[0] for line in result["targets"]} == {
        *chosen, "neighbours averaged"
    }  # fmt: skip


def test_masked_frames_have_no_spots() -> None:
    localizer = Localizer(shipped("fast"), provider="cpu")
    assert len(localizer(np.full((64, 64), 7, np.uint8))) == 0
