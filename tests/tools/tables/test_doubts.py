"""Doubts about tables: um taken for pixels, odd scales, tracks that no training had."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from livespt.tools.tables.analyze import analyze_table
from livespt.tools.tables.link import link_table

FRAMES, N = 60, 30


def walks(step: float, side: float, seed: int = 1) -> pd.DataFrame:
    """Tracks, pixels."""
    rng = np.random.default_rng(seed)
    inside = rng.uniform(0.1 * side, 0.9 * side, (N, 1, 2))
    places = inside + np.cumsum(rng.normal(0, step, (N, FRAMES, 2)), axis=1)
    frame, particle = np.tile(np.arange(FRAMES), N), np.repeat(np.arange(N), FRAMES)
    y, x = places.reshape(-1, 2).T
    return pd.DataFrame({"frame": frame, "particle": particle, "y": y, "x": x})


def said_by_analyze(folder: Path, table: pd.DataFrame, **how: Any) -> list[str]:
    table.to_csv(folder / "tracks.csv", index=False)
    said: list[str] = []
    scale = {"pixel_size_um": 0.1, "frame_interval_s": 0.05} | how
    analyze_table(
        folder / "tracks.csv", folder / "out.csv", say=said.append, overwrite=True, **scale
    )
    return [text for text in said if text.startswith("note: ")]


def said_by_link(folder: Path, table: pd.DataFrame, **how: Any) -> list[str]:
    table.drop(columns="particle").to_csv(folder / "spots.csv", index=False)
    said: list[str] = []
    link_table(folder / "spots.csv", folder / "out.csv", say=said.append, overwrite=True, **how)
    return [text for text in said if text.startswith("note: ")]


def in_um(table: pd.DataFrame, pixel_size_um: float) -> pd.DataFrame:
    return table.assign(y=table["y"] * pixel_size_um, x=table["x"] * pixel_size_um)


@pytest.mark.parametrize(
    ("step", "side", "size"), [(0.6, 512, 0.1), (0.4, 256, 0.16), (1.5, 512, 0.065)]
)
def test_micrometres_taken_for_pixels_are_doubted(
    tmp_path: Path, step: float, side: float, size: float
) -> None:
    pixels = walks(step, side)
    assert said_by_analyze(tmp_path, pixels, pixel_size_um=size) == []
    assert (
        said_by_link(tmp_path, pixels) == said_by_link(tmp_path, pixels, pixel_size_um=size) == []
    )
    um = in_um(pixels, size)
    doubts = said_by_analyze(tmp_path, um, pixel_size_um=size)
    assert "as micrometres would: if they are, say so with --columns unit=um" in doubts[0]
    assert said_by_link(tmp_path, um) and said_by_link(tmp_path, um, pixel_size_um=size)


def test_whoever_states_the_unit_is_not_doubted(tmp_path: Path) -> None:
    um = in_um(walks(0.6, 512), 0.1)
    stated = "unit=um"  # as the doubt suggests
    assert said_by_analyze(tmp_path, um, columns=stated) == []


@pytest.mark.parametrize(("step", "side"), [(0.5, 40), (0.08, 300), (4.0, 2000)])
def test_small_fields_and_slow_particles_are_ordinary(
    tmp_path: Path, step: float, side: float
) -> None:
    """A crop in which particles move, and a field in which they hardly do."""
    assert not any("taken for pixels" in text for text in said_by_link(tmp_path, walks(step, side)))


def test_a_scale_that_no_microscope_has_is_doubted(tmp_path: Path) -> None:
    (doubt,) = said_by_analyze(tmp_path, walks(0.6, 512), frame_interval_s=5e-5)
    assert "5e-05 s from frame to frame" in doubt
    doubts = said_by_analyze(tmp_path, walks(0.6, 512), pixel_size_um=100.0)
    assert "a pixel of 100 um" in doubts[0]


def test_tracks_that_no_training_had_are_doubted(tmp_path: Path) -> None:
    doubts = said_by_analyze(tmp_path, walks(0.005, 512))
    (doubt,) = [text for text in doubts if "unlike" in text]
    assert "unlike those that segmenter learned from: root mean square step" in doubt
    assert "learned 0.0188 to 2.07" in doubt
