"""Relinker: it keeps the points of the last frames, and judges their links by what came after.

It follows a linker. The links of a frame are judged by `hindsight` when `refine` further frames are
known. A correction gives the tail of a track, its points from a frame on, to another track. How
readers apply corrections is in `corrections`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.stream.link import hindsight, motion_model, track_columns as c
from livespt.stream.link.population import start_population
from livespt.stream.link.recent_points import (
    AFTER,
    BEFORE,
    CLOCK,
    FRAME,
    LIGHT,
    NOISE,
    NONE,
    OVER,
    SLOT,
    append,
    drop,
)
from livespt.stream.windows import tails

MARGIN = 0.5  # what a correction must gain for each link it changes, in units of -2 log likelihood
_HEAD = struct.Struct("<4q")  # frames, of those judged; points, slots


class Cut(NamedTuple):
    """Tails that change their slots at one frame, all at once."""

    frame: int  # from which on points move
    slot: NDArray[np.int32]  # (k,) where each was
    to: NDArray[np.int32]  # (k,) where it belongs
    point: NDArray[np.float64]  # (k, 3) its first, z, y, x; px
    empty: NDArray[np.int32]  # (r,) slots without points now
    new: NDArray[np.int32]  # (b,) slots that had none before


class Moves(NamedTuple):
    """A cut with the ids of its tracks."""

    frame: int  # from which on points move
    slot: NDArray[np.int32]  # (k,) where each tail was
    to: NDArray[np.int32]  # (k,) where it belongs
    point: NDArray[np.float64]  # (k, 3) its first, z, y, x; px
    empty: NDArray[np.int32]  # (r,) slots without points now
    new: NDArray[np.int32]  # (b,) slots that had none before
    track: NDArray[np.int64]  # (k,) id it had
    other: NDArray[np.int64]  # (k,) id it gets


class Linked(NamedTuple):
    """What one frame did to the tracks; n points in the order they came."""

    track: NDArray[np.int64]  # (n,) id of each point
    slot: NDArray[np.int32]  # (n,) row of each track in tables beside the linker
    born: NDArray[np.int64]  # ids that start here, in the order of their points
    lost: NDArray[np.int64]  # ids given up here: they never come back
    lost_slot: NDArray[np.int32]  # their rows, free for other tracks from the next frame on
    degraded: int = 0  # points in crowds too dense to be linked at the least cost in bounded time
    moves: tuple[Moves, ...] = ()  # corrections of earlier links; `track` is as after them


class Relinker:
    """The points of the last frames and how they are linked.

    Parameters
    ----------
    refine : int
        Frames of hindsight, at least 1.
    memory : int
        Frames that a track may be missing.
    ndim : int
        2 or 3.
    model : int
        Number of the motion model in `settings.MOTION_MODELS`, not 0.
    reach : float
        Search range, px.
    weight : float
        Weight of changes of intensity in the costs.
    """

    def __init__(
        self, refine: int, memory: int, ndim: int, model: int, reach: float, weight: float
    ) -> None:
        self.refine, self.memory = refine, memory
        self._ndim, self._model, self._reach, self._weight = ndim, model, reach, weight
        self._frames: list[tuple[int, float]] = []  # linked of late: numbers and times
        self._due = 0  # of those, the first that was not judged
        self._n = 0
        self._ints = np.empty((1024, 4), np.int64)
        self._reals = np.empty((1024, 7))
        self._state = np.empty((1024, c.TRACK_WIDTH))
        self._newest = np.empty(0, np.int64)  # by slot: its newest point

    @property
    def linger(self) -> int:
        """Frames beyond memory for which a track must be kept."""
        return self.refine + 1

    def newest(
        self, slots: NDArray[np.int32]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
        """Frames (n,), positions (n, 3), rows (n, TRACK_WIDTH) of the newest points of `slots`."""
        at = self._newest[slots]
        return self._ints[at, FRAME], self._reals[at, :3], self._state[at]

    def last_slots(self, n: int) -> NDArray[np.int32]:
        """Slots of the last `n` points."""
        return self._ints[self._n - n : self._n, SLOT].astype(np.int32)

    def take(
        self,
        frame: int,
        clock: float,
        slots: NDArray[np.int32],
        lost: NDArray[np.int32],
        points: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
        rows: NDArray[np.float64],
    ) -> None:
        """Add a frame as it was linked.

        Parameters
        ----------
        frame, clock
            Its number, and its time in mean frame intervals.
        slots : (n,)
            Slots of the tracks that its points belong to.
        lost
            Slots of the tracks given up.
        points
            Positions (n, 3) z, y, x; variances (n, 2), lateral and axial; log intensities (n,).
        rows : (n, TRACK_WIDTH)
            Rows of these tracks, see `track_columns`.
        """
        self._frames.append((frame, clock))
        self._reserve(len(slots), int(max(slots.max(initial=-1), lost.max(initial=-1))) + 1)
        gone = self._newest[lost]
        self._ints[gone[gone >= 0], AFTER] = OVER
        self._newest[lost] = NONE
        append(
            self._ints, self._reals, self._state, self._n,
            frame, clock, slots, *points, rows, self._newest,
        )  # fmt: skip
        self._n += len(slots)

    def judge(
        self,
        population: NDArray[np.float64],
        spare: Callable[[int], NDArray[np.int32]],
        *,
        all_left: bool = False,
    ) -> list[Cut]:
        """Judge the links of the frames that are due, or of all that are left, and correct them.

        Parameters
        ----------
        population : (POPULATION_WIDTH,)
            Sums over all tracks, see `track_columns`.
        spare : callable
            Takes a number, and returns that many slots for new tracks.
        all_left : bool
            Whether no further frame will come.
        """
        now, before = self._frames[-1][0], [number for number, _ in self._frames[-3:]]
        step = int(np.diff(before).min(initial=1 << 40))
        found = []
        while self._due < len(self._frames):
            cut, clock = self._frames[self._due]
            if not all_left and now + step - cut <= self.refine:
                break
            self._due += 1
            if now - cut <= self.refine:
                found += self._judge(cut, clock, now, population, spare)
        self._forget(now)
        return found

    def snapshot(self) -> bytes:
        """Return the whole state but for the parameters."""
        if self._frames:
            self._forget(self._frames[-1][0], half=False)
        head = _HEAD.pack(len(self._frames), self._due, self._n, len(self._newest))
        ints, reals, state = self._tables()
        frames = np.array(self._frames, np.float64).reshape(-1, 2)
        floats = (frames, reals, state)
        parts = [part.astype("<f8").tobytes() for part in floats]
        parts += [part.astype("<i8").tobytes() for part in (ints, self._newest)]
        return head + b"".join(parts)

    def restore(self, data: bytes, used: int) -> None:
        """Go on from a snapshot of a relinker with the same parameters.

        A snapshot such as no relinker makes, of one that `used` so many slots, is a ValueError.
        """
        frames, self._due, n, slots = _HEAD.unpack_from(data)
        at, tables = _HEAD.size, []
        shapes = (frames, 2), (n, 7), (n, c.TRACK_WIDTH), (n, 4), (slots, 1)
        for shape, code in zip(shapes, ("<f8", "<f8", "<f8", "<i8", "<i8"), strict=True):
            if min(shape) < 0:
                raise ValueError
            table = np.frombuffer(data, code, shape[0] * shape[1], at).reshape(shape)
            tables.append(table.astype(table.dtype.newbyteorder("=")))
            at += table.nbytes
        self._frames = [(int(number), float(clock)) for number, clock in tables[0]]
        self._n = n
        self._reals, self._state, self._ints = tables[1:4]
        self._newest = tables[4].reshape(-1)
        row, ints = np.arange(n), self._ints
        if not (
            at == len(data)
            and 0 <= self._due <= len(self._frames)
            and (np.diff(ints[:, FRAME]) >= 0).all()
            and ((ints[:, SLOT] >= 0) & (ints[:, SLOT] < used)).all()
            and ((ints[:, BEFORE] >= OVER) & (ints[:, BEFORE] < row)).all()
            and ((ints[:, AFTER] < 0) | ((ints[:, AFTER] > row) & (ints[:, AFTER] < n))).all()
            and ((self._newest >= NONE) & (self._newest < n)).all()
            and (np.abs(self._reals[:, :LIGHT]) < motion_model.FAR).all()
            and (self._reals[:, NOISE:LIGHT] >= 0).all()
            and (np.abs(self._reals[:, CLOCK]) < motion_model.FAR).all()
            and motion_model.sound(self._state)
        ):
            raise ValueError

    def _tables(self) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
        n = self._n
        return self._ints[:n], self._reals[:n], self._state[:n]

    def _reserve(self, points: int, slots: int) -> None:
        need = self._n + points
        if need > len(self._ints):
            for name in ("_ints", "_reals", "_state"):
                old = getattr(self, name)
                new = np.empty((max(need, 2 * len(old)), old.shape[1]), old.dtype)
                new[: self._n] = old[: self._n]
                setattr(self, name, new)
        if slots > len(self._newest):
            more = np.full(max(slots - len(self._newest), len(self._newest)), NONE, np.int64)
            self._newest = np.concatenate([self._newest, more])

    def _forget(self, now: int, *, half: bool = True) -> None:
        """Drop points and frames that are not needed any more."""
        oldest = now - self.memory - self.linger
        ints = self._ints[: self._n]
        gone = int(np.searchsorted(ints[:, FRAME], oldest))
        if gone > (self._n // 2 if half else 0):
            drop(self._ints, self._reals, self._state, self._n, gone, self._newest)
            self._n -= gone
        while self._due > 3:
            self._frames.pop(0)
            self._due -= 1

    def _judge(
        self,
        cut: int,
        clock: float,
        now: int,
        population: NDArray[np.float64],
        spare: Callable[[int], NDArray[np.int32]],
    ) -> list[Cut]:
        ints, reals, state = self._tables()
        first, behind = hindsight.judge(
            ints, reals, state, cut, clock, now, population,
            self._model, self._ndim, self.memory, self._reach, self._weight, MARGIN,
        )  # fmt: skip
        return self._move(cut, first, behind, now, population, spare)

    def _move(
        self,
        cut: int,
        first: NDArray[np.int64],
        behind: NDArray[np.int64],
        now: int,
        population: NDArray[np.float64],
        spare: Callable[[int], NDArray[np.int32]],
    ) -> list[Cut]:
        """Put tails (k,) behind other heads (k,), in the slots of these."""
        ints, reals, state = self._tables()
        slot = ints[first, SLOT].astype(np.int32)
        if not len(first):
            return []
        to = np.where(behind >= 0, ints[behind, SLOT], NONE).astype(np.int32)
        to = _homes(ints[first, BEFORE], behind, slot, to)
        new = spare(int((to < 0).sum()))
        self._reserve(0, int(new.max(initial=-1)) + 1)
        to[to < 0] = new
        left = ints[first, BEFORE]
        ints[left[left >= 0], AFTER] = NONE
        self._newest[slot] = left  # where no other tail follows
        for p, q, s in zip(behind, first, to, strict=True):
            self._newest[s] = hindsight.move(
                ints, reals, state, p, q, s, now, population, self._model, self._ndim, self.memory
            )
        return [Cut(cut, slot, to, reals[first, :3], slot[self._newest[slot] < 0], new)]


def _homes(
    own: NDArray[np.int64],
    behind: NDArray[np.int64],
    slot: NDArray[np.int32],
    to: NDArray[np.int32],
) -> NDArray[np.int32]:
    """Slots for the tails that move (k,); -1: that of a new track.

    A tail that is to start a track gets the slot of a tail that started one, at the other end of
    the chain of moves; where there is none, a track is cut in two.

    Parameters
    ----------
    own, behind
        (k,) points that the tails were behind, and are to be behind.
    slot, to
        (k,) theirs, -1: none.
    """
    place = to.copy()
    takes = {int(p): k for k, p in enumerate(behind) if p >= 0}
    for begin in np.flatnonzero(behind < 0):
        at = int(begin)
        while own[at] >= 0 and int(own[at]) in takes:
            at = takes[int(own[at])]
        if own[at] < 0:
            place[begin] = slot[at]
    return place


def rehearse(model: int, ndim: int) -> None:
    """Compile all that a correction needs, so that the first one is not late."""
    relinker, population = Relinker(1, 1, ndim, model, 5.0, 0.0), start_population(5.0)
    slots, points = np.arange(2, dtype=np.int32), (np.eye(3)[:2], np.ones((2, 2)), np.zeros(2))
    for t in range(4):
        relinker.take(t, float(t), slots, slots[:0], points, np.ones((2, c.TRACK_WIDTH)))
        relinker.judge(population, lambda n: slots[:n] + 2)
    relinker._move(3, np.array([6]), np.array([NONE]), 3, population, lambda n: slots[:n] + 2)
    tails(np.ones(2, np.int64), np.zeros((2, 1), np.int64), slots, slots[::-1].copy(), 0)
