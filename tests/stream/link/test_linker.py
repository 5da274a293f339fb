"""The linker against trackpy, SciPy and Fiji TrackMate, and its promises about ids and slots."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import trackpy
from hypothesis import given, settings as examples, strategies as st
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from livespt.stream.errors import InputError, SettingError
from livespt.stream.link.linker import Linker
from livespt.stream.link.relinker import Linked

Points = NDArray[np.float64]
trackpy.quiet()


def walk(
    n: int,
    size: float,
    frames: int,
    seed: int,
    *,
    step: float = 1.0,
    miss: float = 0.05,
    ndim: int = 2,
) -> list[Points]:
    """Brownian particles, some of them missed and as many false ones found in each frame."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, size, (n, ndim))
    movie = []
    for _ in range(frames):
        false = rng.uniform(0, size, (rng.binomial(n, miss), ndim))
        movie.append(rng.permutation(np.concatenate([points[rng.random(n) >= miss], false])))
        points = points + rng.normal(0, step, points.shape)
    return movie


def link_all(movie: list[Points], reach: float, memory: int = 0, **kwargs: Any) -> list[Linked]:
    linker = Linker(reach, memory, movie[0].shape[1], **kwargs)
    return [linker.link(frame, points) for frame, points in enumerate(movie)]


def renamed(ids: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Ids replaced by the order of their first points: equal for equal links."""
    flat = np.concatenate(ids)
    _, first, inverse = np.unique(flat, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]


def by_trackpy(movie: list[Points], reach: float, memory: int) -> list[NDArray[np.int64]]:
    linked = trackpy.link_iter(iter(movie), reach, memory=memory, link_strategy="recursive")
    return [np.array(ids, np.int64) for _, ids in linked]


SCENES: dict[str, tuple[list[Points], float]] = {
    "10 particles": (walk(10, 60, 40, 1), 4.0),
    "100 particles": (walk(100, 200, 20, 2), 4.0),
    "500 particles, volume": (walk(500, 80, 8, 3, ndim=3), 4.0),
    "2000 particles": (walk(2000, 900, 5, 4), 4.0),
    "crowded": (walk(300, 150, 8, 5), 4.5),
    "negative and huge coordinates": ([p * 1.0 - 5e8 for p in walk(80, 150, 10, 6)], 4.0),
    "a wide field": ([p * (1, 1000) for p in walk(100, 500, 6, 7, step=0.001)], 4.0),
}
_cross = np.linspace(-10, 10, 21)
SCENES["crossing"] = (
    [np.array([[s, s + 0.3], [s + 0.1, -s]]) for s in _cross],
    3.0,
)
_grid = np.stack(np.meshgrid(np.arange(9.0), np.arange(9.0)), -1).reshape(-1, 2) * 10
_jitter = np.random.default_rng(8).normal(0, 0.3, (6, *_grid.shape))
SCENES["contracting grid"] = ([(_grid - 40) * 0.97**k + _jitter[k] for k in range(6)], 4.5)
SCENES["exchange"] = (
    [
        np.array([[0.0, 0.0], [0.0, 3.0]]),
        np.array([[0.4, 1.7], [-0.3, 1.2]]),
        np.array([[0.0, 3.1], [0, 0]]),
    ],
    2.5,
)
SCENES["a chain that shifts by one"] = (
    [np.array([[0.0, 2.0 * i + 0.7 * k + 0.01 * i * i] for i in range(20)]) for k in range(8)],
    2.5,
)
_heaps = np.random.default_rng(9).uniform(0, 9, (8, 1, 2)) + 60 * np.arange(8)[:, None, None]
_spread = np.random.default_rng(10).uniform(-3, 3, (6, 8, 7, 2))
SCENES["dense subnets"] = ([(_heaps + spread).reshape(-1, 2) for spread in _spread], 4.0)
SCENES["more points than tracks, and fewer"] = (
    [walk(n, 40, 1, 20 + n, miss=0.0)[0] for n in (10, 40, 5, 30, 0, 30, 8)],
    4.0,
)


@pytest.mark.parametrize("memory", [0, 1, 3])
@pytest.mark.parametrize("name", SCENES)
def test_same_links_as_trackpy(name: str, memory: int) -> None:
    movie, reach = SCENES[name]
    mine = renamed([linked.track for linked in link_all(movie, reach, memory)])
    theirs = renamed(by_trackpy(movie, reach, memory))
    np.testing.assert_array_equal(mine, theirs)
    assert mine.max() < len(mine) - 1  # something was linked


@pytest.mark.parametrize("reach", [9.0, 15.0])
@pytest.mark.parametrize(("name", "memory"), [("without", 0), ("with", 1)])
def test_same_edges_as_trackmate(real_data: Path, name: str, memory: int, reach: float) -> None:
    stem = real_data / "trackmate_lap" / f"trackmate_tracks_{name}_gap_closing"
    spots = pd.read_csv(f"{stem}_spots.csv").sort_values("frame", kind="stable")
    edges = pd.read_csv(f"{stem}_edges.csv")
    linker, last, found = Linker(reach, memory), dict[int, int](), set[tuple[int, int]]()
    for frame, group in spots.groupby("frame"):
        linked = linker.link(int(str(frame)), group[["position_y", "position_x"]].to_numpy())
        for track, spot in zip(linked.track.tolist(), group["id"].tolist(), strict=True):
            if track in last:
                found.add((last[track], spot))
            last[track] = spot
    assert found == set(zip(edges["spot_source_id"], edges["spot_target_id"], strict=True))


def least_cost(old: Points, new: Points, reach: float) -> float:
    """The optimum by SciPy: each old point has a column of its own that stands for no link."""
    square = cdist(old, new) ** 2 if len(new) else np.empty((len(old), 0))
    square[square > reach**2] = 1e6
    full = np.concatenate([square, np.full((len(old), len(old)), reach**2)], axis=1)
    rows, columns = linear_sum_assignment(full)
    return float(full[rows, columns].sum())


@st.composite
def movies(draw: st.DrawFn) -> list[Points]:
    """A few frames with anything from scattered points to points on a coarse lattice (ties)."""
    ndim = draw(st.sampled_from([2, 3]))
    side = draw(st.sampled_from([4, 20, 100]))
    scale, shift = draw(st.sampled_from([(1.0, 0.0), (0.37, -1e4), (1.0, 1e6), (0.01, 0.0)]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    lattice = draw(st.booleans())
    movie = []
    for n in draw(st.lists(st.integers(0, 30), min_size=2, max_size=6)):
        points = rng.uniform(0, side, (n, ndim))
        movie.append((np.round(points) if lattice else points) * scale + shift)
    return movie


@given(movie=movies(), reach=st.floats(0.5, 8.0), memory=st.integers(0, 3))
@examples(max_examples=150)
def test_each_frame_is_linked_at_the_least_cost(
    movie: list[Points], reach: float, memory: int
) -> None:
    linker = Linker(reach, memory, movie[0].shape[1])
    places: dict[int, tuple[int, Points]] = {}  # id -> frame and place it was last seen
    for frame, points in enumerate(movie):
        living = [t for t, (last, _) in places.items() if frame - last <= memory + 1]
        old = np.array([places[t][1] for t in living]).reshape(-1, points.shape[1])
        linked = linker.link(frame, points)
        assert len(set(linked.track.tolist())) == len(points)
        links = [(t, p) for t, p in zip(linked.track.tolist(), points, strict=True) if t in living]
        cost = sum(float(((places[t][1] - p) ** 2).sum()) for t, p in links)
        cost += reach**2 * (len(living) - len(links))
        assert cost == pytest.approx(least_cost(old, points, reach), abs=1e-6)
        born = set(linked.born.tolist())
        assert born == set(linked.track.tolist()) - set(living)
        assert linked.born.tolist() == sorted(born)
        places |= {t: (frame, p) for t, p in zip(linked.track.tolist(), points, strict=True)}


def state_of(linked: Linked) -> list[bytes]:
    return [np.asarray(part).tobytes() for part in linked]


@given(movie=movies(), memory=st.integers(0, 3), cut=st.integers(0, 6), jump=st.integers(1, 4))
@examples(max_examples=80)
def test_restored_is_never_stopped(movie: list[Points], memory: int, cut: int, jump: int) -> None:
    through = Linker(3.0, memory, movie[0].shape[1], first_id=7, capacity=2)
    stopped = Linker.restore(through.snapshot())
    for index, points in enumerate(movie):
        frame = index if index < cut else index + jump
        if index == cut:
            stopped = Linker.restore(stopped.snapshot())
        assert state_of(through.link(frame, points)) == state_of(stopped.link(frame, points))
        assert through.snapshot() == stopped.snapshot()
    assert through.capacity == stopped.capacity
    assert through.next_id == stopped.next_id


@given(movie=movies(), memory=st.integers(0, 2))
@examples(max_examples=80)
def test_slots_stay_while_a_track_lives(movie: list[Points], memory: int) -> None:
    linker = Linker(3.0, memory, movie[0].shape[1], capacity=1)
    slot_of: dict[int, int] = {}  # of living tracks
    ended: set[int] = set()
    for frame, points in enumerate([*movie, points_none(movie[0].shape[1])]):
        linked = linker.link(frame, points)
        given_up = set(linked.lost_slot.tolist())
        for track, slot in zip(linked.track.tolist(), linked.slot.tolist(), strict=True):
            assert track not in ended
            assert slot_of.setdefault(track, slot) == slot
            assert 0 <= slot < linker.capacity
            assert slot not in given_up  # not before the next frame
        for track, slot in zip(linked.lost.tolist(), linked.lost_slot.tolist(), strict=True):
            assert slot_of.pop(track) == slot
            ended.add(track)
        assert len(set(slot_of.values())) == len(slot_of) == linker.living


def points_none(ndim: int) -> Points:
    return np.empty((0, ndim))


HERE = np.array([[5.0, 5.0]])
NONE = points_none(2)


def test_a_track_is_lost_in_the_first_frame_that_memory_cannot_bridge() -> None:
    linker = Linker(3.0, memory=2)
    linker.link(0, HERE)
    lost = [linker.link(frame, NONE).lost.tolist() for frame in range(1, 5)]
    assert lost == [[], [], [0], []]
    assert linker.living == 0


@pytest.mark.parametrize("reach", [0.1, 0.3, 1.0, 2.5, 5.0, 7.7])
@pytest.mark.parametrize("origin", [0.0, 0.1, 10.1, 511.7])
def test_a_distance_equal_to_the_range_links_as_in_trackpy(reach: float, origin: float) -> None:
    for far, linked in ((reach, True), (reach + 1e-5, False)):
        movie = [np.array([[origin, 3.0]]), np.array([[origin + far, 3.0]])]
        mine = [row.track[0] for row in link_all(movie, reach)]
        assert (mine[0] == mine[1]) == linked
        theirs = by_trackpy(movie, reach, 0)
        assert (theirs[0][0] == theirs[1][0]) == linked


def test_ids_count_up_in_the_order_of_the_points() -> None:
    linker = Linker(2.0, first_id=40)
    assert linker.link(3, [[0, 0], [50, 0], [9, 9]]).track.tolist() == [40, 41, 42]
    linked = linker.link(4, [[70, 0], [9, 8], [0, 1], [90, 90]])
    assert linked.track.tolist() == [43, 42, 40, 44]
    assert linked.born.tolist() == [43, 44]
    assert linked.lost.tolist() == [41]


def test_slots_are_reused_and_capacity_follows_the_living() -> None:
    linker = Linker(2.0, capacity=4)
    for frame, points in enumerate(walk(30, 1e4, 200, 11, step=50.0, miss=0.5)):
        linker.link(frame, points)
    assert linker.next_id > 2000
    assert linker.capacity <= 256


SHAPES: dict[str, list[Points]] = {
    "all at one place": [np.zeros((300, 2)), np.zeros((300, 2)), np.zeros((200, 2))],
    "one line": [np.stack([np.zeros(3000), np.arange(3000) * 3.0], 1) + k for k in (0, 0.5, 1)],
    "a lattice as wide as the cells wrap": [
        np.stack(np.meshgrid(np.arange(40), np.arange(40)), -1).reshape(-1, 2) * 400.0 + k
        for k in (0, 1, 2)
    ],
    "two far outliers": [
        np.concatenate([walk(200, 300, 1, 12)[0], [[1e99, -1e99], [-1e99, 1e30]]])
    ] * 3,
    "one huge component": [walk(400, 40, 1, 13, miss=0.0)[0] + k * 0.1 for k in (0, 1, 2)],
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
def test_odd_scenes_link_every_point(name: str) -> None:
    for linked in link_all(SHAPES[name], 4.0)[1:]:
        assert len(linked.born) == 0


def test_false_detections_by_the_thousand() -> None:
    rng = np.random.default_rng(14)
    true = rng.uniform(0, 512, (500, 2))
    linker = Linker(5.0)
    linker.link(0, true)
    swamped = linker.link(1, np.concatenate([true, rng.uniform(0, 512, (50_000, 2))]))
    assert swamped.track[:500].tolist() == list(range(500))  # nothing is cheaper than no distance
    assert len(linker.link(2, true).lost) == 50_000


_crowd = np.random.default_rng(15)
CROWDS: dict[str, tuple[list[Points], bool]] = {
    # frames, whether they are too dense for the optimum in bounded time
    "200 within reach of all": ([_crowd.uniform(0, 1, (200, 2)) for _ in range(3)], False),
    "800 at one place": ([np.zeros((800, 2))] * 3, False),
    "10 000 at one place": ([np.zeros((10_000, 2))] * 2, True),
    "10 000 in one pixel": ([_crowd.uniform(0, 1, (10_000, 2)) for _ in range(2)], True),
    "50 000 in a corner": ([_crowd.uniform(0, 30, (50_000, 2)) for _ in range(2)], True),
}


@pytest.mark.parametrize("name", CROWDS)
def test_crowds_are_linked_in_bounded_time_and_counted(name: str) -> None:
    movie, degraded = CROWDS[name]
    linker = Linker(4.0)
    before = linker.link(0, movie[0])
    for frame, points in enumerate(movie[1:], 1):
        linked = linker.link(frame, points)  # 0.7 s at most; the optimum would take for ever
        assert (linked.degraded > 0.9 * len(points)) == degraded
        assert (linked.degraded > 0) == degraded
        assert len(linked.born) < 0.4 * len(points)
        if not degraded:
            square = cdist(movie[frame - 1], points) ** 2
            order = np.argsort(linked.track)
            cost = square[np.argsort(before.track)[:, None], order].diagonal().sum()
            assert cost == pytest.approx(least_cost(movie[frame - 1], points, 4.0), abs=1e-6)
        before = linked


def test_a_crowd_does_not_degrade_its_neighbours() -> None:
    crowd = _crowd.uniform(0, 1, (2000, 2))
    alone = _crowd.uniform(50, 400, (300, 2))
    linker = Linker(4.0)
    linker.link(0, np.concatenate([crowd, alone]))
    linked = linker.link(1, np.concatenate([crowd[::-1], alone + 0.1]))
    assert linked.degraded == 2000
    assert linked.track[2000:].tolist() == list(range(2000, 2300))


def test_a_bad_point_is_named() -> None:
    linker = Linker(3.0)
    for points, words in (
        ([[1, 2], [3, np.nan]], "point 1"),
        ([[1, 2], [1, 1], [1e200, 2]], "point 2"),  # too large to square
        ([[1, 2, 3]], r"\(1, 3\)"),
    ):
        with pytest.raises(InputError, match=words):
            linker.link(0, points)


@pytest.mark.parametrize(
    "arguments",
    [
        (0.0,),
        (-1.0,),
        (np.nan,),
        (np.inf,),
        (3.0, -1),
        (3.0, 0, 1),
        (3.0, 0, 2, -1),
        (3.0, 0, 2, 0, 0),
    ],
)
def test_bad_settings_are_refused(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(SettingError):
        Linker(*arguments)


@pytest.mark.slow
def test_the_same_bytes_in_another_process() -> None:
    code = (
        "import hashlib, sys, numpy as np\n"
        "from livespt.stream.link.linker import Linker\n"
        "linker, rng = Linker(4.0, 2), np.random.default_rng(1)\n"
        "points, digest = rng.integers(0, 60, (300, 2)) / 2, hashlib.sha256()\n"
        "for frame in range(12):\n"
        "    seen = points[rng.random(300) < 0.9]\n"
        "    for part in linker.link(frame, seen)[:5]: digest.update(part)\n"
        "    digest.update(linker.snapshot())\n"
        "    points = points + rng.integers(-2, 3, points.shape) / 2\n"
        "print(digest.hexdigest())\n"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    assert len(runs[0].stdout.strip()) == 64
    assert runs[0].stdout == runs[1].stdout
