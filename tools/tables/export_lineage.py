"""Lineage of an export: the points that merges and splits join, after all corrections of links."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.stream.link.corrections import RELINKED, corrected
from livespt.stream.types import KINDS

MERGED, SPLIT = KINDS.index("merged"), KINDS.index("split")
LONGEST = 999  # frames that a particle may be missing: the limit of the setting `memory`


class LineageLinks(NamedTuple):
    """Merges and splits of a run."""

    links: NDArray[np.int64]  # (n, 2) rows of the spots at the two ends, the earlier one first
    undone: int  # merges and splits that do not agree with links as they were corrected later


def lineage(
    spots: NDArray[np.void], events: NDArray[np.void], memory: int = LONGEST
) -> LineageLinks:
    """Find the points that merges and splits join.

    An event names its tracks as they were when it was announced, and corrections that came later
    may have exchanged their points. The ends are therefore looked up in the links of that time. If
    they lie within one track now, or the track that merged goes on (the one that split began
    earlier), the correction contradicts the event, which is counted and left out.

    Parameters
    ----------
    spots : (n,) SPOT
        As they are stored: with ids as they were published.
    events : (m,) EVENT
        All of the run.
    memory : int
        Frames that a particle may be missing within a track.
    """
    now = events["frame"].astype(np.int64) + events["delay"]
    told = events["kind"] == RELINKED
    kin = np.isin(events["kind"], (MERGED, SPLIT)) & ~np.isin(events["seq"], events["amends"])
    first, last = _ends(corrected(spots, events))
    order = np.argsort(spots["frame"], kind="stable")
    frames = spots["frame"][order].astype(np.int64)
    links, undone = [], 0
    for at in np.flatnonzero(kin):
        event, early = events[at], int(events["frame"][at]) - memory - 1
        near = order[slice(*np.searchsorted(frames, (early, now[at] + 1)))]
        seen = spots[near]
        lane = [seen[name] == event[name] for name in ("channel", "position")]
        near, seen = near[lane[0] & lane[1]], seen[lane[0] & lane[1]]
        ids = corrected(seen, events[told & (now > early) & (now <= now[at])])["track"]
        before = seen["frame"] < event["frame"]
        source, target = event["track"], event["other"]
        if event["kind"] == SPLIT:
            source, target = target, source
        a, b = near[before & (ids == source)], near[~before & (ids == target)]
        whole = len(a) and len(b) and (last[a[-1]] if event["kind"] == MERGED else first[b[0]])
        if whole:
            links.append((a[-1], b[0]))
        else:
            undone += 1
    return LineageLinks(np.array(links, np.int64).reshape(-1, 2), undone)


def _ends(rows: NDArray[np.void]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether each row (n,) is the first of its track, and whether it is the last."""
    order = np.lexsort((rows["frame"], rows["track"]))
    new = np.ones(len(rows) + 1, bool)
    new[1:-1] = np.diff(rows["track"][order]) != 0
    first, last = np.empty((2, len(rows)), bool)
    first[order], last[order] = new[:-1], new[1:]
    return first, last


def families(particle: NDArray[np.int64], links: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each row (n,) the least track that merges and splits join its own with."""
    tracks, at = np.unique(particle, return_inverse=True)
    head = list(range(len(tracks)))

    def first(one: int) -> int:
        while head[one] != one:
            head[one] = head[head[one]]
            one = head[one]
        return one

    for a, b in at[links].tolist():
        low, high = sorted((first(a), first(b)))
        head[high] = low
    heads = np.array([first(one) for one in range(len(tracks))], np.int64)
    family: NDArray[np.int64] = tracks[heads[at]].astype(np.int64)
    return family
