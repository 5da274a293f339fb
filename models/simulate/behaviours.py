"""One kind of motion, step by step: normal, directed, confined or subdiffusive.

This moves the particles of simulated movies, with a NumPy Generator as random numbers. The tracks
for training use the compiled equivalent in models/simulate/steps.py.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from livespt.models.simulate import steps
from livespt.models.simulate.physical_tracks import ALPHA, PERSISTENCE, PULL, ROOM, SUBSTEPS
from livespt.models.simulate.rng import log_uniform
from livespt.models.simulate.steps import CONFINED, DIRECTED, SUBDIFFUSIVE, Floats, direction


class Behaviour(NamedTuple):
    """One kind of motion with its parameters."""

    motion: int  # index into MOTIONS
    diffusion: float  # D, um2/s
    alpha: float = 1.0  # anomalous exponent, subdiffusive only
    velocity: tuple[float, ...] = ()  # (ndim,) um/s, directed only
    persistence: float = math.inf  # frames for which the direction persists, directed only
    half_axes: tuple[float, ...] = ()  # (ndim,) um, confined only
    centred: bool = True  # whether it starts at the centre of its confinement or anywhere in it
    substeps: int = 100  # per frame, confined only; a substep that would leave is skipped


def fractional_noise(rng: Generator, n: int, ndim: int, alpha: float) -> Floats:
    """Exact fractional Gaussian noise of unit variance, Hurst exponent alpha / 2.

    Circulant embedding (Davies and Harte 1987, Biometrika 74:95); its eigenvalues are never
    negative for this noise (Craigmile 2003, J. Time Ser. Anal. 24:505). The circulant matrix may
    have any size here; the compiled version (fractional_noise.py) needs a power of two, and
    therefore draws other numbers.

    Parameters
    ----------
    rng : Generator
    n, ndim : int
        Number of steps and of independent axes.
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
    spectrum[[0, n]] = draw[0, [0, n]]  # the first and the middle coefficient are real
    spectrum *= np.sqrt(np.maximum(eigenvalue, 0) * 2 * n)[:, None]
    return np.fft.irfft(spectrum, 2 * n, axis=0)[:n]


def move(rng: Generator, behaviour: Behaviour, n: int, ndim: int, dt_s: float) -> Floats:
    """Noise-free positions (n, ndim), um, relative to the point before the first one."""
    scale = math.sqrt(2 * behaviour.diffusion * dt_s)  # um per axis and frame
    if behaviour.motion == CONFINED:
        half = np.asarray(behaviour.half_axes)
        start = np.zeros(ndim) if behaviour.centred else steps.anywhere(rng, half)
        inside = steps.confine(rng, n, scale, half, start, behaviour.substeps)
        # the steps so far have no direction: rotate them at the end
        return steps.turned(inside - start, steps.rotation(rng, ndim))
    if behaviour.motion == SUBDIFFUSIVE:
        return steps.accumulate(scale * fractional_noise(rng, n, ndim, behaviour.alpha))
    step = steps.diffuse(rng, n, ndim, scale)
    if behaviour.motion == DIRECTED:
        velocity = np.asarray(behaviour.velocity, np.float64)
        step += steps.wander(rng, n, velocity, behaviour.persistence) * dt_s
    return steps.accumulate(step)


def draw_behaviour(
    rng: Generator,
    motion: int,
    diffusion: float,
    ndim: int,
    dt_s: float,
    pull: tuple[float, float] = PULL,
    room: tuple[float, float] = ROOM,
    alpha: tuple[float, float] = ALPHA,
) -> Behaviour:
    """Draw a behaviour whose lengths are in units of its diffusive step sqrt(2 D dt).

    `pull` is the range of the directed step, `room` the range of the half axes of the confinement.
    """
    step = math.sqrt(2 * diffusion * dt_s)
    if motion == DIRECTED:
        velocity = direction(rng, ndim) * (log_uniform(rng, *pull) * step / dt_s)
        persistence = log_uniform(rng, *PERSISTENCE)
        return Behaviour(motion, diffusion, 1.0, tuple(velocity), persistence)
    if motion == CONFINED:
        half = tuple(step * log_uniform(rng, *room) for _ in range(ndim))
        return Behaviour(motion, diffusion, half_axes=half, centred=False, substeps=SUBSTEPS)
    if motion == SUBDIFFUSIVE:
        return Behaviour(motion, diffusion, rng.uniform(*alpha))
    return Behaviour(motion, diffusion)
