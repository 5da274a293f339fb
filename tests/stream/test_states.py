"""States: each point is settled once, at its lag, with what was seen until then."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings as examples, strategies as st
from numpy.typing import NDArray

from livespt.stream.states import States
from livespt.stream.windows import Windows

MOST = 100  # points of a track, more than any has here


class Point(NamedTuple):
    """What a follower was given."""

    frame: int
    place: tuple[float, ...]


class Counting:
    """A follower that can be checked: p_uncoated of a point counts the points after it.

    Its motions add up to one; p_normal tells the number of the point in its track.
    """

    def __init__(self) -> None:
        self.seen: dict[int, list[Point]] = {}

    def push(
        self,
        slots: NDArray[np.int32],
        frames: NDArray[np.int64],
        points: NDArray[np.float64],
        intensity: NDArray[np.float64] | None,
    ) -> NDArray[np.float32]:
        for slot, frame, point in zip(
            slots.tolist(), frames.tolist(), points.tolist(), strict=True
        ):
            track = self.seen.setdefault(slot, [])
            assert not track or frame > track[-1].frame
            track.append(Point(frame, tuple(point)))
        return self.read(slots, np.zeros(len(slots), np.int64))

    def read(self, slots: NDArray[np.int32], ages: NDArray[np.int64]) -> NDArray[np.float32]:
        out = np.zeros((len(slots), 5), np.float32)
        for row, slot, age in zip(out, slots.tolist(), ages.tolist(), strict=True):
            number = len(self.seen[slot]) - 1 - age
            assert 0 <= number and 0 <= age
            row[:] = number / MOST, 0, 0, 1 - number / MOST, age / MOST
        return out

    def clear(self, slots: NDArray[np.int32]) -> None:
        for slot in slots.tolist():
            self.seen.pop(slot, None)


def feed(
    states: States, frames: dict[int, list[int]], end: int
) -> tuple[list[NDArray[np.void]], list[NDArray[np.void]]]:
    """Feed tracks (slot -> frames at which it was seen); return provisional and settled rows."""
    now, settled = [], []
    for frame in range(end + 1):
        slots = np.array([s for s, seen in frames.items() if frame in seen], np.int32)
        settled.append(states.settle_overdue(frame).rows)
        rows, due = states.step(frame, slots, slots.astype(np.int64), np.zeros((len(slots), 3)))
        now.append(rows)
        settled.append(due.rows)
    settled.append(states.finish(end).rows)
    return now, settled


tracks = st.dictionaries(
    st.sampled_from([0, 1, 2, 5, 300]),  # the last beyond the room there is at first
    st.lists(st.integers(0, 30), min_size=1, unique=True),
    max_size=5,
)


@given(tracks, st.integers(0, 40))
def test_every_point_is_settled_once_with_what_was_seen_by_its_deadline(
    frames: dict[int, list[int]], lag: int
) -> None:
    now, settled = feed(States(Counting(), lag=lag), frames, 31)
    rows = np.concatenate(settled)
    got = sorted(zip(rows["track"].tolist(), rows["frame"].tolist(), strict=True))
    assert got == sorted((slot, frame) for slot, seen in frames.items() for frame in seen)
    for row in rows:
        mine = frames[row["track"]]
        within = [f for f in mine if row["frame"] <= f <= row["frame"] + lag]
        before = [f for f in mine if f < row["frame"]]
        assert row["lag"] == max(within) - row["frame"]
        assert row["p_uncoated"] == pytest.approx((len(within) - 1) / MOST)
        assert row["p_normal"] == pytest.approx(len(before) / MOST)
        assert row["made"] == min(row["frame"] + lag, 31)
        assert row["settled"] == 1
    provisional = np.concatenate(now)
    assert len(provisional) == len(rows)
    assert not provisional["settled"].any() and not provisional["lag"].any()
    assert not provisional["p_uncoated"].any()
    assert np.array_equal(provisional["made"], provisional["frame"])


@given(tracks, st.integers(0, 12))
@examples(max_examples=25)
def test_no_row_depends_on_the_other_tracks(frames: dict[int, list[int]], lag: int) -> None:
    _, together = feed(States(Counting(), lag=lag), frames, 31)
    rows = np.concatenate(together)
    for slot, seen in frames.items():
        _, alone = feed(States(Counting(), lag=lag), {slot: seen}, 31)
        mine = np.concatenate(alone)
        assert rows[rows["track"] == slot].tobytes() == mine.tobytes()


def test_settled_rows_come_by_frame_then_track_with_their_places() -> None:
    states = States(Counting(), lag=3, channel=2, position=5)
    slots, tracks = np.array([7, 1, 4], np.int32), np.array([20, 40, 30])
    for frame in range(3):
        points = 100.0 * tracks[:, None] + frame + np.array([0.0, 0.1, 0.2])
        states.step(frame, slots, tracks, points)
    rows, at, points = states.finish(2)
    assert rows["frame"].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert rows["track"].tolist() == [20, 30, 40] * 3 and at.tolist() == [7, 4, 1] * 3
    np.testing.assert_allclose(points[:, 2], 100.0 * rows["track"] + rows["frame"] + 0.2)
    assert set(rows["channel"]) == {2} and set(rows["position"]) == {5}


def test_a_track_that_ends_settles_at_once_and_leaves_its_slot_clean() -> None:
    follower = Counting()
    states = States(follower, lag=4)
    slot, track = np.array([3], np.int32), np.array([7])
    states.step(0, slot, track, np.zeros((1, 3)))
    settled = states.close(slot, 2)
    assert settled.rows["track"].tolist() == [7]
    assert settled.rows["lag"].tolist() == [0]
    assert not follower.seen
    states.step(2, slot, np.array([8]), np.ones((1, 3)))
    assert states.windows.count[3] == len(follower.seen[3]) == 1
    last = states.finish(2).rows
    assert last["track"].tolist() == [8] and last["p_normal"].tolist() == [0]


def test_an_unlikely_motion_leaves_the_state_open() -> None:
    states = States(Counting(), lag=0, abstain_below=0.97)
    slot = np.array([0], np.int32)
    told = [states.step(frame, slot, np.array([0]), np.zeros((1, 3)))[1].rows for frame in range(5)]
    rows = np.concatenate(told)
    assert rows["state"].tolist() == [3, 3, 3, 3, -1]
    names = ("normal", "directed", "confined", "subdiffusive")
    np.testing.assert_allclose(sum(rows[f"p_{m}"] for m in names), 1)


def test_the_follower_is_told_z_in_pixels_and_rows_keep_z_steps() -> None:
    follower = Counting()
    states = States(follower, lag=2, z_scale=2.5)
    states.step(6, np.array([1], np.int32), np.array([0]), np.array([[2.0, 1.0, 4.0]]))
    assert follower.seen[1] == [Point(6, (5.0, 1.0, 4.0))]
    assert states.finish(6).points.tolist() == [[2.0, 1.0, 4.0]]


def test_windows_hold_the_last_points_of_each_slot() -> None:
    windows = Windows(3, capacity=1)
    slots = np.array([300, 2], np.int32)
    windows.reserve(slots)
    for frame in (5, 6, 9, 10):
        windows.push(slots, frame, np.array([[0.0, frame, 1], [1.0, frame, 2]]))
    windows.push(slots[:1], 11, np.array([[3.0, 0, 0]]))
    assert windows.count[slots].tolist() == [5, 4]
    assert windows.last_frame(slots).tolist() == [11, 10]
    assert windows.last_point(slots).tolist() == [[3, 0, 0], [1, 10, 2]]
    assert sorted(windows.frame[2].tolist()) == [6, 9, 10]
    windows.clear(slots[1:])
    assert windows.count[slots].tolist() == [5, 0]
