"""Moments of displacements: the mean squared displacement by lag, and a power law fitted to it.

Lags are counted in frames, so that points on both sides of a gap are compared at their true lag.
Short tracks are summed pair by pair. Long tracks without gaps are summed by Fourier transforms,
which give the same sums (to a relative error of about 1e-9) in N log N instead of N^2 steps.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from livespt.stream.compiled import njit

Floats = NDArray[np.float64]

PAIRED_LAGS = 64  # summed pair by pair in long tracks: there, Fourier sums would cancel worst
# exponents from which the search starts, densest in the range of real tracks
START = np.array([1e-4, 0.1, 0.25, 0.45, 0.7, 1.0, 1.4, 1.9, 2.5, 3.5, 5.0, 7.0, 10.0])


@njit()
def lags(n: int) -> int:
    """Number of lags used for `n` points: up to half the track, or all lags of a short one."""
    if n <= 20:
        return max(n - 1, 0)
    return n // 2 - 1


@njit()
def pairs(x: Floats, y: Floats, z: Floats, most: int, second: Floats, fourth: Floats) -> float:
    """Write the means of |r|^2 and |r|^4 over all pairs `k` points apart to row k - 1, k = 1..most.

    Return the largest |r|^2.
    """
    n = len(x)
    far = 0.0
    for k in range(1, most + 1):
        two, four = 0.0, 0.0
        for t in range(n - k):
            dx, dy, dz = x[t + k] - x[t], y[t + k] - y[t], z[t + k] - z[t]
            square = dx * dx + dy * dy + dz * dz
            two += square
            four += square * square
            far = max(far, square)
        second[k - 1] = two / (n - k)
        fourth[k - 1] = four / (n - k)
    return far


@njit()
def gappy_pairs(
    x: Floats,
    y: Floats,
    z: Floats,
    frame: NDArray[np.int64],
    most: int,
    second: Floats,
    fourth: Floats,
) -> None:
    """Like `pairs`, with `k` in frames; a lag without any pair gets -1."""
    seen = np.zeros(most, np.int64)
    second[:most] = 0.0
    fourth[:most] = 0.0
    for i in range(len(x)):
        for j in range(i + 1, len(x)):
            k = frame[j] - frame[i] - 1
            if k >= most:
                break
            square = (x[j] - x[i]) ** 2 + (y[j] - y[i]) ** 2 + (z[j] - z[i]) ** 2
            second[k] += square
            fourth[k] += square**2
            seen[k] += 1
    for k in range(most):
        if seen[k]:
            second[k] /= seen[k]
            fourth[k] /= seen[k]
        else:
            second[k] = fourth[k] = -1.0


def fourier(point: Floats, most: int) -> tuple[Floats, Floats]:
    """Like `pairs` for points (n, 3), in N log N steps: both moments (most,) of every lag.

    |a - b|^2 = A + B - 2 ab and its square are split into sums over single points (prefix sums) and
    correlations of r, of r_i r_j and of |r|^2 with r (Fourier transforms). If a track only drifts,
    these cancel by about (n / k)^4, so the first lags are summed pair by pair.
    """
    n = len(point)
    r = point - point.mean(axis=0)
    size = (r**2).sum(axis=1)
    width = 1 << (2 * n - 1).bit_length()

    def spectrum(signal: Floats) -> NDArray[np.complex128]:
        return np.fft.rfft(signal, width, axis=0)

    flat, square, pull = spectrum(r), spectrum(size), spectrum(size[:, None] * r)
    product = [(i, j) for i in range(3) for j in range(i + 1)]
    outer = spectrum(np.stack([r[:, i] * r[:, j] for i, j in product], axis=1))
    double = np.array([1.0 if i == j else 2.0 for i, j in product])
    dot = np.fft.irfft((np.abs(flat) ** 2).sum(axis=1), width)[1 : most + 1]
    # sum of 2 A B + 4 (ab)^2 - 4 (A + B) ab over pairs
    mixed = 2 * np.abs(square) ** 2 + 4 * np.abs(outer) ** 2 @ double
    mixed = mixed - 8 * (pull * flat.conj()).real.sum(axis=1)
    cross = np.fft.irfft(mixed, width)[1 : most + 1]
    k = np.arange(1, most + 1)

    def ends(value: Floats) -> Floats:
        """Sum of `value` at both points of every pair, by lag."""
        total = np.concatenate([[0.0], np.cumsum(value)])
        return np.asarray(total[n - k] + total[n] - total[k])

    second = (ends(size) - 2 * dot) / (n - k)
    fourth = (ends(size**2) + cross) / (n - k)
    columns = np.ascontiguousarray(r.T)
    pairs(columns[0], columns[1], columns[2], min(PAIRED_LAGS, most), second, fourth)
    return np.maximum(second, 0.0), np.maximum(fourth, 0.0)


@njit()
def powers(most: int) -> tuple[Floats, Floats]:
    """Tables for `power_law`: ln k (most,) and k^a (len(START), most) of every lag k."""
    log = np.log(np.arange(1, most + 1).astype(np.float64))
    power = np.empty((len(START), most))
    for g in range(len(START)):
        power[g] = np.exp(START[g] * log)
    return log, power


@njit()
def _slope(msd: Floats, log: Floats, power: Floats) -> tuple[float, float, float, float]:
    """First and second derivative, in alpha, of ln(explained sum of squares) / 2.

    `power` holds k^alpha. The best factor A and the derivative of ln A are returned as well. The
    first derivative is the mean of ln k weighted by m k^alpha minus the mean weighted by k^2alpha;
    it is 0 at the best alpha.
    """
    a0, a1, a2, b0, b1, b2 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for k in range(len(msd)):
        e = power[k] if msd[k] >= 0 else 0.0
        me, ee = msd[k] * e, e * e
        a0 += me
        a1 += me * log[k]
        a2 += me * log[k] * log[k]
        b0 += ee
        b1 += ee * log[k]
        b2 += ee * log[k] * log[k]
    m, e = a1 / a0, b1 / b0
    return m - e, (a2 / a0 - m * m) - 2 * (b2 / b0 - e * e), a0 / b0, m - 2 * e


@njit()
def _start(msd: Floats, power: Floats) -> int:
    """Index of the exponent of START with the smallest sum of squared residuals."""
    best, at = -1.0, 0
    for g in range(len(START)):
        a, b = 0.0, 0.0
        for k in range(len(msd)):
            known = 1.0 if msd[k] >= 0 else 0.0
            e = known * power[g, k]
            a += msd[k] * e
            b += e * e
        if a * a > best * b:
            best, at = a * a / b, g
    return at


@njit()
def power_law(msd: Floats, log: Floats, power: Floats) -> tuple[float, float]:
    """Exponent (1e-4 to 10) and factor A of the least-squares fit m_k = A k^alpha, equal weights.

    `msd` (K,) is -1 where a lag is unknown. For a given exponent the best A is known, so only the
    exponent is searched: by Newton steps from the best of START, and by bisection where they leave
    the bracket. The result is (0, 0) if nothing moves or there are fewer than two lags.
    """
    known = 0
    top = 0.0
    for k in range(len(msd)):
        if msd[k] >= 0:
            known += 1
            top = max(top, msd[k])
    if known < 2 or top <= 0:
        return 0.0, 0.0
    g = _start(msd, power)
    low, high = START[max(g - 1, 0)], START[min(g + 1, len(START) - 1)]
    alpha = START[g]
    own = power[g].copy()
    for _ in range(60):
        slope, bend, factor, follow = _slope(msd, log, own)
        if slope > 0:
            low = alpha
        else:
            high = alpha
        after = alpha - slope / bend if bend < 0 else -1.0
        if not low <= after <= high:
            after = 0.5 * (low + high)
        way = after - alpha
        alpha = after
        if abs(way) < 1e-5:  # Newton's method squares the error: what remains is below 1e-9
            factor *= 1 + way * follow
            break
        for k in range(len(msd)):
            own[k] = math.exp(alpha * log[k])
    return alpha, factor


@njit()
def spread(n: int, k: int, ndim: int) -> float:
    """Relative variance of the mean squared displacement at lag k of `n` points in Brownian motion.

    Qian, Sheetz & Elson 1991 (Biophys. J. 60, 910), given there for two dimensions.
    """
    count = float(n - k)
    k2 = float(k * k)
    if count >= k:
        two = (4 * k2 * count + 2 * count + k - k2 * k) / (6 * k * count**2)
    else:
        two = 1 + (count**3 - 4 * k * count**2 + 4 * k - count) / (6 * k2 * count)
    return two * 2 / ndim


@njit()
def chi_square_tail(square: float, freedom: int) -> float:
    """Probability that chi square with `freedom` >= 1 degrees of freedom exceeds `square`."""
    if square <= 0:
        return 1.0
    half = 0.5 * square
    log_half = math.log(half)
    if freedom % 2 == 0:
        term, tail, j = -half, 0.0, 0.0
    else:
        tail = math.erfc(math.sqrt(half))
        term, j = -half + 0.5 * log_half - math.lgamma(1.5), 0.5
    while j < 0.5 * freedom - 0.25:
        tail += math.exp(term)
        j += 1.0
        term += log_half - math.log(j)
    return min(tail, 1.0)


@njit()
def fit_probability(msd: Floats, power: tuple[float, float], log: Floats, sure: Floats) -> float:
    """Probability of larger residuals if the power law (alpha, A) is true; 1 without lags to test.

    It is that of chi square with the variances of Brownian motion (`spread` of each lag, the
    inverse of `sure`) and K - 2 degrees of freedom. Lags are treated as independent, so this number
    serves to compare tracks; it is not a test with a stated significance level.
    """
    alpha, factor = power
    square, known = 0.0, 0
    for k in range(1, len(msd) + 1):
        if msd[k - 1] >= 0:
            known += 1
            if factor > 0:
                expected = factor * math.exp(alpha * log[k - 1])
                square += (msd[k - 1] / expected - 1) ** 2 * sure[k - 1]
    if known < 3 or factor <= 0:
        return 1.0
    return chi_square_tail(square, known - 2)
