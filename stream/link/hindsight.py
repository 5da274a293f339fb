"""Hindsight: which end of a track went on in which continuation, judged by all that followed.

At a cut, a frame some frames ago, every track is a head (its points before it) and a tail (those
from it on). All ways to join heads and tails again are compared by what they cost in the motion
model of `motion_model`: of each tail after each head in reach -2 log of the densities that the
filters expect at its points, of the chances that it is seen or missed in each frame, and of the
density of new points where it starts a track. So tails are placed jointly (as in multiple
hypothesis tracking with a fixed lag: Reid, IEEE Trans. Autom. Control 24, 843 (1979)), at one cut
at a time.

Points lie in the order of their frames: `ints` (n, 4), `reals` (n, 7), `state` (n, predict.F).
"""

from __future__ import annotations

import math

import numpy as np

from livespt.stream.compiled import njit
from livespt.stream.link import motion_model
from livespt.stream.link.assignment import assign
from livespt.stream.link.candidates import neighbors
from livespt.stream.link.forecast import expect

FRAME, SLOT, BEFORE, AFTER = 0, 1, 2, 3  # columns of `ints`; the last two: rows, or below 0
# columns of `reals`: z, y, x; variances, lateral and axial; log of intensity; time, frames
AT, NOISE, LIGHT, CLOCK = 0, 3, 5, 6
NEVER = 1e9  # more than any link costs
SLACK = 10.0  # by which a tail may make up for its first link
NONE, OVER = -1, -2  # no row; none to come, for the track was given up


@njit(nogil=True, error_model="numpy")
def ends(ints, cut, oldest, newest):  # type: ignore[no-untyped-def]
    """Rows of the last point of each head and of the first point of each tail at a cut.

    Heads were seen since `oldest` and are not given up, tails begin at `newest` at the latest.
    """
    heads, tails = np.empty(len(ints), np.int64), np.empty(len(ints), np.int64)
    n = m = 0
    for p in range(len(ints)):
        frame, before, after = ints[p, FRAME], ints[p, BEFORE], ints[p, AFTER]
        if frame < cut:
            if frame >= oldest and (after == NONE or (after >= 0 and ints[after, FRAME] >= cut)):
                heads[n] = p
                n += 1
        elif frame <= newest and (before < 0 or ints[before, FRAME] < cut):
            tails[m] = p
            m += 1
    return heads[:n], tails[:m]


@njit(nogil=True, error_model="numpy")
def pairs(ints, reals, state, heads, tails, cut, oldest, clock, pop, model, ndim, reach):  # type: ignore[no-untyped-def]
    """Heads and tails that may belong together though they are not joined: positions in both.

    Tails that begin at the cut lie where the head pays to be looked for; those that begin later
    within the range that it may go until then.
    """
    m, n, now = len(heads), len(tails), 0
    old, last = np.empty((m, motion_model.F)), np.empty(m, np.int64)
    for i in range(m):
        last[i] = ints[heads[i], FRAME]
        for k in range(motion_model.F):
            old[i, k] = state[heads[i], k]
    first, noise, far = np.empty((n, 3)), np.empty((n, 2)), np.empty(n)
    for j in range(n):
        wait = ints[tails[j], FRAME] - cut
        now += wait == 0
        far[j] = reach * (1 + wait)
        for axis in range(3):
            first[j, axis] = reals[tails[j], AT + axis]
        for part in range(2):
            noise[j, part] = reals[tails[j], NOISE + part]
    _, place, radius, _, cell = expect(
        old, last, cut, oldest, clock, noise, pop, model, ndim, reach
    )
    begin, col, _, _ = neighbors(place, radius, first[:now], cell)
    later, row, _, _ = neighbors(first[now:], far[now:], place, reach)
    one, two = np.empty(len(col) + len(row), np.int64), np.empty(len(col) + len(row), np.int64)
    count = 0
    for i in range(m):
        for e in range(begin[i], begin[i + 1]):
            if ints[heads[i], AFTER] != tails[col[e]]:
                one[count], two[count] = i, col[e]
                count += 1
    for j in range(n - now):
        for e in range(later[j], later[j + 1]):
            if ints[heads[row[e]], AFTER] != tails[now + j]:
                one[count], two[count] = row[e], now + j
                count += 1
    return one[:count], two[:count]


@njit(nogil=True, error_model="numpy")
def silence(seen, frames, back):  # type: ignore[no-untyped-def]
    """Cost of a track not being seen in so many frames."""
    cost = 0.0
    for missed in range(frames):
        cost -= 2.0 * math.log(
            1.0 - back[(motion_model.standing(seen, missed) - motion_model.KEEP) >> 1]
        )
    return cost


