"""Prediction: where each track is expected next, how surely, and what each link is worth.

Two models of motion compete for every track: Brownian (it stays, but for steps of its own variance)
and directed (constant velocity, whose direction wanders). Each is a Kalman filter, and their
probabilities follow from how well they foresaw the track's points (interacting multiple models:
Blom and Bar-Shalom, IEEE Trans. Autom. Control 33, 780 (1988)). The cost of a link is -2 log of the
density that they expect at the point; that of no link is -2 log of the density of new points times
the odds that a track like this one is not seen. What tracks have in common (step variance, speed,
how often one is missed or ends, how many points are new) is learned on the way, as one average with
a memory of some ten frames, from a start that follows from the search range.

State of a track, one row of `F` numbers in its slot; lateral (y, x) and axial (z) variances:
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

MODELS = ("none", "brownian", "velocity", "auto")

# a track's row
BX, VX, V = 0, 3, 6  # z, y, x of the Brownian and of the directed filter; velocity, px a frame
BP = 9  # variance of the Brownian position: lateral, axial
VP = 11  # of the directed state: position, both, velocity; lateral, then axial
MU = 17  # probability of directed motion
SQ, SN = 18, 19  # own squared steps, and how many they count for
SEEN = 20  # points
CLOCK = 21  # when it was last seen, frames
LIGHT = 22  # logarithm of its intensity
F = 23

# what tracks have in common
STEP, STEPS = 0, 1  # Brownian variance of a step (px^2 a frame, sum) of so many
FAST, FASTS = 2, 3  # squared velocities along an axis (sum) of so many
KAPPA, KAPPAS = 4, 5  # surprise of the directed filter (sum) of so many, in units of what is meant
NOISE = 6  # of the directed motion, px^2 a frame
NEW, FRAMES = 7, 8  # new points (sum) of so many frames
LOW, HIGH = 9, 12  # corners of the box that holds all points
DIRECTED, TRACKS = 15, 16  # directed tracks of so many
LIGHTS, LIGHTS_N = 17, 18  # squared changes of log intensity, of so many
KEEP = 19  # tracks seen again, and tracks looked for, by standing
GAPS, AGES = 4, 3
P = KEEP + 2 * GAPS * AGES

FADE = 0.95  # what an average keeps from frame to frame
OWN = 0.95  # ... and one of a track, from point to point
PRIOR = 6.0  # steps that the average of all counts for, in that of one track
SWITCH = 0.05  # chance a frame to change the way of moving
WANDER = 0.5  # variance of a velocity's change, of the noise along the way
FLOOR = 0.02  # least share of the average step variance
# start: how many in a hundred tracks, by points seen (1, 2, more) and frames missed, come back
RETURN = ((50, 20, 10, 5), (80, 40, 20, 10), (93, 55, 30, 15))
GUESSES = 20.0  # observations that the start counts for


def start(search_range: float) -> np.ndarray:
    """What tracks have in common before any was seen (P,)."""
    pop = np.zeros(P)
    pop[STEP], pop[STEPS] = GUESSES * (search_range / 4) ** 2, GUESSES
    pop[FAST], pop[FASTS] = GUESSES * (search_range / 3) ** 2, GUESSES
    pop[KAPPA], pop[KAPPAS] = GUESSES, GUESSES
    pop[NOISE] = (search_range / 10) ** 2
    pop[DIRECTED], pop[TRACKS] = GUESSES / 2, GUESSES
    pop[LIGHTS], pop[LIGHTS_N] = GUESSES * 0.1, GUESSES
    for age in range(AGES):
        for gap in range(GAPS):
            at = KEEP + 2 * (age * GAPS + gap)
            pop[at], pop[at + 1] = GUESSES * RETURN[age][gap] / 100, GUESSES
    pop[LOW : LOW + 3], pop[HIGH : HIGH + 3] = np.inf, -np.inf
    return pop


@njit(cache=True, nogil=True)
def _standing(seen, missed):  # type: ignore[no-untyped-def]
    age = 0 if seen < 2.0 else 1 if seen < 3.0 else 2
    return KEEP + 2 * (age * GAPS + min(missed, GAPS - 1))


@njit(cache=True, nogil=True)
def expect(state, slot, last, frame, oldest, clock, noise, pop, model, ndim, reach):  # type: ignore[no-untyped-def]
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
    m = len(slot)
    ahead, place, radius, alone = np.empty((m, F)), np.zeros((m, 3)), np.empty(m), np.zeros(m)
    worst = np.zeros(2)
    for j in range(len(noise)):
        worst[0], worst[1] = max(worst[0], noise[j, 0]), max(worst[1], noise[j, 1])
    cell = 0.0
    volume = 1.0
    for axis in range(3 - ndim, 3):
        volume *= max(pop[HIGH + axis] - pop[LOW + axis], reach)
    fresh = max(pop[NEW] / max(pop[FRAMES], 1.0), 0.5) / volume
    q_all = pop[STEP] / pop[STEPS]
    fast = pop[FAST] / pop[FASTS]
    noise = pop[NOISE]
    tau = (2.0 * math.pi) ** (0.5 * ndim)
    for i in range(m):
        radius[i] = -1.0
        if last[i] < oldest:
            continue
        old, new = state[slot[i]], ahead[i]
        dt = max(clock - old[CLOCK], 1e-3)
        q = max((PRIOR * q_all + old[SQ]) / (PRIOR + old[SN]), FLOOR * q_all)
        _mix(old, new, dt, model, fast)
        new[SEEN], new[CLOCK], new[LIGHT] = old[SEEN], old[CLOCK], old[LIGHT]
        new[SQ], new[SN] = old[SQ], old[SN]
        for part in range(2):
            new[BP + part] += q * dt
            at = VP + 3 * part
            new[at] += dt * (2.0 * new[at + 1] + dt * new[at + 2]) + noise * dt * (
                1.0 + WANDER * dt * dt / 3.0
            )
            new[at + 1] += dt * new[at + 2] + WANDER * noise * dt * dt / 2.0
            new[at + 2] += WANDER * noise * dt
        for axis in range(3):
            new[VX + axis] += new[V + axis] * dt
        at = _standing(old[SEEN], frame - last[i] - 1)
        back = min(max(pop[at] / pop[at + 1], 0.01), 0.98)
        least = fresh * (1.0 - back) / back
        alone[i] = -2.0 * math.log(least)
        far = reach * math.sqrt(max(dt, 1.0))
        b = _radius(
            1.0 - new[MU], new[BP] + worst[0], new[BP + 1] + worst[1], least, tau, ndim, far
        )
        v = _radius(new[MU], new[VP] + worst[0], new[VP + 3] + worst[1], least, tau, ndim, far)
        _ball(new, b, v, place[i], radius, i)
        cell += max(radius[i], 0.0)
    return ahead, place, radius, alone, max(cell / max(m, 1), 0.1 * reach)


@njit(cache=True, nogil=True)
def _mix(old, new, dt, model, fast):  # type: ignore[no-untyped-def]
    """States of the two filters after a possible change of motion; `new` is filled."""
    mu = old[MU]
    change = 0.0
    if model == 1:
        mu = 0.0
    elif model == 2:
        mu = 1.0
    else:
        change = SWITCH * dt / (1.0 + 2.0 * SWITCH * dt)
    ahead = mu * (1.0 - change) + (1.0 - mu) * change
    new[MU] = ahead
    to_v = (1.0 - mu) * change / ahead if ahead > 0.0 else 0.0  # share of the Brownian past
    to_b = mu * change / (1.0 - ahead) if ahead < 1.0 else 0.0  # share of the directed past
    spread_b = np.zeros(2)
    spread_x = np.zeros(2)
    spread_xv = np.zeros(2)
    spread_v = np.zeros(2)
    for axis in range(3):
        part = 1 if axis == 0 else 0
        share = 1.0 if axis == 0 else 0.5
        gap = old[VX + axis] - old[BX + axis]
        speed = old[V + axis]
        new[BX + axis] = old[BX + axis] + to_b * gap
        new[VX + axis] = old[VX + axis] - to_v * gap
        new[V + axis] = (1.0 - to_v) * speed
        spread_b[part] += share * to_b * (1.0 - to_b) * gap * gap
        spread_x[part] += share * to_v * (1.0 - to_v) * gap * gap
        spread_xv[part] += share * to_v * (1.0 - to_v) * gap * speed
        spread_v[part] += share * to_v * (1.0 - to_v) * speed * speed
    for part in range(2):
        at = VP + 3 * part
        b, x, xv, v = old[BP + part], old[at], old[at + 1], old[at + 2]
        new[BP + part] = (1.0 - to_b) * b + to_b * x + spread_b[part]
        new[at] = (1.0 - to_v) * x + to_v * b + spread_x[part]
        new[at + 1] = (1.0 - to_v) * xv + spread_xv[part]
        new[at + 2] = (1.0 - to_v) * v + to_v * fast + spread_v[part]


@njit(cache=True, nogil=True)
def _radius(mu, lateral, axial, least, tau, ndim, far):  # type: ignore[no-untyped-def]
    """How far from its prediction a model alone may pay for a link; -1 nowhere."""
    root = lateral * math.sqrt(axial) if ndim == 3 else lateral
    odds = 2.0 * mu / (least * tau * root)
    if odds <= 1.0:
        return -1.0
    return min(
        math.sqrt(2.0 * math.log(odds) * (max(lateral, axial) if ndim == 3 else lateral)), far
    )


@njit(cache=True, nogil=True)
def _ball(new, b, v, place, radius, i):  # type: ignore[no-untyped-def]
    """Smallest ball around the balls of both models."""
    gap = 0.0
    for axis in range(3):
        gap += (new[VX + axis] - new[BX + axis]) ** 2
    gap = math.sqrt(gap)
    if b < 0.0 or v >= gap + b:
        share, radius[i] = 1.0, v
    elif v < 0.0 or b >= gap + v:
        share, radius[i] = 0.0, b
    else:
        radius[i] = 0.5 * (gap + b + v)
        share = (radius[i] - b) / gap
    for axis in range(3):
        place[axis] = new[BX + axis] + share * (new[VX + axis] - new[BX + axis])


@njit(cache=True, nogil=True)
def price(ahead, at, noise, light, weight, pop, first, col, cost, ndim):  # type: ignore[no-untyped-def]
    """Replace the squared distances of the candidates by their costs."""
    tau = (2.0 * math.pi) ** (0.5 * ndim)
    change = pop[LIGHTS] / pop[LIGHTS_N]
    for i in range(len(ahead)):
        new = ahead[i]
        for e in range(first[i], first[i + 1]):
            j = col[e]
            density = 0.0
            if new[MU] < 1.0:
                density += (1.0 - new[MU]) * _density(
                    new, BX, new[BP] + noise[j, 0], new[BP + 1] + noise[j, 1], at[j], ndim
                )
            if new[MU] > 0.0:
                density += new[MU] * _density(
                    new, VX, new[VP] + noise[j, 0], new[VP + 3] + noise[j, 1], at[j], ndim
                )
            cost[e] = -2.0 * math.log(max(density / tau, 1e-300))
            if weight > 0.0:
                cost[e] += weight * min((light[j] - new[LIGHT]) ** 2 / change, 25.0)


@njit(cache=True, nogil=True)
def _density(new, x, lateral, axial, at, ndim):  # type: ignore[no-untyped-def]
    square = ((at[1] - new[x + 1]) ** 2 + (at[2] - new[x + 2]) ** 2) / lateral
    if ndim == 3:
        square += (at[0] - new[x]) ** 2 / axial
        return math.exp(-0.5 * square) / (lateral * math.sqrt(axial))
    return math.exp(-0.5 * square) / lateral


@njit(cache=True, nogil=True)
def learn(
    state, ahead, row_of, point_slot, last, frame, oldest, clock, at, noise, light, pop, model, ndim
):  # type: ignore[no-untyped-def]
    """Take in the points of a frame: filters of the tracks linked, rows of new ones, averages."""
    for k in range(P):
        if k in (STEP, FAST, KAPPA, NEW, DIRECTED, LIGHTS) or (k >= KEEP and (k - KEEP) % 2 == 0):
            if pop[k + 1] > 1.0:
                pop[k] *= FADE
                pop[k + 1] *= FADE
    q_all = pop[STEP] / pop[STEPS]
    fast = pop[FAST] / pop[FASTS]
    for i in range(len(last)):
        if last[i] >= oldest:
            pop[_standing(ahead[i, SEEN], frame - last[i] - 1) + 1] += 1.0
    new_points = 0.0
    for j in range(len(at)):
        for axis in range(3):
            pop[LOW + axis] = min(pop[LOW + axis], at[j, axis])
            pop[HIGH + axis] = max(pop[HIGH + axis], at[j, axis])
        row, i = state[point_slot[j]], row_of[j]
        if i < 0:
            new_points += 1.0
            _begin(row, at[j], noise[j], light[j], clock, fast, model, pop)
            continue
        pop[_standing(ahead[i, SEEN], frame - last[i] - 1)] += 1.0
        _update(row, ahead[i], at[j], noise[j], light[j], clock, model, ndim, q_all, pop)
    if pop[FRAMES] == 0.0:  # all are new in the first frame: a tenth is usual
        pop[NEW], pop[FRAMES] = 0.5 * new_points, 5.0
    else:
        pop[NEW] += new_points
        pop[FRAMES] += 1.0
    surprise = pop[KAPPA] / pop[KAPPAS]
    pop[NOISE] *= min(max(surprise, 0.5), 2.0) ** 0.1


@njit(cache=True, nogil=True)
def _begin(row, at, noise, light, clock, fast, model, pop):  # type: ignore[no-untyped-def]
    row[:] = 0.0
    for axis in range(3):
        row[BX + axis] = row[VX + axis] = at[axis]
    for part in range(2):
        row[BP + part] = row[VP + 3 * part] = noise[part]
        row[VP + 3 * part + 2] = fast
    share = min(max(pop[DIRECTED] / pop[TRACKS], 0.05), 0.95)
    row[MU] = 0.0 if model == 1 else 1.0 if model == 2 else share
    row[SEEN], row[CLOCK], row[LIGHT] = 1.0, clock, light


@njit(cache=True, nogil=True)
def _update(row, new, at, noise, light, clock, model, ndim, q_all, pop):  # type: ignore[no-untyped-def]
    """Both filters take in the point, and say how well they had foreseen it."""
    dt = max(clock - new[CLOCK], 1e-3)
    like_b = _density(new, BX, new[BP] + noise[0], new[BP + 1] + noise[1], at, ndim)
    like_v = _density(new, VX, new[VP] + noise[0], new[VP + 3] + noise[1], at, ndim)
    total = (1.0 - new[MU]) * like_b + new[MU] * like_v
    mu = new[MU] * like_v / total if total > 1e-300 else new[MU]
    q = max((PRIOR * q_all + new[SQ]) / (PRIOR + new[SN]), FLOOR * q_all)
    step = surprise = 0.0
    for axis in range(3 - ndim, 3):
        part = 1 if axis == 0 else 0
        error = at[axis] - new[BX + axis]
        step += error * error - (new[BP + part] - q * dt + noise[part])
        gain = new[BP + part] / (new[BP + part] + noise[part])
        row[BX + axis] = new[BX + axis] + gain * error
        p = VP + 3 * part
        all_v = new[p] + noise[part]
        error = at[axis] - new[VX + axis]
        surprise += error * error / all_v
        row[VX + axis] = new[VX + axis] + new[p] / all_v * error
        row[V + axis] = new[V + axis] + new[p + 1] / all_v * error
    for part in range(2):
        p = VP + 3 * part
        all_b, all_v = new[BP + part] + noise[part], new[p] + noise[part]
        row[BP + part] = new[BP + part] * noise[part] / all_b
        row[p + 2] = new[p + 2] - new[p + 1] * new[p + 1] / all_v
        row[p + 1] = new[p + 1] * noise[part] / all_v
        row[p] = new[p] * noise[part] / all_v
    step /= ndim * dt
    mu = 0.0 if model == 1 else 1.0 if model == 2 else min(max(mu, 1e-3), 1.0 - 1e-3)
    row[MU] = mu
    row[SQ] = OWN * new[SQ] + (1.0 - mu) * step
    row[SN] = OWN * new[SN] + (1.0 - mu)
    pop[STEP] = max(pop[STEP] + (1.0 - mu) * step, 1e-6 * q_all * pop[STEPS])
    pop[STEPS] += 1.0 - mu
    pop[DIRECTED] += mu
    pop[TRACKS] += 1.0
    if new[SEEN] >= 3.0:
        speed = 0.0
        for axis in range(3 - ndim, 3):
            speed += row[V + axis] ** 2
        pop[FAST] += mu * speed / ndim
        pop[FASTS] += mu
        pop[KAPPA] += mu * surprise / ndim
        pop[KAPPAS] += mu
    pop[LIGHTS] += (light - new[LIGHT]) ** 2
    pop[LIGHTS_N] += 1.0
    row[LIGHT] = new[LIGHT] + 0.3 * (light - new[LIGHT])
    row[SEEN], row[CLOCK] = new[SEEN] + 1.0, clock
