"""The DeepSPT set: tracks as the simulator of the DeepSPT paper makes them.

They serve for comparison with published figures, and so repeat the peculiarities of that simulator:

- Each track has one D (log-uniform from 1e-4 to 0.5 um2/s). At the upper end, confined motion is
  white noise.
- A segment starts at the last point of the segment before it, including its localization error.
- In 3-D, directions are concentrated at the poles.
- A segment of five steps has six, unless it is the first.
"""

from __future__ import annotations

import math

import numpy as np

from livespt.models.simulate import steps as walk
from livespt.models.simulate.fractional_noise import fractional
from livespt.models.simulate.rng import Dice, integer, log_uniform, random, uniform
from livespt.models.simulate.steps import (
    CONFINED,
    DIRECTED,
    SUBDIFFUSIVE,
    Complex,
    Floats,
    Ints,
    Track,
)
from livespt.stream.compiled import njit

SHORTEST = 5  # least steps of one behaviour


@njit()
def _behaviours(rng: Dice, heterogeneous: float) -> Ints:
    """Draw the sequence of behaviours of a track."""
    kept = np.empty(4, np.int64)
    if random(rng) >= heterogeneous:
        kept[0] = integer(rng, 0, 4)
        return kept[:1]
    drawn = np.empty(integer(rng, 2, 5), np.int64)
    count = 0
    while count < 2:
        for k in range(len(drawn)):
            drawn[k] = integer(rng, 0, 4)
        count = 0
        for k in range(len(drawn)):
            if drawn[k] != drawn[k - 1]:  # index -1: the first is compared with the last
                kept[count] = drawn[k]
                count += 1
    return kept[:count]


@njit()
def _steps(rng: Dice, total: int, longest: int, count: int) -> Ints:
    """Draw the number of steps of each of `count` behaviours; early ones are longer on average."""
    least = SHORTEST * count
    if count > 1 and total < least:
        total = integer(rng, least, max(longest + 1, least) + 1)
    steps = np.empty(count, np.int64)
    for k in range(count - 1):
        later = SHORTEST * (count - 1 - k)
        steps[k] = integer(rng, SHORTEST, total - later + 1)
        total -= steps[k]
    steps[-1] = total
    return steps


@njit()
def _velocity(rng: Dice, diffusion: float, ndim: int, dt_s: float) -> Floats:
    """Velocity (ndim,), um/s: v = sqrt(4 R D / T)."""
    ratio = uniform(rng, 5, 25)
    speed = math.sqrt(4 * ratio * diffusion / (integer(rng, 5, 600) * dt_s))
    velocity = np.empty(ndim)
    theta = uniform(rng, 0, math.pi if ndim == 3 else 2 * math.pi)
    if ndim == 3:
        phi = uniform(rng, 0, 2 * math.pi)
        velocity[0] = speed * math.cos(phi)
        speed *= math.sin(phi)
    velocity[-2], velocity[-1] = speed * math.sin(theta), speed * math.cos(theta)  # y, x
    return velocity


@njit()
def _segment(
    rng: Dice,
    motion: int,
    n: int,
    scale: float,
    alpha: float,
    shift: Floats,
    half: Floats,
    root: Complex,
) -> Floats:
    """Positions (n, ndim) of one behaviour; `shift` (ndim,) is its drift per frame."""
    ndim = len(half)
    if motion == CONFINED:
        inside = walk.confine(rng, n, scale, half, np.zeros(ndim), 100)
        return walk.turned(inside, walk.rotation(rng, ndim))
    if motion == SUBDIFFUSIVE:
        return walk.accumulate(fractional(rng, n, ndim, alpha, root) * scale)
    return walk.accumulate(walk.diffuse(rng, n, ndim, scale) + shift)


@njit()
def simulate_track(
    rng: Dice,
    lengths: tuple[int, int],
    heterogeneous: float,
    ndim: int,
    dt_s: float,
    noise: bool,
    root: Complex,
) -> Track:
    """Simulate one track; `lengths` are in steps, `root` is that of fractional_noise.py."""
    diffusion = log_uniform(rng, 1e-4, 0.5)
    quality = uniform(rng, 1, 16)  # step length divided by localization error
    alpha = max(uniform(rng, 0, 0.7), 1e-9)
    half = np.array([uniform(rng, 0.05, 0.25) / 2 for _ in range(ndim)])
    total = integer(rng, lengths[0], lengths[1] + 1)
    motions = _behaviours(rng, heterogeneous)
    steps = _steps(rng, total, lengths[1], len(motions))
    steps[1:] += steps[1:] == SHORTEST
    n = 1 + steps.sum()  # the origin is a point as well
    point, label = np.zeros((n, ndim)), np.empty(n, np.int8)
    scale = math.sqrt(2 * diffusion * dt_s)
    begin, at = 0, np.zeros(ndim)
    for k in range(len(motions)):
        shift = np.zeros(ndim)
        if motions[k] == DIRECTED:
            shift = _velocity(rng, diffusion, ndim, dt_s) * dt_s
        end = begin + steps[k] + (k == 0)
        path = _segment(rng, motions[k], steps[k], scale, alpha, shift, half, root)
        point[end - steps[k] : end] = at + path
        label[begin:end] = motions[k]
        if noise:
            sigma = math.sqrt(diffusion * dt_s + (shift**2).sum()) / quality
            point[begin:end] += walk.diffuse(rng, end - begin, ndim, sigma)
        begin, at = end, point[end - 1]
    return Track(point, label, np.full(n, diffusion), np.arange(n) * dt_s)