@njit(nogil=True, error_model="numpy")
def walk(  # type: ignore[no-untyped-def]
    ints, reals, state, p, q, now, desk, pop, model, ndim, memory, weight, most, keep
):
    """Cost of the tail from point `q` on behind point `p`, of as many frames as are known.

    Point p of `NONE`: the tail starts a track; the cost is that of what follows. Where its first
    link alone costs more than `most` nothing more is asked. With `keep` its filters are stored.
    """
    table, ahead, at, noise, light, scratch, back = desk  # two rows each, taken in turns
    q_all, fast = (
        pop[motion_model.STEP] / pop[motion_model.STEPS],
        pop[motion_model.FAST] / pop[motion_model.FASTS],
    )
    wild, change = pop[motion_model.NOISE], pop[motion_model.LIGHTS] / pop[motion_model.LIGHTS_N]
    share = min(max(pop[motion_model.DIRECTED] / pop[motion_model.TRACKS], 0.05), 0.95)
    cost, i, last = 0.0, 0, ints[q, FRAME]
    if p >= 0:
        last = ints[p, FRAME]
        for k in range(motion_model.F):
            table[0, k] = state[p, k]
    else:
        _lay(reals, q, at, noise, light, 0)
        motion_model.begin(table, at, noise, light, 0, reals[q, CLOCK], fast, model, pop)
        _store(table, 0, state, q, keep)
        q = ints[q, AFTER]
    while q >= 0:
        seen, clock, j = table[i, motion_model.SEEN], reals[q, CLOCK], 1 - i
        missed = ints[q, FRAME] - last - 1
        cost += silence(seen, missed, back)
        cost -= 2.0 * math.log(back[(motion_model.standing(seen, missed) - motion_model.KEEP) >> 1])
        _lay(reals, q, at, noise, light, j)
        motion_model.advance(table, ahead, i, clock, share, q_all, fast, wild, model, ndim)
        cost += motion_model.link_cost(ahead, i, at, noise, light, weight, change, j, ndim)
        if cost > most:
            return NEVER
        most = NEVER
        motion_model.update(
            table, ahead, i, at, noise, light, j, clock, model, ndim, q_all, scratch
        )
        _store(table, j, state, q, keep)
        i, last, q = j, ints[q, FRAME], ints[q, AFTER]
    return cost + silence(table[i, motion_model.SEEN], min(now - last, memory + 1), back)


@njit(nogil=True)
def _lay(reals, q, at, noise, light, j):  # type: ignore[no-untyped-def]
    for axis in range(3):
        at[j, axis] = reals[q, AT + axis]
    noise[j, 0], noise[j, 1], light[j] = reals[q, NOISE], reals[q, NOISE + 1], reals[q, LIGHT]


@njit(nogil=True)
def _store(table, j, state, q, keep):  # type: ignore[no-untyped-def]
    if keep:
        for k in range(motion_model.F):
            state[q, k] = table[j, k]


@njit(nogil=True)
def desk_of(pop):  # type: ignore[no-untyped-def]
    """Where `walk` works: filters and predictions, a point, sums nobody asks for, chances."""
    rows = np.empty((2, motion_model.F)), np.empty((2, motion_model.F))
    point = np.empty((2, 3)), np.empty((2, 2)), np.empty(2)
    return rows[0], rows[1], point[0], point[1], point[2], pop.copy(), motion_model.chances(pop)


@njit(nogil=True)
def takes_part(ints, heads, tails, one, two):  # type: ignore[no-untyped-def]
    """Heads (m,) and tails (n,) that another may be joined to, and those they are joined to now.

    Returns too the position in `tails` of what follows each head, -1: nothing that is judged.
    """
    m, n = len(heads), len(tails)
    position = np.full(len(ints), -1, np.int64)
    for j in range(n):
        position[tails[j]] = j
    busy, asked, own = np.zeros(m, np.bool_), np.zeros(n, np.bool_), np.full(m, -1, np.int64)
    for k in range(len(one)):
        busy[one[k]] = asked[two[k]] = True
    for i in range(m):
        q = ints[heads[i], AFTER]
        if q >= 0:
            own[i] = position[q]
            if own[i] >= 0:
                busy[i] = asked[own[i]] = busy[i] or asked[own[i]]
            else:
                busy[i] = False  # its tail begins too late to be judged
    return busy, asked, own


