"""Prediction: where each track is expected next, how surely, and what each link is worth.

Two models of motion compete for every track: Brownian (it stays, but for steps of its own variance)
and directed (constant velocity, whose direction wanders). Each is a Kalman filter, and their
probabilities follow from how well they foresaw the track's points (interacting multiple models:
Blom and Bar-Shalom, IEEE Trans. Autom. Control 33, 780 (1988)). The cost of a link is -2 log of the
density that they expect at the point; that of no link is -2 log of the density of new points times
the odds that a track like this one is not seen. What tracks have in common (step variance, speed,
how often one is missed or ends, how many points are new) is learned on the way, as one average with
a memory of some ten frames, from a start that follows from the search range.

State of a track: one row of `F` numbers, in the order of the linker's living tracks. Variances are
lateral (y, x) and axial (z).
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


@njit(cache=True, nogil=True, error_model="numpy")
def standing(seen, missed):  # type: ignore[no-untyped-def]
    age = 0 if seen < 2.0 else 1 if seen < 3.0 else 2
    return KEEP + 2 * (age * GAPS + min(missed, GAPS - 1))


@njit(cache=True, nogil=True, error_model="numpy")
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
        for axis in range(3 - ndim, 3):
            here = ahead[i, BX + axis]
            place[i, axis] = here + part * (ahead[i, VX + axis] - here)
        cell += max(radius[i], 0.0)
    return ahead, place, radius, alone, max(cell / max(m, 1), 0.1 * reach)


@njit(cache=True, nogil=True, error_model="numpy")
def advance(state, ahead, i, clock, share, q_all, fast, wild, model, ndim):  # type: ignore[no-untyped-def]
    """Predict one track's row to `clock`, into `ahead`.

    Returns the squared distance between the positions of both filters.
    """
    dt = max(clock - state[i, CLOCK], 1e-3)
    mu = state[i, MU]
    to_v = to_b = 0.0
    if model == 3:
        change = SWITCH * dt / (1.0 + SWITCH * dt)
        later = mu + change * (share - mu)
        to_v = (1.0 - mu) * change * share / later  # part of the directed that was Brownian
        to_b = mu * change * (1.0 - share) / (1.0 - later)  # ... and the other way round
        mu = later
    ahead[i, MU] = mu
    for k in range(SQ, F):
        ahead[i, k] = state[i, k]
    q = max((PRIOR * q_all + state[i, SQ]) / (PRIOR + state[i, SN]), FLOOR * q_all)
    gap = _mix(state, ahead, i, to_v, to_b, 0, dt, q, fast, wild)
    if ndim == 3:
        gap += _mix(state, ahead, i, to_v, to_b, 1, dt, q, fast, wild)
    return gap


@njit(cache=True, nogil=True, error_model="numpy")
def newness(pop, ndim, reach):  # type: ignore[no-untyped-def]
    """Density of new points in a frame, px^-ndim."""
    volume = 1.0
    for axis in range(3 - ndim, 3):
        volume *= max(pop[HIGH + axis] - pop[LOW + axis], reach)
    return max(pop[NEW] / max(pop[FRAMES], 1.0), 0.5) / volume


@njit(cache=True, nogil=True, error_model="numpy")
def chances(pop):  # type: ignore[no-untyped-def]
    """For each standing, the chance that such a track is seen (GAPS * AGES)."""
    back = np.empty(GAPS * AGES)
    for k in range(GAPS * AGES):
        back[k] = min(max(pop[KEEP + 2 * k] / pop[KEEP + 2 * k + 1], 0.01), 0.98)
    return back


@njit(cache=True, nogil=True, error_model="numpy")
def _odds(pop, ndim, reach):  # type: ignore[no-untyped-def]
    """For each standing, the density at which a link pays, and the cost of none."""
    back = chances(pop)
    least = newness(pop, ndim, reach) * (1.0 - back) / back
    return least * (2.0 * math.pi) ** (0.5 * ndim), -2.0 * np.log(least)


@njit(cache=True, nogil=True, error_model="numpy")
def _mix(state, ahead, i, to_v, to_b, part, dt, q, fast, wild):  # type: ignore[no-untyped-def]
    """Both filters after a possible change of motion and a time, along y, x or (part 1) z.

    Returns the squared distance of their positions.
    """
    between = with_speed = speeds = distance = 0.0
    for axis in range(1 - part, 3 - 2 * part):
        b, x, v = state[i, BX + axis], state[i, VX + axis], state[i, V + axis]
        between += (x - b) * (x - b)
        with_speed += (x - b) * v
        speeds += v * v
        x, v, b = x - to_v * (x - b), (1.0 - to_v) * v, b + to_b * (x - b)
        x += v * dt
        ahead[i, BX + axis], ahead[i, VX + axis], ahead[i, V + axis] = b, x, v
        distance += (x - b) * (x - b)
    each = 1.0 if part == 1 else 0.5
    b, p = state[i, BP + part], VP + 3 * part
    x, xv, v = state[i, p], state[i, p + 1], state[i, p + 2]
    spread = each * to_v * (1.0 - to_v)
    ahead[i, BP + part] = (
        (1.0 - to_b) * b + to_b * x + each * to_b * (1.0 - to_b) * between + q * dt
    )
    x = (1.0 - to_v) * x + to_v * b + spread * between
    xv = (1.0 - to_v) * xv + spread * with_speed
    v = (1.0 - to_v) * v + to_v * fast + spread * speeds
    turn = WANDER * wild * dt
    ahead[i, p] = x + dt * (2.0 * xv + dt * v + wild + turn * dt / 3.0)
    ahead[i, p + 1] = xv + dt * (v + turn / 2.0)
    ahead[i, p + 2] = v + turn
    return distance


@njit(cache=True, nogil=True, error_model="numpy")
def _radius(odds, lateral, axial, ndim, far):  # type: ignore[no-untyped-def]
    """How far from its prediction a model alone may pay for a link; -1 nowhere."""
    odds, widest = 2.0 * odds / lateral, lateral
    if ndim == 3:
        odds, widest = odds / math.sqrt(axial), max(lateral, axial)
    return min(math.sqrt(2.0 * math.log(odds) * widest), far) if odds > 1.0 else -1.0


@njit(cache=True, nogil=True, error_model="numpy")
def _ball(gap, b, v):  # type: ignore[no-untyped-def]
    """Smallest ball around the balls of both models: radius, and where from one to the other."""
    if b < 0.0 or v >= gap + b:
        return v, 1.0
    if v < 0.0 or b >= gap + v:
        return b, 0.0
    radius = 0.5 * (gap + b + v)
    return radius, (radius - b) / gap


@njit(cache=True, nogil=True, error_model="numpy")
def price(ahead, at, noise, light, weight, pop, first, col, cost, ndim):  # type: ignore[no-untyped-def]
    """Replace the squared distances of the candidates by their costs."""
    change = pop[LIGHTS] / pop[LIGHTS_N]
    for i in range(len(ahead)):
        for e in range(first[i], first[i + 1]):
            cost[e] = link_cost(ahead, i, at, noise, light, weight, change, col[e], ndim)


@njit(cache=True, nogil=True, error_model="numpy")
def link_cost(ahead, i, at, noise, light, weight, change, j, ndim):  # type: ignore[no-untyped-def]
    """-2 log of the density that a track expects at a point, and what its intensity costs."""
    mu, density = ahead[i, MU], 0.0
    if mu < 1.0:
        density += (1.0 - mu) * _density(ahead, i, BX, BP, BP + 1, at, noise, j, ndim)
    if mu > 0.0:
        density += mu * _density(ahead, i, VX, VP, VP + 3, at, noise, j, ndim)
    cost = -2.0 * math.log(max(density * (2.0 * math.pi) ** (-0.5 * ndim), 1e-300))
    if weight > 0.0:
        cost += weight * min((light[j] - ahead[i, LIGHT]) ** 2 / change, 25.0)
    return cost


@njit(cache=True, nogil=True, error_model="numpy")
def _density(ahead, i, x, lateral, axial, at, noise, j, ndim):  # type: ignore[no-untyped-def]
    """Normal density of a filter at a point, but for the power of 2 pi."""
    sharp = 1.0 / (ahead[i, lateral] + noise[j, 0])
    square = ((at[j, 1] - ahead[i, x + 1]) ** 2 + (at[j, 2] - ahead[i, x + 2]) ** 2) * sharp
    if ndim == 3:
        deep = 1.0 / (ahead[i, axial] + noise[j, 1])
        square += (at[j, 0] - ahead[i, x]) ** 2 * deep
        sharp *= math.sqrt(deep)
    return math.exp(-0.5 * square) * sharp


@njit(cache=True, nogil=True, error_model="numpy")
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
    new = np.zeros((alive, F))
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
    pop[NOISE] *= min(max(surprise, 0.5), 2.0) ** 0.1
    k = len(at)
    for i in range(len(last)):
        if last[i] > kept and not linked[i]:
            new[k] = state[i]
            k += 1
    return new


@njit(cache=True, nogil=True, error_model="numpy")
def begin(state, at, noise, light, j, clock, fast, model, pop):  # type: ignore[no-untyped-def]
    """The row of a track that starts with a point."""
    for axis in range(3):
        state[j, BX + axis] = state[j, VX + axis] = at[j, axis]
    for part in range(2):
        state[j, BP + part] = state[j, VP + 3 * part] = noise[j, part]
        state[j, VP + 3 * part + 2] = fast
    share = min(max(pop[DIRECTED] / pop[TRACKS], 0.05), 0.95)
    state[j, MU] = 0.0 if model == 1 else 1.0 if model == 2 else share
    state[j, SEEN], state[j, CLOCK], state[j, LIGHT] = 1.0, clock, light[j]


@njit(cache=True, nogil=True, error_model="numpy")
def update(state, ahead, i, at, noise, light, j, clock, model, ndim, q_all, pop):  # type: ignore[no-untyped-def]
    """Both filters take in a point; how well they had foreseen it tells which motion it is."""
    dt = max(clock - ahead[i, CLOCK], 1e-3)
    mu = ahead[i, MU]
    if model == 3:
        brownian = (1.0 - mu) * _density(ahead, i, BX, BP, BP + 1, at, noise, j, ndim)
        directed = mu * _density(ahead, i, VX, VP, VP + 3, at, noise, j, ndim)
        if brownian + directed > 1e-300:
            mu = min(max(directed / (brownian + directed), 1e-3), 1.0 - 1e-3)
    q = max((PRIOR * q_all + ahead[i, SQ]) / (PRIOR + ahead[i, SN]), FLOOR * q_all)
    step = surprise = speed = 0.0
    for part in range(ndim - 1):
        more = _correct(state, ahead, i, at, j, noise[j, part], part, q * dt)
        step, surprise, speed = step + more[0], surprise + more[1], speed + more[2]
    step /= ndim * dt
    state[j, MU] = mu
    state[j, SQ] = OWN * ahead[i, SQ] + (1.0 - mu) * step
    state[j, SN] = OWN * ahead[i, SN] + (1.0 - mu)
    pop[STEP] = max(pop[STEP] + (1.0 - mu) * step, 1e-6 * q_all * pop[STEPS])
    pop[STEPS] += 1.0 - mu
    pop[DIRECTED] += mu
    pop[TRACKS] += 1.0
    if ahead[i, SEEN] >= 3.0:
        pop[FAST] += mu * speed / ndim
        pop[FASTS] += mu
        pop[KAPPA] += mu * surprise / ndim
        pop[KAPPAS] += mu
    change = light[j] - ahead[i, LIGHT]
    pop[LIGHTS] += change * change
    pop[LIGHTS_N] += 1.0
    state[j, LIGHT] = ahead[i, LIGHT] + 0.3 * change
    state[j, SEEN], state[j, CLOCK] = ahead[i, SEEN] + 1.0, clock


@njit(cache=True, nogil=True, error_model="numpy")
def _correct(state, ahead, i, at, j, noise, part, own):  # type: ignore[no-untyped-def]
    """Kalman update of the lateral axes or of the axial one.

    Returns squares summed over axes: of the step beyond what else explains it, of the directed
    filter's error over what it expects, of the velocity.
    """
    p = VP + 3 * part
    b, x, xv = ahead[i, BP + part], ahead[i, p], ahead[i, p + 1]
    gain = b / (b + noise)
    sharp = 1.0 / (x + noise)
    gain_x, gain_v = x * sharp, xv * sharp
    step = surprise = speed = 0.0
    for axis in range(1 - part, 3 - 2 * part):
        error = at[j, axis] - ahead[i, BX + axis]
        step += error * error - (b + noise - own)
        state[j, BX + axis] = ahead[i, BX + axis] + gain * error
        error = at[j, axis] - ahead[i, VX + axis]
        surprise += error * error * sharp
        v = ahead[i, V + axis] + gain_v * error
        speed += v * v
        state[j, VX + axis], state[j, V + axis] = ahead[i, VX + axis] + gain_x * error, v
    state[j, BP + part] = gain * noise
    state[j, p] = gain_x * noise
    state[j, p + 1] = gain_v * noise
    state[j, p + 2] = ahead[i, p + 2] - gain_v * xv
    return step, surprise, speed
