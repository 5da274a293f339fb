"""Lineage: which lost track went on in a brighter neighbour, which new one came from a dimmer one.

A particle that disappears beside another whose intensity rises by its own has merged with it; one
that appears beside another whose intensity falls by its own has split from it. Both are told when
`LOOK` points after the event are known, with the probability that follows from the change of
intensity, its usual scatter (learned on the way) and the distance (Jaqaman et al., Nat. Methods 5,
695 (2008) score both by the ratio of intensities; here it is a likelihood).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.stream.compiled import njit
from livespt.stream.link.linker import Linked
from livespt.stream.windows import tails

LOOK = 3  # points before and after an event
ODDS = -2.0  # logarithm of the odds, before any measurement, that a neighbour is the reason
GUESSES = 50.0  # changes of intensity that the start of their scatter counts for
START = 0.1  # variance of the logarithm of an intensity
MODEL = 0.01  # ... and of the rule that intensities add up


class Kin(NamedTuple):
    """Tracks that merged or split, in the order of the tracks that ended or began."""

    track: NDArray[np.int64]  # (n,) the one that disappeared or appeared
    other: NDArray[np.int64]  # (n,) the one it merged with or split from
    frame: NDArray[np.int64]  # (n,) first frame after the event
    point: NDArray[np.float64]  # (n, 3) where the track was last, or first
    probability: NDArray[np.float64]  # (n,) at least 1/2


class Lineage:
    """Follows the intensities of one lane's tracks; call it after each frame's linking.

    Parameters
    ----------
    search_range
        Largest distance of two tracks that meet, px.
    memory
        Frames that a track may be missing, as the linker's.
    refine
        Frames for which links may be corrected, as the linker's.
    """

    CONSTANTS = ("search_range", "memory", "_depth")

    def __init__(
        self, search_range: float, memory: int, capacity: int = 256, refine: int = 0
    ) -> None:
        self.search_range = float(search_range)
        self.memory = int(memory)
        self._depth = memory + 3 * LOOK + 2 + (2 * (refine + 1) if refine else 0)
        # by slot: the last points of living tracks, in rings
        self._track = np.full(capacity, -1, np.int64)
        self._count = np.zeros(capacity, np.int64)
        self._frame = np.zeros((capacity, self._depth), np.int64)
        self._point = np.zeros((capacity, self._depth, 3))  # z, y, x
        self._light = np.zeros((capacity, self._depth))  # logarithm of intensity
        self._scatter = np.array([GUESSES * START, GUESSES])  # sum of variances, of so many
        self._lost = np.empty(0, _ENDED)  # tracks whose end is to be judged

    def __call__(
        self,
        frame: int,
        linked: Linked,
        points: NDArray[np.float64],
        intensity: NDArray[np.float64],
    ) -> tuple[Kin, Kin]:
        """Take in a frame: merges and splits that are now known.

        Parameters
        ----------
        frame, linked
            What the linker was given, and answered.
        points
            (n, 3) z, y, x; px.
        intensity
            (n,); not above 0 or NaN: unknown.
        """
        slots = linked.slot
        self._reserve(int(max(slots.max(initial=-1), linked.lost_slot.max(initial=-1))) + 1)
        self._end(linked)
        known = np.isfinite(intensity) & (intensity > 0)
        light = np.log(np.where(known, intensity, 1.0))
        light[~known] = np.nan
        new = self._count[slots] == 0
        self._track[slots[new]] = linked.track[new]
        _push(
            self._count, self._frame, self._point, self._light, slots, frame, points, light,
            self._scatter,
        )  # fmt: skip
        return self._merged(frame), self._split(slots)

    def exchange(
        self,
        frame: int,
        slots: NDArray[np.int32],
        to: NDArray[np.int32],
        tracks: NDArray[np.int64],
    ) -> None:
        """Give the points from `frame` on of `slots` (k,) to the tracks (k,) in the slots `to`."""
        self._reserve(int(to.max(initial=-1)) + 1)
        self._track[to] = tracks
        source, target = tails(self._count, self._frame, slots, to, frame)
        for table in (self._frame, self._point, self._light):
            table[target[0], target[1]] = table[source[0], source[1]]

    def _end(self, linked: Linked) -> None:
        """Keep what must be known of tracks that are lost, and empty their slots."""
        slots = linked.lost_slot
        ended = np.zeros(len(slots), _ENDED)
        last = (self._count[slots] - 1) % self._depth
        ended["track"] = linked.lost
        ended["frame"] = self._frame[slots, last]
        ended["point"] = self._point[slots, last]
        ended["light"], ended["points"] = _before(
            self._count, self._frame, self._light, slots, ended["frame"] + 1
        )
        self._count[slots] = 0
        self._track[slots] = -1
        self._lost = np.concatenate([self._lost, ended])

    def _merged(self, frame: int) -> Kin:
        due = self._lost["frame"] + LOOK <= frame
        ended, self._lost = self._lost[due], self._lost[~due]
        after = ended["frame"] + 1
        other, probability = self._reason(
            ended["point"], after, ended["light"], ended["points"], np.full(len(ended), -1), 1.0
        )
        kept = probability >= 0.5
        return Kin(
            ended["track"][kept], other[kept], after[kept], ended["point"][kept], probability[kept]
        )

    def _split(self, slots: NDArray[np.int32]) -> Kin:
        young = slots[self._count[slots] == LOOK]
        first = self._frame[young, 0]
        light = self._light[young, :LOOK].mean(axis=1)
        points = np.full(len(young), LOOK)
        other, probability = self._reason(
            self._point[young, 0], first, light, points, young.astype(np.int64), -1.0
        )
        kept = probability >= 0.5
        return Kin(
            self._track[young][kept],
            other[kept],
            first[kept],
            self._point[young, 0][kept],
            probability[kept],
        )

    def _reason(
        self,
        point: NDArray[np.float64],
        frame: NDArray[np.int64],
        light: NDArray[np.float64],
        points: NDArray[np.int64],
        own: NDArray[np.int64],
        sign: float,
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        slot, probability = _likeliest(
            point, frame, light, points, own, sign, self._count, self._frame, self._point,
            self._light, self._scatter[0] / self._scatter[1], self.search_range, self.memory,
        )  # fmt: skip
        return np.where(slot >= 0, self._track[slot], -1), probability

    def _reserve(self, slots: int) -> None:
        more = max(slots, 2 * len(self._count)) - len(self._count)
        if slots > len(self._count):
            self._track = np.concatenate([self._track, np.full(more, -1, np.int64)])
            for name in ("_count", "_frame", "_point", "_light"):
                old = getattr(self, name)
                grown = np.zeros((len(old) + more, *old.shape[1:]), old.dtype)
                grown[: len(old)] = old
                setattr(self, name, grown)


_ENDED = np.dtype(
    [
        ("track", "<i8"),
        ("frame", "<i8"),  # last seen
        ("point", "<f8", (3,)),
        ("light", "<f8"),  # mean logarithm of its last intensities
        ("points", "<i8"),  # that are in the mean
    ]
)


@njit(nogil=True)
def _push(count, frames, points, lights, slots, frame, point, light, scatter):  # type: ignore[no-untyped-def]
    """Add a point to each slot, and learn how intensities scatter from one to the next."""
    depth = frames.shape[1]
    scatter *= 0.99 if scatter[1] > GUESSES else 1.0
    for i in range(len(slots)):
        s = slots[i]
        at = count[s] % depth
        if count[s] > 0:
            change = light[i] - lights[s, (count[s] - 1) % depth]
            if abs(change) < 2.0:  # NaN is not
                scatter[0] += 0.5 * change * change
                scatter[1] += 1.0
        frames[s, at], lights[s, at], points[s, at] = frame, light[i], point[i]
        count[s] += 1


@njit(nogil=True)
def _mean(count, frames, lights, s, frame, later):  # type: ignore[no-untyped-def]
    """Mean of the `LOOK` intensities of a slot nearest before a frame, or from it on."""
    depth = frames.shape[1]
    total, n = 0.0, 0
    held = min(count[s], depth)
    for k in range(held):
        back = held - k if later else k + 1
        at = (count[s] - back) % depth
        if (frames[s, at] >= frame) == later and not math.isnan(lights[s, at]):
            total += lights[s, at]
            n += 1
            if n == LOOK:
                break
    return (total / n if n else math.nan), n


@njit(nogil=True)
def _before(count, frames, lights, slots, frame):  # type: ignore[no-untyped-def]
    mean, number = np.empty(len(slots)), np.empty(len(slots), np.int64)
    for i in range(len(slots)):
        mean[i], number[i] = _mean(count, frames, lights, slots[i], frame[i], False)
    return mean, number


@njit(nogil=True)
def _likeliest(  # type: ignore[no-untyped-def]
    point, frame, light, number, own, sign, count, frames, points, lights, scatter, reach, memory
):
    """The neighbour that most probably is the reason of each event, -1: none; its probability.

    `sign` 1: the neighbour's intensity should have risen by the track's, -1: fallen.
    """
    depth = frames.shape[1]
    best, probability = np.full(len(frame), -1, np.int64), np.zeros(len(frame))
    for s in range(len(count)):
        if count[s] == 0:
            continue
        newest = (count[s] - 1) % depth
        for i in range(len(frame)):
            if s == own[i] or frames[s, newest] < frame[i]:
                continue
            near = 0.0
            for axis in range(3):
                near += abs(points[s, newest, axis] - point[i, axis])
            if near > 2.0 * reach * depth:
                continue
            found = -1
            for k in range(min(count[s], depth)):  # its first point from the event on
                at = (count[s] - 1 - k) % depth
                if frames[s, at] < frame[i]:
                    break
                found = at
            if frames[s, found] > frame[i] + memory:
                continue
            square = 0.0
            for axis in range(3):
                square += (points[s, found, axis] - point[i, axis]) ** 2
            before, n_before = _mean(count, frames, lights, s, frame[i], False)
            after, n_after = _mean(count, frames, lights, s, frame[i], True)
            if square > reach * reach or n_before == 0 or n_after == 0 or number[i] == 0:
                continue
            if sign > 0:
                change, meant = after - before, math.log1p(math.exp(light[i] - before))
            else:
                change, meant = before - after, math.log1p(math.exp(light[i] - after))
            variance = scatter * (1.0 / n_before + 1.0 / n_after) + MODEL
            score = (change * change - (change - meant) ** 2) / (2.0 * variance)
            score += ODDS + math.log(2.0) - 2.0 * square / (reach * reach)
            chance = 1.0 / (1.0 + math.exp(-min(max(score, -700.0), 700.0)))
            if chance > probability[i]:
                best[i], probability[i] = s, chance
    return best, probability
