"""Detect: a LodeSTAR network's answer of known particles, read back."""

from __future__ import annotations

import numpy as np
import pytest

from livespt.models.localize.lodestar_peaks import detect


def field_of(points: list[tuple[float, float]], shape: tuple[int, int] = (40, 50)) -> np.ndarray:
    """What a perfect network answers: cells within 3 pixels point at their particle."""
    field = np.zeros((3, *shape), np.float32)
    field[2] = -12
    rng = np.random.default_rng(0)
    field[:2] = rng.normal(0, 5, field[:2].shape)
    i, j = np.indices(shape)
    cell = np.stack([2.0 * i + 0.5, 2.0 * j + 0.5])
    for point in points:
        gap = np.array(point)[:, None, None] - cell
        near = np.hypot(*gap) < 4
        field[:2, near] = gap[:, near]
        field[2, near] = 6 - np.hypot(*gap)[near]
    return field


def found_in(field: np.ndarray, merge: float = 1.5) -> np.ndarray:
    return detect(field, 0.4, 0.5, 0.5, merge, 1)


def test_decoding_returns_what_the_cells_predict() -> None:
    points = [(20.25, 30.5), (41.75, 70.0), (60.0, 21.3)]
    found = found_in(field_of(points))
    assert len(found) == 3
    np.testing.assert_allclose(found[np.argsort(found[:, 0]), :2], points, atol=1e-4)
    assert (found[:, 2] > 0.8).all()


def test_two_maxima_of_one_particle_are_one() -> None:
    field = field_of([(30.0, 40.0)])
    field[2, 15, 18] = field[2, 15, 21] = 7  # two maxima three cells apart, one position
    field[2, 15, 19:21] = 3
    assert len(found_in(field)) == 1
    apart = field_of([(30.0, 40.0), (30.0, 49.0)])
    assert len(found_in(apart)) == 2 and len(found_in(apart, merge=9.5)) == 1


def test_nothing_is_found_where_cells_disagree_or_carry_no_weight() -> None:
    rng = np.random.default_rng(1)
    field = rng.normal(0, 5, (3, 40, 50)).astype(np.float32)
    field[2] = 8  # full weight, but no two cells agree
    assert len(found_in(field)) == 0
    field = field_of([(30.0, 40.0)])
    field[2] = -20  # agreement without weight
    assert len(found_in(field)) == 0


def test_equal_scores_give_one_detection() -> None:
    flat = np.zeros((3, 20, 20), np.float32)  # every cell alike
    flat[2] = 5
    assert len(found_in(flat)) == len(np.unique(found_in(flat)[:, :2], axis=0)) <= 1


@pytest.mark.parametrize("shape", [(8, 8), (9, 9), (8, 9), (1, 9), (9, 1)])
def test_every_other_cell_may_be_a_peak(shape: tuple[int, int]) -> None:
    field = np.zeros((3, *shape), np.float32)
    field[2] = -12
    field[2, ::2, ::2] = 9
    most = -(-shape[0] // 2) * -(-shape[1] // 2)
    assert len(detect(field, 1e-3, 0.5, 0.5, 0.5, 0)) == most


def test_agreement_is_told_and_further_answers_are_averaged() -> None:
    field = field_of([(30.25, 40.5)])
    field = np.concatenate([field, np.full((1, 40, 50), 2.5, np.float32)])
    (row,) = found_in(field)
    assert row[3] == pytest.approx(0, abs=1e-6) and row[4] == pytest.approx(2.5)
    rng = np.random.default_rng(4)
    field[:2] += rng.normal(0, 0.3, field[:2].shape)
    found = found_in(field, merge=6.0)
    assert found[found[:, 2].argmax(), 3] == pytest.approx(2 * 0.3**2, rel=0.6)
