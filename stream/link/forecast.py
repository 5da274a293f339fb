"""Forecast: a frame's tracks looked ahead, its candidate links priced, its points learned from.

The models of motion are those of `motion_model`; here they are applied to all tracks of a frame.
"""

from __future__ import annotations

import math

import numpy as np

from livespt.stream.compiled import njit
from livespt.stream.link.motion_model import (
    BP,
    BX,
    CLOCK,
    DIRECTED,
    FAST,
    FASTS,
    FRAMES,
    HIGH,
    KAPPA,
    KAPPAS,
    KEEP,
    LIGHTS,
    LIGHTS_N,
    LOW,
    MU,
    NEW,
    NOISE,
    SEEN,
    STEADY,
    STEP,
    STEPS,
    TRACKS,
    VP,
    VX,
    F,
    P,
    advance,
    begin,
    chances,
    link_cost,
    newness,
    standing,
    update,
)

FADE = 0.95  # what an average over all tracks keeps from frame to frame


@njit(nogil=True, error_model="numpy")
def expect(state, last, frame, oldest, clock, noise, pop, model, ndim, reach):  # type: ignore[no-untyped-def]
    """Predict every track to `clock`, and where to look for its point.

    Returns
    -------
    ahead
        (m, F): predicted rows.
    place, radius
        (m, 3), (m,): the ball that holds every point that pays; radius -1: there is none.
    alone
        (m,): cost of no link.
    cell
        Side of cells to look in.
    """
    m = len(last)
    ahead, place, radius, alone = np.empty((m, F)), np.zeros((m, 3)), np.empty(m), np.zeros(m)
    loud, loud_z = 0.0, 0.0
    for j in range(len(noise)):
        loud, loud_z = max(loud, noise[j, 0]), max(loud_z, noise[j, 1])
    least, none = _odds(pop, ndim, reach)
    q_all, fast, wild = pop[STEP] / pop[STEPS], pop[FAST] / pop[FASTS], pop[NOISE]
    share = min(max(pop[DIRECTED] / pop[TRACKS], 0.05), 0.95)
    cell = 0.0
    for i in range(m):
        radius[i] = -1.0
        if last[i] < oldest:
            continue
        gap = advance(state, ahead, i, clock, share, q_all, fast, wild, model, ndim)
        dt, mu = max(clock - state[i, CLOCK], 1e-3), ahead[i, MU]
        kind = standing(state[i, SEEN], frame - last[i] - 1) - KEEP
        alone[i] = none[kind >> 1]
        far = reach * math.sqrt(max(dt, 1.0))
        b = v = -1.0
        floor = least[kind >> 1]
        if mu < 1.0:
            b = _radius(
                (1.0 - mu) / floor, ahead[i, BP] + loud, ahead[i, BP + 1] + loud_z, ndim, far
            )
        if mu > 0.0:
            v = _radius(mu / floor, ahead[i, VP] + loud, ahead[i, VP + 3] + loud_z, ndim, far)
        radius[i], part = _ball(math.sqrt(gap), b, v)
        place[i, 1] = ahead[i, BX + 1] + part * (ahead[i, VX + 1] - ahead[i, BX + 1])
        place[i, 2] = ahead[i, BX + 2] + part * (ahead[i, VX + 2] - ahead[i, BX + 2])
        if ndim == 3:
            place[i, 0] = ahead[i, BX] + part * (ahead[i, VX] - ahead[i, BX])
        cell += max(radius[i], 0.0)
    return ahead, place, radius, alone, max(cell / max(m, 1), 0.1 * reach)


@njit(nogil=True, error_model="numpy")
def _odds(pop, ndim, reach):  # type: ignore[no-untyped-def]
    """For each standing, the density at which a link pays, and the cost of none."""
    back = chances(pop)
    least = newness(pop, ndim, reach) * (1.0 - back) / back
    return least * (2.0 * math.pi) ** (0.5 * ndim), -2.0 * np.log(least)


@njit(nogil=True, error_model="numpy")
def _radius(odds, lateral, axial, ndim, far):  # type: ignore[no-untyped-def]
    """How far from its prediction a model alone may pay for a link; -1 nowhere."""
    odds, widest = 2.0 * odds / lateral, lateral
    if ndim == 3:
        odds, widest = odds / math.sqrt(axial), max(lateral, axial)
    return min(math.sqrt(2.0 * math.log(odds) * widest), far) if odds > 1.0 else -1.0


@njit(nogil=True, error_model="numpy")
def _ball(gap, b, v):  # type: ignore[no-untyped-def]
    """Smallest ball around the balls of both models: radius, and where from one to the other."""
    if b < 0.0 or v >= gap + b:
        return v, 1.0
    if v < 0.0 or b >= gap + v:
        return b, 0.0
    radius = 0.5 * (gap + b + v)
    return radius, (radius - b) / gap


@njit(nogil=True, error_model="numpy")
def price(ahead, at, noise, light, weight, pop, first, col, cost, ndim):  # type: ignore[no-untyped-def]
    """Replace the squared distances of the candidates by their costs."""
    change = pop[LIGHTS] / pop[LIGHTS_N]
    for i in range(len(ahead)):
        for e in range(first[i], first[i + 1]):
            cost[e] = link_cost(ahead, i, at, noise, light, weight, change, col[e], ndim)


@njit(nogil=True, error_model="numpy")
def learn(  # type: ignore[no-untyped-def]
    state,
    ahead,
    row_of,
    last,
    frame,
    oldest,
    kept,
    alive,
    clock,
    at,
    noise,
    light,
    pop,
    model,
    ndim,
):
    """Take in the points of a frame, in filters and averages.

    Returns the rows (alive, F) of the tracks that live on: those of the points, then the gaps.
    """
    new = np.empty((alive, F))
    linked = np.zeros(len(last), np.bool_)
    for k in range(P):
        if k in (STEP, FAST, KAPPA, NEW, DIRECTED, LIGHTS) or (k >= KEEP and (k - KEEP) % 2 == 0):
            if pop[k + 1] > 1.0:
                pop[k] *= FADE
                pop[k + 1] *= FADE
    q_all = pop[STEP] / pop[STEPS]
    fast = pop[FAST] / pop[FASTS]
    for i in range(len(last)):
        if last[i] >= oldest:
            pop[standing(ahead[i, SEEN], frame - last[i] - 1) + 1] += 1.0
    new_points = 0.0
    for j in range(len(at)):
        for axis in range(3):
            pop[LOW + axis] = min(pop[LOW + axis], at[j, axis])
            pop[HIGH + axis] = max(pop[HIGH + axis], at[j, axis])
        i = row_of[j]
        if i < 0:
            new_points += 1.0
            begin(new, at, noise, light, j, clock, fast, model, pop)
            continue
        linked[i] = True
        pop[standing(ahead[i, SEEN], frame - last[i] - 1)] += 1.0
        update(new, ahead, i, at, noise, light, j, clock, model, ndim, q_all, pop)
    if pop[FRAMES] == 0.0:  # all are new in the first frame: a tenth is usual
        pop[NEW], pop[FRAMES] = 0.5 * new_points, 5.0
    else:
        pop[NEW] += new_points
        pop[FRAMES] += 1.0
    surprise = pop[KAPPA] / pop[KAPPAS]
    pop[NOISE] = max(pop[NOISE] * min(max(surprise, 0.5), 2.0) ** 0.1, STEADY)
    k = len(at)
    for i in range(len(last)):
        if last[i] > kept and not linked[i]:
            new[k] = state[i]
            k += 1
    return new
