"""Link a frame: one frame's points become the next points of tracks, in one compiled call.

A call from Python costs as much as linking some ten particles, hence few of them; the tables of the
living tracks are the linker's.
"""

from __future__ import annotations

import math

import numpy as np

from livespt.stream.compiled import njit
from livespt.stream.link.assignment import assign
from livespt.stream.link.candidates import neighbors
from livespt.stream.link.forecast import expect, learn, price


@njit(nogil=True)
def first_bad(at):  # type: ignore[no-untyped-def]
    """First row with a coordinate that is no number to reckon with; -1: none."""
    for i in range(at.shape[0]):
        for axis in range(at.shape[1]):
            if not abs(at[i, axis]) < 1e100:  # also where squares overflow
                return i
    return -1


@njit(nogil=True)
def measured(n, precision, intensity, usual, most):  # type: ignore[no-untyped-def]
    """Variances of localizations (n, 2), lateral and axial, and logarithms of intensities (n,).

    `precision` (n, 2 or 3) and `intensity` (n,) may be empty; where a standard deviation says
    nothing its square is `usual`, and none is above `most`.
    """
    noise, light = np.full((n, 2), usual), np.zeros(n)
    for j in range(len(precision)):
        y, x = precision[j, -2], precision[j, -1]
        noise[j, 0] = 0.5 * (y * y + x * x)
        if precision.shape[1] == 3:
            noise[j, 1] = precision[j, 0] * precision[j, 0]
        for part in range(2):
            known = math.isfinite(noise[j, part]) and noise[j, part] > 0.0
            noise[j, part] = min(max(noise[j, part], 1e-3 * usual), most) if known else usual
    for j in range(len(intensity)):
        light[j] = math.log(intensity[j] if intensity[j] > 1e-9 else 1e-9)  # also where NaN
    return noise, light


@njit(nogil=True)
def plain(at, frame, memory, kept, reach, next_id, slots, free, n_free, ids, slot_of, last, old):  # type: ignore[no-untyped-def]
    """Link by distance alone: see `follow` for what is returned, and how many were degraded."""
    m = len(ids)
    radius = np.empty(m)
    for i in range(m):
        radius[i] = reach if frame - last[i] <= memory + 1 else -1.0
    row_of, degraded = np.full(len(at), -1, np.int64), 0
    if m > 0 and len(at) > 0:
        first, col, cost, capped = neighbors(old, radius, at, reach)
        row_of, degraded = assign(first, col, cost, np.full(m, reach * reach), capped, len(at))
    followed = follow(
        row_of, at, frame, kept, next_id, slots, free, n_free, ids, slot_of, last, old
    )
    return followed, degraded


@njit(nogil=True)
def moving(  # type: ignore[no-untyped-def]
    at, frame, memory, kept, reach, next_id, slots, free, n_free, ids, slot_of, last, old,
    state, pop, clock, noise, light, weight, model, ndim,
):  # fmt: skip
    """Link by a motion model, see `expect`; returns the new rows of its states too."""
    oldest = frame - memory - 1
    ahead, place, radius, alone, cell = expect(
        state, last, frame, oldest, clock, noise, pop, model, ndim, reach
    )
    row_of, degraded = np.full(len(at), -1, np.int64), 0
    if len(ids) > 0 and len(at) > 0:
        first, col, cost, capped = neighbors(place, radius, at, cell)
        price(ahead, at, noise, light, weight, pop, first, col, cost, ndim)
        row_of, degraded = assign(first, col, cost, alone, capped, len(at))
    followed = follow(
        row_of, at, frame, kept, next_id, slots, free, n_free, ids, slot_of, last, old
    )
    state = learn(
        state, ahead, row_of, last, frame, oldest, frame - kept - 1, len(followed[5]), clock, at,
        noise, light, pop, model, ndim,
    )  # fmt: skip
    return followed, degraded, state


@njit(nogil=True)
def follow(  # type: ignore[no-untyped-def]
    row_of, at, frame, kept, next_id, slots, free, n_free, ids, slot_of, last, old
):
    """Names and slots of the points, and the tracks that live on: points first, then the gaps.

    Returns the ids (n,) and slots of the points, the ids born, the ids lost and their slots; then
    the living tracks: ids, slots, last frames and places.
    """
    n, m = len(at), len(ids)
    track = np.empty(n, np.int64)
    slot = np.empty(n, np.int32)
    born = np.empty(n, np.int64)
    linked = np.zeros(m, np.bool_)
    births = 0
    for j in range(n):
        i = row_of[j]
        if i >= 0:
            linked[i] = True
            track[j], slot[j] = ids[i], slot_of[i]
            continue
        track[j] = born[births] = next_id + births
        if births < n_free:
            slot[j] = free[n_free - 1 - births]
        else:
            slot[j] = slots + births - n_free
        births += 1
    n_free = max(n_free - births, 0)
    alive = n
    for i in range(m):
        alive += not linked[i] and frame - last[i] <= kept
    lost = np.empty(m + births - alive, np.int64)
    lost_slot = np.empty(len(lost), np.int32)
    new_ids = np.empty(alive, np.int64)
    new_slot = np.empty(alive, np.int32)
    new_last = np.full(alive, frame, np.int64)
    new_at = np.empty((alive, 3))
    new_ids[:n], new_slot[:n], new_at[:n] = track, slot, at
    k, gone = n, 0
    for i in range(m):
        if linked[i]:
            continue
        if frame - last[i] <= kept:
            new_ids[k], new_slot[k], new_last[k], new_at[k] = ids[i], slot_of[i], last[i], old[i]
            k += 1
        else:
            lost[gone], lost_slot[gone] = ids[i], slot_of[i]
            free[n_free + gone] = slot_of[i]
            gone += 1
    return track, slot, born[:births], lost, lost_slot, new_ids, new_slot, new_last, new_at
