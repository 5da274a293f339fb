"""Motion model: where each track is expected next, how surely, and what each link is worth.

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

from livespt.stream.compiled import njit

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

OWN = 0.95  # what an average of one track keeps from point to point
PRIOR = 6.0  # steps that the average of all counts for, in that of one track
SWITCH = 0.05  # chance a frame to change the way of moving
WANDER = 0.5  # variance of a velocity's change, of the noise along the way
CROWD = 0.1  # largest density of new points, of that of a point a Brownian step from its last
FLOOR = 0.02  # least share of the average step variance
# start: how many in a hundred tracks, by points seen (1, 2, more) and frames missed, come back
RETURN = ((50, 20, 10, 5), (80, 40, 20, 10), (93, 55, 30, 15))
GUESSES = 20.0  # observations that the start counts for
STEADY = 1e-6  # least variance of the logarithm of an intensity, and of the way (px^2): averages of
# nothing but zeros fade to 0
LOG_TURN = math.log(2.0 * math.pi)
FAR = 1e250  # beyond all that places up to 1e99 px come to; products overflow


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


def sound(state: np.ndarray, pop: np.ndarray | None = None) -> bool:
    """Whether rows (n, F) and what they have in common (P,) are such as models make.

    Compiled loops trust them. Intensities may be anything.
    """
    good = (np.abs(state[:, :LIGHT]) < FAR).all() and (state[:, MU] <= 1).all()
    good &= (state[:, [BP, VP, MU, SN, SEEN]] >= 0).all()
    if pop is not None:
        sums = np.delete(pop, [*range(LOW, HIGH + 3), LIGHTS])
        good &= (sums >= 0).all() and (sums < FAR).all() and not np.isnan(pop[LOW : HIGH + 3]).any()
        good &= (pop[[STEPS, FASTS, KAPPAS, TRACKS, LIGHTS_N]] > 0).all()
    return bool(good)


@njit(nogil=True, error_model="numpy")
def standing(seen, missed):  # type: ignore[no-untyped-def]
    """Where `pop` counts the tracks of a standing seen again; next to it, those looked for."""
    age = 0 if seen < 2.0 else 1 if seen < 3.0 else 2
    return KEEP + 2 * (age * GAPS + min(missed, GAPS - 1))


@njit(nogil=True, error_model="numpy")
def advance(state, ahead, i, clock, share, q_all, fast, wild, model, ndim):  # type: ignore[no-untyped-def]
    """Predict one track's row to `clock`, into `ahead`.

    Returns the squared distance between the positions of both filters.
    """
    at_y = state[i, BX + 1], state[i, VX + 1], state[i, V + 1]
    at_x = state[i, BX + 2], state[i, VX + 2], state[i, V + 2]
    at_z = state[i, BX], state[i, VX], state[i, V]
    wide = state[i, BP], state[i, VP], state[i, VP + 1], state[i, VP + 2]
    deep = state[i, BP + 1], state[i, VP + 3], state[i, VP + 4], state[i, VP + 5]
    mu, sq, sn, seen = state[i, MU], state[i, SQ], state[i, SN], state[i, SEEN]
    then, light = state[i, CLOCK], state[i, LIGHT]
    dt = max(clock - then, 1e-3)
    to_v = to_b = 0.0
    if model == 3:
        change = SWITCH * dt / (1.0 + SWITCH * dt)
        later = mu + change * (share - mu)
        to_v = (1.0 - mu) * change * share / later  # part of the directed that was Brownian
        to_b = mu * change * (1.0 - share) / (1.0 - later)  # ... and the other way round
        mu = later
    q = dt * max((PRIOR * q_all + sq) / (PRIOR + sn), FLOOR * q_all)
    how = to_v, to_b, dt, q, fast, wild
    y, x = _axis(at_y, to_v, to_b, dt), _axis(at_x, to_v, to_b, dt)
    z = at_z[0], at_z[1], at_z[2], 0.0, 0.0, 0.0
    wide = _spread(wide, 0.5 * (y[3] + x[3]), 0.5 * (y[4] + x[4]), 0.5 * (y[5] + x[5]), how)
    if ndim == 3:
        z = _axis(at_z, to_v, to_b, dt)
        deep = _spread(deep, z[3], z[4], z[5], how)
    ahead[i, BX], ahead[i, BX + 1], ahead[i, BX + 2] = z[0], y[0], x[0]
    ahead[i, VX], ahead[i, VX + 1], ahead[i, VX + 2] = z[1], y[1], x[1]
    ahead[i, V], ahead[i, V + 1], ahead[i, V + 2] = z[2], y[2], x[2]
    ahead[i, BP], ahead[i, VP], ahead[i, VP + 1], ahead[i, VP + 2] = wide
    ahead[i, BP + 1], ahead[i, VP + 3], ahead[i, VP + 4], ahead[i, VP + 5] = deep
    ahead[i, MU], ahead[i, SQ], ahead[i, SN], ahead[i, SEEN] = mu, sq, sn, seen
    ahead[i, CLOCK], ahead[i, LIGHT] = then, light
    return (z[1] - z[0]) ** 2 + (y[1] - y[0]) ** 2 + (x[1] - x[0]) ** 2


@njit(nogil=True, error_model="numpy")
def _axis(at, to_v, to_b, dt):  # type: ignore[no-untyped-def]
    """Along one axis: Brownian position, directed position, velocity after `dt`.

    Then the products, before, of the positions' distance and of the velocity.
    """
    b, x, v = at
    off, slower = x - b, (1.0 - to_v) * v
    return b + to_b * off, x - to_v * off + slower * dt, slower, off * off, off * v, v * v


@njit(nogil=True, error_model="numpy")
def newness(pop, ndim, reach):  # type: ignore[no-untyped-def]
    """Density of new points in a frame, px^-ndim.

    However small the field that they fill: a point where a track is expected rather continues it.
    """
    volume = 1.0
    for axis in range(3 - ndim, 3):
        volume *= max(pop[HIGH + axis] - pop[LOW + axis], reach)
    most = CROWD * (2.0 * math.pi * pop[STEP] / pop[STEPS]) ** (-0.5 * ndim)
    return min(max(pop[NEW] / max(pop[FRAMES], 1.0), 0.5) / volume, most)


@njit(nogil=True, error_model="numpy")
def chances(pop):  # type: ignore[no-untyped-def]
    """For each standing, the chance that such a track is seen (GAPS * AGES)."""
    back = np.empty(GAPS * AGES)
    for k in range(GAPS * AGES):
        back[k] = min(max(pop[KEEP + 2 * k] / pop[KEEP + 2 * k + 1], 0.01), 0.98)
    return back


@njit(nogil=True, error_model="numpy")
def _spread(variances, between, with_speed, speeds, how):  # type: ignore[no-untyped-def]
    """Variances later: of the Brownian position; of the directed one, both, velocity.

    `between`, `with_speed`, `speeds`: means over axes of the products that `_axis` tells.
    """
    b, x, xv, v = variances
    to_v, to_b, dt, q, fast, wild = how
    brownian = (1.0 - to_b) * b + to_b * x + to_b * (1.0 - to_b) * between + q
    stay, spread = 1.0 - to_v, to_v * (1.0 - to_v)
    x = stay * x + to_v * b + spread * between
    xv = stay * xv + spread * with_speed
    v = stay * v + to_v * fast + spread * speeds
    turn = WANDER * wild * dt
    x += dt * (2.0 * xv + dt * v + wild + turn * dt / 3.0)
    return brownian, x, xv + dt * (v + turn / 2.0), v + turn


@njit(nogil=True, error_model="numpy")
def link_cost(ahead, i, at, noise, light, weight, change, j, ndim):  # type: ignore[no-untyped-def]
    """-2 log of the density that a track expects at a point, and what its intensity costs."""
    mu, w_b, w_v = (
        ahead[i, MU],
        1.0 / (ahead[i, BP] + noise[j, 0]),
        1.0 / (ahead[i, VP] + noise[j, 0]),
    )
    b = w_b * ((at[j, 1] - ahead[i, BX + 1]) ** 2 + (at[j, 2] - ahead[i, BX + 2]) ** 2)
    v = w_v * ((at[j, 1] - ahead[i, VX + 1]) ** 2 + (at[j, 2] - ahead[i, VX + 2]) ** 2)
    deep_b, deep_v = ahead[i, BP + 1] + noise[j, 1], ahead[i, VP + 3] + noise[j, 1]
    off_b, off_v = at[j, 0] - ahead[i, BX], at[j, 0] - ahead[i, VX]
    brighter = light[j] - ahead[i, LIGHT]
    if ndim == 3:
        b, v = b + off_b * off_b / deep_b, v + off_v * off_v / deep_v
        w_b, w_v = w_b / math.sqrt(deep_b), w_v / math.sqrt(deep_v)
    w_b, w_v = (1.0 - mu) * w_b, mu * w_v
    # w_b exp(-b / 2) + w_v exp(-v / 2), the larger exponential taken out
    nearer = min(b, v)
    less = math.exp(0.5 * (nearer - max(b, v)))
    total = w_b + w_v * less if b < v else w_v + w_b * less
    cost = nearer + ndim * LOG_TURN - 2.0 * math.log(max(total, 1e-300))
    return cost + weight * min(brighter * brighter / max(change, STEADY), 25.0)


@njit(nogil=True, error_model="numpy")
def begin(state, at, noise, light, j, clock, fast, model, pop):  # type: ignore[no-untyped-def]
    """The row of a track that starts with a point."""
    for k in range(F):
        state[j, k] = 0.0
    for axis in range(3):
        state[j, BX + axis] = state[j, VX + axis] = at[j, axis]
    for part in range(2):
        state[j, BP + part] = state[j, VP + 3 * part] = noise[j, part]
        state[j, VP + 3 * part + 2] = fast
    share = min(max(pop[DIRECTED] / pop[TRACKS], 0.05), 0.95)
    state[j, MU] = 0.0 if model == 1 else 1.0 if model == 2 else share
    state[j, SEEN], state[j, CLOCK], state[j, LIGHT] = 1.0, clock, light[j]


@njit(nogil=True, error_model="numpy")
def update(state, ahead, i, at, noise, light, j, clock, model, ndim, q_all, pop):  # type: ignore[no-untyped-def]
    """Both filters take in a point; how well they had foreseen it tells which motion it is."""
    wide, deep = noise[j, 0], noise[j, 1]
    lateral = ahead[i, BP], ahead[i, VP], ahead[i, VP + 1], ahead[i, VP + 2]
    axial = ahead[i, BP + 1], ahead[i, VP + 3], ahead[i, VP + 4], ahead[i, VP + 5]
    at_y = ahead[i, BX + 1], ahead[i, VX + 1], ahead[i, V + 1], at[j, 1]
    at_x = ahead[i, BX + 2], ahead[i, VX + 2], ahead[i, V + 2], at[j, 2]
    at_z = ahead[i, BX], ahead[i, VX], ahead[i, V], at[j, 0]
    mu, sq, sn, seen = ahead[i, MU], ahead[i, SQ], ahead[i, SN], ahead[i, SEEN]
    dt, before, change = max(clock - ahead[i, CLOCK], 1e-3), ahead[i, LIGHT], light[j]
    change -= before
    gain, left, w_b, w_v = _gains(lateral, wide)
    y, x, z = _shift(at_y, gain), _shift(at_x, gain), (0.0, 0.0, 0.0, 0.0, 0.0)
    b, v, left_z = w_b * (y[3] + x[3]), w_v * (y[4] + x[4]), (0.0, 0.0, 0.0, 0.0)
    own = dt * max((PRIOR * q_all + sq) / (PRIOR + sn), FLOOR * q_all)
    step = y[3] + x[3] - 2.0 * (lateral[0] + wide - own)
    if ndim == 3:
        gain, left_z, deep_b, deep_v = _gains(axial, deep)
        z = _shift(at_z, gain)
        b, v = b + deep_b * z[3], v + deep_v * z[4]
        w_b, w_v = w_b * math.sqrt(deep_b), w_v * math.sqrt(deep_v)
        step += z[3] - (axial[0] + deep - own)
    step /= ndim * dt
    if model == 3:
        mu = mu * w_v / (mu * w_v + (1.0 - mu) * w_b * math.exp(min(0.5 * (v - b), 700.0)))
        mu = min(max(mu, 1e-3), 1.0 - 1e-3)
    known = mu if seen >= 3.0 else 0.0
    speed = z[2] * z[2] + y[2] * y[2] + x[2] * x[2]
    sq, sn = OWN * sq + (1.0 - mu) * step, OWN * sn + (1.0 - mu)
    state[j, BX], state[j, BX + 1], state[j, BX + 2] = z[0], y[0], x[0]
    state[j, VX], state[j, VX + 1], state[j, VX + 2] = z[1], y[1], x[1]
    state[j, V], state[j, V + 1], state[j, V + 2] = z[2], y[2], x[2]
    state[j, BP], state[j, VP], state[j, VP + 1], state[j, VP + 2] = left
    state[j, BP + 1], state[j, VP + 3], state[j, VP + 4], state[j, VP + 5] = left_z
    state[j, MU], state[j, SQ], state[j, SN], state[j, SEEN] = mu, sq, sn, seen + 1.0
    state[j, CLOCK], state[j, LIGHT] = clock, before + 0.3 * change
    pop[STEP] = max(pop[STEP] + (1.0 - mu) * step, STEADY * pop[STEPS])
    pop[STEPS] += 1.0 - mu
    pop[DIRECTED] += mu
    pop[TRACKS] += 1.0
    pop[FAST] += known * speed / ndim
    pop[FASTS] += known
    pop[KAPPA] += known * v / ndim
    pop[KAPPAS] += known
    pop[LIGHTS] += change * change
    pop[LIGHTS_N] += 1.0


@njit(nogil=True, error_model="numpy")
def _gains(variances, noise):  # type: ignore[no-untyped-def]
    """Gains of the Kalman update: position; position, velocity; the variances that it leaves.

    Last, of both filters, one over the variance of what was foreseen.
    """
    b, x, xv, v = variances
    sharp_b, sharp_v = 1.0 / (b + noise), 1.0 / (x + noise)
    gain = b * sharp_b, x * sharp_v, xv * sharp_v
    return (
        gain,
        (gain[0] * noise, gain[1] * noise, gain[2] * noise, v - gain[2] * xv),
        sharp_b,
        sharp_v,
    )


@njit(nogil=True, error_model="numpy")
def _shift(at, gain):  # type: ignore[no-untyped-def]
    """Along one axis: both positions and the velocity corrected; both errors, squared."""
    b, x, v, seen = at
    off_b, off_v = seen - b, seen - x
    return (
        b + gain[0] * off_b,
        x + gain[1] * off_v,
        v + gain[2] * off_v,
        off_b * off_b,
        off_v * off_v,
    )
