"""Corrections of links: what hindsight finds, and how readers apply it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from livespt.models.simulate.crowds import CrowdScene, scene
from livespt.stream.analyzer import Analyzer
from livespt.stream.errors import SettingError
from livespt.stream.link.corrections import corrected
from livespt.stream.link.linker import Linker
from livespt.stream.link.offline import link_points
from livespt.stream.link.relinker import _homes
from livespt.stream.settings import Settings
from livespt.stream.states import States
from livespt.stream.types import EVENT, KINDS, SPOT, STATE, Frame, Update, joined
from livespt.tools.score.tracks import mistakes

REACH = {"receptors": 6.0, "viruses": 7.0}
RELINKED = KINDS.index("relinked")


def crowd(scenario: str, seed: int = 1) -> CrowdScene:
    return scene(scenario, 600, seed, missed=0.1, false=0.1, frames=16)


def spots_at(frame: list[int], track: list[int]) -> NDArray[np.void]:
    rows = np.zeros(len(frame), SPOT)
    rows["frame"], rows["track"] = frame, track
    return rows


def told(*events: tuple[int, int, int, int]) -> NDArray[np.void]:
    """Events (frame, delay, track, other)."""
    rows = np.zeros(len(events), EVENT)
    rows["seq"], rows["kind"] = np.arange(len(events)), RELINKED
    for name, column in zip(
        ("frame", "delay", "track", "other"), zip(*events, strict=True), strict=True
    ):
        rows[name] = column
    return rows


FRAMES = [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
BOTH = [7, 8] * 5
RULE = {
    "an exchange": ([(2, 2, 7, 8), (2, 2, 8, 7)], [7, 8, 7, 8, 8, 7, 8, 7, 7, 8]),
    "a join": ([(1, 3, 8, 7)], [7, 8, 7, 7, 7, 7, 7, 7, 7, 8]),
    "there and back": (
        [(1, 2, 7, 8), (1, 2, 8, 7), (2, 2, 7, 8), (2, 2, 8, 7)],
        [7, 8, 8, 7, 7, 8, 8, 7, 7, 8],
    ),
    "a chain through a third": ([(1, 2, 7, 9), (2, 3, 9, 5)], [7, 8, 9, 8, 5, 8, 7, 8, 7, 8]),
    "three in a circle, one not there": (
        [(3, 1, 7, 8), (3, 1, 8, 9), (3, 1, 9, 7)],
        [7, 8, 7, 8, 7, 8, 8, 9, 7, 8],
    ),
    "of a track that is not there": ([(0, 9, 1, 2)], BOTH),
}


@pytest.mark.parametrize("name", RULE)
def test_rows_get_the_ids_they_belong_to(name: str) -> None:
    moves, expected = RULE[name]
    rows = spots_at(FRAMES, BOTH)
    assert corrected(rows, told(*moves))["track"].tolist() == expected
    assert rows["track"].tolist() == BOTH
    order = np.random.default_rng(0).permutation(len(rows))
    assert (
        corrected(rows[order], told(*moves))["track"].tolist() == np.array(expected)[order].tolist()
    )


def test_a_correction_concerns_what_was_made_before_it_in_its_lane() -> None:
    rows = np.zeros(4, STATE)
    rows["frame"], rows["track"], rows["made"] = 3, 7, [3, 4, 5, 3]
    rows["channel"] = [0, 0, 0, 1]
    assert corrected(rows, told((3, 2, 7, 9)))["track"].tolist() == [9, 9, 7, 7]


def test_tails_find_homes() -> None:
    own, behind = np.array([10, 11, -1, 12]), np.array([-1, 10, 11, -1])
    slot, to = np.array([0, 1, 2, 3], np.int32), np.array([-1, 0, 1, -1], np.int32)
    # the first is pushed out by the second, that by the third, which began a track; the fourth is
    # cut off for nothing
    assert _homes(own, behind, slot, to).tolist() == [2, 0, 1, -1]


@pytest.mark.parametrize("scenario", ["viruses", pytest.param("receptors", marks=pytest.mark.slow)])
def test_hindsight_makes_fewer_mistakes(scenario: str) -> None:
    movie = crowd(scenario)
    wrong = []
    for refine in (0, 4):
        track = link_points(
            movie.frame, movie.point, REACH[scenario], 3, motion="auto", refine=refine
        )
        wrong.append(mistakes(movie.frame, movie.particle, track))
        _check_tracks(movie.frame, track, 3)
    assert wrong[1].wrong < 0.9 * wrong[0].wrong
    assert wrong[1].switches < 0.95 * wrong[0].switches


def _check_tracks(frame: NDArray[np.int64], track: NDArray[np.int64], memory: int) -> None:
    """At most one point a frame, and no gap beyond memory."""
    order = np.lexsort((frame, track))
    same = np.diff(track[order]) == 0
    step = np.diff(frame[order])[same]
    assert step.min() >= 1
    assert step.max() <= memory + 1


@pytest.mark.parametrize(("memory", "stride"), [(0, 1), (3, 1), (1, 2), (3, 2)])
def test_frames_that_jump_and_empty_ones(memory: int, stride: int) -> None:
    movie = crowd("receptors")
    frame = movie.frame * stride
    frame[frame > 8 * stride] += 7
    linker = Linker(6.0, memory, motion="auto", refine=4)
    for t in range(int(frame.max()) + 1):
        if t % stride == 0 and (t < 3 * stride or t > 5 * stride):
            linked = linker.link(t, movie.point[frame == t])
            assert len(np.unique(linked.track)) == len(linked.track)
            assert len(np.unique(linked.slot)) == len(linked.slot)
    assert linker.living == len(np.unique(linker._slot)) == len(np.unique(linker._id))
    track = link_points(frame, movie.point, 6.0, memory, motion="auto", refine=4)
    _check_tracks(frame, track, memory)


@pytest.mark.parametrize("scenario", REACH)
def test_a_restored_linker_goes_on_as_if_it_had_never_stopped(scenario: str) -> None:
    movie = crowd(scenario)
    linker = Linker(REACH[scenario], 3, movie.point.shape[1], motion="auto", refine=4)
    for t in range(16):
        linked = linker.link(t, movie.point[movie.frame == t])
        if t == 8:
            data = linker.snapshot()
            assert Linker.restore(data).snapshot() == data
            again = Linker.restore(data)
        if t > 8:
            other = again.link(t, movie.point[movie.frame == t])
            assert np.array_equal(linked.track, other.track)
            for one, two in zip(linked.moves, other.moves, strict=True):
                for a, b in zip(one, two, strict=True):
                    np.testing.assert_array_equal(a, b)
    assert again.snapshot() == linker.snapshot()


class Sums:
    """A follower whose readings tell tracks apart: the sum of all that was seen, and the age."""

    def __init__(self) -> None:
        self.sum: dict[int, float] = {}

    def push(
        self,
        slots: NDArray[np.int32],
        frames: NDArray[np.int64],
        points: NDArray[np.float64],
        intensity: NDArray[np.float64] | None,
    ) -> NDArray[np.float32]:
        seen = np.zeros(len(slots)) if intensity is None else np.nan_to_num(intensity)
        for slot, frame, point, light in zip(slots.tolist(), frames, points, seen, strict=True):
            self.sum[slot] = self.sum.get(slot, 0.0) + 0.01 * frame + point.sum() + light
        return self.read(slots, np.zeros(len(slots), np.int64))

    def read(self, slots: NDArray[np.int32], ages: NDArray[np.int64]) -> NDArray[np.float32]:
        out = np.full((len(slots), 5), 0.25, np.float32)
        out[:, 4] = [self.sum[slot] for slot in slots.tolist()] + ages
        return out

    def clear(self, slots: NDArray[np.int32]) -> None:
        for slot in slots.tolist():
            self.sum.pop(slot, None)


def _run(movie: CrowdScene, scenario: str, refine: int) -> list[Update]:
    """The analyzer on a scene's points; every motion is as likely as any other."""
    at = iter(range(int(movie.frame.max()) + 1))

    def localize(image: NDArray[np.generic]) -> NDArray[np.void]:
        points = movie.point[movie.frame == next(at)]
        spots = np.zeros(len(points), SPOT)
        for axis, name in enumerate(("z", "y", "x")[-points.shape[1] :]):
            spots[name] = points[:, axis]
        spots["intensity"] = 100
        for name in ("dz", "dy", "dx"):
            spots[name] = np.nan
        return spots

    settings = Settings(REACH[scenario], 3, lag=6, motion="auto", lineage=True, refine=refine)
    analyze = Analyzer(localize, Sums, settings)
    image = np.zeros((1,) * movie.point.shape[1], np.uint8)
    updates = [analyze(Frame(t, t, 0, 0, 0.0, image)) for t in range(int(movie.frame.max()) + 1)]
    last = analyze.finish()
    assert last is not None
    return [*updates, last]


