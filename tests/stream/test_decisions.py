"""Decisions: stretches of settled states become events, once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from livespt.stream.decisions import Decisions
from livespt.stream.settings import Rule
from livespt.stream.states import Settled
from livespt.stream.types import KINDS, STATE

RULE = Rule(threshold=0.8, hold=3, change_hold=4)


def settle(state: int, uncoated: float, frame: int, slot: int = 0) -> Settled:
    """One settled row of the track in `slot`, at y = its frame."""
    rows = np.zeros(1, STATE)
    rows["frame"], rows["track"], rows["state"], rows["p_uncoated"] = frame, slot, state, uncoated
    rows["p_normal"], rows["p_directed"] = 0.3, 0.7
    return Settled(rows, np.array([slot], np.int32), np.array([[0.0, frame, 2.0]]))


def events(decisions: Decisions, series: list[tuple[int, float]], lag: int) -> NDArray[np.void]:
    """Feed (state, p_uncoated) frame by frame, announced `lag` frames later."""
    return np.concatenate(
        [decisions(settle(*row, frame), frame + lag) for frame, row in enumerate(series)]
    )


def test_uncoating_is_announced_once_at_the_frame_where_the_stretch_began() -> None:
    rise = [0.9, 0.1, 0.6, 0.9, 0.7, 0.9, 0.95, 0.85, 0.2, 0.99, 0.99, 0.99, 0.99]
    (event,) = events(Decisions(RULE), [(0, p) for p in rise], lag=10)
    assert KINDS[event["kind"]] == "uncoating"
    assert (event["frame"], event["y"], event["x"], event["delay"]) == (2, 2.0, 2.0, 5 + 10)
    assert event["probability"] == np.float32(0.95)


def test_a_changepoint_needs_a_stretch_and_an_earlier_motion() -> None:
    blip = [(0, 0.0)] * 6 + [(1, 0.0)] * 3 + [(0, 0.0)] * 6
    assert len(events(Decisions(RULE), blip, lag=0)) == 0
    change = [(0, 0.0)] * 6 + [(-1, 0.0)] * 2 + [(1, 0.0)] * 9
    (event,) = events(Decisions(RULE), change, lag=0)
    assert KINDS[event["kind"]] == "changepoint"
    assert (event["frame"], event["delay"]) == (8, 3)


def test_tracks_do_not_mix_and_a_cleared_slot_starts_anew() -> None:
    decisions = Decisions(RULE, capacity=2)
    found = []
    for frame in range(3):
        for slot in (0, 500):
            found.append(decisions(settle(0, 0.9, frame, slot), frame))
    assert sorted(np.concatenate(found)["track"].tolist()) == [0, 500]
    decisions.clear(np.array([500], np.int32))
    again = [decisions(settle(0, 0.9, frame, 500), frame) for frame in range(5)]
    assert len(np.concatenate(again)) == 1
