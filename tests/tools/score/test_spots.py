"""Accuracy: pairs, tallies and figures on places chosen by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from livespt.tools.score import spots

SHAPE = (100, 100)


def rows(*places: tuple[float, ...]) -> np.ndarray:
    """y, x and a stated precision of 0.1 px."""
    found = np.full((len(places), 4), 0.1)
    if places:
        found[:, :2] = np.array(places)[:, :2]
    return found


def test_as_many_pairs_as_possible_then_the_nearest() -> None:
    truth = np.array([[50.0, 50.0], [50.0, 52.5]])
    found = rows((50, 51.2), (50, 49))  # nearest first would pair 51.2 with 50 and leave 52.5
    found[0, 1] = 50.9
    assert sorted(zip(*map(list, spots.pair(truth, found)), strict=True)) == [(0, 1), (1, 0)]
    crossed = rows((50, 52.4), (50, 50.1))
    assert sorted(zip(*map(list, spots.pair(truth, crossed)), strict=True)) == [(0, 1), (1, 0)]
    assert not len(spots.pair(truth, rows())[0]) and not len(spots.pair(truth[:0], found)[0])


@pytest.mark.parametrize("seed", range(5))
def test_pairs_are_those_of_the_hungarian_method(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, found = rng.uniform(0, 25, (60, 2)), rng.uniform(0, 25, (70, 2))
    square = ((truth[:, None] - found[None]) ** 2).sum(axis=2)
    cost = np.where(square <= 4, square, 1e4)
    i, j = linear_sum_assignment(cost)
    near = square[i, j] <= 4
    mine = spots.pair(truth, found)
    assert len(mine[0]) == near.sum()
    assert square[mine].sum() == pytest.approx(square[i, j][near].sum())


def test_a_tally_leaves_the_border_out() -> None:
    truth = np.array([[50.0, 50.0], [3.0, 50.0], [20.0, 20.0], [80.0, 80.0]])
    found = rows((50.3, 50.4), (3.2, 50), (1, 90), (70, 20), (80, 84))
    tally = spots.compare(truth, found, SHAPE)
    assert (tally.true, tally.false, len(tally.error)) == (3, 2, 1)
    np.testing.assert_allclose(tally.error, [[0.3, 0.4]])
    assert spots.jaccard(tally) == pytest.approx(1 / 5)
    line = spots.figures(tally, 0.25)
    assert (line["recall"], line["precision"]) == (0.3333, 0.3333)
    assert line["rmse_px"] == pytest.approx(np.sqrt(0.125), abs=1e-4)
    assert line["ratio"] == pytest.approx(np.sqrt(2), abs=1e-3)
    assert line["claimed"] == pytest.approx(0.1 / np.sqrt(0.125), abs=1e-3)


def test_isolated_spots_have_no_neighbour_within_eight_pixels() -> None:
    truth = np.array([[50.0, 50.0], [50.0, 57.9], [70.0, 20.0], [70.0, 28.1]])
    assert list(spots.isolated(truth)) == [False, False, True, True]
    found = rows((50, 51), (50, 57.9), (70.1, 20), (70, 28.0))
    found[0, 2:] = np.nan  # no stated precision: no part in the claim
    line = spots.figures(spots.compare(truth, found, SHAPE), 0.05)
    assert line["isolated_px"] == pytest.approx(np.sqrt(0.02 / 4), abs=1e-4)
    assert line["claimed_all"] == pytest.approx(0.1 / np.sqrt(0.02 / 6), abs=1e-3)


def test_nothing_found_and_nothing_there_are_figures_too() -> None:
    empty = spots.compare(np.empty((0, 2)), rows(), SHAPE)
    line = spots.figures(empty, 0.1)
    assert line["jaccard"] == 0 and line["claimed"] is None and line["rmse_px"] is None
    missed = spots.figures(spots.compare(np.array([[50.0, 50]]), rows(), SHAPE), 0.1)
    assert missed["recall"] == 0 and missed["robust_px"] is None


def test_errors_over_the_spots_that_both_found() -> None:
    truth = np.array([[50.0, 50.0], [20.0, 20.0], [80.0, 80.0]])
    mine = spots.compare(truth, rows((50.1, 50.1), (81, 80)), SHAPE, frame=3)
    theirs = spots.compare(truth, rows((20, 20), (50.2, 50.2)), SHAPE, frame=3)
    assert spots.common(mine, theirs) == pytest.approx((0.1, 0.2))
    later = spots.compare(truth, rows((50.2, 50.2)), SHAPE, frame=4)
    assert all(np.isnan(spots.common(mine, later)))
    both = spots.together([mine, later])
    assert both.true == 6 and len(both.error) == 3 and set(both.which[:, 0]) == {3, 4}
