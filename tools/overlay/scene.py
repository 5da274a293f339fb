"""The scene: content of the overlay at one frame, as arrays that any renderer can draw.

Both renderers (vispy and matplotlib) draw the same `Scene`; layers.py defines colours and markers.
Coordinates are image pixels, with pixel centres at integers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.stream.types import KINDS, MOTIONS, STATE, Start, Update

UNSURE = len(MOTIONS)  # palette index of a state that is undecided or not known yet
UNCOATING = KINDS.index("uncoating")
FLASH_FRAMES = {UNCOATING: 24}  # duration of a flash, frames; those of other events are below
OTHER_FLASH_FRAMES = 8
UNFLASHED_KINDS = tuple(KINDS.index(k) for k in ("born", "lost"))  # too common to flash
TAIL = 80  # length of a tail, frames
MEMORY = 1 << 18  # rows of past states kept for the inspector
LEVELS_EVERY = 15  # frames between two updates of the contrast

HEAD = np.dtype([("track", "i8"), ("y", "f4"), ("x", "f4"), ("state", "i1"), ("p", "f4")])
LAST = np.dtype([("track", "i8"), ("y", "f4"), ("x", "f4"), ("frame", "i8")])
FLASH = np.dtype(
    [("kind", "u1"), ("track", "i8"), ("y", "f4"), ("x", "f4"), ("born", "i8"), ("seq", "i8")]
)


def contrast(image: NDArray[Any]) -> tuple[float, float]:
    """Return black and white level: percentiles of every fourth pixel in both directions."""
    sample = image[::4, ::4] if min(image.shape) >= 64 else image
    low, high = np.percentile(sample, (15.0, 99.9))
    return float(low), float(high) if high > low else float(low) + 1.0


class Scene:
    """The newest frame, the tails of the tracks, and the state of every track.

    Tails are stored in `ring`, a ring buffer of segments with two vertices each: x, y, frame of the
    vertex, palette index, frame of the newer end of the segment. By the last column, both vertices
    expire together. (If they expired one by one, diagonals would remain across the picture.)

    Parameters
    ----------
    start : Start
        Names, units and shape of the run.
    tail : int
        Length of a tail, frames.
    capacity : int
        Number of segments: most tracks at a time, times `tail`.
    channel, position : int
        Channel and position that are drawn.
    """

    def __init__(
        self,
        start: Start,
        *,
        tail: int = TAIL,
        capacity: int = 1 << 16,
        channel: int = 0,
        position: int = 0,
    ) -> None:
        self.start = start
        self.tail, self.capacity = tail, capacity
        self.channel, self.position = channel, position
        self.image: NDArray[Any] = np.zeros(start.shape[-2:], np.uint8)
        self.levels: tuple[float, float] | None = None
        self.lock_levels = False
        self.selected: int | None = None
        self.ring = np.zeros((2 * capacity, 5), np.float32)
        self._memory = np.zeros(MEMORY, STATE)
        self.clear()

    def clear(self) -> None:
        """Remove everything except the image, its contrast and the selection."""
        self.frame, self.time_s, self.lost, self.degraded, self.announced = -1, 0.0, 0, 0, 0
        self.heads = np.zeros(0, HEAD)
        self.flashes = np.zeros(0, FLASH)
        self.recent: deque[np.void] = deque(maxlen=32)  # newest events last
        self.times: deque[float] = deque(maxlen=50)  # seconds, of the newest frames
        self.latency: deque[float] = deque(maxlen=500)  # milliseconds
        self.ring[:, (2, 4)] = -1e9
        self.changed: list[tuple[int, int]] = [(0, self.capacity)]  # first segment, segments
        self._head = 0
        self._segment_track = np.zeros(self.capacity, np.int64)
        self._blocks: dict[int, tuple[int, int]] = {}  # frame: first segment, segments
        self._last = np.zeros(0, LAST)
        self._remembered = 0

    def add(self, update: Update, image: NDArray[Any] | None = None) -> None:
        """Add an update, with its `image` (y, x) or (z, y, x); None keeps the last image."""
        self.lost += update.lost
        self.degraded += update.degraded
        states, events = self._mine(update.states), self._mine(update.events)
        self._count(events)
        self.remember(states)
        self._settle(states[states["frame"] <= self.frame])
        mine = (update.channel, update.position) == (self.channel, self.position)
        if mine and update.t > self.frame:  # the end of a run settles frames of the past
            if image is not None:
                self._show(image)
            self.frame, self.time_s = update.t, update.time_s
            self.times.append(update.time_s)
            self.latency.append(update.timings.latency_ms)
            self._move(self._mine(update.spots), states[states["frame"] == update.t])
        self._flash(events)

    def add_all(self, updates: Sequence[Update], image: NDArray[Any] | None = None) -> None:
        """Add updates in order; `image` is that of the last."""
        for i, update in enumerate(updates, 1):
            self.add(update, image if i == len(updates) else None)

    def begin(
        self, states: NDArray[np.void], events: NDArray[np.void], lost: int, degraded: int = 0
    ) -> None:
        """Set the past before the first frame that is added: rows, and sums over the updates."""
        self.remember(states)
        self._count(events)
        self.lost += lost
        self.degraded += degraded

    def remember(self, states: NDArray[np.void]) -> None:
        """Keep past states (STATE) for the inspector."""
        states = states[-MEMORY:]
        at = (self._remembered + np.arange(len(states))) % MEMORY
        self._memory[at] = states[list(STATE.names or ())]  # a later version may send more columns
        self._remembered += len(states)

    def history(self, track: int) -> NDArray[np.void]:
        """Return the best known states (STATE) of a track by frame: settled before provisional."""
        rows = self._memory[: min(self._remembered, MEMORY)]
        rows = rows[(rows["track"] == track) & (rows["frame"] <= self.frame)]
        rows = rows[np.lexsort((rows["made"], rows["settled"], rows["frame"]))]
        last = np.append(rows["frame"][1:] != rows["frame"][:-1], True)
        best: NDArray[np.void] = rows[last[: len(rows)]]
        return best

    def nearest(self, y: float, x: float, within: float) -> int | None:
        """Return the track whose head is nearest to a position, if it is nearer than `within`."""
        if not len(self.heads):
            return None
        far = np.hypot(self.heads["y"] - y, self.heads["x"] - x)
        best = int(far.argmin())
        return int(self.heads["track"][best]) if far[best] <= within else None

    def fps(self) -> float | None:
        """Return frames per second, from the times of the frames."""
        span = self.times[-1] - self.times[0] if len(self.times) > 1 else 0.0
        return (len(self.times) - 1) / span if span > 0 else None

    def _mine(self, rows: NDArray[np.void]) -> NDArray[np.void]:
        here = (rows["channel"] == self.channel) & (rows["position"] == self.position)
        mine: NDArray[np.void] = rows[here]
        return mine

    def _show(self, image: NDArray[Any]) -> None:
        self.image = image.max(axis=0) if image.ndim == 3 else image
        due = self.levels is None or len(self.times) % LEVELS_EVERY == 0
        if due and not self.lock_levels:
            self.levels = contrast(self.image)

    def _count(self, events: NDArray[np.void]) -> None:
        flashed = events[~np.isin(events["kind"], UNFLASHED_KINDS)]
        self.announced += len(flashed)
        self.recent.extend(flashed)

    def _move(self, spots: NDArray[np.void], states: NDArray[np.void]) -> None:
        """Set the heads, and add a segment from the previous point of each track."""
        spots = spots[np.argsort(spots["track"], kind="stable")]
        heads = np.zeros(len(spots), HEAD)
        for name in ("track", "y", "x"):
            heads[name] = spots[name]
        heads["state"] = UNSURE
        at, found = _find(states["track"], heads["track"])
        heads["state"][found] = _palette(states["state"][at])
        heads["p"][found] = states["p_uncoated"][at]
        self.heads = heads

        at, found = _find(self._last["track"], heads["track"])
        before, now = self._last[at], heads[found]
        block = np.zeros((len(now), 2, 5), np.float32)
        block[:, 0, 0], block[:, 0, 1] = before["x"], before["y"]
        block[:, 1, 0], block[:, 1, 1] = now["x"], now["y"]
        block[:, 0, 2], block[:, 1, 2] = before["frame"], self.frame
        block[:, :, 3], block[:, :, 4] = now["state"][:, None], self.frame
        self._push(block[-self.capacity :], now["track"][-self.capacity :])

        stay = np.ones(len(self._last), bool)
        stay[at] = False
        stay &= self._last["frame"] > self.frame - self.tail
        here = np.zeros(len(heads), LAST)
        for name in ("track", "y", "x"):
            here[name] = heads[name]
        here["frame"] = self.frame
        both = np.concatenate([self._last[stay], here])
        self._last = both[np.argsort(both["track"])]

    def _push(self, block: NDArray[np.float32], track: NDArray[np.int64]) -> None:
        n = len(block)
        at = (self._head + np.arange(n)) % self.capacity
        self.ring.reshape(self.capacity, 2, 5)[at] = block
        self._segment_track[at] = track
        self._blocks[self.frame] = (self._head, n)
        self._mark(self._head, n)
        self._head = (self._head + n) % self.capacity
        for frame in [f for f in self._blocks if f <= self.frame - self.tail]:
            del self._blocks[frame]

    def _settle(self, states: NDArray[np.void]) -> None:
        """Update the colours of segments whose states have settled."""
        ends = self.ring.reshape(self.capacity, 2, 5)
        for frame in np.unique(states["frame"]):
            first, n = self._blocks.get(int(frame), (0, 0))
            at = (first + np.arange(n)) % self.capacity
            at = at[ends[at, 1, 4] == frame]  # the others have been overwritten
            rows = states[states["frame"] == frame]
            row, found = _find(rows["track"], self._segment_track[at])
            ends[at[found], :, 3] = _palette(rows["state"][row])[:, None]
            if len(found):
                self._mark(first, n)

    def _mark(self, first: int, n: int) -> None:
        """Note segments that a renderer must upload; the whole ring if there are too many."""
        if n > self.capacity - first:
            self._mark(0, n - (self.capacity - first))
            n = self.capacity - first
        if n:
            self.changed.append((first, n))
        if len(self.changed) > 256:
            self.changed = [(0, self.capacity)]

    def _flash(self, events: NDArray[np.void]) -> None:
        """Start a flash for each event, let flashes follow their tracks, and end old ones."""
        events = events[~np.isin(events["kind"], UNFLASHED_KINDS)]
        new = np.zeros(len(events), FLASH)
        for name in ("kind", "track", "y", "x", "seq"):
            new[name] = events[name]
        new["born"] = self.frame
        flashes = np.concatenate([self.flashes, new])
        flashes = flashes[self.frame - flashes["born"] < flash_frames(flashes["kind"])]
        at, found = _find(self.heads["track"], flashes["track"])
        for name in ("y", "x"):
            flashes[name][found] = self.heads[name][at]
        self.flashes = flashes


def flash_frames(kind: NDArray[Any]) -> NDArray[np.int64]:
    """Return the duration of a flash of each kind, frames."""
    frames = np.full(len(kind), OTHER_FLASH_FRAMES, np.int64)
    for index, n in FLASH_FRAMES.items():
        frames[kind == index] = n
    return frames


def _find(keys: NDArray[Any], wanted: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the indices, in `keys` and in `wanted`, of the wanted that are among the keys."""
    if not len(keys):
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    order = np.argsort(keys, kind="stable")
    at = np.minimum(np.searchsorted(keys, wanted, sorter=order), len(keys) - 1)
    found = np.flatnonzero(keys[order[at]] == wanted)
    return order[at[found]], found


def _palette(state: NDArray[Any]) -> NDArray[np.int8]:
    return np.where(state < 0, UNSURE, state).astype(np.int8)
