"""Decisions: settled states in, events out.

- `changepoint`: a track settles into another motion and stays `hold` settled points in it.
- `uncoating`: p_uncoated stays at `threshold` or above for `hold` settled points; once per track.
  Its frame is where p_uncoated rose to 0.5 for good: from there on it was the likelier answer.

Both carry the frame at which it began, and `delay`, the frames from there to the announcement.
Probabilities may fall again later; a decision, once made, is not taken back here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from livespt.stream.compiled import njit
from livespt.stream.settings import DEFAULT_RULE, Rule
from livespt.stream.states import Settled
from livespt.stream.types import EVENT, KINDS, MOTIONS


class Decisions:
    """Stretches of every living track, by slot."""

    CONSTANTS = ("rule",)

    def __init__(self, rule: Rule = DEFAULT_RULE, capacity: int = 256) -> None:
        self.rule = rule
        # per slot: points above the threshold, whether announced, motion settled into, candidate
        # motion, its points, whether p_uncoated is above 0.5
        self._stretch = np.zeros((capacity, 6), np.int64)
        self._start = np.zeros((capacity, 2, 4))  # frame, z, y, x where either stretch began
        self._best = np.zeros((capacity, 2))  # probability reached in either stretch
        self.clear(np.arange(capacity, dtype=np.int32))

    def clear(self, slots: NDArray[np.int32]) -> None:
        """Forget the tracks in `slots`."""
        self._stretch[slots] = (0, 0, -1, -1, 0, 0)
        self._start[slots] = 0
        self._best[slots] = 0

    def __call__(self, settled: Settled, frame: int) -> NDArray[np.void]:
        """Return the events (EVENT, `seq` left 0) that these settled rows decide."""
        rows, slots, points = settled
        if not len(rows):
            return np.zeros(0, EVENT)
        self._reserve(int(slots.max()) + 1)
        motion = np.stack([rows[f"p_{name}"] for name in MOTIONS], axis=1)
        # contiguous, whatever their number: another memory layout would be compiled anew
        frames, state, uncoated = (
            np.ascontiguousarray(rows[name]) for name in ("frame", "state", "p_uncoated")
        )
        found = _decide(
            slots,
            frames,
            state,
            motion,
            uncoated,
            points,
            self._stretch,
            self._start,
            self._best,
            self.rule.threshold,
            self.rule.hold,
            self.rule.change_hold,
        )
        which, kind, at, probability = found
        events = np.zeros(len(which), EVENT)
        events["kind"] = np.where(kind == 0, KINDS.index("uncoating"), KINDS.index("changepoint"))
        events["frame"] = at[:, 0]
        events["z"], events["y"], events["x"] = at[:, 1], at[:, 2], at[:, 3]
        for name in ("channel", "position", "track"):
            events[name] = rows[name][which]
        events["other"] = events["amends"] = -1
        events["probability"] = probability
        events["delay"] = frame - events["frame"]
        return events

    def _reserve(self, need: int) -> None:
        have = len(self._stretch)
        if need > have:
            grown = max(need, 2 * have)
            for name in ("_stretch", "_start", "_best"):
                old = getattr(self, name)
                new = np.zeros((grown, *old.shape[1:]), old.dtype)
                new[:have] = old
                setattr(self, name, new)
            self.clear(np.arange(have, grown, dtype=np.int32))


@njit()
def _decide(  # one loop over rows, in the order they settled
    slots: NDArray[np.int32],
    frames: NDArray[np.int64],
    state: NDArray[np.int8],
    motion: NDArray[np.float32],
    uncoated: NDArray[np.float32],
    points: NDArray[np.float64],
    stretch: NDArray[np.int64],
    start: NDArray[np.float64],
    best: NDArray[np.float64],
    threshold: float,
    hold: int,
    change_hold: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    which = np.empty(2 * len(slots), np.int64)
    kind = np.empty(2 * len(slots), np.int64)
    at = np.empty((2 * len(slots), 4))
    probability = np.empty(2 * len(slots))
    n = 0
    for i in range(len(slots)):
        slot = slots[i]
        mine = stretch[slot]
        likely = uncoated[i] >= 0.5
        if likely and mine[5] == 0:
            _begin(start[slot, 0], float(frames[i]), points[i])
            best[slot, 0] = 0
        mine[5] = likely
        if uncoated[i] >= threshold:
            mine[0] += 1
            best[slot, 0] = max(best[slot, 0], uncoated[i])
            if mine[0] >= hold and mine[1] == 0:
                mine[1] = 1
                which[n], kind[n], probability[n] = i, 0, best[slot, 0]
                _begin(at[n], start[slot, 0, 0], start[slot, 0, 1:])
                n += 1
        else:
            mine[0] = 0
        if state[i] < 0:
            continue
        if state[i] == mine[2]:
            mine[3], mine[4] = -1, 0
            continue
        if state[i] != mine[3]:
            mine[3], mine[4] = state[i], 0
            _begin(start[slot, 1], float(frames[i]), points[i])
            best[slot, 1] = 0
        mine[4] += 1
        best[slot, 1] = max(best[slot, 1], motion[i, state[i]])
        if mine[4] >= change_hold:
            if mine[2] >= 0:  # the first motion of a track is no change
                which[n], kind[n], probability[n] = i, 1, best[slot, 1]
                _begin(at[n], start[slot, 1, 0], start[slot, 1, 1:])
                n += 1
            mine[2], mine[3], mine[4] = state[i], -1, 0
    return which[:n], kind[:n], at[:n], probability[:n]


@njit()
def _begin(row: NDArray[np.float64], frame: float, point: NDArray[np.float64]) -> None:
    """Into `row` (4,) a frame and z, y, x; an assigned slice would take seconds to compile."""
    row[0], row[1], row[2], row[3] = frame, point[0], point[1], point[2]
