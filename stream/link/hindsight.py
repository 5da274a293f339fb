"""Hindsight: which end of a track goes on in which continuation, judged by all that followed.

At a cut, a frame some frames ago, every track is a head (its points before it) and a tail (those
from it on). All ways to join heads and tails again are compared by what they cost in the motion
model. A tail behind a head costs -2 log of the densities that the filters expect at its points, of
the probabilities that it is seen or missed in each frame, and of the density of new points where it
starts a track. So tails are placed jointly, at one cut at a time, as in multiple hypothesis
tracking with a fixed lag (Reid, IEEE Trans. Autom. Control 24, 843 (1979)).

The functions that Python calls take flat arrays, and group them at once, see `link_frame`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.stream.compiled import njit
from livespt.stream.link import recent_points as recent, track_columns as c
from livespt.stream.link.assignment import assign
from livespt.stream.link.candidates import neighbors
from livespt.stream.link.forecast import Moment, TrackFilters, expect
from livespt.stream.link.motion_model import LinkSettings
from livespt.stream.link.population import birth_density
from livespt.stream.link.recent_points import History
from livespt.stream.link.tail_cost import (
    NEVER,
    Judging,
    cost_of_gap,
    judging_of,
    scratch_row,
    tail_cost,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

SLACK = 10.0  # by which a tail may make up for its first link


class Joins(NamedTuple):
    """Pairs of a head and a tail."""

    head: Ints  # (pairs,) index of the head
    tail: Ints  # (pairs,) index of the tail


class Parts(NamedTuple):
    """Which of m heads and n tails may be joined otherwise."""

    head: Flags  # (m,)
    tail: Flags  # (n,)
    own: Ints  # (m,) the tail that follows each head now; -1: none that is judged


@njit(nogil=True, error_model="numpy")
def judge(
    ints: Ints,
    reals: Floats,
    filters: Floats,
    cut: int,
    clock: float,
    now: int,
    population: Floats,
    model: int,
    ndim: int,
    memory: int,
    search_range: float,
    intensity_weight: float,
    margin: float,
) -> tuple[Ints, Ints]:
    """Judge the links across a cut, and say which tails belong to another head.

    Parameters
    ----------
    ints, reals, filters
        The fields of `History`.
    cut, clock
        The frame of the cut and its time, in mean frame intervals.
    now
        The last frame that is known.
    population : (POPULATION_WIDTH,)
        Sums over all tracks, see `track_columns`.
    model, ndim, memory, search_range, intensity_weight
        The fields of `motion_model.LinkSettings`.
    margin
        What a change of links must gain.

    Returns
    -------
    first : (k,)
        First points of the tails that move.
    behind : (k,)
        Last points of the heads that they move to, or `NONE`.
    """
    history = History(ints, reals, filters)
    settings = LinkSettings(model, ndim, search_range, memory, intensity_weight)
    judging = judging_of(population, settings, now)
    moment = Moment(cut, clock, cut - 1 - memory, cut - 1 - memory)
    heads, tails = _ends(history, moment, now - 1)
    behind, k = np.empty(len(tails), np.int64), 0
    if len(heads) > 0 and len(tails) > 0:
        joins = _pairs(history, heads, tails, moment, judging)
        if len(joins.head) > 0:
            best = _rejoin(history, heads, tails, joins, judging, margin)
            for j in range(len(tails)):
                if best[j] != ints[tails[j], recent.BEFORE]:
                    tails[k], behind[k] = tails[j], best[j]
                    k += 1
    return tails[:k], behind[:k]


@njit(nogil=True, error_model="numpy")
def move(
    ints: Ints,
    reals: Floats,
    filters: Floats,
    p: int,
    q: int,
    slot: int,
    now: int,
    population: Floats,
    model: int,
    ndim: int,
    memory: int,
) -> int:
    """Put the tail that starts with point `q` behind point `p` of the track in `slot`.

    With `p` of `NONE` the tail starts that track. Its filters are computed anew. The other
    arguments are those of `judge`. Returns the newest point of the tail.
    """
    history = History(ints, reals, filters)
    judging = judging_of(population, LinkSettings(model, ndim, 0.0, memory, 0.0), now)
    ints[q, recent.BEFORE] = p
    if p >= 0:
        ints[p, recent.AFTER] = q
    tail_cost(history, p, q, judging, scratch_row(), NEVER, True)
    end = q
    while q >= 0:
        ints[q, recent.SLOT] = slot
        end, q = q, ints[q, recent.AFTER]
    return end


@njit(nogil=True, error_model="numpy")
def _ends(history: History, moment: Moment, newest: int) -> tuple[Ints, Ints]:
    """Rows of the last point of each head and of the first point of each tail at a cut.

    Heads are not given up and were seen recently enough; tails begin at `newest` at the latest.
    """
    ints, cut = history.ints, moment.frame
    heads, tails = np.empty(len(ints), np.int64), np.empty(len(ints), np.int64)
    n = m = 0
    for p in range(len(ints)):
        frame, before, after = ints[p, recent.FRAME], ints[p, recent.BEFORE], ints[p, recent.AFTER]
        if frame < cut:
            ends = after == recent.NONE or (after >= 0 and ints[after, recent.FRAME] >= cut)
            if frame >= moment.oldest and ends:
                heads[n] = p
                n += 1
        elif frame <= newest and (before < 0 or ints[before, recent.FRAME] < cut):
            tails[m] = p
            m += 1
    return heads[:n], tails[:m]


@njit(nogil=True, error_model="numpy")
def _pairs(history: History, heads: Ints, tails: Ints, moment: Moment, judging: Judging) -> Joins:
    """Heads and tails that may belong together though they are not joined.

    Tails that begin at the cut lie where a point of the head is looked for; those that begin later
    lie within the distance that it may go until then.
    """
    ints, reals, settings = history.ints, history.reals, judging.settings
    m, n, now = len(heads), len(tails), 0
    old, last = np.empty((m, c.TRACK_WIDTH)), np.empty(m, np.int64)
    for i in range(m):
        last[i] = ints[heads[i], recent.FRAME]
        for k in range(c.TRACK_WIDTH):
            old[i, k] = history.filters[heads[i], k]
    first, noise, far = np.empty((n, 3)), np.empty((n, 2)), np.empty(n)
    for j in range(n):
        wait = ints[tails[j], recent.FRAME] - moment.frame
        now += wait == 0
        far[j] = settings.search_range * (1 + wait)
        for axis in range(3):
            first[j, axis] = reals[tails[j], recent.AT + axis]
        for part in range(2):
            noise[j, part] = reals[tails[j], recent.NOISE + part]
    ahead = expect(TrackFilters(old, last), moment, noise, judging.population, settings)
    near = neighbors(ahead.position, ahead.radius, first[:now], ahead.cell)
    later = neighbors(first[now:], far[now:], ahead.position, settings.search_range)
    most = len(near.col) + len(later.col)
    head, tail = np.empty(most, np.int64), np.empty(most, np.int64)
    count = 0
    for i in range(m):
        for e in range(near.first[i], near.first[i + 1]):
            if ints[heads[i], recent.AFTER] != tails[near.col[e]]:
                head[count], tail[count] = i, near.col[e]
                count += 1
    for j in range(n - now):
        for e in range(later.first[j], later.first[j + 1]):
            if ints[heads[later.col[e]], recent.AFTER] != tails[now + j]:
                head[count], tail[count] = later.col[e], now + j
                count += 1
    return Joins(head[:count], tail[:count])


@njit(nogil=True)
def _parts(ints: Ints, heads: Ints, tails: Ints, joins: Joins) -> Parts:
    """Heads and tails that another may be joined to, and those that they are joined to now."""
    m, n = len(heads), len(tails)
    position = np.full(len(ints), -1, np.int64)
    for j in range(n):
        position[tails[j]] = j
    busy, asked, own = np.zeros(m, np.bool_), np.zeros(n, np.bool_), np.full(m, -1, np.int64)
    for k in range(len(joins.head)):
        busy[joins.head[k]] = asked[joins.tail[k]] = True
    for i in range(m):
        q = ints[heads[i], recent.AFTER]
        if q >= 0:
            own[i] = position[q]
            if own[i] >= 0:
                busy[i] = asked[own[i]] = busy[i] or asked[own[i]]
            else:
                busy[i] = False  # its tail begins too late to be judged
    return Parts(busy, asked, own)


@njit(nogil=True, error_model="numpy")
def _rejoin(
    history: History, heads: Ints, tails: Ints, joins: Joins, judging: Judging, margin: float
) -> Ints:
    """For each tail (n,) the last point of the head that it most probably belongs to, or `NONE`.

    `joins` are pairs that are not joined. What is joined is left unless a change gains `margin`.
    """
    ints, settings, now = history.ints, judging.settings, judging.now
    memory = settings.memory
    m, n, scratch = len(heads), len(tails), scratch_row()
    fresh = -2.0 * math.log(birth_density(judging.population, settings.ndim, settings.search_range))
    new, alone, other = np.zeros(n), np.zeros(m), np.full(len(joins.head), NEVER)
    for i in range(m):
        p = heads[i]
        missed = min(now - ints[p, recent.FRAME], memory + 1)
        alone[i] = cost_of_gap(history.filters[p, c.POINTS], missed, judging.chances)
        alone[i] -= margin if ints[p, recent.AFTER] < 0 else 0.0
    for k in range(len(joins.head)):
        p, q = heads[joins.head[k]], tails[joins.tail[k]]
        if ints[q, recent.FRAME] - ints[p, recent.FRAME] <= memory + 1:
            most = fresh + alone[joins.head[k]] + SLACK
            other[k] = tail_cost(history, p, q, judging, scratch, most, False)
    near = other < NEVER
    joins, other = Joins(joins.head[near], joins.tail[near]), other[near]
    parts = _parts(ints, heads, tails, joins)
    for j in range(n):
        if parts.tail[j]:
            cost_after = tail_cost(history, recent.NONE, tails[j], judging, scratch, NEVER, False)
            new[j] = fresh + cost_after
            new[j] -= margin if ints[tails[j], recent.BEFORE] < 0 else 0.0
    first, col, cost = _lists(parts, joins, other)
    for i in range(m):
        if parts.head[i] and parts.own[i] >= 0:
            q = tails[parts.own[i]]
            cost_now = tail_cost(history, heads[i], q, judging, scratch, NEVER, False)
            cost[first[i]] = -margin + cost_now
        for e in range(first[i], first[i + 1]):
            cost[e] -= new[col[e]]
    head_of, _ = assign(first, col, cost, alone, np.zeros(m, np.bool_), n)
    behind = np.empty(n, np.int64)
    for j in range(n):
        behind[j] = ints[tails[j], recent.BEFORE]
        if parts.tail[j]:
            behind[j] = heads[head_of[j]] if head_of[j] >= 0 else recent.NONE
    return behind


@njit(nogil=True)
def _lists(parts: Parts, joins: Joins, costs: Floats) -> tuple[Ints, NDArray[np.int32], Floats]:
    """Candidates of each head and their costs, as `assign` takes them.

    The head's own tail comes first, with its cost still to be filled in.
    """
    m, own = len(parts.head), parts.own
    first = np.zeros(m + 1, np.int64)
    for k in range(len(joins.head)):
        first[joins.head[k] + 1] += parts.head[joins.head[k]]
    for i in range(m):
        first[i + 1] += first[i] + (parts.head[i] and own[i] >= 0)
    col, cost, fill = np.empty(first[m], np.int32), np.zeros(first[m]), first.copy()
    for i in range(m):
        if parts.head[i] and own[i] >= 0:
            col[fill[i]] = own[i]
            fill[i] += 1
    for k in range(len(joins.head)):
        i = joins.head[k]
        if parts.head[i]:
            col[fill[i]], cost[fill[i]] = joins.tail[k], costs[k]
            fill[i] += 1
    return first, col, cost
