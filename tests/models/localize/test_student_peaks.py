"""Decode: a student's answer of known particles, read back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from livespt.models.localize.student_peaks import decode


def field_of(points: list[tuple[float, float]], stride: int, shape: tuple[int, int]) -> np.ndarray:
    """What a perfect student answers: the cell that holds a particle, and its neighbours less."""
    field = np.zeros((3, *shape), np.float32)
    field[2] = -9
    rng = np.random.default_rng(0)
    field[:2] = rng.normal(0, 3, field[:2].shape)
    i, j = np.indices(shape)
    cell = np.stack([stride * i, stride * j]) + (stride - 1) / 2
    for point in points:
        gap = np.array(point)[:, None, None] - cell
        away = np.abs(gap).max(axis=0) / stride
        field[:2, away < 1.5] = gap[:, away < 1.5]
        field[2, away < 1.5] = np.maximum(field[2], 4 - 6 * away)[away < 1.5]
    return field


@pytest.mark.parametrize("stride", [2, 4])
def test_decoding_returns_what_the_cells_say(stride: int) -> None:
    points = [(20.3, 30.6), (41.7, 70.1), (3.0, 3.2), (60.0, 21.4)]
    found = decode(field_of(points, stride, (96 // stride, 96 // stride)), 0.5, stride, 1.5)
    found = found[np.argsort(found[:, 0])]
    np.testing.assert_allclose(found[:, :2], sorted(points), atol=1e-4)
    assert (found[:, 2] > 0.5).all() and (found[:, 2] <= 1).all()
    np.testing.assert_allclose(found[:, 3], 0, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 5), st.integers(0, 5))
def test_shifted_cells_are_shifted_particles(seed: int, down: int, right: int) -> None:
    rng = np.random.default_rng(seed)
    field = np.full((3, 40, 40), -9, np.float32)
    field[:2, 3:30, 3:30] = rng.normal(0, 1.5, (2, 27, 27))
    field[2, 3:30, 3:30] = rng.normal(-2, 3, (27, 27))
    here = decode(field, 0.6, 4, 1.5)
    there = decode(np.roll(field, (down, right), (1, 2)), 0.6, 4, 1.5)
    np.testing.assert_allclose(there, here + np.array([4.0 * down, 4.0 * right, 0, 0]), atol=1e-9)


def test_equally_sure_cells_are_one_particle() -> None:
    flat = np.zeros((3, 8, 8), np.float32)
    flat[2] = 3
    flat[0], flat[1] = np.meshgrid(np.arange(8) * -4.0, np.arange(8) * -4.0, indexing="ij")
    assert len(decode(flat, 0.5, 4, 1.5)) == 1  # all point to one place


@pytest.mark.parametrize("value", [np.nan, -np.inf, -1e30])
def test_an_answer_without_particles_gives_none(value: float) -> None:
    assert len(decode(np.full((3, 9, 7), value, np.float32), 0.5, 4, 1.5)) == 0


def test_a_higher_cutoff_gives_a_part_of_what_a_lower_one_gives() -> None:
    rng = np.random.default_rng(3)
    field = rng.normal(0, 1.5, (3, 60, 60)).astype(np.float32)
    many, few = (decode(field, cutoff, 4, 1.5) for cutoff in (0.4, 0.8))
    assert len(many) > len(few) > 0 and (few[:, 2] >= 0.8).all()
    assert {tuple(row) for row in few} <= {tuple(row) for row in many}
