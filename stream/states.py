"""States: what is known of the motion of every living track, provisional at once, settled later.

Rules that make a run reproducible and honest:

1. The reading of a point at frame f is settled L frames later, with the points up to f + L and no
   others, whether or not the track was seen at f + L. Its `lag` is the look-ahead really used: the
   frame of the last point seen minus f, never above L.
2. A track that ends settles its remaining points with what was seen.
3. So every point pushed gets exactly one settled row, and no row depends on other tracks: but for
   links that were corrected (`relink`), whose points are settled with the track they belong to.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.stream.compiled import njit
from livespt.stream.types import ABSTAIN, MOTIONS, STATE, Follower
from livespt.stream.windows import Windows, grown

REBUILT = 128  # points of a track that are followed anew when its links were corrected


class Settled(NamedTuple):
    """Settled rows, with where each track was: what decisions need beside the row itself."""

    rows: NDArray[np.void]  # STATE (n,)
    slots: NDArray[np.int32]
    points: NDArray[np.float64]  # (n, 3) z, y, x pixels at the row's frame


class States:
    """Tracks of one channel and position, and which of their points are not settled yet.

    Parameters
    ----------
    follower : Follower
    lag : int
        L, frames of look-ahead of a settled reading; `follower` must be able to look back so far.
    abstain_below : float
        A motion less likely than this leaves `state` undecided.
    z_scale : float
        z step in units of a pixel.
    channel, position : int
        Written into every row.
    refine : int
        Frames back from the newest for which tracks may be exchanged; below `lag`.
    """

    CONSTANTS = ("lag", "abstain_below", "z_scale", "channel", "position")

    def __init__(
        self,
        follower: Follower,
        *,
        lag: int,
        abstain_below: float = 0.0,
        z_scale: float = 1.0,
        channel: int = 0,
        position: int = 0,
        refine: int = 0,
    ) -> None:
        self.follower = follower
        self.lag = lag
        self.abstain_below = abstain_below
        self.z_scale = z_scale
        self.channel = channel
        self.position = position
        held = max(lag + 1, REBUILT) if refine else lag + 1
        self.windows = Windows(held, slack=refine + 1 if refine else 0)
        self._track = np.full(len(self.windows.count), -1, np.int64)
        self._open = np.zeros(len(self.windows.count), np.int64)  # points not settled yet
        self.abstains = False  # whether no motion is named, whatever the probabilities are

    def settle_overdue(self, frame: int) -> Settled:
        """Settle what was due before `frame`, with the readings as they stood then."""
        return self._settle(np.flatnonzero(self._open).astype(np.int32), frame - self.lag, frame)

    def close(self, slots: NDArray[np.int32], frame: int) -> Settled:
        """Settle everything left of the tracks in `slots` (n,), which ended, and forget them."""
        settled = self._settle(slots, np.iinfo(np.int64).max, frame)
        self.windows.clear(slots)
        self.follower.clear(slots)
        self._track[slots] = -1
        return settled

    def step(
        self,
        frame: int,
        slots: NDArray[np.int32],
        tracks: NDArray[np.int64],
        points: NDArray[np.float64],
        intensity: NDArray[np.float64] | None = None,
        shift: NDArray[np.float64] | None = None,
    ) -> tuple[NDArray[np.void], Settled]:
        """Take the points (n, 3) z, y, x of one frame; return provisional and settled rows.

        `intensity` (n,) is told to those who read it; None: nobody knows. `shift` (3,) is taken off
        the points before their motion is read, and off nothing else; a run has it always or never.
        """
        self._reserve(slots)
        self._track[slots] = tracks
        self.windows.push(slots, frame, points, intensity, shift)
        self._open[slots] += 1
        frames = np.full(len(slots), frame)
        scaled = (points if shift is None else points - shift) * (self.z_scale, 1.0, 1.0)
        readings = self.follower.push(slots, frames, scaled, intensity)
        now = self._rows(slots, frames, readings, frame)
        due = self._settle(np.flatnonzero(self._open).astype(np.int32), frame - self.lag + 1, frame)
        return now, due

    def exchange(
        self,
        frame: int,
        slots: NDArray[np.int32],
        to: NDArray[np.int32],
        tracks: NDArray[np.int64],
    ) -> None:
        """Give the points from `frame` on of `slots` (k,) to the tracks (k,) in the slots `to`.

        None of them is settled yet. Both go on with readings made anew.
        """
        self._reserve(to)
        self._track[to] = tracks
        went, came = self.windows.exchange(slots, to, frame)
        np.subtract.at(self._open, went, 1)
        np.add.at(self._open, came, 1)
        changed = np.union1d(slots, to).astype(np.int32)
        self.follower.clear(changed)
        self._follow_again(changed[self.windows.count[changed] > 0])

    def _follow_again(self, slots: NDArray[np.int32]) -> None:
        """Follow the points held of `slots` (n,), whose past was another."""
        windows = self.windows
        held = np.minimum(windows.count[slots], windows.length)
        for back in range(int(held.max(initial=0)) - 1, -1, -1):
            mine = slots[held > back]
            at = windows.column(mine, np.full(len(mine), back))
            points = windows.point[mine, at] - windows.shift[mine, at]
            points *= (self.z_scale, 1.0, 1.0)
            self.follower.push(mine, windows.frame[mine, at], points, windows.intensity[mine, at])

    def finish(self, frame: int) -> Settled:
        """Settle every point left at the end of a run."""
        return self.close(np.flatnonzero(self._open).astype(np.int32), frame)

    def _settle(self, slots: NDArray[np.int32], before: int, frame: int) -> Settled:
        """Settle the open points of `slots` whose frame lies below `before`."""
        windows = self.windows
        at, backs = _due(slots, windows.count, windows.frame, self._open, before)
        columns = windows.column(at, backs)
        rows = self._rows(at, windows.frame[at, columns], self.follower.read(at, backs), frame)
        rows["lag"] = windows.last_frame(at) - rows["frame"]
        rows["settled"] = 1
        points = windows.point[at, columns]
        np.subtract.at(self._open, at, 1)
        order = np.lexsort((rows["track"], rows["frame"]))
        return Settled(rows[order], at[order], points[order])

    def _rows(
        self,
        slots: NDArray[np.int32],
        frames: NDArray[np.int64],
        readings: NDArray[np.float32],
        made: int,
    ) -> NDArray[np.void]:
        rows = state_rows(readings, self.abstain_below)
        rows["frame"] = frames
        rows["channel"] = self.channel
        rows["position"] = self.position
        rows["track"] = self._track[slots]
        rows["made"] = made
        if self.abstains:
            rows["state"] = ABSTAIN
        return rows

    def _reserve(self, slots: NDArray[np.int32]) -> None:
        self.windows.reserve(slots)
        need = len(self.windows.count)
        self._track, self._open = grown(self._track, need, -1), grown(self._open, need)


def state_rows(readings: NDArray[np.float32], abstain_below: float) -> NDArray[np.void]:
    """STATE rows that hold `readings` (n, 5 or 6) and nothing else yet."""
    rows = np.zeros(len(readings), STATE)
    motion = readings[:, :4]
    for i, name in enumerate(MOTIONS):
        rows[f"p_{name}"] = motion[:, i]
    unsure = motion.max(axis=1) < abstain_below
    rows["state"] = np.where(unsure, ABSTAIN, motion.argmax(axis=1))
    rows["p_uncoated"] = readings[:, 4]
    rows["p_task"] = readings[:, 5] if readings.shape[1] > 5 else np.nan
    return rows


@njit()
def _due(
    slots: NDArray[np.int32],
    count: NDArray[np.int64],
    frame: NDArray[np.int64],
    unsettled: NDArray[np.int64],
    before: int,
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Slots and distances from the newest point of the open points older than frame `before`."""
    total = 0
    for slot in slots:
        total += unsettled[slot]
    at = np.empty(total, np.int32)
    backs = np.empty(total, np.int64)
    n = 0
    for slot in slots:
        for back in range(unsettled[slot] - 1, -1, -1):  # oldest first
            if frame[slot, (count[slot] - 1 - back) % frame.shape[1]] >= before:
                break
            at[n] = slot
            backs[n] = back
            n += 1
    return at[:n], backs[:n]
