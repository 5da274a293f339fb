"""Steps: those of each way of moving, compiled.

What simulated tracks (`motion`) and the particles of simulated movies (`behaviours.move`) share.
Lengths are in um, `scale` is the diffusive step
sqrt(2 D dt) per axis, paths are relative to the point before their first.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from livespt.models.simulate.rng import Dice, integer, normal, random
from livespt.stream.types import MOTIONS

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Complex = NDArray[np.complex128]
NORMAL, DIRECTED, CONFINED, SUBDIFFUSIVE = range(len(MOTIONS))


class Track(NamedTuple):
    """One track, seen at every frame."""

    point: Floats  # (n, ndim) um
    label: NDArray[np.int8]  # (n,) index into MOTIONS: how the point was reached
    diffusion: Floats  # (n,) um2/s of that behaviour
    time_s: Floats  # (n,) since its first point


@njit(cache=True)
def diffuse(rng: Dice, n: int, ndim: int, scale: float) -> Floats:
    """Steps (n, ndim) of normal diffusion."""
    step = np.empty((n, ndim))
    for i in range(n):
        for k in range(ndim):
            step[i, k] = scale * normal(rng)
    return step


@njit(cache=True)
def wander(rng: Dice, n: int, velocity: Floats, persistence: float) -> Floats:
    """Velocities (n, ndim) that keep the speed; <u.u'> = exp(-frames / persistence)."""
    ndim = len(velocity)
    path = np.empty((n, ndim))
    if not np.isfinite(persistence):
        path[:] = velocity
        return path
    speed = math.sqrt((velocity**2).sum())
    width = math.sqrt(2 / ((ndim - 1) * persistence))
    unit = velocity / speed
    for i in range(n):
        for k in range(ndim):
            unit[k] += width * normal(rng)
        unit /= math.sqrt((unit**2).sum())
        path[i] = unit * speed
    return path


@njit(cache=True)
def accumulate(step: Floats) -> Floats:
    """Positions (n, ndim) after each of the steps (n, ndim), in place."""
    for i in range(1, len(step)):
        for k in range(step.shape[1]):
            step[i, k] += step[i - 1, k]
    return step


@njit(cache=True)
def confine(rng: Dice, n: int, scale: float, half: Floats, start: Floats, substeps: int) -> Floats:
    """Positions (n, ndim) inside the ellipse of half axes (ndim,), from `start` in it.

    Of `substeps` steps a frame, one that would lead out is not made.
    """
    ndim = len(half)
    path = np.empty((n, ndim))
    at, to = start.copy(), np.empty(ndim)
    small = scale / math.sqrt(substeps)
    for i in range(n):
        for _ in range(substeps):
            reach = 0.0
            for k in range(ndim):
                to[k] = at[k] + normal(rng) * small
                reach += (to[k] / half[k]) ** 2
            if reach <= 1.0:
                for k in range(ndim):
                    at[k] = to[k]
        path[i] = at
    return path


@njit(cache=True)
def rotation(rng: Dice, ndim: int) -> Floats:
    """Rotation matrix (ndim, ndim) of whole degrees: one angle in 2-D; yaw, pitch, roll in 3-D."""
    turn = np.eye(ndim)
    for around in (2, 1, 0):
        if ndim == 2 and around < 2:
            break
        angle = math.radians(integer(rng, 0, 180))
        a, b = ((1, 2), (0, 2), (0, 1))[around]
        cos, sin = math.cos(angle), math.sin(angle)
        if around == 1:
            sin = -sin
        for row in range(ndim):
            left, right = turn[row, a], turn[row, b]
            turn[row, a] = left * cos + right * sin
            turn[row, b] = right * cos - left * sin
    return turn


@njit(cache=True)
def turned(path: Floats, turn: Floats) -> Floats:
    """The path (n, ndim) turned by a matrix (ndim, ndim), in place."""
    ndim = path.shape[1]
    one = np.empty(ndim)
    for i in range(len(path)):
        one[:] = path[i]
        for k in range(ndim):
            path[i, k] = 0.0
            for j in range(ndim):
                path[i, k] += turn[k, j] * one[j]
    return path


@njit(cache=True)
def direction(rng: Dice, ndim: int) -> Floats:
    """A unit vector (ndim,), every direction alike."""
    vector = diffuse(rng, 1, ndim, 1.0)[0]
    unit: Floats = vector / math.sqrt((vector**2).sum())
    return unit


@njit(cache=True)
def anywhere(rng: Dice, half: Floats) -> Floats:
    """A point (ndim,) anywhere in the ellipse of half axes (ndim,)."""
    ndim = len(half)
    point: Floats = direction(rng, ndim) * half * random(rng) ** (1 / ndim)
    return point
