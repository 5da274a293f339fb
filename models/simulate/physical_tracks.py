"""Physical tracks: motion in units of the diffusive step, averaged over the exposure of a camera.

They differ from the DeepSPT set as follows:

- Confinement has half axes of 1 to 5 diffusive steps. Directed steps are 0.4 to 3 diffusive steps
  long, and the direction changes.
- D differs between segments; the localization error is the same in the whole track, and does not
  influence the motion.
- The first motion began before the track.

If frames are exposed for some time, or come at uneven intervals, the path is simulated in
`STEPS_PER_FRAME` steps and averaged over the exposure.
"""

from __future__ import annotations

import math

import numpy as np

from livespt.models.simulate import steps
from livespt.models.simulate.fractional_noise import fractional
from livespt.models.simulate.rng import Dice, integer, log_uniform, normal, random, uniform
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

STEPS_PER_FRAME = 8  # the blur of a full exposure is 1.6 % below that of infinitely many
SUBSTEPS = 25  # per frame, confined
PULL = (0.4, 3.0)  # directed step, in diffusive steps
PERSISTENCE = (20.0, 500.0)  # frames for which the direction persists
ROOM = (1.0, 5.0)  # half axes of the confinement, in diffusive steps
ALPHA = (0.2, 0.75)  # anomalous exponent, subdiffusive; uniform, while the others are log-uniform


@njit()
def _segment(
    rng: Dice, motion: int, n: int, step: float, fine: int, ndim: int, root: Complex
) -> Floats:
    """Positions (n, ndim) of one behaviour, `fine` per frame; `step` is the step of a frame."""
    if motion == CONFINED:
        half = np.array([step * log_uniform(rng, *ROOM) for _ in range(ndim)])
        start = steps.anywhere(rng, half)
        small = step / math.sqrt(fine)
        inside = steps.confine(rng, n, small, half, start, max(SUBSTEPS // fine, 1))
        return steps.turned(inside - start, steps.rotation(rng, ndim))
    if motion == SUBDIFFUSIVE:
        alpha = uniform(rng, *ALPHA)
        small = step * fine ** (-alpha / 2)
        return steps.accumulate(fractional(rng, n, ndim, alpha, root) * small)
    path = steps.diffuse(rng, n, ndim, step / math.sqrt(fine))
    if motion == DIRECTED:
        velocity = steps.direction(rng, ndim) * (log_uniform(rng, *PULL) * step / fine)
        path += steps.wander(rng, n, velocity, log_uniform(rng, *PERSISTENCE) * fine)
    return steps.accumulate(path)


@njit()
def _openings(rng: Dice, n: int, fine: int, exposed: int, jitter: float) -> Ints:
    """Fine steps (n,) at which the shutter opens; it stays open for `exposed` of them."""
    opening = np.arange(n) * fine
    if jitter > 0:
        time = 0.0
        for k in range(1, n):
            time += math.exp(jitter * normal(rng) - jitter**2 / 2)
            opening[k] = max(round(time * fine), opening[k - 1] + exposed)
    return opening


@njit()
def _averages(path: Floats, opening: Ints, exposed: int) -> Floats:
    """Mean positions (n, ndim) over the `exposed` fine steps after each opening (n,)."""
    point = np.zeros((len(opening), path.shape[1]))
    for k in range(len(opening)):
        for j in range(opening[k], opening[k] + exposed):
            point[k] += path[j] / exposed
    return point


@njit()
def simulate_track(
    rng: Dice,
    lengths: tuple[int, int],
    heterogeneous: float,
    ndim: int,
    dt_s: float,
    noise: bool,
    exposure: float,
    jitter: float,
    root: Complex,
) -> Track:
    """Simulate one track; a behaviour ends where the shutter closes for its last point."""
    fine = STEPS_PER_FRAME if exposure > 0 or jitter > 0 else 1
    exposed = max(round(exposure * fine), 1)
    n = min(max(round(log_uniform(rng, lengths[0], lengths[1] + 1)), lengths[0]), lengths[1])
    base = log_uniform(rng, 1e-4, 0.5)
    dwell = log_uniform(rng, 10, 150)  # mean duration of a behaviour, frames
    motion = integer(rng, 0, 4)
    changes = random(rng) < heterogeneous
    opening = _openings(rng, n, fine, exposed, jitter)
    path = np.zeros((opening[-1] + exposed, ndim))
    label, diffusion = np.empty(n, np.int8), np.empty(n)
    begin, done = 0, 0  # frames, and the newest position
    while begin < n:
        stay = n
        if changes:
            stay = 5 + int(-math.log1p(-random(rng)) * dwell)
            if begin == 0:
                stay = integer(rng, 1, stay + 1)
        end = min(begin + stay, n)
        label[begin:end] = motion
        diffusion[begin:end] = base * log_uniform(rng, 0.5, 2)
        until = opening[end - 1] + exposed - 1
        if until > done:
            step = math.sqrt(2 * diffusion[begin] * dt_s)
            moved = _segment(rng, motion, until - done, step, fine, ndim, root)
            path[done + 1 : until + 1] = path[done] + moved
        begin, done = end, until
        motion = (motion + integer(rng, 1, 4)) % 4
    point = _averages(path, opening, exposed)
    if noise:
        sigma = math.sqrt(2 * base * dt_s) * log_uniform(rng, 0.03, 1)
        point += steps.diffuse(rng, n, ndim, sigma)
    return Track(point, label, diffusion, np.multiply(opening, dt_s / fine))
