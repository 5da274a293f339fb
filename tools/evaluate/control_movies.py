"""Simulated movies of particles that do not uncoat, and of fields without particles.

Light, motion and camera are those of the simulated virus entry (acquisition/simulated.py) where
nothing else is stated, so that the particles are found and linked as well as the viruses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from livespt.acquisition.simulated import TRUTH, Scenario, SimulatedMovie
from livespt.models.optics.spots import photons_for_snr, uneven

Floats = NDArray[np.float64]

SEED = 9_700_000  # first seed of control movies: no training and no choice of a setting used these
PLACES = 104  # last number of the seeds of what is drawn here
SHAPE = (512, 512)  # pixels
MARGIN_PX = 10.0  # walls of the field, which reflect
SNR = (8.0, 12.0)  # of all particles but the beads
PARTICLES, PAIRS = 120, 60
CELLS = 10  # bodies on a field without particles


class Control(NamedTuple):
    """A movie in which nothing uncoats."""

    movie: SimulatedMovie
    changes: NDArray[np.int64]  # (k, 2) particle, and the first frame with another D


def simulate(name: str, frames: int, seed: int = 0, shape: tuple[int, int] = SHAPE) -> Control:
    """Simulate one of `CONTROLS`; the same arguments give the same movie.

    Parameters
    ----------
    name : str
    frames : int
        20 or more.
    seed : int
        Added to `SEED`.
    shape : (int, int)
        Size of a frame (y, x), pixels. The number of particles follows its area.

    Raises
    ------
    SettingError
        The movie is too short, or the field too small.
    """
    number = list(CONTROLS).index(name)
    scenario = Scenario(seed=SEED + 100 * seed + number, n_frames=frames, shape=shape)
    rng = np.random.default_rng((scenario.seed, PLACES, PLACES))
    return CONTROLS[name](scenario, rng)


def _count(scenario: Scenario, usual: int) -> int:
    """Particles on this field, with the density of `usual` ones on a field of `SHAPE`."""
    return max(1, round(usual * float(np.prod(scenario.shape) / np.prod(SHAPE))))


def _step_px(scenario: Scenario, diffusion: Floats) -> Floats:
    """Standard deviation of a step along an axis for D in um^2/s, pixels."""
    step: Floats = np.sqrt(2 * diffusion * scenario.frame_interval_s) / scenario.pixel_size_um
    return step


def _broad(rng: Generator, low: float, high: float, n: int) -> Floats:
    """Draw n log-uniform values."""
    values: Floats = np.exp(rng.uniform(np.log(low), np.log(high), n))
    return values


def _walk(scenario: Scenario, rng: Generator, diffusion: Floats) -> Floats:
    """Brownian paths (n, frames, 2), pixels, from D (n, frames) before each frame; no walls."""
    step = _step_px(scenario, diffusion)[:, :, None]
    path = np.cumsum(rng.normal(size=(*diffusion.shape, 2)) * step, axis=1)
    start: Floats = rng.uniform(MARGIN_PX, np.array(scenario.shape) - MARGIN_PX, (len(path), 1, 2))
    return start + path


def _walled(scenario: Scenario, path: Floats) -> Floats:
    """Reflect paths (..., 2) at the margins of the field."""
    room = np.array(scenario.shape) - 1 - 2 * MARGIN_PX
    along = (path - MARGIN_PX) % (2 * room)
    inside: Floats = MARGIN_PX + np.minimum(along, 2 * room - along)
    return inside


def _movie(
    scenario: Scenario,
    rng: Generator,
    path: Floats,
    snr: tuple[float, float] = SNR,
    light: Floats | None = None,
) -> SimulatedMovie:
    """Movie of particles on paths (n, frames, 2), with relative light (n, frames)."""
    n, frames = path.shape[:2]
    photons = photons_for_snr(rng.uniform(*snr, n), scenario.background, scenario.sigma_px)
    truth = np.zeros((frames, n), TRUTH)  # by frame, then particle
    truth["frame"], truth["particle"] = np.indices((frames, n))
    truth["y"], truth["x"] = np.moveaxis(_walled(scenario, path), -1, 0).transpose(0, 2, 1)
    truth["photons"] = photons * (1.0 if light is None else light.T)
    truth["visible"] = 1
    return SimulatedMovie(scenario, truth.ravel(), uneven(scenario.shape, scenario.background, rng))


def _unchanged(movie: SimulatedMovie) -> Control:
    return Control(movie, np.empty((0, 2), np.int64))


def _beads(scenario: Scenario, rng: Generator) -> Control:
    """Bright beads of constant light in Brownian motion, each with a D of its own."""
    n = _count(scenario, PARTICLES)
    diffusion = _broad(rng, 5e-3, 0.3, n)  # steps of 0.2 to 1.7 pixels
    path = _walk(scenario, rng, np.repeat(diffusion[:, None], scenario.n_frames, axis=1))
    return _unchanged(_movie(scenario, rng, path, snr=(25.0, 40.0)))


def _receptors(scenario: Scenario, rng: Generator) -> Control:
    """Receptors that switch between two values of D, which differ by 3 to 10 times."""
    n, frames = _count(scenario, PARTICLES), scenario.n_frames
    slow = _broad(rng, 4e-3, 2e-2, n)
    fast = slow * _broad(rng, 3.0, 10.0, n)
    is_fast = np.zeros((n, frames), np.bool_)
    changes = []
    for particle in range(n):
        at, now = 0, bool(rng.integers(2))
        while at < frames:
            if at:
                changes.append((particle, at))
            end = at + 30 + int(rng.exponential(70.0))  # frames in one state
            is_fast[particle, at:end] = now
            at, now = end, not now
    path = _walk(scenario, rng, np.where(is_fast, fast[:, None], slow[:, None]))
    return Control(_movie(scenario, rng, path), np.array(changes, np.int64).reshape(-1, 2))


def _field(scenario: Scenario, rng: Generator) -> Control:
    """Cell bodies with edges 0.5 to 6 pixels wide, and haze; no particle at all."""
    height, width = scenario.shape
    y, x = np.mgrid[:height, :width].astype(np.float64)
    light = uneven(scenario.shape, 0.5, rng, blobs=12).astype(np.float64)  # haze
    waves = np.arange(2, 6)
    for _ in range(_count(scenario, CELLS)):
        dy, dx = y - rng.uniform(0, height), x - rng.uniform(0, width)
        angle = np.arctan2(dy, dx)[:, :, None]
        lobes = np.cos(waves * angle + rng.uniform(0, 2 * np.pi, 4)) @ rng.uniform(0, 0.12, 4)
        outside = np.hypot(dy, dx) - rng.uniform(35, 80) * (1 + lobes)  # pixels along the radius
        edge = float(_broad(rng, 0.5, 6.0, 1)[0])
        light += rng.uniform(0.5, 4.0) * 0.5 * (1 - np.tanh(outside / edge))
    background = (scenario.background * light).astype(np.float32)
    return _unchanged(SimulatedMovie(scenario, np.zeros(0, TRUTH), background))


def _meeting(one: Floats, other: Floats, together: NDArray[np.bool_]) -> Floats:
    """Shift the paths `other` so that they are on `one` in the frames `together`.

    Parameters
    ----------
    one, other : (n, frames, 2)
    together : (n, frames)
        At least one frame a pair. Between two such frames, the distance of a pair is a Brownian
        bridge; before the first and after the last, it is free.
    """
    frames = np.arange(one.shape[1])
    shifted = other.copy()
    for pair in range(len(one)):
        at = np.flatnonzero(together[pair])
        gap = one[pair, at] - other[pair, at]
        shifted[pair] += np.stack([np.interp(frames, at, gap[:, k]) for k in (0, 1)], axis=1)
    return shifted


def _stretches(
    rng: Generator, shape: tuple[int, int], every: int, stay: tuple[int, int]
) -> NDArray[np.bool_]:
    """Frames (n, frames) in which pairs are together: `stay` frames, about every `every` ones."""
    n, frames = shape
    together = np.zeros(shape, np.bool_)
    for pair in range(n):
        at = int(rng.integers(0, min(every, frames)))
        while at < frames:
            end = at + int(rng.integers(stay[0], stay[1] + 1))
            together[pair, at:end] = True
            at = end + int(rng.integers(every // 2, every + 1))
    return together


def _names(scenario: Scenario, rng: Generator) -> Control:
    """Pairs of a slow and a fast particle that cross each other's place again and again."""
    n, frames = _count(scenario, PAIRS), scenario.n_frames
    slow = _broad(rng, 2e-3, 1e-2, n)
    fast = _broad(rng, 5e-2, 0.2, n)  # it leaves again within a few frames
    one, other = (_walk(scenario, rng, np.repeat(d[:, None], frames, axis=1)) for d in (slow, fast))
    crossing = _stretches(rng, (n, frames), 100, (1, 1))
    path = np.concatenate([one, _meeting(one, other, crossing)])
    return _unchanged(_movie(scenario, rng, path))


