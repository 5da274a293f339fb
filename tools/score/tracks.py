"""Scores of tracks against the truth: the measures of the ISBI particle tracking challenge.

They are defined in the online methods of Chenouard et al., Nat. Methods 11, 281 (2014). The
distance of two tracks is a sum over frames of the distance of their points, but at most `GATE_PX`;
if only one of them has a point, it is GATE_PX. True tracks X are paired with found tracks Y, or
with none, so that the total distance d(X, Y) is least:

- alpha = 1 - d(X, Y) / d(X, 0), where 0 means no tracks
- beta = (d(X, 0) - d(X, Y)) / (d(X, 0) + d(Y', 0)), where Y' are the found tracks without a partner
- jsc = TP / (TP + FN + FP) over points; a true positive lies within the gate of its partner's point
- jsc_theta is the same over tracks; a true positive has a partner
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

GATE_PX = 5.0

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Score(NamedTuple):
    """Agreement of found tracks with the true ones."""

    alpha: float
    beta: float
    jsc: float
    jsc_theta: float


class Mistakes(NamedTuple):
    """Errors of a linker for particles with known identities."""

    switches: int  # changes of the track between two successive localizations of a particle
    breaks: int  # switches at which the new track begins
    wrong: int  # links between localizations of different particles
    links: int  # all links
    spurious: int  # tracks with a majority of false localizations
    tracks: int


class TrackPoints(NamedTuple):
    """Points of tracks; each track has at most one point in a frame."""

    frame: Ints  # (n,)
    point: Floats  # (n, ndim) px
    track: Ints  # (n,) any numbers; below 0: without a track


def without_short(track: Ints, shortest: int = 2) -> Ints:
    """Track ids, with -1 for tracks of fewer than `shortest` points."""
    real = track >= 0
    kept = np.full(len(track), -1, np.int64)
    _, inverse, count = np.unique(track[real], return_inverse=True, return_counts=True)
    kept[real] = np.where(count[inverse] >= shortest, track[real], -1)
    return kept


def score(true: TrackPoints, found: TrackPoints, gate: float = GATE_PX) -> Score:
    """Challenge measures of found tracks.

    Parameters
    ----------
    true, found : Table
        Points without a track (id below 0) are left out.
    gate : float
        Largest distance that counts, px.
    """
    true, found = _dense(true), _dense(found)
    n_true, n_found = _lengths(true), _lengths(found)
    mine, theirs, near, hits = _near(true, found, gate)
    both = _together(true, found, mine, theirs)
    # gain of a pair: distance that it saves, compared with both tracks being left without a partner
    gain = near - gate * (n_found[theirs] - both)
    pair = _best(mine, theirs, gain, len(n_true), len(n_found))
    nothing, spared = gate * float(n_true.sum()), float(gain[pair].sum())
    idle = float(n_found.sum() - n_found[theirs[pair]].sum())
    matched = int(hits[pair].sum())
    points = int(n_true.sum() + n_found.sum()) - matched
    tracks = len(n_true) + len(n_found) - len(pair)
    return Score(
        alpha=spared / nothing if nothing else 0.0,
        beta=spared / (nothing + gate * idle) if nothing else 0.0,
        jsc=matched / points if points else 0.0,
        jsc_theta=len(pair) / tracks if tracks else 0.0,
    )


def _dense(table: TrackPoints) -> TrackPoints:
    """Only points that belong to tracks, sorted by frame, with tracks numbered from 0."""
    rows = np.flatnonzero(table.track >= 0)
    rows = rows[np.argsort(table.frame[rows], kind="stable")]
    track = np.unique(table.track[rows], return_inverse=True)[1].astype(np.int64)
    return TrackPoints(table.frame[rows], table.point[rows], track)


def _lengths(table: TrackPoints) -> Ints:
    return np.bincount(table.track).astype(np.int64)


def _near(true: TrackPoints, found: TrackPoints, gate: float) -> tuple[Ints, Ints, Floats, Ints]:
    """Pairs of tracks that come within the gate.

    Return their numbers, the sum over frames of gate - distance, and the number of these frames.
    """
    from scipy.spatial import cKDTree

    span = 4 * gate  # frames lie far apart along an axis of their own
    times = [np.column_stack([t.frame * span, t.point]) for t in (true, found)]
    if not len(times[0]) or not len(times[1]):
        none = np.empty(0, np.int64)
        return none, none, np.empty(0), none
    pairs = cKDTree(times[0]).sparse_distance_matrix(
        cKDTree(times[1]), gate, output_type="coo_matrix"
    )
    inside = pairs.data < gate
    one, two = true.track[pairs.row[inside]], found.track[pairs.col[inside]]
    width = int(found.track.max()) + 1
    key, inverse = np.unique(one * width + two, return_inverse=True)
    near: Floats = np.bincount(inverse, gate - pairs.data[inside], len(key)).astype(np.float64)
    hits = np.bincount(inverse, minlength=len(key)).astype(np.int64)
    return (key // width).astype(np.int64), (key % width).astype(np.int64), near, hits


def _together(true: TrackPoints, found: TrackPoints, mine: Ints, theirs: Ints) -> Ints:
    """Number of frames in which both tracks of each pair have a point."""
    if not len(mine):
        return np.empty(0, np.int64)
    first = min(true.frame.min(), found.frame.min())
    frames = int(max(true.frame.max(), found.frame.max()) - first) + 1
    there = []
    for table in (true, found):
        grid = np.zeros((int(table.track.max()) + 1, frames), np.bool_)
        grid[table.track, table.frame - first] = True
        there.append(grid)
    count = np.empty(len(mine), np.int64)
    for i in range(0, len(mine), 4096):
        part = slice(i, i + 4096)
        count[part] = (there[0][mine[part]] & there[1][theirs[part]]).sum(1)
    return count


def _best(mine: Ints, theirs: Ints, gain: Floats, n: int, m: int) -> Ints:
    """Rows of the pairs in the matching of greatest total gain, without pairs of negative gain."""
    from scipy.optimize import linear_sum_assignment
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    use = np.flatnonzero(gain > 0)
    if not len(use):
        return use
    graph = coo_array((np.ones(len(use)), (mine[use], n + theirs[use])), shape=(n + m, n + m))
    label = connected_components(graph, directed=False)[1][mine[use]]
    order = np.argsort(label, kind="stable")
    chosen: list[Ints] = [np.empty(0, np.int64)]
    for rows in np.split(use[order], np.flatnonzero(np.diff(label[order])) + 1):
        if len(rows) < 2:
            chosen.append(rows)
            continue
        left, i = np.unique(mine[rows], return_inverse=True)
        right, j = np.unique(theirs[rows], return_inverse=True)
        block = np.zeros((len(left), len(right)))
        name = np.full(block.shape, -1)
        block[i, j], name[i, j] = gain[rows], rows
        matched = name[linear_sum_assignment(block, maximize=True)]
        chosen.append(matched[matched >= 0])
    return np.concatenate(chosen)


def mistakes(frame: Ints, particle: Ints, track: Ints) -> Mistakes:
    """Count the errors of tracks of localizations whose particles are known.

    Parameters
    ----------
    frame, particle, track : (n,) int
        Values of each localization; `particle` is -1 for false ones, `track` for those without one.
    """
    used = track >= 0
    frame, particle, track = frame[used], particle[used], track[used]
    begins = np.zeros(len(track), np.bool_)
    by_track = np.lexsort((frame, track))
    same = track[by_track][1:] == track[by_track][:-1]
    if len(track):
        begins[by_track[np.concatenate([[True], ~same])]] = True
    who = particle[by_track]
    wrong = same & ((who[1:] != who[:-1]) | (who[1:] < 0))
    real = np.flatnonzero(particle >= 0)
    real = real[np.lexsort((frame[real], particle[real]))]
    goes_on = particle[real][1:] == particle[real][:-1]
    changes = goes_on & (track[real][1:] != track[real][:-1])
    name, inverse = np.unique(track, return_inverse=True)
    false = np.bincount(inverse, particle < 0, len(name))
    return Mistakes(
        switches=int(changes.sum()),
        breaks=int(begins[real[1:][changes]].sum()),
        wrong=int(wrong.sum()),
        links=int(same.sum()),
        spurious=int((2 * false > np.bincount(inverse, minlength=len(name))).sum()),
        tracks=len(name),
    )
