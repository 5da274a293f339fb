"""States: each point is settled once, at its lag, with what was seen until then."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from livespt.stream.states import States
from livespt.stream.window import Windows

WINDOW = 12


def infer(windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """A network that can be checked: p_uncoated of a point counts the points after it."""
    n, length, _ = windows.shape
    out = np.full((n, length, 5), 0.25, np.float32)
    out[:, :, 4] = np.arange(length)[::-1] / length
    return out


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
    st.integers(0, 5), st.lists(st.integers(0, 30), min_size=1, unique=True), max_size=5
)


@given(tracks, st.integers(0, WINDOW - 1))
def test_every_point_is_settled_once_with_what_was_seen_by_its_deadline(
    frames: dict[int, list[int]], lag: int
) -> None:
    now, settled = feed(States(infer, window=WINDOW, lag=lag), frames, 31)
    rows = np.concatenate(settled)
    got = sorted(zip(rows["track"].tolist(), rows["frame"].tolist(), strict=True))
    assert got == sorted((slot, frame) for slot, seen in frames.items() for frame in seen)
    for row in rows:
        within = [f for f in frames[row["track"]] if row["frame"] <= f <= row["frame"] + lag]
        assert row["lag"] == max(within) - row["frame"]
        assert row["p_uncoated"] == pytest.approx((len(within) - 1) / WINDOW)
        assert row["made"] == min(row["frame"] + lag, 31)
        assert row["settled"] == 1
    provisional = np.concatenate(now)
    assert len(provisional) == len(rows)
    assert not provisional["settled"].any() and not provisional["lag"].any()


def test_a_track_that_ends_settles_at_once_and_leaves_its_slot_clean() -> None:
    states = States(infer, window=WINDOW, lag=4)
    slot, track = np.array([3], np.int32), np.array([7])
    states.step(0, slot, track, np.zeros((1, 3)))
    settled = states.close(slot, 2)
    assert settled.rows["track"].tolist() == [7]
    assert settled.rows["lag"].tolist() == [0]
    states.step(2, slot, np.array([8]), np.ones((1, 3)))
    assert states.windows.batch(slot)[0, :, 4].sum() == 1


def test_an_unlikely_motion_leaves_the_state_open() -> None:
    rows, _ = States(infer, window=WINDOW, lag=0, abstain_below=0.5).step(
        0, np.array([0], np.int32), np.array([0]), np.zeros((1, 3))
    )
    assert rows["state"].tolist() == [-1]
    assert sum(rows[f"p_{m}"][0] for m in ("normal", "directed", "confined", "subdiffusive")) == 1


def test_z_steps_become_pixels_in_a_window() -> None:
    windows = Windows(3, z_scale=2.5)
    slot = np.array([0], np.int32)
    for frame, z in enumerate((0.0, 2.0)):
        windows.push(slot, frame, np.array([[z, 1.0, 1.0]]))
    assert windows.batch(slot)[0, :, 1].tolist() == [0, -5, 0]


def test_lag_must_fit_the_window() -> None:
    with pytest.raises(ValueError, match="window"):
        States(infer, window=WINDOW, lag=WINDOW)


def test_a_window_is_relative_padded_left_and_knows_gaps() -> None:
    windows = Windows(4)
    slot = np.array([300], np.int32)
    windows.reserve(slot)
    for frame, y in ((5, 1.0), (6, 2.0), (9, 4.0)):
        windows.push(slot, frame, np.array([[0.0, y, -y]]))
    expected = np.array(
        [[0, 0, 0, 0, 0], [0, 0, -3, 3, 1], [1, 0, -2, 2, 1], [3, 0, 0, 0, 1]], np.float32
    )
    np.testing.assert_array_equal(windows.batch(slot)[0], expected)
    for frame in (10, 11, 12):
        windows.push(slot, frame, np.array([[0.0, 4.0, -4.0]]))
    full = windows.batch(slot)[0]
    assert full[:, 4].all()
    assert full[:, 0].tolist() == [0, 1, 1, 1]  # the first point held has none before it
