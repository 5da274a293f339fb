"""The forty features of one stretch of track, in numba: formulas as in definitions.

Memory of a batch is taken once (`memory_of`); a stretch is a few passes over its points.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from livespt.models.fingerprint.cloud_shape import (
    diameter,
    hull_area,
    hull_volume,
    main_kurtosis,
    space,
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

FLOOR = 1e-6  # efficiency of a track that ends where it began, so that its logarithm is finite
LARGEST = 1e30  # float32 holds it; reached by D in um2/s^alpha of absurd exponents alone
WEIGHT = (0.0, 1.0, 4.0, 6.0)  # of the behaviours in feature 40, as in DeepSPT
# a particle set free in the middle of an absorbing disc (2-D) or ball (3-D) of radius R is still
# inside after t with probability a exp(-b D t / R^2): first term of the series in Bessel functions
DISC = (1.602, 5.783)
BALL = (2.0, math.pi**2)


@njit()
def _moments(
    two: Floats, four: Floats, n: int, ndim: int, dt: float, extent: float, out: Floats
) -> None:
    """Features 3, 8, 10, 11, 18 of the moments by lag; -1: a lag that nobody saw."""
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
    out[17] = mean
    if known > 1:
        up, wide = 0.0, 0.0
        for k in range(len(two)):
            if two[k] >= 0:
                up += (k + 1 - mid) * (two[k] - mean)
                wide += (k + 1 - mid) ** 2
        out[2] = mean - up / wide * mid
    if bulges:
        out[7] = bulge / bulges * ndim / (ndim + 2.0)
    if ratios:
        out[9] = ratio / ratios
    if found == -1 and extent > 0:
        diffusion = max(rise, 0.0) / (2 * ndim)  # um2 per frame
        first, decay = DISC if ndim == 2 else BALL
        stay = first * math.exp(-decay * diffusion * (n - 1) / (0.5 * extent) ** 2)
        out[10] = 1 - min(stay, 1.0)


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
    """Features 5, 6, 17, 19-27, 34; lengths and products into `step`, `turn`; the path's length."""
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
        out[5] = ends / ((frame[n] - frame[0]) * square)
    out[4] = math.log(max(out[5], FLOOR))
    out[16] = mean
    out[21], out[22], out[23] = least, most, most - least
    out[25], out[26] = slower / n, faster / n
    out[33] = square / n / (2 * ndim * dt)
    around, dots, ahead, same = 0.0, 0.0, 0, 0
    for t in range(n):
        around += (step[t] - mean) ** 2
    for t in range(n - 1):
        dots += turn[t]
        ahead += turn[t] > 0
    for t in range(n - 2):
        same += (turn[t] > 0) & (turn[t + 1] > 0) | (turn[t] < 0) & (turn[t + 1] < 0)
    if n > 1:
        out[18] = dots / (n - 1)
        out[20] = ahead / (n - 1)
        if mean > 0:
            out[24] = math.sqrt(around / (n - 1)) / mean
    if n > 2:
        out[19] = same / (n - 2)
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
    """Features 12-16: shares of the states of steps, and how long they last."""
    n = len(step)
    if n < 1:
        return
    one = 1 / unit if unit > 0 else 0.0
    for t in range(n):
        scaled[t] = step[t] * one
    viterbi(scaled[:n], chain, back, path)
    first, last, switches = 0, 0, 0
    for t in range(n):
        out[11 + path[t]] += 1.0
        if t and path[t] != path[t - 1]:
            if switches == 0:
                first = t
            last = t
            switches += 1
    for j in range(STATES):
        out[11 + j] /= n
    if switches == 0:
        out[15] = n
    elif switches == 1:
        out[15] = max(first, n - first)
    else:
        out[15] = (last - first) / (switches - 1)