@njit(nogil=True, error_model="numpy")
def rejoin(  # type: ignore[no-untyped-def]
    ints, reals, state, heads, tails, one, two, now, pop, model, ndim, memory, reach, weight, margin
):
    """For each tail the last point of the head that it most probably belongs to, or `NONE`.

    `one, two`: pairs that are not joined. What is joined is left unless it pays by `margin`.
    """
    m, n = len(heads), len(tails)
    desk, fresh = desk_of(pop), -2.0 * math.log(motion_model.newness(pop, ndim, reach))
    new, alone, other = np.zeros(n), np.zeros(m), np.full(len(one), NEVER)
    for i in range(m):
        p = heads[i]
        missed = min(now - ints[p, FRAME], memory + 1)
        alone[i] = silence(state[p, motion_model.SEEN], missed, desk[-1])
        alone[i] -= margin if ints[p, AFTER] < 0 else 0.0
    for k in range(len(one)):
        p, q = heads[one[k]], tails[two[k]]
        if ints[q, FRAME] - ints[p, FRAME] <= memory + 1:
            other[k] = walk(
                ints, reals, state, p, q, now, desk, pop, model, ndim, memory, weight,
                fresh + alone[one[k]] + SLACK, False,
            )  # fmt: skip
    near = other < NEVER
    one, two, other = one[near], two[near], other[near]
    busy, asked, own = takes_part(ints, heads, tails, one, two)
    for j in range(n):
        if asked[j]:
            new[j] = fresh + walk(
                ints, reals, state, NONE, tails[j], now, desk, pop, model, ndim, memory, weight,
                NEVER, False,
            )  # fmt: skip
            new[j] -= margin if ints[tails[j], BEFORE] < 0 else 0.0
    first, col, cost = _lists(m, busy, own, one, two, other)
    for i in range(m):
        if busy[i] and own[i] >= 0:
            cost[first[i]] = -margin + walk(
                ints, reals, state, heads[i], tails[own[i]], now, desk, pop, model, ndim, memory,
                weight, NEVER, False,
            )  # fmt: skip
        for e in range(first[i], first[i + 1]):
            cost[e] -= new[col[e]]
    head_of, _ = assign(first, col, cost, alone, np.zeros(m, np.bool_), n)
    behind = np.empty(n, np.int64)
    for j in range(n):
        behind[j] = ints[tails[j], BEFORE]
        if asked[j]:
            behind[j] = heads[head_of[j]] if head_of[j] >= 0 else NONE
    return behind


@njit(nogil=True)
def _lists(m, busy, own, one, two, other):  # type: ignore[no-untyped-def]
    """Candidates of each head and their costs: its own tail first, whose cost is to be filled in.

    A head takes no part where it is not `busy`.
    """
    first = np.zeros(m + 1, np.int64)
    for k in range(len(one)):
        first[one[k] + 1] += busy[one[k]]
    for i in range(m):
        first[i + 1] += first[i] + (busy[i] and own[i] >= 0)
    col, cost, fill = np.empty(first[m], np.int32), np.zeros(first[m]), first.copy()
    for i in range(m):
        if busy[i] and own[i] >= 0:
            col[fill[i]] = own[i]
            fill[i] += 1
    for k in range(len(one)):
        i = one[k]
        if busy[i]:
            col[fill[i]], cost[fill[i]] = two[k], other[k]
            fill[i] += 1
    return first, col, cost


@njit(nogil=True, error_model="numpy")
def move(ints, reals, state, p, q, slot, now, pop, model, ndim, memory):  # type: ignore[no-untyped-def]
    """Put the tail from point `q` on behind point `p` (or `NONE`) of the track in `slot`, its
    filters made anew; returns its newest point.
    """
    ints[q, BEFORE] = p
    if p >= 0:
        ints[p, AFTER] = q
    walk(ints, reals, state, p, q, now, desk_of(pop), pop, model, ndim, memory, 0.0, NEVER, True)
    end = q
    while q >= 0:
        ints[q, SLOT] = slot
        end, q = q, ints[q, AFTER]
    return end


@njit(nogil=True)
def append(ints, reals, state, n, frame, clock, slots, at, noise, light, rows, newest):  # type: ignore[no-untyped-def]
    """Add the points of a frame as rows from `n` on, each behind the newest point of its slot."""
    for j in range(len(slots)):
        p, before = n + j, newest[slots[j]]
        ints[p, FRAME], ints[p, SLOT], ints[p, BEFORE], ints[p, AFTER] = (
            frame, slots[j], before, NONE,
        )  # fmt: skip
        if before >= 0:
            ints[before, AFTER] = p
        newest[slots[j]] = p
        reals[p, LIGHT], reals[p, CLOCK] = light[j], clock
        for axis in range(3):
            reals[p, AT + axis] = at[j, axis]
        for part in range(2):
            reals[p, NOISE + part] = noise[j, part]
        for k in range(motion_model.F):
            state[p, k] = rows[j, k]


@njit(nogil=True)
def drop(ints, reals, state, n, gone, newest):  # type: ignore[no-untyped-def]
    """Forget the first `gone` rows of `n`; the others move to the front."""
    for p in range(gone, n):
        for k in range(ints.shape[1]):
            ints[p - gone, k] = ints[p, k]
        for k in range(reals.shape[1]):
            reals[p - gone, k] = reals[p, k]
        for k in range(motion_model.F):
            state[p - gone, k] = state[p, k]
        for k in (BEFORE, AFTER):
            if ints[p - gone, k] >= 0:
                ints[p - gone, k] = max(ints[p - gone, k] - gone, NONE)
    for s in range(len(newest)):
        if newest[s] >= 0:
            newest[s] = max(newest[s] - gone, NONE)
