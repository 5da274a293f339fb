"""Dice: numbers with the distributions they claim, the same from a Generator as in Python."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from livespt.models.simulate.rng import Dice, dice, integer, normal, random
from livespt.stream.compiled import njit

Table = NDArray[np.float64]


@njit()
def take(rng: Dice, out: Table) -> None:
    """Fill out (m, 3): normal, even and whole numbers."""
    for k in range(len(out)):
        out[k, 0] = normal(rng)
        out[k, 1] = random(rng)
        out[k, 2] = integer(rng, 3, 8)


def thrown(seed: int, first: int, n: int, m: int) -> Table:
    """Numbers (n, m, 3) of n words."""
    out = np.empty((n, m, 3))
    for i in range(n):
        take(dice(seed, first + i), out[i])
    return out


def test_numbers_have_their_distributions() -> None:
    many = thrown(1, 0, 200, 5000)
    x, even, whole = many.reshape(-1, 3).T
    moments = [np.mean(x**k) for k in (1, 2, 3, 4, 6)]
    np.testing.assert_allclose(moments, [0, 1, 0, 3, 15], atol=0.15)
    assert abs(moments[0]) < 0.005 and abs(moments[1] - 1) < 0.008
    edges = np.linspace(-4.5, 4.5, 91)  # the tail, beyond 3.65, included
    below = np.array([math.erf(edge / math.sqrt(2)) / 2 + 0.5 for edge in edges])
    expected = np.diff(below) * len(x)
    found = np.histogram(x, edges)[0]
    assert np.sum((found - expected) ** 2 / expected) < 90 + 4 * math.sqrt(180)
    assert even.min() >= 0 and even.max() < 1
    counts = np.histogram(even, 50, (0, 1))[0]
    assert np.sum((counts - len(x) / 50) ** 2 / (len(x) / 50)) < 49 + 4 * math.sqrt(98)
    assert set(whole) == {3, 4, 5, 6, 7}
    np.testing.assert_allclose(np.bincount(whole.astype(int))[3:] / len(x), 0.2, atol=0.003)


def test_words_of_neighbouring_tracks_and_seeds_have_nothing_in_common() -> None:
    first = np.array([thrown(seed, 0, 200, 1)[:, 0, 0] for seed in range(200)])
    for a, b in ((first[1:], first[:-1]), (first[:, 1:], first[:, :-1])):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.025
    assert len(np.unique(first)) == first.size
    later = thrown(5, 7, 3, 20)
    np.testing.assert_array_equal(later, thrown(5, 0, 10, 20)[7:])


def test_a_generator_gives_the_same_in_compiled_code() -> None:
    out = np.empty((50, 3))
    rng, again = np.random.default_rng(2), np.random.default_rng(2)
    take(rng, out)
    for row in out:
        assert row.tolist() == [again.standard_normal(), again.random(), again.integers(3, 8)]
    rng, again = np.random.default_rng(2), np.random.default_rng(2)
    assert [normal(rng), random(rng), integer(rng, 3, 8)] == out[0].tolist()
    word = dice(1, 2)
    assert 3 <= integer(word, 3, 8) < 8 and 0 <= random(word) < 1 and math.isfinite(normal(word))
