"""Hidden Markov model of step lengths: four Gaussian states, from slow to fast.

Lengths are in units of the mean step of the stretch, or of a length that the user gives (um), so
that one set of constants is valid for every pixel size, frame interval and dimension. (The public
DeepSPT model has absolute means of 0.41 to 1.45 um, two of them nearly equal. It does not
distinguish small steps.)
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.stream.compiled import njit

Floats = NDArray[np.float64]

STATES = 4


class StepModel(NamedTuple):
    """A hidden Markov model; the states are ordered by their mean."""

    start: Floats  # (STATES,) probabilities
    move: Floats  # (STATES, STATES) probability of j after i, rows sum to 1
    mean: Floats  # (STATES,) step length, in mean steps
    deviation: Floats  # (STATES,) standard deviation of the step length


# from `learn()`: simulated tracks of every motion, in stretches of 30 points; takes minutes
CHAIN = StepModel(
    start=np.array([0.1376, 0.3293, 0.4624, 0.0707]),
    move=np.array(
        [
            [0.2109, 0.2949, 0.4188, 0.0754],
            [0.1082, 0.3948, 0.4577, 0.0393],
            [0.1159, 0.3243, 0.5288, 0.0310],
            [0.1758, 0.2087, 0.2762, 0.3393],
        ]
    ),
    mean=np.array([0.4026, 0.7996, 1.2224, 1.6767]),
    deviation=np.array([0.1635, 0.2438, 0.3885, 0.6332]),
)


@njit()
def tables(start: Floats, move: Floats, mean: Floats, deviation: Floats) -> Floats:
    """Table (8, STATES) for `viterbi`.

    Row 0 holds the logarithms of the start probabilities, rows 1 to 4 those of the transitions from
    state i, and rows 5 to 7 the constant, linear and quadratic coefficients of the logarithm of
    each Gaussian.
    """
    table = np.empty((8, STATES))
    table[0] = np.log(start)
    table[1:5] = np.log(move)
    half = 0.5 / deviation**2
    table[5] = -half * mean**2 - np.log(deviation) - 0.5 * math.log(2 * math.pi)
    table[6] = 2 * half * mean
    table[7] = -half
    return table


@njit(inline="always")
def _best(
    table: Floats, j: int, x: float, a: float, b: float, c: float, d: float
) -> tuple[float, int]:
    """Greatest log probability of state j, and its previous state, from those of a, b, c and d."""
    a, b, c, d = a + table[1, j], b + table[2, j], c + table[3, j], d + table[4, j]
    low, high = max(a, b), max(c, d)
    came = (b > a) if low >= high else 2 + (d > c)
    return max(low, high) + (table[5, j] + x * (table[6, j] + x * table[7, j])), came


@njit()
def viterbi(step: Floats, table: Floats, back: NDArray[np.uint8], path: NDArray[np.int8]) -> None:
    """Most probable states (n,) of steps (n,); of equally probable states, the slower one.

    `back` (n,) is scratch memory: two bits for each state hold its previous state.
    """
    n = len(step)
    x = step[0]
    a = table[0, 0] + table[5, 0] + x * (table[6, 0] + x * table[7, 0])
    b = table[0, 1] + table[5, 1] + x * (table[6, 1] + x * table[7, 1])
    c = table[0, 2] + table[5, 2] + x * (table[6, 2] + x * table[7, 2])
    d = table[0, 3] + table[5, 3] + x * (table[6, 3] + x * table[7, 3])
    for t in range(1, n):
        x = step[t]
        e, i = _best(table, 0, x, a, b, c, d)
        f, j = _best(table, 1, x, a, b, c, d)
        g, k = _best(table, 2, x, a, b, c, d)
        h, m = _best(table, 3, x, a, b, c, d)
        a, b, c, d = e, f, g, h
        back[t] = i | j << 2 | k << 4 | m << 6
    low, high = max(a, b), max(c, d)
    at = int(b > a) if low >= high else 2 + int(d > c)
    for t in range(n - 1, -1, -1):
        path[t] = at
        if t:
            at = back[t] >> 2 * at & 3


@njit()
def _expect(
    step: Floats, offset: NDArray[np.int64], start: Floats, move: Floats, mean: Floats, dev: Floats
) -> tuple[float, Floats, Floats, Floats]:
    """Log likelihood, expected starts and moves, and sums (3, STATES) of weight, x and x^2.

    It uses the forward-backward algorithm, scaled at every step (Rabiner 1989, Proc. IEEE 77, 257).
    """
    starts, moves = np.zeros(STATES), np.zeros((STATES, STATES))
    sums = np.zeros((3, STATES))
    total = 0.0
    for s in range(len(offset) - 1):
        x = step[offset[s] : offset[s + 1]]
        n = len(x)
        if n == 0:
            continue
        seen = np.empty((n, STATES))
        for t in range(n):
            seen[t] = np.exp(-0.5 * ((x[t] - mean) / dev) ** 2) / dev + 1e-300
        ahead, behind, scale = np.empty((n, STATES)), np.ones((n, STATES)), np.empty(n)
        for t in range(n):
            before = start if t == 0 else ahead[t - 1] @ move
            ahead[t] = before * seen[t]
            scale[t] = ahead[t].sum()
            ahead[t] /= scale[t]
        for t in range(n - 2, -1, -1):
            behind[t] = move @ (seen[t + 1] * behind[t + 1]) / scale[t + 1]
        total += np.log(scale).sum()
        for t in range(n):
            weight = ahead[t] * behind[t]
            sums[0] += weight
            sums[1] += weight * x[t]
            sums[2] += weight * x[t] ** 2
            if t == 0:
                starts += weight
            else:
                reached = seen[t] * behind[t] / scale[t]
                for i in range(STATES):
                    moves[i] += ahead[t - 1, i] * move[i] * reached
    return total, starts, moves, sums


def fit_step_model(step: Floats, offset: NDArray[np.int64], rounds: int = 200) -> StepModel:
    """Fit a model to sequences of steps; sequence i is `offset[i]:offset[i + 1]`.

    Expectation maximization (Baum-Welch) starts from quantiles of the steps. It ends when the
    relative gain of the likelihood is less than 1e-7.
    """
    mean = np.quantile(step, (np.arange(STATES) + 0.5) / STATES)
    deviation = np.full(STATES, max(float(step.std()) / STATES, 1e-3))
    start = np.full(STATES, 1 / STATES)
    move = np.full((STATES, STATES), 0.1 / (STATES - 1))
    np.fill_diagonal(move, 0.9)
    before = -math.inf
    for _ in range(rounds):
        total, starts, moves, sums = _expect(step, offset, start, move, mean, deviation)
        start = (starts + 1e-6) / (starts + 1e-6).sum()
        move = (moves + 1e-6) / (moves + 1e-6).sum(axis=1, keepdims=True)
        mean = sums[1] / sums[0]
        deviation = np.sqrt(np.maximum(sums[2] / sums[0] - mean**2, 1e-6))
        if total - before < 1e-7 * abs(total):
            break
        before = total
    order = np.argsort(mean, kind="stable")
    return StepModel(start[order], move[np.ix_(order, order)], mean[order], deviation[order])
