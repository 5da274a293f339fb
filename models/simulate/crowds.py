"""Crowds: simulated localizations of many particles, true identities known, to judge linkers by.

In the manner of the ISBI particle tracking challenge (Chenouard et al., Nat. Methods 11, 281
(2014)). From there (table 2): four scenarios and their dynamics, fields of 512 x 512 pixels (ten
slices for viruses), movies of 100 frames, three densities each. The paper's text gives no step
lengths, life times and rates of switching: those of `MOTION` are ours, set once, of one to a few
pixels a frame. The challenge rendered images; here localizations are drawn: each particle is seen
with a Gaussian error, some are missed, and false ones lie anywhere.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from livespt.stream.errors import SettingError

Floats = NDArray[np.float64]
FIELD_PX = 512.0
DEPTH_PX = 10.0  # viruses
FRAMES = 100
LIFE = 40.0  # mean frames until a particle disappears, wherever it is
ERROR_PX = 0.2  # standard deviation of a localization along y and x
ERROR_Z_PX = 0.4  # along z
DENSITIES = {  # particles a frame on average: low, medium, high
    "vesicles": (100, 500, 1000),
    "receptors": (100, 500, 1000),
    "viruses": (100, 500, 1000),
    "microtubules": (60, 400, 700),
}


class Mode(NamedTuple):
    """One way of moving, per frame."""

    step_px: float  # standard deviation of the random step along an axis
    speed_px: float = 0.0  # mean speed; a particle's own is within 20 % of it
    turn: float = 0.0  # radians, standard deviation of the change of direction
    tether: float = 0.0  # share of the way to the anchor that is pulled back


class Motion(NamedTuple):
    """What the particles of a scenario do."""

    ndim: int
    modes: tuple[Mode, ...]
    switch: float = 0.0  # chance a frame to change to one of the other modes


MOTION = {
    "vesicles": Motion(2, (Mode(1.5),)),
    "receptors": Motion(
        2, (Mode(0.7, tether=0.3), Mode(0.5, speed_px=2.5, turn=0.1), Mode(1.0)), 0.05
    ),
    "viruses": Motion(3, (Mode(1.0), Mode(0.5, speed_px=3.0, turn=0.1)), 0.05),
    "microtubules": Motion(2, (Mode(0.2, speed_px=3.0, turn=0.05),)),
}


class CrowdScene(NamedTuple):
    """Localizations of a movie, in the order of their frames, and the truth behind them."""

    frame: NDArray[np.int64]  # (n,)
    point: Floats  # (n, ndim) y, x or z, y, x; px
    particle: NDArray[np.int64]  # (n,) which particle it is of; -1: of none
    true_frame: NDArray[np.int64]  # (t,) every particle in every frame of its life, seen or not
    true_point: Floats  # (t, ndim) where it really was
    true_particle: NDArray[np.int64]  # (t,)


class _Swarm:
    """The particles that live in one frame."""

    def __init__(self, rng: Generator, motion: Motion, size: Floats) -> None:
        self.rng, self.motion, self.size = rng, motion, size
        ndim = motion.ndim
        self.made = 0
        self.id = np.empty(0, np.int64)
        self.at = np.empty((0, ndim))
        self.anchor = np.empty((0, ndim))
        self.heading = np.empty((0, ndim))  # unit vectors
        self.pace = np.empty(0)  # own speed over the mode's
        self.mode = np.empty(0, np.int64)

    def add(self, n: int) -> None:
        """New particles anywhere in the field."""
        rng, ndim = self.rng, self.motion.ndim
        at = rng.uniform(0, self.size, (n, ndim))
        heading = _unit(rng.normal(size=(n, ndim)))
        self.id = np.concatenate([self.id, self.made + np.arange(n)])
        self.at = np.concatenate([self.at, at])
        self.anchor = np.concatenate([self.anchor, at])
        self.heading = np.concatenate([self.heading, heading])
        self.pace = np.concatenate([self.pace, rng.uniform(0.8, 1.2, n)])
        self.mode = np.concatenate([self.mode, rng.integers(len(self.motion.modes), size=n)])
        self.made += n

    def keep(self, which: NDArray[np.bool_]) -> None:
        """The others disappear."""
        for name in ("id", "at", "anchor", "heading", "pace", "mode"):
            setattr(self, name, getattr(self, name)[which])

    def move(self) -> None:
        """One frame on: switch, turn, step; who leaves the field or dies disappears."""
        rng, modes, n = self.rng, self.motion.modes, len(self.id)
        if self.motion.switch:
            switches = rng.random(n) < self.motion.switch
            other = (self.mode + rng.integers(1, len(modes), n)) % len(modes)
            self.mode = np.where(switches, other, self.mode)
            self.anchor[switches] = self.at[switches]
            self.heading[switches] = _unit(rng.normal(size=(int(switches.sum()), self.at.shape[1])))
        step, speed, turn, tether = (np.array(column) for column in zip(*modes, strict=True))
        sideways = rng.normal(size=self.at.shape) * turn[self.mode][:, None]
        sideways -= np.sum(sideways * self.heading, 1, keepdims=True) * self.heading
        self.heading = _unit(self.heading + sideways)
        self.at = (
            self.at
            + (self.anchor - self.at) * tether[self.mode][:, None]
            + self.heading * (speed[self.mode] * self.pace)[:, None]
            + rng.normal(size=self.at.shape) * step[self.mode][:, None]
        )
        if self.motion.ndim == 3:  # a cell as thin as the stack: its faces reflect
            beyond = (self.at[:, 0] < 0) | (self.at[:, 0] > self.size[0])
            depth = self.at[:, 0] % (2 * self.size[0])
            self.at[:, 0] = np.minimum(depth, 2 * self.size[0] - depth)
            self.heading[beyond, 0] *= -1
        inside = ((self.at >= 0) & (self.at <= self.size)).all(1)
        self.keep(inside & (rng.random(n) >= 1 / LIFE))


def _unit(vectors: Floats) -> Floats:
    length: Floats = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(length, 1e-12)


def scene(
    scenario: str,
    density: int,
    seed: int,
    *,
    missed: float = 0.05,
    false: float = 0.05,
    frames: int = FRAMES,
) -> CrowdScene:
    """A movie's localizations, made anew for the same arguments.

    Particles begin and end at any time and place (lives are exponential, mean `LIFE`) or leave
    the field; as many appear as are missing to the density, on average.

    Parameters
    ----------
    scenario : str
        One of `MOTION`: "vesicles" (Brownian), "receptors" (tethered, directed and Brownian in
        turns), "viruses" (Brownian and directed in turns, 3-D), "microtubules" (their tips: nearly
        constant velocity).
    density : int
        Particles in a frame, on average; `DENSITIES` has the challenge's.
    seed : int
    missed : float
        Share of localizations that are left out, each by itself.
    false : float
        False localizations, uniform in the field, as a share of the density.
    frames : int

    Raises
    ------
    SettingError
        An unknown scenario or a value out of range.
    """
    if scenario not in MOTION:
        raise SettingError(f"no scenario {scenario!r}: choose one of {', '.join(MOTION)}")
    if density < 1 or frames < 1 or not (0 <= missed < 1 and 0 <= false < math.inf):
        raise SettingError(
            f"density {density}, frames {frames}, missed {missed}, false {false}: give a density "
            "and frames of at least 1, a share missed below 1, a share false of at least 0"
        )
    motion = MOTION[scenario]
    rng = np.random.default_rng((seed, list(MOTION).index(scenario), density))
    size = np.array([DEPTH_PX, FIELD_PX, FIELD_PX])[-motion.ndim :]
    error = np.array([ERROR_Z_PX, ERROR_PX, ERROR_PX])[-motion.ndim :]
    swarm = _Swarm(rng, motion, size)
    seen: list[tuple[int, Floats, NDArray[np.int64]]] = []
    true: list[tuple[int, Floats, NDArray[np.int64]]] = []
    for frame in range(frames):
        if frame:
            swarm.move()
        swarm.add(int(rng.poisson(max(density - len(swarm.id), 0))))
        true.append((frame, swarm.at, swarm.id))
        found = rng.random(len(swarm.id)) >= missed
        spots = swarm.at[found] + rng.normal(size=(int(found.sum()), motion.ndim)) * error
        extra = rng.uniform(0, size, (int(rng.poisson(false * density)), motion.ndim))
        order = rng.permutation(len(spots) + len(extra))
        name = np.concatenate([swarm.id[found], np.full(len(extra), -1)])
        seen.append((frame, np.concatenate([spots, extra])[order], name[order]))
    return CrowdScene(*_columns(seen), *_columns(true))


def _columns(
    parts: list[tuple[int, Floats, NDArray[np.int64]]],
) -> tuple[NDArray[np.int64], Floats, NDArray[np.int64]]:
    frame = [np.full(len(ids), number, np.int64) for number, _, ids in parts]
    points = [points for _, points, _ in parts]
    return np.concatenate(frame), np.concatenate(points), np.concatenate([i for *_, i in parts])


def steps(of: CrowdScene) -> Floats:
    """(k, ndim) displacements of the localizations of a particle between frames that follow."""
    real = of.particle >= 0
    order = np.lexsort((of.frame[real], of.particle[real]))
    particle, frame = of.particle[real][order], of.frame[real][order]
    follows = (np.diff(particle) == 0) & (np.diff(frame) == 1)
    displacement: Floats = np.diff(of.point[real][order], axis=0)[follows]
    return displacement
