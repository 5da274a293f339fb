"""Compute the forty features of stretches of tracks; their formulas are in `definitions`.

A stretch is a few passes over its points. The memory for a batch of stretches is taken once.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from livespt.models.fingerprint.behaviour_shares import behaviour_shares
from livespt.models.fingerprint.cloud_shape import (
    diameter,
    hull_area,
    hull_volume,
    main_kurtosis,
    space,
)
from livespt.models.fingerprint.columns import (
    ALPHA,
    EFFICIENCY,
    FAST_SHARE,
    FIT_P,
    FORWARD,
    FRACTAL_DIMENSION,
    GAUSSIANITY,
    HULL,
    INSTANT_D,
    KURTOSIS,
    LOG_EFFICIENCY,
    MAX_STEP,
    MEAN_DOT,
    MEAN_MSD,
    MEAN_STEP,
    MIN_STEP,
    MSD_RATIO,
    OFFSET,
    SAME_TURN,
    SLOW_SHARE,
    STEP_DWELL,
    STEP_RANGE,
    STEP_STATES,
    STEP_VARIATION,
    TRAPPEDNESS,
    D,
)
from livespt.models.fingerprint.displacements import (
    fit_probability,
    gappy_pairs,
    lags,
    pairs,
    power_law,
    powers,
    spread,
)
from livespt.models.fingerprint.step_hmm import STATES, viterbi
from livespt.stream.compiled import njit

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MIN_EFFICIENCY = 1e-6  # of a track that ends where it began: its logarithm is finite
MAX_FEATURE = 1e30  # float32 holds it; only D in um2/s^alpha of absurd exponents reaches it
# a particle set free in the middle of an absorbing disc (2-D) or ball (3-D) of radius R is still
# inside after t with probability a exp(-b D t / R^2): first term of the series in Bessel functions
DISC = (1.602, 5.783)
BALL = (2.0, math.pi**2)


@njit()
def _moments(
    two: Floats, four: Floats, n: int, ndim: int, dt: float, extent: float, out: Floats
) -> None:
    """Offset, Gaussianity, MSD ratio, trappedness and mean MSD, from the moments by lag.

    `two` and `four` (K,) are the second and fourth moments, -1 at a lag without any pair.
    """
    total, known = 0.0, 0
    mid, bulge, bulges = 0.0, 0.0, 0
    ratio, ratios = 0.0, 0
    rise, found = 0.0, 0
    for k in range(len(two)):
        if two[k] < 0:
            continue
        total += two[k]
        mid += k + 1
        known += 1
        if two[k] > 0:
            bulge += four[k] / (two[k] * two[k])
            bulges += 1
        if k + 1 < len(two) and two[k + 1] > 0:
            ratio += two[k] / two[k + 1] - (k + 1.0) / (k + 2.0)
            ratios += 1
        if found == 0:
            rise, found = -two[k], k + 1
        elif found > 0:
            rise, found = (rise + two[k]) / (k + 1 - found), -1
    if known == 0:
        return
    mean, mid = total / known, mid / known
    out[MEAN_MSD] = mean
    if known > 1:
        up, wide = 0.0, 0.0
        for k in range(len(two)):
            if two[k] >= 0:
                up += (k + 1 - mid) * (two[k] - mean)
                wide += (k + 1 - mid) ** 2
        out[OFFSET] = mean - up / wide * mid
    if bulges:
        out[GAUSSIANITY] = bulge / bulges * ndim / (ndim + 2.0)
    if ratios:
        out[MSD_RATIO] = ratio / ratios
    if found == -1 and extent > 0:
        diffusion = max(rise, 0.0) / (2 * ndim)  # um2 per frame
        first, decay = DISC if ndim == 2 else BALL
        stay = first * math.exp(-decay * diffusion * (n - 1) / (0.5 * extent) ** 2)
        out[TRAPPEDNESS] = 1 - min(stay, 1.0)


@njit()
def _steps(
    x: Floats,
    y: Floats,
    z: Floats,
    frame: Ints,
    step: Floats,
    turn: Floats,
    ndim: int,
    dt: float,
    slow: float,
    fast: float,
    out: Floats,
) -> float:
    """Features of the steps and of pairs of steps; return the length of the path.

    The lengths of the steps are written into `step`, products of neighbouring steps into `turn`.
    """
    n = len(x) - 1
    ax, ay, az = 0.0, 0.0, 0.0
    total, square, path = 0.0, 0.0, 0.0
    least, most = math.inf, 0.0
    slower, faster = 0, 0
    for t in range(n):
        dx, dy, dz = x[t + 1] - x[t], y[t + 1] - y[t], z[t + 1] - z[t]
        gap = frame[t + 1] - frame[t]
        if gap > 1:
            one = 1 / math.sqrt(gap)
            path += math.sqrt(dx * dx + dy * dy + dz * dz) * (1 - one)
            dx, dy, dz = dx * one, dy * one, dz * one
        two = dx * dx + dy * dy + dz * dz
        s = math.sqrt(two)
        step[t] = s
        square += two
        total += s
        least, most = min(least, s), max(most, s)
        slower += s < slow
        faster += s > fast
        if t:
            turn[t - 1] = ax * dx + ay * dy + az * dz
        ax, ay, az = dx, dy, dz
    path += total
    if n < 1:
        return path
    mean = total / n
    ends = (x[n] - x[0]) ** 2 + (y[n] - y[0]) ** 2 + (z[n] - z[0]) ** 2
    if square > 0:
        out[EFFICIENCY] = ends / ((frame[n] - frame[0]) * square)
    out[LOG_EFFICIENCY] = math.log(max(out[EFFICIENCY], MIN_EFFICIENCY))
    out[MEAN_STEP] = mean
    out[MIN_STEP], out[MAX_STEP], out[STEP_RANGE] = least, most, most - least
    out[SLOW_SHARE], out[FAST_SHARE] = slower / n, faster / n
    out[INSTANT_D] = square / n / (2 * ndim * dt)
    around, dots, ahead, same = 0.0, 0.0, 0, 0
    for t in range(n):
        around += (step[t] - mean) ** 2
    for t in range(n - 1):
        dots += turn[t]
        ahead += turn[t] > 0
    for t in range(n - 2):
        same += (turn[t] > 0) & (turn[t + 1] > 0) | (turn[t] < 0) & (turn[t + 1] < 0)
    if n > 1:
        out[MEAN_DOT] = dots / (n - 1)
        out[FORWARD] = ahead / (n - 1)
        if mean > 0:
            out[STEP_VARIATION] = math.sqrt(around / (n - 1)) / mean
    if n > 2:
        out[SAME_TURN] = same / (n - 2)
    return path


@njit()
def _dwells(
    step: Floats,
    unit: float,
    chain: Floats,
    scaled: Floats,
    back: NDArray[np.uint8],
    path: NDArray[np.int8],
    out: Floats,
) -> None:
    """Shares of the states of steps, and how long a state lasts."""
    n = len(step)
    if n < 1:
        return
    one = 1 / unit if unit > 0 else 0.0
    for t in range(n):
        scaled[t] = step[t] * one
    viterbi(scaled[:n], chain, back, path)
    first, last, switches = 0, 0, 0
    for t in range(n):
        out[STEP_STATES + path[t]] += 1.0
        if t and path[t] != path[t - 1]:
            if switches == 0:
                first = t
            last = t
            switches += 1
    for j in range(STATES):
        out[STEP_STATES + j] /= n
    if switches == 0:
        out[STEP_DWELL] = n
    elif switches == 1:
        out[STEP_DWELL] = max(first, n - first)
    else:
        out[STEP_DWELL] = (last - first) / (switches - 1)


@njit()
def _centre(
    points: Floats, pixel_size_um: float, ndim: int, x: Floats, y: Floats, z: Floats
) -> None:
    """Write the positions (n,) of points (n, 3) about their centre, in um."""
    n = len(points)
    mx, my, mz = 0.0, 0.0, 0.0
    for t in range(n):
        z[t] = (points[t, 0] - points[0, 0]) * pixel_size_um if ndim == 3 else 0.0
        y[t] = (points[t, 1] - points[0, 1]) * pixel_size_um
        x[t] = (points[t, 2] - points[0, 2]) * pixel_size_um
        mx += x[t]
        my += y[t]
        mz += z[t]
    for t in range(n):
        x[t] -= mx / n
        y[t] -= my / n
        z[t] -= mz / n


@njit()
def describe_all(
    points: Floats,
    frames: Ints,
    share: NDArray[np.float32],
    begin: Ints,
    end: Ints,
    scale: tuple[int, float, float, float, float, float],
    chain: Floats,
    given: Floats,
    out: NDArray[np.float32],
) -> None:
    """Write the features of stretches: of rows `begin[i]:end[i]` into row i of `out`.

    Parameters
    ----------
    points : (rows, 3)
        Positions z, y, x in pixels.
    frames : (rows,)
        Their frames.
    share : (rows, 4) or (0, 4)
        Probabilities of the behaviours, where they are known.
    begin, end : (n,)
        The stretches.
    scale
        The fields of `Units`, in their order.
    chain
        Tables of the hidden Markov model of steps.
    given : (2, K) or (2, 0)
        Moments of one long stretch in um2 and um4, where they were summed elsewhere.
    out : (n, 40)
        The features, in the order of `definitions.NAMES`.
    """
    ndim, pixel_size_um, dt, slow, fast, unit = scale
    longest = 1
    for i in range(len(begin)):
        longest = max(longest, end[i] - begin[i])
    work = np.empty((8, longest))
    back, path = np.empty(longest, np.uint8), np.empty(longest, np.int8)
    most = max(given.shape[1], lags(min(longest, 20)), lags(longest))
    two, four, weight = np.empty(most), np.empty(most), np.empty(most)
    before = -1  # points of the stretch that `weight` is for
    log, power = powers(most)
    memory = space(longest)
    feature = np.empty(out.shape[1])
    for i in range(len(begin)):
        a, n = begin[i], end[i] - begin[i]
        feature[:] = 0.0
        x, y, z, frame = work[0, :n], work[1, :n], work[2, :n], frames[a : a + n]
        _centre(points[a : a + n], pixel_size_um, ndim, x, y, z)
        step, turn = work[3, : max(n - 1, 0)], work[4, :n]
        length = _steps(x, y, z, frame, step, turn, ndim, dt, slow, fast, feature)
        k = lags(n)
        near, far = 0, 0.0
        if given.shape[1]:
            two[:k], four[:k] = given[0], given[1]
        elif n and frame[n - 1] - frame[0] == n - 1:
            near, far = k, pairs(x, y, z, k, two, four)
        else:
            gappy_pairs(x, y, z, frame, k, two, four)
        extent = diameter(x, y, z, near, far)
        if extent > 0:
            feature[FRACTAL_DIMENSION] = math.log(n) / (math.log(n) + math.log(extent / length))
        feature[KURTOSIS] = main_kurtosis(x, y, z)
        feature[HULL] = hull_area(x, y) if ndim == 2 else hull_volume(x, y, z, extent, memory)
        if n != before:
            for j in range(k):
                weight[j] = 1 / spread(n, j + 1, ndim)
            before = n
        law = power_law(two[:k], log, power)
        feature[ALPHA] = law[0]
        feature[D] = law[1] / (2 * ndim * dt ** law[0])
        feature[FIT_P] = fit_probability(two[:k], law, log, weight)
        _moments(two[:k], four[:k], n, ndim, dt, extent, feature)
        typical = unit if unit > 0 else feature[MEAN_STEP]
        _dwells(step, typical, chain, work[5], back, path, feature)
        if len(share):
            behaviour_shares(share[a : a + n], work[6], work[7], feature)
        for j in range(len(feature)):
            out[i, j] = min(max(feature[j], -MAX_FEATURE), MAX_FEATURE)


@njit()
def fault(points: Floats, frames: Ints, share: NDArray[np.float32], begin: Ints, end: Ints) -> int:
    """First row that is not finite, or not later than the one before in its stretch; -1: none."""
    for i in range(len(begin)):
        for t in range(begin[i], end[i]):
            good = np.isfinite(points[t, 0] + points[t, 1] + points[t, 2])
            if len(share):
                good &= np.isfinite(share[t, 0] + share[t, 1] + share[t, 2] + share[t, 3])
            if t > begin[i]:
                good &= frames[t] > frames[t - 1]
            if not good:
                return int(t)
    return -1
