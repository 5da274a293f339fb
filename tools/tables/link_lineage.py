"""Lineage of a linked table: which track merges with another, and which splits from one.

By light, as live: a neighbour becomes brighter or darker by the light of the track
(stream/link/lineage.py). By distance alone, as TrackMate and laptrack do it: a track that ends next
to one that goes on merges with it, and one that begins next to one that was there splits from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.stream.compiled import njit
from livespt.stream.link.lineage import Lineage
from livespt.stream.link.recent_points import LOOK
from livespt.stream.link.relinker import Linked
from livespt.stream.link.slots import TrackSlots

LEAST = 2  # points of a track that merges or splits by distance: one alone is a false spot, mostly


class LinkedPoints(NamedTuple):
    """Points (n,) of tracks, in any order."""

    frame: NDArray[np.int64]
    track: NDArray[np.int64]
    point: NDArray[np.float64]  # (n, 3) z, y, x; pixels


class KinTable(NamedTuple):
    """Merges and splits (m,), by the rows of the two points that each joins."""

    kind: NDArray[np.str_]  # "merged" or "split"
    before: NDArray[np.int64]  # row of the earlier point
    after: NDArray[np.int64]  # row of the later one
    probability: NDArray[np.float64]  # NaN by distance

    def write(self, path: Path, points: LinkedPoints) -> None:
        """Write a CSV: the columns are in docs/tables.md."""
        import pandas as pd

        merged = self.kind == "merged"
        track = points.track[self.before], points.track[self.after]
        apart = points.point[self.after] - points.point[self.before]
        pd.DataFrame(
            {
                "kind": self.kind,
                "frame": np.where(merged, points.frame[self.before] + 1, points.frame[self.after]),
                "particle": np.where(merged, *track),
                "other": np.where(merged, *track[::-1]),
                "row_before": self.before,
                "row_after": self.after,
                "distance_px": np.sqrt((apart**2).sum(axis=1)),
                "probability": self.probability,
            }
        ).sort_values(["frame", "particle"], kind="stable").to_csv(path, index=False)


def by_distance(points: LinkedPoints, reach: float, memory: int) -> KinTable:
    """Find merges and splits by distance alone.

    A track of at least `LEAST` points that ends merges with the track whose next point is nearest,
    if that track was there before, too. A split is a merge in reversed time. What is there in the
    last frame does not end, and what is there in the first one does not begin.

    Parameters
    ----------
    points : LinkedPoints
    reach : float
        Greatest distance of the two points, pixels.
    memory : int
        Frames that may be missing between them.
    """
    merged = _ending_next_to(points, reach, memory)
    split = _ending_next_to(points._replace(frame=-points.frame), reach, memory)[:, ::-1]
    links = np.concatenate([merged, split])
    kind = np.repeat(np.array(["merged", "split"]), [len(merged), len(split)])
    return KinTable(kind, links[:, 0], links[:, 1], np.full(len(links), np.nan))


def _ending_next_to(points: LinkedPoints, reach: float, memory: int) -> NDArray[np.int64]:
    """Rows (m, 2) of the last point of a track, and of the next one of the track it ends at."""
    frame, track, point = points
    if not len(frame):
        return np.zeros((0, 2), np.int64)
    order = np.lexsort((frame, track))
    goes_on = np.diff(track[order]) == 0
    a, b = order[:-1][goes_on], order[1:][goes_on]
    sort = np.argsort(frame[b], kind="stable")
    a, b = a[sort], b[sort]
    count = np.diff(np.flatnonzero(np.concatenate([[True], ~goes_on, [True]])))
    last = order[np.cumsum(count) - 1][count >= LEAST]
    low = np.searchsorted(frame[b], frame[last], side="right")
    high = np.searchsorted(frame[b], frame[last] + memory + 1, side="right")
    at = _nearest(frame[last], point[last], low, high, frame[a], point[b], reach)
    return np.stack([last[at >= 0], b[at[at >= 0]]], axis=1)


@njit()
def _nearest(
    frame: NDArray[np.int64],
    point: NDArray[np.float64],
    low: NDArray[np.int64],
    high: NDArray[np.int64],
    before: NDArray[np.int64],
    next_point: NDArray[np.float64],
    reach: float,
) -> NDArray[np.int64]:
    """Link (n,) from before or in `frame` whose next point is nearest; -1: none within reach.

    Of the links, sorted by their later frame, the candidates of each are `low:high`.
    """
    found = np.full(len(frame), -1, np.int64)
    for i in range(len(frame)):
        best = reach * reach
        for k in range(low[i], high[i]):
            square = 0.0
            for axis in range(3):
                square += (next_point[k, axis] - point[i, axis]) ** 2
            if square <= best and before[k] <= frame[i]:
                best, found[i] = square, k
    return found


def by_light(
    points: LinkedPoints, intensity: NDArray[np.float64], reach: float, memory: int
) -> KinTable:
    """Find merges and splits by light, as a live run does.

    Parameters
    ----------
    points : LinkedPoints
    intensity : (n,)
        Not above 0 or not finite: unknown.
    reach : float
        Greatest distance of two tracks that meet, pixels.
    memory : int
        Frames that a track may be missing.
    """
    lineage = Lineage(reach, memory)
    found: list[tuple[str, int, int, int, float]] = []
    for frame, rows, linked in _frames(points, memory):
        both = lineage(frame, linked, points.point[rows], intensity[rows])
        for kind, kin in zip(("merged", "split"), both, strict=True):
            found += zip([kind] * len(kin.track), kin.track.tolist(), kin.other.tolist(),
                         kin.frame.tolist(), kin.probability.tolist(), strict=True)  # fmt: skip
    rows_of = _Rows(points)
    ends = [(rows_of.last_before(track if kind == "merged" else other, frame),
             rows_of.first_from(other if kind == "merged" else track, frame))
            for kind, track, other, frame, _ in found]  # fmt: skip
    links = np.array(ends, np.int64).reshape(-1, 2)
    kinds = np.array([one[0] for one in found], np.str_)
    return KinTable(kinds, links[:, 0], links[:, 1], np.array([one[-1] for one in found], float))


def _frames(points: LinkedPoints, memory: int) -> Iterator[tuple[int, NDArray[np.int64], Linked]]:
    """Yield each frame, its rows, and what a linker would have told of them.

    Frames without rows follow, until all tracks are judged that ended before the last one.
    """
    if not len(points.frame):
        return
    ids, at = np.unique(points.track, return_inverse=True)
    last = np.full(len(ids), np.iinfo(np.int64).min)
    np.maximum.at(last, at, points.frame)
    ending = np.argsort(last, kind="stable")
    ending = ending[: np.searchsorted(last[ending], points.frame.max())]
    order = np.argsort(points.frame, kind="stable")
    frames, first = np.unique(points.frame[order], return_index=True)
    after = range(int(frames[-1]) + 1, int(frames[-1]) + memory + LOOK + 1)
    none = np.empty(0, np.int64)
    slots, slot, ended = TrackSlots(256), np.full(len(ids), -1, np.int32), 0
    parts = [*np.split(order, first[1:]), *[none] * len(after)]
    for frame, rows in zip([*frames.tolist(), *after], parts, strict=True):
        now = np.searchsorted(last[ending], frame - memory)  # missing for longer: lost
        lost, ended = ending[ended:now], int(now)
        new = at[rows][slot[at[rows]] < 0]
        slot[new] = slots.spare(len(new))
        yield frame, rows, Linked(ids[at[rows]], slot[at[rows]], ids[new], ids[lost], slot[lost])
        slots.give_back(slot[lost])


class _Rows:
    """The rows of tracks, found by track and frame."""

    def __init__(self, points: LinkedPoints) -> None:
        self.order = np.lexsort((points.frame, points.track))
        self.track = points.track[self.order]
        self.frame = points.frame[self.order]

    def first_from(self, track: int, frame: int) -> int:
        """Row of the first point of a track from a frame on; there must be one."""
        low, high = np.searchsorted(self.track, (track, track + 1))
        return int(self.order[low + np.searchsorted(self.frame[low:high], frame)])

    def last_before(self, track: int, frame: int) -> int:
        """Row of the last point of a track before a frame; there must be one."""
        low, high = np.searchsorted(self.track, (track, track + 1))
        return int(self.order[low + np.searchsorted(self.frame[low:high], frame) - 1])
