"""Behaviour: one way of moving, step by step: normal, directed, confined, subdiffusive."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.random import Generator
from numpy.typing import NDArray

from livespt.stream.types import MOTIONS

Floats = NDArray[np.float64]
NORMAL, DIRECTED, CONFINED, SUBDIFFUSIVE = range(len(MOTIONS))


class Behaviour(NamedTuple):
    """One way of moving, with its parameters."""

    motion: int  # index into MOTIONS
    diffusion: float  # D, um2/s
    alpha: float = 1.0  # anomalous exponent, subdiffusive only
    velocity: tuple[float, ...] = ()  # (ndim,) um/s, directed only
    persistence: float = math.inf  # frames over which the direction is kept, directed only
    half_axes: tuple[float, ...] = ()  # (ndim,) um, confined only
    centred: bool = True  # starts in the middle of its confinement; else anywhere in it
    substeps: int = 100  # per frame, confined only: one that would leave is not made


def fractional_noise(rng: Generator, n: int, ndim: int, alpha: float) -> Floats:
    """Exact fractional Gaussian noise of unit variance, Hurst exponent alpha / 2.

    Circulant embedding (Davies and Harte 1987, Biometrika 74:95); its eigenvalues are never
    negative for this noise (Craigmile 2003, J. Time Ser. Anal. 24:505).

    Parameters
    ----------
    rng : Generator
    n, ndim : int
        Steps, and independent axes.
    alpha : float
        Exponent of the mean squared displacement, in (0, 2).

    Returns
    -------
    array (n, ndim)
    """
    lag = np.arange(n + 1.0)
    covariance = (np.abs(lag + 1) ** alpha - 2 * lag**alpha + np.abs(lag - 1) ** alpha) / 2
    eigenvalue = np.fft.rfft(np.concatenate([covariance, covariance[-2:0:-1]])).real
    draw = rng.standard_normal((2, n + 1, ndim))
    spectrum = (draw[0] + 1j * draw[1]) / math.sqrt(2)
    spectrum[[0, n]] = draw[0, [0, n]]  # these two are real
    spectrum *= np.sqrt(np.maximum(eigenvalue, 0) * 2 * n)[:, None]
    return np.fft.irfft(spectrum, 2 * n, axis=0)[:n]


@njit(cache=True)
def _confine(start: Floats, step: Floats, half: Floats, substeps: int) -> Floats:
    """Positions (n, ndim) after every frame; of the steps (n * substeps, ndim) none leads out."""
    n = len(step) // substeps
    ndim = len(start)
    path = np.empty((n, ndim))
    at = start.copy()
    to = np.empty(ndim)
    for i in range(len(step)):
        reach = 0.0
        for k in range(ndim):
            to[k] = at[k] + step[i, k]
            reach += (to[k] / half[k]) ** 2
        if reach <= 1.0:
            at[:] = to
        if (i + 1) % substeps == 0:
            path[i // substeps] = at
    return path


@njit(cache=True)
def _wander(direction: Floats, kick: Floats) -> Floats:
    """Unit vectors (n, ndim) of a direction that diffuses, one kick (n, ndim) a frame."""
    path = np.empty_like(kick)
    for i in range(len(kick)):
        direction = direction + kick[i]
        direction /= np.sqrt((direction**2).sum())
        path[i] = direction
    return path


def _rotation(rng: Generator, ndim: int) -> Floats:
    """Rotation matrix (ndim, ndim) of whole degrees: one angle in 2-D; yaw, pitch, roll in 3-D."""
    angle = np.deg2rad(rng.integers(0, 180, 3 if ndim == 3 else 1))
    cos, sin = np.cos(angle), np.sin(angle)
    if ndim == 2:
        return np.array([[cos[0], -sin[0]], [sin[0], cos[0]]])
    yaw = np.array([[cos[0], -sin[0], 0], [sin[0], cos[0], 0], [0, 0, 1]])
    pitch = np.array([[cos[1], 0, sin[1]], [0, 1, 0], [-sin[1], 0, cos[1]]])
    roll = np.array([[1, 0, 0], [0, cos[2], -sin[2]], [0, sin[2], cos[2]]])
    turn: Floats = yaw @ pitch @ roll
    return turn


def move(rng: Generator, behaviour: Behaviour, n: int, ndim: int, dt_s: float) -> Floats:
    """Noise-free positions (n, ndim), um, relative to the point before the first of them."""
    scale = math.sqrt(2 * behaviour.diffusion * dt_s)  # um per axis and frame
    if behaviour.motion == CONFINED:
        half = np.asarray(behaviour.half_axes)
        start = np.zeros(ndim)
        if not behaviour.centred:  # uniform in the ellipse
            start = rng.standard_normal(ndim)
            start *= half * rng.random() ** (1 / ndim) / np.linalg.norm(start)
        substeps = behaviour.substeps
        step = rng.standard_normal((n * substeps, ndim)) * (scale / math.sqrt(substeps))
        inside = _confine(start, step, half, substeps)  # its steps have no direction: turn at last
        path: Floats = (inside - start) @ _rotation(rng, ndim).T
        return path
    if behaviour.motion == SUBDIFFUSIVE:
        return np.cumsum(scale * fractional_noise(rng, n, ndim, behaviour.alpha), axis=0)
    step = scale * rng.standard_normal((n, ndim))
    if behaviour.motion == DIRECTED:
        velocity = np.asarray(behaviour.velocity)
        if math.isfinite(behaviour.persistence):
            speed = float(np.linalg.norm(velocity))
            width = math.sqrt(2 / ((ndim - 1) * behaviour.persistence))  # <u.u'> = exp(-t/p)
            kick = rng.standard_normal((n, ndim)) * width
            velocity = speed * _wander(velocity / speed, kick)
        step += velocity * dt_s
    return np.cumsum(step, axis=0)


def log_uniform(rng: Generator, low: float, high: float) -> float:
    return float(math.exp(rng.uniform(math.log(low), math.log(high))))


def direction(rng: Generator, ndim: int) -> Floats:
    """A unit vector (ndim,), every direction alike."""
    vector = rng.standard_normal(ndim)
    return vector / np.linalg.norm(vector)


def draw(
    rng: Generator,
    motion: int,
    diffusion: float,
    ndim: int,
    dt_s: float,
    pull: tuple[float, float] = (0.4, 3.0),
    room: tuple[float, float] = (1.0, 5.0),
    alpha: tuple[float, float] = (0.2, 0.75),
) -> Behaviour:
    """A behaviour in units of its own diffusive step sqrt(2 D dt), at any phase of itself.

    `pull` is the range of the directed step, `room` that of the confinement's half axes.
    """
    step = math.sqrt(2 * diffusion * dt_s)
    if motion == DIRECTED:
        velocity = direction(rng, ndim) * (log_uniform(rng, *pull) * step / dt_s)
        persistence = log_uniform(rng, 20, 500)
        return Behaviour(motion, diffusion, 1.0, tuple(velocity), persistence)
    if motion == CONFINED:
        half = tuple(step * log_uniform(rng, *room) for _ in range(ndim))
        return Behaviour(motion, diffusion, half_axes=half, centred=False, substeps=25)
    if motion == SUBDIFFUSIVE:
        return Behaviour(motion, diffusion, rng.uniform(*alpha))
    return Behaviour(motion, diffusion)