def _merging(scenario: Scenario, rng: Generator) -> Control:
    """Pairs that meet, diffuse as one spot of summed light with half the D, and part."""
    n, frames = _count(scenario, PAIRS), scenario.n_frames
    diffusion = _broad(rng, 5e-3, 5e-2, n)[:, None]
    together = _stretches(rng, (n, frames), 100, (15, 60))
    one = _walk(scenario, rng, np.where(together, diffusion / 2, diffusion))
    other = _walk(scenario, rng, np.repeat(diffusion, frames, axis=1))
    path = np.concatenate([one, _meeting(one, other, together)])
    return _unchanged(_movie(scenario, rng, path))


def _immobile(scenario: Scenario, rng: Generator) -> Control:
    """Stuck beads that tremble by 0.05 pixels and bleach within 500 to 5000 frames."""
    n, frames = _count(scenario, PARTICLES), scenario.n_frames
    place = rng.uniform(MARGIN_PX, np.array(scenario.shape) - MARGIN_PX, (n, 1, 2))
    path = place + rng.normal(0, 0.05, (n, frames, 2))
    light = np.exp(-np.arange(frames) / _broad(rng, 500, 5000, n)[:, None])
    return _unchanged(_movie(scenario, rng, path, light=light))


# seeds of the movies follow this order; that after the last one is the virus entry of controls.py
CONTROLS: dict[str, Callable[[Scenario, Generator], Control]] = {
    "beads": _beads,
    "receptors": _receptors,
    "false spots": _field,
    "exchanged names": _names,
    "merging spots": _merging,
    "immobile": _immobile,
}
