"""Hindsight: which end of a track went on in which continuation, judged by all that followed.

At a cut, a frame some frames ago, every track is a head (its points before it) and a tail (those
from it on). All ways to join heads and tails again are compared by what they cost in the motion
model of `predict`: of each tail after each head in reach -2 log of the densities that the filters
expect at its points, of the chances that it is seen or missed in each frame, and of the density of
new points where it starts a track. So tails are placed jointly (as in multiple hypothesis tracking
with a fixed lag: Reid, IEEE Trans. Autom. Control 24, 843 (1979)), at one cut at a time.

Points lie in the order of their frames: `ints` (n, 4), `reals` (n, 6), `state` (n, predict.F).
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from livespt.stream import predict
from livespt.stream.assign import assign
from livespt.stream.expect import expect
from livespt.stream.neighbors import neighbors

FRAME, SLOT, BEFORE, AFTER = 0, 1, 2, 3  # columns of `ints`; the last two: rows, or below 0
AT, NOISE, LIGHT = 0, 3, 5  # columns of `reals`: z, y, x; variances, lateral and axial; log
NONE, OVER = -1, -2  # no row; none to come, for the track was given up


@njit(cache=True, nogil=True, error_model="numpy")
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


@njit(cache=True, nogil=True, error_model="numpy")
def pairs(ints, reals, state, heads, tails, cut, oldest, clock, pop, model, ndim, reach):  # type: ignore[no-untyped-def]
    """Heads and tails that may belong together though they are not joined: positions in both.

    Tails that begin at the cut lie where the head pays to be looked for; those that begin later
    within the range that it may go until then.
    """
    m, n = len(heads), len(tails)
    old, last, first = np.empty((m, predict.F)), np.empty(m, np.int64), np.empty((n, 3))
    now = 0
    for i in range(m):
        old[i], last[i] = state[heads[i]], ints[heads[i], FRAME]
    noise = np.empty((n, 2))
    for j in range(n):
        first[j], noise[j] = reals[tails[j], AT : AT + 3], reals[tails[j], NOISE : NOISE + 2]
        now += ints[tails[j], FRAME] == cut
    _, place, radius, _, cell = expect(
        old, last, cut, oldest, clock, noise, pop, model, ndim, reach
    )
    begin, col, _, _ = neighbors(place, radius, first[:now], cell)
    one, two = np.empty(len(col) + m, np.int64), np.empty(len(col) + m, np.int64)
    count = 0
    for i in range(m):
        for e in range(begin[i], begin[i + 1]):
            if ints[heads[i], AFTER] != tails[col[e]]:
                one[count], two[count] = i, col[e]
                count += 1
    far = np.empty(n - now)
    for j in range(now, n):
        far[j - now] = reach * (1 + ints[tails[j], FRAME] - cut)
    begin, col, _, _ = neighbors(first[now:], far, place, reach)
    if count + len(col) > len(one):
        one = np.concatenate((one[:count], np.empty(len(col), np.int64)))
        two = np.concatenate((two[:count], np.empty(len(col), np.int64)))
    for j in range(n - now):
        for e in range(begin[j], begin[j + 1]):
            if ints[heads[col[e]], AFTER] != tails[now + j]:
                one[count], two[count] = col[e], now + j
                count += 1
    return one[:count], two[:count]


@njit(cache=True, nogil=True, error_model="numpy")
def silence(seen, since, frames, back):  # type: ignore[no-untyped-def]
    """Cost of a track not being seen in so many frames, after as many already."""
    cost = 0.0
    for missed in range(since, since + frames):
        chance = back[(predict.standing(seen, missed) - predict.KEEP) >> 1]
        cost -= 2.0 * math.log(1.0 - chance)
    return cost


@njit(cache=True, nogil=True, error_model="numpy")
def walk(  # type: ignore[no-untyped-def]
    ints, reals, state, row, last, q, now, back, pop, scratch, model, ndim, memory, weight, keep
):
    """Cost of the tail from point `q` on for a track whose filters are `row` (1, F), last seen at
    `last`; with `keep` its points' states are stored.
    """
    ahead = np.empty((1, predict.F))
    q_all, fast = pop[predict.STEP] / pop[predict.STEPS], pop[predict.FAST] / pop[predict.FASTS]
    wild, change = pop[predict.NOISE], pop[predict.LIGHTS] / pop[predict.LIGHTS_N]
    share = min(max(pop[predict.DIRECTED] / pop[predict.TRACKS], 0.05), 0.95)
    cost = 0.0
    while q >= 0:
        at, noise, light = reals[q : q + 1, AT:], reals[q : q + 1, NOISE:], reals[q : q + 1, LIGHT]
        missed = ints[q, FRAME] - last - 1
        seen, clock = row[0, predict.SEEN], state[q, predict.CLOCK]
        cost += silence(seen, 0, missed, back)
        cost -= 2.0 * math.log(back[(predict.standing(seen, missed) - predict.KEEP) >> 1])
        predict.advance(row, ahead, 0, clock, share, q_all, fast, wild, model, ndim)
        cost += predict.link_cost(ahead, 0, at, noise, light, weight, change, 0, ndim)
        predict.update(row, ahead, 0, at, noise, light, 0, clock, model, ndim, q_all, scratch)
        if keep:
            state[q] = row[0]
        last, q = ints[q, FRAME], ints[q, AFTER]
    return cost + silence(row[0, predict.SEEN], 0, min(now - last, memory + 1), back)


@njit(cache=True, nogil=True, error_model="numpy")
def start(reals, state, row, q, pop, model):  # type: ignore[no-untyped-def]
    """Filters of a track that begins with point `q`, into `row` (1, F)."""
    row[:] = 0.0
    fast = pop[predict.FAST] / pop[predict.FASTS]
    at, noise, light = reals[q : q + 1, AT:], reals[q : q + 1, NOISE:], reals[q : q + 1, LIGHT]
    predict.begin(row, at, noise, light, 0, state[q, predict.CLOCK], fast, model, pop)


@njit(cache=True, nogil=True, error_model="numpy")
def rejoin(  # type: ignore[no-untyped-def]
    ints, reals, state, heads, tails, one, two, now, pop, model, ndim, memory, reach, weight, margin
):
    """For each tail the last point of the head that it most probably belongs to, or `NONE`.

    `one, two`: pairs that are not joined. What is joined is left unless it pays by `margin`.
    """
    m, n = len(heads), len(tails)
    row, scratch = np.empty((1, predict.F)), pop.copy()
    back, fresh = predict.chances(pop), -2.0 * math.log(predict.newness(pop, ndim, reach))
    position = np.full(len(ints), -1, np.int64)  # of a tail, by its first point
    for j in range(n):
        position[tails[j]] = j
    asked, busy = np.zeros(n, np.bool_), np.zeros(m, np.bool_)
    for k in range(len(one)):
        asked[two[k]] = True
        busy[one[k]] = True
    for i in range(m):
        own = ints[heads[i], AFTER]
        if own >= 0 and position[own] >= 0:
            busy[i] |= asked[position[own]]
            asked[position[own]] |= busy[i]
        elif own >= 0:
            busy[i] = False  # its tail begins too late to be judged
    new = np.zeros(n)
    for j in range(n):
        if asked[j]:
            start(reals, state, row, tails[j], pop, model)
            q = tails[j]
            new[j] = fresh + walk(
                ints, reals, state, row, ints[q, FRAME], ints[q, AFTER], now, back, pop, scratch,
                model, ndim, memory, weight, False,
            )  # fmt: skip
            if ints[q, BEFORE] < 0:
                new[j] -= margin
    count = np.zeros(m + 1, np.int64)
    for k in range(len(one)):
        count[one[k] + 1] += busy[one[k]]
    for i in range(m):
        count[i + 1] += busy[i] and ints[heads[i], AFTER] >= 0
    first = np.cumsum(count)
    fill = first[:-1].copy()
    col, cost = np.empty(first[m], np.int32), np.empty(first[m])
    alone = np.zeros(m)
    for i in range(m):
        if not busy[i]:
            continue
        p = heads[i]
        alone[i] = silence(state[p, predict.SEEN], 0, min(now - ints[p, FRAME], memory + 1), back)
        if ints[p, AFTER] < 0:
            alone[i] -= margin
        else:
            col[fill[i]] = position[ints[p, AFTER]]
            fill[i] += 1
    for k in range(len(one)):
        i = one[k]
        if busy[i]:
            col[fill[i]] = two[k]
            fill[i] += 1
    for i in range(m):
        for e in range(first[i], first[i + 1]):
            p, q = heads[i], tails[col[e]]
            if ints[q, FRAME] - ints[p, FRAME] > memory + 1:
                cost[e] = 1e9
                continue
            row[0] = state[p]
            cost[e] = walk(
                ints, reals, state, row, ints[p, FRAME], q, now, back, pop, scratch, model, ndim,
                memory, weight, False,
            ) - new[col[e]]  # fmt: skip
            if ints[p, AFTER] == q:
                cost[e] -= margin
    head_of, _ = assign(first, col, cost, alone, np.zeros(m, np.bool_), n)
    behind = np.empty(n, np.int64)
    for j in range(n):
        behind[j] = ints[tails[j], BEFORE]
        if asked[j]:
            behind[j] = heads[head_of[j]] if head_of[j] >= 0 else NONE
    return behind


@njit(cache=True, nogil=True, error_model="numpy")
def move(ints, reals, state, p, q, slot, now, pop, model, ndim, memory):  # type: ignore[no-untyped-def]
    """Put the tail from point `q` on behind point `p` (or `NONE`) of the track in `slot`, its
    filters made anew; returns its newest point.
    """
    row, scratch, back = np.empty((1, predict.F)), pop.copy(), predict.chances(pop)
    ints[q, BEFORE] = p
    if p >= 0:
        ints[p, AFTER] = q
        row[0] = state[p]
        last, following = ints[p, FRAME], q
    else:
        start(reals, state, row, q, pop, model)
        state[q] = row[0]
        last, following = ints[q, FRAME], ints[q, AFTER]
    walk(
        ints, reals, state, row, last, following, now, back, pop, scratch, model, ndim, memory,
        0.0, True,
    )  # fmt: skip
    end = q
    while q >= 0:
        ints[q, SLOT] = slot
        end, q = q, ints[q, AFTER]
    return end


@njit(cache=True, nogil=True)
def append(ints, reals, state, n, frame, slots, at, noise, light, rows, newest):  # type: ignore[no-untyped-def]
    """Add the points of a frame as rows from `n` on, each behind the newest point of its slot."""
    for j in range(len(slots)):
        p, before = n + j, newest[slots[j]]
        ints[p, FRAME], ints[p, SLOT], ints[p, BEFORE], ints[p, AFTER] = (
            frame, slots[j], before, NONE,
        )  # fmt: skip
        if before >= 0:
            ints[before, AFTER] = p
        newest[slots[j]] = p
        reals[p, AT : AT + 3], reals[p, NOISE : NOISE + 2], reals[p, LIGHT] = (
            at[j], noise[j], light[j],
        )  # fmt: skip
        state[p] = rows[j]


@njit(cache=True, nogil=True)
def drop(ints, reals, state, n, gone, newest):  # type: ignore[no-untyped-def]
    """Forget the first `gone` rows of `n`; the others move to the front."""
    for p in range(gone, n):
        ints[p - gone] = ints[p]
        reals[p - gone] = reals[p]
        state[p - gone] = state[p]
        for k in (BEFORE, AFTER):
            if ints[p - gone, k] >= 0:
                ints[p - gone, k] = max(ints[p - gone, k] - gone, NONE)
    for s in range(len(newest)):
        if newest[s] >= 0:
            newest[s] = max(newest[s] - gone, NONE)
