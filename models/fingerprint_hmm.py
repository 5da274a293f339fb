"""Hidden Markov model of step lengths: four Gaussian states, from slow to fast.

Lengths are told in the mean step of the stretch at hand, or in a length the user gives (um), so one
set of constants serves every pixel size, frame interval and dimension. (The public DeepSPT model
holds absolute means of 0.41 to 1.45 um, two of them nearly equal: on small steps it says nothing.)
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]

STATES = 4


class Chain(NamedTuple):
    """A hidden Markov model: states ordered by their mean."""

    start: Floats  # (STATES,) probabilities
    move: Floats  # (STATES, STATES) probability of j after i, rows sum to 1
    mean: Floats  # (STATES,) step length, in mean steps
    deviation: Floats  # (STATES,) standard deviation of it


# `learn()` of this file: simulated tracks of every behaviour, in stretches of 30 points; minutes
CHAIN = Chain(
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


@njit(cache=True)
def tables(start: Floats, move: Floats, mean: Floats, deviation: Floats) -> Floats:
    """What `viterbi` needs (8, STATES): log start, log moves from i (rows 1..4), mean, -1/(2 s^2),
    ln of the height of the Gaussian."""
    table = np.empty((8, STATES))
    table[0] = np.log(start)
    table[1:5] = np.log(move)
    table[5] = mean
    table[6] = -0.5 / deviation**2
    table[7] = -np.log(deviation) - 0.5 * math.log(2 * math.pi)
    return table


@njit(cache=True)
def viterbi(step: Floats, table: Floats, back: NDArray[np.int8], path: NDArray[np.int8]) -> None:
    """Most probable states (n,) of steps (n,); of equally probable ones the slower.

    `back` (n, STATES) is working memory: the state before, on the best way to each.
    """
    n = len(step)
    old = np.empty(STATES)
    now = np.empty(STATES)
    for j in range(STATES):
        old[j] = table[0, j] + table[6, j] * (step[0] - table[5, j]) ** 2 + table[7, j]
    for t in range(1, n):
        for j in range(STATES):
            best, came = old[0] + table[1, j], 0
            for i in range(1, STATES):
                value = old[i] + table[1 + i, j]
                came = i if value > best else came
                best = max(value, best)
            back[t, j] = came
            now[j] = best + table[6, j] * (step[t] - table[5, j]) ** 2 + table[7, j]
        for j in range(STATES):
            old[j] = now[j]
    at = 0
    for j in range(1, STATES):
        if old[j] > old[at]:
            at = j
    for t in range(n - 1, -1, -1):
        path[t] = at
        if t:
            at = back[t, at]


@njit(cache=True)
def _expect(
    step: Floats, offset: NDArray[np.int64], start: Floats, move: Floats, mean: Floats, dev: Floats
) -> tuple[float, Floats, Floats, Floats]:
    """Log likelihood, expected starts, moves, and sums (3, STATES) of weight, x and x^2.

    Forward and backward sums, scaled at every step (Rabiner 1989, Proc. IEEE 77, 257).
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


def fit(step: Floats, offset: NDArray[np.int64], rounds: int = 200) -> Chain:
    """The model that explains sequences of steps best: sequence i is `offset[i]:offset[i + 1]`.

    Expectation maximization (Baum-Welch) from quantiles of the steps, until the likelihood gains
    less than 1e-7 of itself.
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
    return Chain(start[order], move[np.ix_(order, order)], mean[order], deviation[order])


def learn(tracks: int = 300, points: int = 30, seed: int = 1) -> Chain:
    """The model of CHAIN: from stretches of simulated tracks, 2-D and 3-D, both variants.

    Each stretch of `points` points is told in its own mean step; gaps end a stretch.
    """
    from livespt.models.motion import VARIANTS, simulate_tracks

    steps: list[Floats] = []
    for variant in VARIANTS:
        for ndim in (2, 3):
            found = simulate_tracks(tracks, seed=seed, variant=variant, ndim=ndim)
            for i in range(tracks):
                rows = slice(found.offset[i], found.offset[i + 1])
                point, frame = found.point[rows], found.frame[rows]
                for k in range(0, len(point) - points + 1, points):
                    if frame[k + points - 1] - frame[k] == points - 1:
                        step = np.linalg.norm(np.diff(point[k : k + points], axis=0), axis=1)
                        steps.append(step / step.mean())
    offset = np.arange(len(steps) + 1) * (points - 1)
    return fit(np.concatenate(steps), offset)


def written(chain: Chain) -> str:
    """The constants as they stand in this file: `python -m livespt.models.fingerprint_hmm`."""
    lines = [
        f"    {name}=np.array({np.round(value, 4).tolist()}),"
        for name, value in zip(chain._fields, chain, strict=True)
    ]
    return "\n".join(["CHAIN = Chain(", *lines, ")"])


if __name__ == "__main__":
    print(written(learn()))
