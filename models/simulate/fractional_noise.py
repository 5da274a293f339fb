"""Exact fractional Gaussian noise, compiled."""

from __future__ import annotations

import math

import numpy as np

from livespt.models.simulate.rng import Dice, normal
from livespt.models.simulate.steps import Complex, Floats
from livespt.stream.compiled import njit


@njit()
def roots(longest: int) -> Complex:
    """Roots of unity for `fractional` with up to `longest` steps."""
    half = 1
    while half < longest:
        half *= 2
    table: Complex = np.exp(-1j * math.pi * np.arange(half) / half)
    return table


@njit()
def _scatter(x: Complex, root: Complex) -> None:
    """Fourier transform in place, frequencies in bit-reversed order (decimation in frequency)."""
    half = len(x) // 2
    while half:
        stride = len(root) // half
        for begin in range(0, len(x), 2 * half):
            for k in range(begin, begin + half):
                a, b = x[k], x[k + half]
                x[k] = a + b
                x[k + half] = (a - b) * root[(k - begin) * stride]
        half //= 2


@njit()
def _gather(x: Complex, root: Complex) -> None:
    """Fourier transform in place, of frequencies in bit-reversed order (decimation in time)."""
    half = 1
    while half < len(x):
        stride = len(root) // half
        for begin in range(0, len(x), 2 * half):
            for k in range(begin, begin + half):
                a, b = x[k], x[k + half] * root[(k - begin) * stride]
                x[k] = a + b
                x[k + half] = a - b
        half *= 2


@njit()
def fractional(rng: Dice, n: int, ndim: int, alpha: float, root: Complex) -> Floats:
    """Exact fractional Gaussian noise (n, ndim) of unit variance, Hurst exponent alpha / 2.

    Circulant embedding (Davies and Harte 1987, Biometrika 74:95), with a power of two as size. Its
    eigenvalues are never negative for this noise (Craigmile 2003, J. Time Ser. Anal. 24:505). Real
    and imaginary part are independent, so one transform serves two axes (Dietrich and Newsam 1997,
    SIAM J. Sci. Comput. 18:1088). Frequencies stay in bit-reversed order, because the order of the
    random numbers that they are multiplied with does not matter.

    Parameters
    ----------
    alpha : float
        Exponent of the mean squared displacement, in (0, 2).
    root : array (m,)
        Result of `roots`, which many calls can share.
    """
    if len(root) < n:
        root = roots(n)
    size = 2
    while size < 2 * n:
        size *= 2
    half = size // 2
    power = np.empty(half + 2)  # lag^alpha
    for lag in range(half + 2):
        power[lag] = float(lag) ** alpha
    circle = np.empty(size, np.complex128)
    circle[0] = 1.0
    for lag in range(1, half + 1):
        circle[lag] = (power[lag + 1] - 2 * power[lag] + power[lag - 1]) / 2
        circle[size - lag] = circle[lag]
    _scatter(circle, root)
    amplitude = np.sqrt(np.maximum(circle.real, 0.0) / size)
    noise = np.empty((n, ndim))
    for axis in range(0, ndim, 2):
        for k in range(size):
            circle[k] = amplitude[k] * complex(normal(rng), normal(rng))
        _gather(circle, root)
        noise[:, axis] = circle.real[:n]
        if axis + 1 < ndim:
            noise[:, axis + 1] = circle.imag[:n]
    return noise