@pytest.mark.parametrize("scenario", REACH)
def test_published_rows_and_events_give_the_corrected_tracks(scenario: str) -> None:
    movie = crowd(scenario)
    updates = _run(movie, scenario, 4)
    spots, states, events = (
        joined(dtype, [getattr(update, name) for update in updates])
        for dtype, name in ((SPOT, "spots"), (STATE, "states"), (EVENT, "events"))
    )
    assert (events["kind"] == RELINKED).sum() > 10
    assert events["seq"].tolist() == list(range(len(events)))
    here, there = corrected(spots, events), corrected(states[states["settled"] == 1], events)
    _check_tracks(here["frame"], here["track"], 3)
    # each spot of a corrected track has one settled row, of the same name
    pairs = [sorted(rows[["frame", "track"]].tolist()) for rows in (here, there)]
    assert pairs[0] == pairs[1]
    wrong = [mistakes(movie.frame, movie.particle, rows["track"]) for rows in (spots, here)]
    assert wrong[1].wrong < wrong[0].wrong


@pytest.mark.parametrize("long", [3, 30])
def test_exchanged_tails_settle_as_if_they_had_always_been_there(long: int) -> None:
    rng, cut, now = np.random.default_rng(long), long, long + 4
    points = rng.normal(size=(now + 8, 3, 3))  # of three tracks
    seen = [(t, k) for t in range(now + 8) for k in range(3) if k < 2 or t > cut]
    seen.remove((cut + 1, 0))
    swap = {0: 2, 1: 0, 2: 1}  # the third begins after the cut: its slot goes on as another's
    made, meant = (States(Sums(), lag=6, refine=4) for _ in range(2))
    rows: list[list[NDArray[np.void]]] = [[], []]
    for t in range(now + 8):
        here = [k for s, k in seen if s == t]
        at = points[t, here]
        if t == now:
            before, after = np.arange(3, dtype=np.int32), np.array([2, 0, 1], np.int32)
            made.exchange(cut, before, after, after.astype(np.int64))
        for states, moved, out in ((made, t >= now, rows[0]), (meant, t >= cut, rows[1])):
            slots = np.array([swap[k] if moved else k for k in here], np.int32)
            _, settled = states.step(t, slots, slots.astype(np.int64), at)
            out.append(settled.rows)
    for states, out in zip((made, meant), rows, strict=True):
        out.append(states.finish(now + 8).rows)
    for one, two in zip(rows[0][now:], rows[1][now:], strict=True):
        assert one.tobytes() == two.tobytes()
    assert sum(map(len, rows[0])) == len(seen)


def test_every_id_is_born_and_none_twice() -> None:
    updates = _run(crowd("receptors"), "receptors", 4)
    events = joined(EVENT, [update.events for update in updates])
    born = events[events["kind"] == KINDS.index("born")]
    lost = events["track"][events["kind"] == KINDS.index("lost")]
    moves = events[events["kind"] == RELINKED]
    assert len(np.unique(born["track"])) == len(born)
    assert len(np.unique(lost)) == len(lost)
    assert np.isin(moves["other"], born["track"]).all()
    amends = moves[moves["amends"] >= 0]
    assert len(amends)
    assert np.array_equal(events[amends["amends"]]["track"], amends["track"])
    assert np.isin(amends["track"], lost).all()
    assert (moves["delay"] <= 4).all()


REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "no motion model": (lambda: Linker(5.0, refine=3), "motion model"),
    "less than none": (lambda: Linker(5.0, motion="auto", refine=-1), "refine is -1"),
    "beyond the settled lag": (
        lambda: Analyzer(None, None, Settings(lag=6, motion="auto", refine=6)),  # type: ignore[arg-type]
        "settled after 6",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses(name: str) -> None:
    make, words = REFUSED[name]
    with pytest.raises(SettingError, match=words):
        make()