@njit()
def _median(value: Floats) -> float:
    """Median; sorts `value` in place (few, so by insertion)."""
    n = len(value)
    for i in range(1, n):
        j, v = i, value[i]
        while j and value[j - 1] > v:
            value[j] = value[j - 1]
            j -= 1
        value[j] = v
    middle: float = 0.5 * (value[(n - 1) // 2] + value[n // 2])
    return middle


@njit()
def _behaviours(share: NDArray[np.float32], position: Floats, jump: Floats, out: Floats) -> None:
    """Features 29-33 and 35-40 of the probabilities (n, 4) of the behaviours."""
    n = len(share)
    if n == 0:
        return
    count, last = 0, -1
    total, square = 0.0, 0.0
    for t in range(n):
        kind = 0
        for j in range(1, 4):
            if share[t, j] > share[t, kind]:
                kind = j
        out[28 + kind] += 1.0
        if kind != last:
            position[count] = (count + 1.0) * (kind + 1.0)
            if count:
                jump[count - 1] = abs(WEIGHT[kind] - WEIGHT[last])
            count += 1
            last = kind
    for j in range(4):
        out[28 + j] /= n
    out[32] = count
    for i in range(count):
        total += position[i]
    mean = total / count
    for i in range(count):
        square += (position[i] - mean) ** 2
    out[34] = mean
    out[35] = _median(position[:count])
    out[36], out[37] = position[count - 1], position[0]  # sorted by now
    out[38] = math.sqrt(square / count)
    if count > 1:
        out[39] = _median(jump[: count - 1])


@njit()
def describe_all(
    points: Floats,
    frames: Ints,
    share: NDArray[np.float32],
    begin: Ints,
    end: Ints,
    scale: tuple[int, float, float, float, float, float],
    chain: Floats,
    moments: Floats,
    out: NDArray[np.float32],
) -> None:
    """Features (n, 40) of rows `begin[i]:end[i]`.

    points : (rows, 3) z, y, x in pixels; share (rows, 4), or (0, 4): unknown.
    scale : the fields of `Units`, in their order.
    moments : (2, K) moments of one long stretch in um2 and um4, or (2, 0): to be summed here.
    """
    ndim, um, dt, slow, fast, unit = scale
    longest = 1
    for i in range(len(begin)):
        longest = max(longest, end[i] - begin[i])
    work = np.empty((8, longest))
    back, path = np.empty(longest, np.uint8), np.empty(longest, np.int8)
    most = max(moments.shape[1], lags(min(longest, 20)), lags(longest))
    two, four, sure = np.empty(most), np.empty(most), np.empty(most)
    before = -1  # points of the stretch that `sure` is for
    log, power = powers(most)
    memory = space(longest)
    features = np.empty(out.shape[1])
    for i in range(len(begin)):
        a = begin[i]
        n = end[i] - a
        features[:] = 0.0
        x, y, z = work[0, :n], work[1, :n], work[2, :n]
        mx, my, mz = 0.0, 0.0, 0.0
        for t in range(n):
            z[t] = (points[a + t, 0] - points[a, 0]) * um if ndim == 3 else 0.0
            y[t] = (points[a + t, 1] - points[a, 1]) * um
            x[t] = (points[a + t, 2] - points[a, 2]) * um
            mx += x[t]
            my += y[t]
            mz += z[t]
        for t in range(n):
            x[t] -= mx / n
            y[t] -= my / n
            z[t] -= mz / n
        frame = frames[a : a + n]
        step, turn = work[3, : max(n - 1, 0)], work[4, :n]
        length = _steps(x, y, z, frame, step, turn, ndim, dt, slow, fast, features)
        k = lags(n)
        near, far = 0, 0.0
        if moments.shape[1]:
            two[:k], four[:k] = moments[0], moments[1]
        elif n and frame[n - 1] - frame[0] == n - 1:
            near, far = k, pairs(x, y, z, k, two, four)
        else:
            gappy_pairs(x, y, z, frame, k, two, four)
        extent = diameter(x, y, z, near, far)
        if extent > 0:
            features[6] = math.log(n) / (math.log(n) + math.log(extent / length))
        features[8] = main_kurtosis(x, y, z)
        features[27] = hull_area(x, y) if ndim == 2 else hull_volume(x, y, z, extent, memory)
        if n != before:
            for j in range(k):
                sure[j] = 1 / spread(n, j + 1, ndim)
            before = n
        fit = power_law(two[:k], log, power)
        features[0] = fit[0]
        features[1] = fit[1] / (2 * ndim * dt ** fit[0])
        features[3] = fit_probability(two[:k], fit, log, sure)
        _moments(two[:k], four[:k], n, ndim, dt, extent, features)
        _dwells(step, unit if unit > 0 else features[16], chain, work[5], back, path, features)
        if len(share):
            _behaviours(share[a : a + n], work[6], work[7], features)
        for j in range(len(features)):
            out[i, j] = min(max(features[j], -LARGEST), LARGEST)


@njit()
def fault(points: Floats, frames: Ints, share: NDArray[np.float32], begin: Ints, end: Ints) -> int:
    """First row that cannot be described, -1 if there is none: not finite, or not later."""
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
