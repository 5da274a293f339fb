"""The challenge's measures on cases worked out by hand, and against all pairings tried out."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from livespt.tools.score.tracks import Mistakes, Score, TrackPoints, mistakes, score, without_short

GATE = 5.0


def table(*tracks: tuple[int, list[float]]) -> TrackPoints:
    """Tracks along x from a first frame on; NaN leaves a frame out."""
    frame, x, name = [], [], []
    for number, (start, places) in enumerate(tracks):
        for k, place in enumerate(places):
            if not np.isnan(place):
                frame.append(start + k)
                x.append(place)
                name.append(number)
    point = np.column_stack([np.zeros(len(x)), np.array(x, float)])
    return TrackPoints(np.array(frame, np.int64), point, np.array(name, np.int64))


TWO = ((0, [0.0] * 10), (0, [100.0] * 10))
NAN = float("nan")
CASES: dict[str, tuple[TrackPoints, TrackPoints, Score]] = {
    "perfect": (table(*TWO), table(*TWO), Score(1, 1, 1, 1)),
    "nothing found": (table(*TWO), table(), Score(0, 0, 0, 0)),
    "half a pixel off": (
        table(*TWO),
        table((0, [0.5] * 10), (0, [100.5] * 10)),
        Score(0.9, 0.9, 1, 1),
    ),
    "one of two": (table(*TWO), table(TWO[0]), Score(0.5, 0.5, 0.5, 0.5)),
    # the spurious track costs 4 x 5 of the 20 x 5 + 4 x 5
    "a spurious track": (
        table(*TWO),
        table(*TWO, (3, [50.0] * 4)),
        Score(1, 100 / 120, 20 / 24, 2 / 3),
    ),
    # the longer part is the partner: 6 of 10 points
    "a track in two parts": (
        table((0, [0.0] * 10)),
        table((0, [0.0] * 4), (4, [0.0] * 6)),
        Score(0.6, 30 / 70, 6 / 14, 1 / 2),
    ),
    "a point missed": (
        table((0, [0.0] * 10)),
        table((0, [0.0] * 3 + [NAN] + [0.0] * 6)),
        Score(0.9, 0.9, 0.9, 1),
    ),
    # too far at 2 points: both count, once as missed and once as false
    "two points astray": (
        table((0, [0.0] * 10)),
        table((0, [0.0] * 8 + [30.0] * 2)),
        Score(0.8, 0.8, 8 / 12, 1),
    ),
    # 2 points within the gate cannot pay for 8 that are not of the particle
    "nobody is paired at a loss": (
        table((0, [0.0] * 2)),
        table((0, [0.0] * 10)),
        Score(0, 0, 0, 0),
    ),
    # frames 0-4 right, 5-9 exchanged; each keeps 5 of 10 points
    "exchange": (
        table(*TWO),
        table((0, [0.0] * 5 + [100.0] * 5), (0, [100.0] * 5 + [0.0] * 5)),
        Score(0.5, 0.5, 10 / 30, 1),
    ),
    # greedy would give track 1 to track 0 (gain 5 x 10) and nothing to the other
    "the best pairing of all, not the best pair": (
        table((0, [0.0] * 10), (0, [4.0] * 10)),
        table((0, [2.5] * 10), (0, [-2.0] * 10)),
        Score(1 - (20 + 15) / 100, 1 - 35 / 100, 1, 1),
    ),
    "points of no track are left out": (
        table(*TWO),
        TrackPoints(*(np.concatenate([a, b]) for a, b in zip(
            table(*TWO), TrackPoints(np.array([2]), np.array([[0.0, 1.0]]), np.array([-1])),
            strict=True,
        ))),
        Score(1, 1, 1, 1),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_known_answers(name: str) -> None:
    true, found, expected = CASES[name]
    assert score(true, found, GATE) == pytest.approx(expected)


def by_trying(true: TrackPoints, found: TrackPoints) -> float:
    """Least d(X, Y) over all pairings."""

    def path(of: TrackPoints, track: int) -> dict[int, float]:
        rows = of.track == track
        return dict(zip(of.frame[rows].tolist(), of.point[rows, 1].tolist(), strict=True))

    def apart(a: dict[int, float], b: dict[int, float]) -> float:
        return sum(
            min(abs(a[t] - b[t]), GATE) if t in a and t in b else GATE for t in a.keys() | b.keys()
        )

    ours = [path(true, k) for k in np.unique(true.track)]
    theirs = [path(found, k) for k in np.unique(found.track)]
    theirs += [{} for _ in ours]
    return min(
        sum(apart(x, theirs[j]) for x, j in zip(ours, chosen, strict=True))
        for chosen in permutations(range(len(theirs)), len(ours))
    )


@pytest.mark.parametrize("seed", range(30))
def test_no_pairing_is_better(seed: int) -> None:
    rng = np.random.default_rng(seed)

    def some(n: int) -> TrackPoints:
        return table(
            *(
                (int(rng.integers(4)), list(rng.uniform(0, 12, rng.integers(1, 6))))
                for _ in range(n)
            )
        )

    true, found = some(3), some(4)
    least = by_trying(true, found)
    assert score(true, found, GATE).alpha == pytest.approx(1 - least / (GATE * len(true.frame)))


def ids(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def test_mistakes_are_counted() -> None:
    frame = ids(0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 1, 2)
    particle = ids(0, 0, 0, 0, 0, 1, 1, 1, 1, 1, -1, -1)
    right = ids(0, 0, 0, 0, 0, 1, 1, 1, 1, 1, -1, -1)
    assert mistakes(frame, particle, right) == Mistakes(0, 0, 0, 8, 0, 2)
    swapped = ids(0, 0, 1, 1, 1, 1, 1, 0, 0, 0, 2, 2)
    assert mistakes(frame, particle, swapped) == Mistakes(2, 0, 3, 9, 1, 3)
    broken = ids(0, 0, -1, 5, 5, 1, 1, 1, 1, 1, -1, -1)
    assert mistakes(frame, particle, broken) == Mistakes(1, 1, 0, 6, 0, 3)
    none = ids()
    assert mistakes(none, none, none) == Mistakes(0, 0, 0, 0, 0, 0)


def test_short_tracks_are_left_out() -> None:
    track = ids(4, 7, 4, -1, 9, 7, 7)
    assert without_short(track).tolist() == [4, 7, 4, -1, -1, 7, 7]
    assert without_short(track, 3).tolist() == [-1, 7, -1, -1, -1, 7, 7]
    assert without_short(ids()).tolist() == []


def test_a_whole_movie_against_itself() -> None:
    rng = np.random.default_rng(1)
    frame = np.repeat(np.arange(40), 300)
    point = rng.uniform(0, 200, (len(frame), 3))
    track = np.tile(np.arange(300), 40)
    true = TrackPoints(frame, point, track)
    assert score(true, TrackPoints(frame, point, track * 3 + 5)) == pytest.approx((1, 1, 1, 1))
    shuffled = rng.permutation(len(frame))
    mixed = TrackPoints(*(column[shuffled] for column in true))
    assert score(true, mixed) == pytest.approx((1, 1, 1, 1))
