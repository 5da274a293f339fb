"""Lineage: which lost track merged with a neighbour, and which new track split from one.

A particle that disappears next to another whose intensity rises by its own has merged with it. One
that appears next to another whose intensity falls by its own has split from it. Both are reported
when `LOOK` points after the event are known, with the probability that follows from the change of
intensity, its usual scatter (learned while linking) and the distance. Jaqaman et al., Nat. Methods
5, 695 (2008) score both by the ratio of intensities; here a likelihood is computed.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.stream.compiled import njit
from livespt.stream.link.recent_points import (
    GUESSES,
    LOOK,
    mean_intensity,
    means_before,
    push_points,
)
from livespt.stream.link.relinker import Linked
from livespt.stream.windows import tails

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ODDS = -2.0  # logarithm of the odds, before any measurement, that a neighbour is the reason
START = 0.1  # variance of the logarithm of an intensity, before any was seen
MODEL = 0.01  # variance of the rule that intensities add up, as a logarithm


class Kin(NamedTuple):
    """Tracks that merged or split, in the order of the tracks that ended or began."""

    track: NDArray[np.int64]  # (n,) the one that disappeared or appeared
    other: NDArray[np.int64]  # (n,) the one it merged with or split from
    frame: NDArray[np.int64]  # (n,) first frame after the event
    point: NDArray[np.float64]  # (n, 3) where the track was last, or first
    probability: NDArray[np.float64]  # (n,) at least 1/2


class Lineage:
    """Find merges and splits among the tracks of one channel and position.

    It is called after each frame was linked.

    Parameters
    ----------
    search_range
        Largest distance of two tracks that meet, px.
    memory
        Frames that a track may be missing, as for the linker.
    refine
        Frames for which links may be corrected, as for the linker.
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
        """Take a frame, and return the merges and the splits that are now known.

        Parameters
        ----------
        frame, linked
            What the linker was given, and what it returned.
        points
            (n, 3) z, y, x; px.
        intensity
            (n,); NaN or not above 0: unknown.
        """
        slots = linked.slot
        self._reserve(int(max(slots.max(initial=-1), linked.lost_slot.max(initial=-1))) + 1)
        self._end(linked)
        known = np.isfinite(intensity) & (intensity > 0)
        light = np.log(np.where(known, intensity, 1.0))
        light[~known] = np.nan
        new = self._count[slots] == 0
        self._track[slots[new]] = linked.track[new]
        push_points(
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
        ended["light"], ended["points"] = means_before(
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
def _likeliest(
    point: Floats,
    frame: Ints,
    light: Floats,
    number: Ints,
    own: Ints,
    sign: float,
    count: Ints,
    frames: Ints,
    points: Floats,
    lights: Floats,
    scatter: float,
    reach: float,
    memory: int,
) -> tuple[Ints, Floats]:
    """Find the neighbour that is most probably the reason of each of n events.

    Parameters
    ----------
    point, frame : (n, 3), (n,)
        Where a track ended or began, and the first frame after that.
    light, number : (n,)
        Mean logarithm of the track's intensities, and how many are in it.
    own : (n,)
        Slot of the track itself, -1: none.
    sign
        1: the neighbour's intensity should have risen by the track's; -1: fallen.
    count, frames, points, lights, scatter
        The rings of `Lineage`, see `push_points`, and the variance of a logarithmic intensity.
    reach, memory
        Largest distance, px, and frames that a track may be missing.

    Returns
    -------
    best, probability : (n,)
        Slot of the neighbour, -1: none; and how probable it is.
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
            before, n_before = mean_intensity(count, frames, lights, s, frame[i], False)
            after, n_after = mean_intensity(count, frames, lights, s, frame[i], True)
            if square > reach * reach or n_before == 0 or n_after == 0 or number[i] == 0:
                continue
            variance = scatter * (1.0 / n_before + 1.0 / n_after) + MODEL
            distance = 2.0 * square / (reach * reach)
            chance = _chance(light[i], before, after, sign, variance, distance)
            if chance > probability[i]:
                best[i], probability[i] = s, chance
    return best, probability


@njit(nogil=True, forceinline=True)
def _chance(
    light: float, before: float, after: float, sign: float, variance: float, distance: float
) -> float:
    """Probability that a neighbour is the reason of an event.

    The logarithm of its intensity was `before` and is `after`, that of the track is `light`;
    `variance` is that of the change. `distance` is twice the squared distance of the two, in units
    of the squared search range.
    """
    if sign > 0:
        change, expected = after - before, math.log1p(math.exp(light - before))
    else:
        change, expected = before - after, math.log1p(math.exp(light - after))
    score = (change * change - (change - expected) ** 2) / (2.0 * variance)
    score += ODDS + math.log(2.0) - distance
    return 1.0 / (1.0 + math.exp(-min(max(score, -700.0), 700.0)))
