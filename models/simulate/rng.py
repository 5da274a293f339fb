"""RNG: random numbers for compiled code, from a NumPy Generator or from one word of its own.

`normal`, `random` and `integer` take either. A Generator gives the same numbers here as in
Python, so both may take turns with it. A word, `dice(seed, number)`, costs nothing to make, which
counts where each of millions of tracks has one: SplitMix64 (Steele, Lea and Flood 2014, OOPSLA),
which begins anywhere among 2^64 places for each (seed, number), and the ziggurat of Marsaglia and
Tsang (2000, J. Stat. Softw. 5:8).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload
from numpy.random import Generator
from numpy.typing import NDArray

from livespt.stream.compiled import njit

Word = NDArray[np.uint64]  # (1,)
Dice = Generator | Word

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
FIRST, SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
S30, S27, S31, S11, S8 = (np.uint64(k) for k in (30, 27, 31, 11, 8))
LAYERS, TAIL, AREA = 256, 3.6541528853610088, 4.92867323399e-3  # Marsaglia and Tsang, table
MASK = np.uint64(LAYERS - 1)
RANDOM_UNIT = 2.0**-53


def _layers() -> NDArray[np.float64]:
    """Right edges (LAYERS + 1,) of the ziggurat's layers, the lowest (with the tail) first."""
    edge = np.zeros(LAYERS + 1)
    edge[:2] = AREA / math.exp(-(TAIL**2) / 2), TAIL
    for k in range(2, LAYERS):
        below = edge[k - 1]
        edge[k] = math.sqrt(-2 * math.log(AREA / below + math.exp(-(below**2) / 2)))
    return edge


EDGE = _layers()
UNIT = EDGE[:-1] * 2.0**-52
INSIDE = (EDGE[1:] / EDGE[:-1] * 2.0**52).astype(np.int64)  # surely under the curve
HEIGHT = np.exp(-(EDGE**2) / 2)


@njit()
def _mix(z: np.uint64) -> np.uint64:
    z = (z ^ (z >> S30)) * FIRST
    z = (z ^ (z >> S27)) * SECOND
    return z ^ (z >> S31)


@njit()
def dice(seed: int, number: int) -> Word:
    """The word of track `number` of the series `seed`; both at least 0."""
    state = np.empty(1, np.uint64)
    state[0] = _mix(_mix(np.uint64(seed) + GOLDEN) + np.uint64(number) * GOLDEN)
    return state


@njit()
def _next(word: Word) -> np.uint64:
    word[0] += GOLDEN
    return _mix(word[0])


@njit()
def _random(word: Word) -> float:
    return float((_next(word) >> S11) * RANDOM_UNIT)


@njit()
def _beyond(word: Word, layer: int, x: float) -> float:
    """Decide about x outside the sure part of its layer; nan: thrown away."""
    if layer == 0:
        while True:  # the tail (Marsaglia 1964)
            further = -math.log1p(-_random(word)) / TAIL
            if -2 * math.log1p(-_random(word)) > further**2:
                return math.copysign(TAIL + further, x)
    height = HEIGHT[layer] + _random(word) * (HEIGHT[layer + 1] - HEIGHT[layer])
    return x if height < math.exp(-x * x / 2) else math.nan


@njit()
def _normal(word: Word) -> float:
    while True:
        drawn = _next(word)
        layer = int(drawn & MASK)
        whole = np.int64(drawn) >> np.int64(11)  # 53 bits, one of them the sign
        x = float(whole * UNIT[layer])
        if abs(whole) >= INSIDE[layer]:
            x = _beyond(word, layer, x)
        if not math.isnan(x):
            return x


def normal(rng: Dice) -> float:
    """Of mean 0 and variance 1."""
    return rng.standard_normal() if isinstance(rng, Generator) else _normal(rng)


def random(rng: Dice) -> float:
    """Even in [0, 1)."""
    return rng.random() if isinstance(rng, Generator) else _random(rng)


def integer(rng: Dice, low: int, high: int) -> int:
    """One of low .. high - 1, each as likely (for a word: to 2^-53 of the range)."""
    if isinstance(rng, Generator):
        return int(rng.integers(low, high))
    return low + int(_random(rng) * (high - low))


# not strict: numba would want the annotations of these functions on what they return, too
@overload(normal, inline="always", strict=False)
def _compiled_normal(rng: types.Type) -> Callable[[Any], float]:
    if isinstance(rng, types.Array):
        return lambda rng: _normal(rng)
    return lambda rng: rng.standard_normal()


@overload(random, inline="always", strict=False)
def _compiled_random(rng: types.Type) -> Callable[[Any], float]:
    if isinstance(rng, types.Array):
        return lambda rng: _random(rng)
    return lambda rng: rng.random()


@overload(integer, inline="always", strict=False)
def _compiled_integer(
    rng: types.Type, low: types.Type, high: types.Type
) -> Callable[[Any, Any, Any], int]:
    if isinstance(rng, types.Array):
        return lambda rng, low, high: low + int(_random(rng) * (high - low))
    return lambda rng, low, high: rng.integers(low, high)


@njit()
def uniform(rng: Dice, low: float, high: float) -> float:
    """Even between two bounds."""
    return low + (high - low) * random(rng)


@njit()
def log_uniform(rng: Dice, low: float, high: float) -> float:
    """Between two bounds > 0, every ratio as likely."""
    return math.exp(uniform(rng, math.log(low), math.log(high)))
