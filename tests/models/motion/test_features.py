"""Traits: each is what its formula says, live as over whole tracks, and of nothing but motion."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings as examples, strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from livespt.models.motion import features
from livespt.models.motion.features import COUNT, MIN_SQUARE, STUCK_STEP_PX, FeatureState, of_tracks

Floats = NDArray[np.float64]


def walk(n: int, seed: int = 0, ndim: int = 3, step: float = 3.0) -> Floats:
    """A random walk (n, 3) in pixels that lingers and turns, far from the origin."""
    rng = np.random.default_rng(seed)
    steps = step * rng.normal(size=(n, 3)) * rng.choice([0.3, 1.0, 2.0], (n, 1))
    steps[n // 3 : n // 2] += step
    steps[:, : 3 - ndim] = 0
    points: Floats = np.cumsum(steps, axis=0) + np.array([7.0, 120.0, 80.0])
    return points


def gappy(n: int, seed: int = 0) -> NDArray[np.int64]:
    """Frames (n,) of a track with gaps."""
    rng = np.random.default_rng(seed)
    return np.cumsum(rng.choice([1, 1, 1, 1, 2, 5], n)).astype(np.int64) + 40


def told(
    frame: NDArray[np.int64], point: Floats, um: float = 0.0, backwards: bool = False
) -> Floats:
    offset = np.array([0, len(frame)])
    return of_tracks(offset, frame, point, np.array([um]), backwards).astype(np.float64)


def log_length(square: Any) -> float:
    return 0.5 * math.log(square + MIN_SQUARE)


def running(values: Floats, memory: float) -> float:
    """Mean of the first values, and of about the last `memory` when there are more."""
    mean = 0.0
    for k, value in enumerate(values, 1):
        mean += (value - mean) / min(k, memory)
    return mean


def plainly(frame: NDArray[np.int64], point: Floats, um: float) -> list[float]:
    """The traits of the last point of a track, each by its own formula."""
    n = len(point) - 1
    x = point - point[0]
    steps, took = np.diff(x, axis=0), np.diff(frame)
    roots = np.sqrt(np.linalg.norm(steps, axis=1) / np.sqrt(took))
    scale = max(running(roots, 600) ** 2, STUCK_STEP_PX)
    x, steps = x / scale, steps / scale  # lengths in typical steps from here on

    def cosine(a: Floats, b: Floats) -> float:
        return float(a @ b / math.sqrt((a @ a + MIN_SQUARE) * (b @ b + MIN_SQUARE)))

    lengths, angles = [], []
    for k in (1, 2, 4, 8, 16, 32, 64, 128):
        d = x[n] - x[n - k] if n >= k else None
        lengths.append(0.0 if d is None else log_length(d @ d / (frame[n] - frame[n - k])))
        angles.append(0.0 if n < 2 * k else cosine(x[n] - x[n - k], x[n - k] - x[n - 2 * k]))
    far, bent = [], []
    for k in (4, 16, 48):
        means = [x[n + 1 - (j + 1) * k : n + 1 - j * k].mean(0) for j in range((n + 1) // k)]
        d = means[0] - means[1] if len(means) >= 2 else None
        far.append(0.0 if d is None else log_length(d @ d / (frame[n] - frame[n - k])))
        bent.append(0.0 if d is None or len(means) < 3 else cosine(d, means[1] - means[2]))
    away, back = [], []
    for memory in (4, 16, 64):
        centre = np.array([running(column, memory) for column in x[:n].T])
        d = x[n - 1] - centre if n else np.zeros(3)
        away.append(log_length(d @ d / memory) if n else 0.0)
        back.append(d @ steps[-1] / math.sqrt((d @ d + MIN_SQUARE) * took[-1]) if n else 0.0)
    spread = []
    for k in (8, 32, 128):
        last = x[n + 1 - k : n + 1]
        gyration = last.var(0).sum() if n + 1 >= k else 0.0
        spread.append(0.5 * math.log(gyration / k + MIN_SQUARE / k) if n + 1 >= k else 0.0)
    dots = [steps[-1] @ steps[-2 - j] if n >= 2 + j else 0.0 for j in range(3)]
    near = running(roots, 16)
    return [
        *lengths, *angles[:-1], *far, *bent, *away, *back, *spread,
        *(2 * dot / (1 + abs(dot)) for dot in dots),
        math.log(took[-1]) if n else 0.0,
        math.log(n + 1) / 4,
        1 / (n + 1),
        float((point[:, 0] != point[0, 0]).any()),
        log_length(x[n] @ x[n] / max(n, 1)),
        2 * math.log((near + 1e-3) / (running(roots, 600) + 1e-3)),
        math.log10(scale * um if n else STUCK_STEP_PX) + 1 if um else 0.0,
        float(um > 0),
    ]  # fmt: skip


@pytest.mark.parametrize(("ndim", "um"), [(3, 0.0), (2, 0.16)])
def test_each_trait_is_what_its_formula_says(ndim: int, um: float) -> None:
    frame, point = gappy(700), walk(700, ndim=ndim)
    fast = told(frame, point, um)
    assert fast.shape == (700, COUNT)
    for n in (*range(1, 60), 100, 127, 128, 129, 143, 144, 161, 330, 601, 640, 700):
        slow = plainly(frame[:n], point[:n], um)
        np.testing.assert_allclose(fast[n - 1], slow, atol=2e-5, err_msg=f"{n} points")


MOVES = {
    "place": lambda p: p + np.array([3.0, -250.0, 1000.0]),
    "turned": lambda p: p @ np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0],
    "mirrored": lambda p: p * (-1, 1, 1),
    "larger": lambda p: 30 * p,
    "smaller": lambda p: p / 10,
}


@pytest.mark.parametrize("name", MOVES)
def test_place_direction_and_size_do_not_matter(name: str) -> None:
    frame, point = gappy(300, 1), walk(300, 1)
    np.testing.assert_allclose(told(frame, MOVES[name](point)), told(frame, point), atol=5e-3)


def test_the_pixel_size_adds_the_typical_step_in_um_alone() -> None:
    frame, point = gappy(200, 2), walk(200, 2)
    none, fine, coarse = told(frame, point), told(frame, 10 * point, 0.01), told(frame, point, 0.1)
    assert np.array_equal(none[:, :-2], coarse[:, :-2])
    assert not none[:, -2:].any() and (coarse[:, -1] == 1).all()
    np.testing.assert_allclose(fine, coarse, atol=5e-3)  # the same lengths in um
    step_um = 0.1 * np.median(np.linalg.norm(np.diff(point, axis=0), axis=1))
    assert 0.5 < 10 ** (coarse[-1, -2] - 1) / step_um < 2


def test_two_dimensions_are_three_in_which_z_stands_still() -> None:
    frame, point = gappy(120), walk(120, ndim=2)
    flat = told(frame, point)
    tilted = told(frame, point @ np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0])
    solid = COUNT - 5
    assert not flat[:, solid].any() and tilted[1:, solid].all()
    np.testing.assert_allclose(np.delete(tilted, solid, 1), np.delete(flat, solid, 1), atol=5e-3)


def test_nothing_of_what_comes_later_is_told() -> None:
    frame, point = gappy(200), walk(200)
    for n in (1, 2, 50, 199):
        assert np.array_equal(told(frame[:n], point[:n]), told(frame, point)[:n])


def test_backwards_is_the_track_from_its_end() -> None:
    frame, point = gappy(200), walk(200)
    turned = told(-frame[::-1], point[::-1].copy(), 0.1)
    assert np.array_equal(told(frame, point, 0.1, backwards=True), turned[::-1])


def test_tracks_one_after_another_do_not_know_each_other() -> None:
    counts = (3, 200, 1, 40, 0, 170)
    offset = np.concatenate([[0], np.cumsum(counts)])
    frame = np.concatenate([gappy(n, n) for n in counts])
    point = np.concatenate([walk(n, n) for n in counts])
    um = np.array([0.1, 0.0, 0.2, 0.3, 0.4, 0.0])
    for backwards in (False, True):
        together = of_tracks(offset, frame, point, um, backwards)
        for i, (low, high) in enumerate(itertools.pairwise(offset)):
            alone = told(frame[low:high], point[low:high], um[i], backwards)
            assert np.array_equal(together[low:high], alone)


@given(st.lists(st.sets(st.integers(0, 5)), max_size=40), st.integers(0, 2**32 - 1))
@examples(max_examples=40)
def test_point_by_point_is_bit_for_bit_the_same(seen: list[set[int]], seed: int) -> None:
    """Whatever the slots, their order and who else is pushed."""
    rng = np.random.default_rng(seed)
    names = rng.permutation(20)[:6]  # the slot of each track
    memory = FeatureState(capacity=1)
    rows: dict[int, list[tuple[int, Floats, Floats]]] = {track: [] for track in range(6)}
    for t, some in enumerate(seen):
        order = rng.permutation(sorted(some)).astype(np.int64)
        slots, points = names[order].astype(np.int32), rng.normal(size=(len(order), 3))
        memory.reserve(int(slots.max(initial=-1)) + 1)
        now = memory.push(slots, np.full(len(order), t), points, 0.1)
        for track, point, trait in zip(order, points, now, strict=True):
            rows[int(track)].append((t, point, trait))
    for row in rows.values():
        if row:
            frame, point, live = (np.array(part) for part in zip(*row, strict=True))
            assert np.array_equal(told(frame, point, 0.1), live)


def test_a_cleared_slot_is_as_new() -> None:
    memory, slot = FeatureState(2), np.array([1], np.int32)
    frame, first, second = gappy(200), walk(200, 1), walk(200, 2, ndim=2)

    def live(point: Floats) -> Floats:
        pairs = zip(frame, point, strict=True)
        return np.concatenate([memory.push(slot, np.array([t]), p[None]) for t, p in pairs])

    live(first)
    memory.clear(slot)
    assert np.array_equal(live(second), told(frame, second))


STILL = {
    "never moves": np.full((200, 3), 55.0),
    "moves once": np.repeat([[0.0, 1, 1], [0.0, 1, 2]], 100, axis=0),
    "moves less than a float32 can tell": 1e3 + 1e-9 * np.arange(600).reshape(200, 3),
    "hops to and fro": np.tile([[0.0, 0, 0], [0.0, 0, 5]], (100, 1)),
    "one leap across everything": np.repeat([[0.0, 0, 0], [0.0, 9e8, -9e8]], 100, axis=0),
}


@pytest.mark.parametrize("name", STILL)
def test_odd_tracks_have_traits_of_a_usual_size(name: str) -> None:
    for frame in (np.arange(200), gappy(200), np.arange(200) * 10_000_000):
        for um in (0.0, 0.1):
            assert np.abs(told(frame, STILL[name], um)).max() < 100


def test_a_particle_that_never_moves_has_no_direction() -> None:
    some = told(np.arange(200), STILL["never moves"])
    quiet = 0.5 * math.log(MIN_SQUARE)
    np.testing.assert_allclose(some[128:, :8], quiet, atol=1e-6)
    assert not some[:, 8:15].any()


@given(
    arrays(np.float64, st.tuples(st.integers(1, 150), st.just(3)), elements=st.floats(-1e9, 1e9)),
    st.lists(st.integers(0, 10**6), min_size=150, max_size=150),
    st.sampled_from([0.0, 1e-3, 1.0]),
)
@examples(max_examples=50)
def test_no_track_has_a_trait_that_is_no_number(point: Floats, gaps: list[int], um: float) -> None:
    frame = np.cumsum(gaps[: len(point)])
    assert np.isfinite(told(frame, point, um)).all()
    assert np.isfinite(told(frame, point, um, backwards=True)).all()


def test_the_ring_holds_what_the_traits_look_back_on() -> None:
    farthest = max(features.LAGS[-1], 2 * features.LAGS[-2], 3 * features.STRETCHES[-1])
    assert max(farthest, features.SPREADS[-1]) < features.RING
