"""Simulated movies of virus entry with known truth, rendered frame by frame.

Positions, paths and brightness of all particles are drawn once. A frame is rendered when it is
requested, with noise seeded by (seed, frame), so the order of requests does not change the movie.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from livespt.models.optics.spots import camera, photons_for_snr, render, uneven
from livespt.models.simulate.behaviours import draw_behaviour, move
from livespt.models.simulate.rng import log_uniform
from livespt.models.simulate.steps import DIRECTED, NORMAL, Floats
from livespt.models.simulate.virus_entry import Entry, simulate_entry
from livespt.stream.errors import SettingError
from livespt.stream.types import CLOCKS, MOTIONS, Frame

# One particle in one frame. It has a row while its centre lies on the image, also while it is off.
TRUTH = np.dtype(
    [
        ("frame", "<i8"),
        ("particle", "<i8"),  # a particle that returns keeps its number
        ("y", "<f8"),  # pixels
        ("x", "<f8"),
        ("photons", "<f4"),  # 0 while it is off
        ("visible", "u1"),  # 0 while it is off (blinking)
        ("state", "i1"),  # index into MOTIONS
        ("uncoated", "u1"),
    ]
)

# One uncoating in the movie: the first frame in which the particle is uncoated.
UNCOATING = np.dtype([("frame", "<i8"), ("particle", "<i8"), ("y", "<f8"), ("x", "<f8")])

NOISE, PLACES = 101, 102  # last numbers of seeds, which give independent random streams
TRACKS = 1 << 40  # added to the seed of tracks: no model was trained on these
MARGIN_PX = 8.0  # least distance of a virus from the border
CONTACT_PX = 6.0  # two particles nearer than this meet


def _entry() -> Entry:
    """Motion that can be linked: steps of 0.15 to 0.8 pixels per axis at the defaults below."""
    return Entry(
        diffusion=(2e-3, 6e-3),
        membrane=(1.0, 3.0),
        release=(6.0, 14.0),
        diffusion_most=0.06,
        pull=(0.6, 1.8),
        room=(0.8, 3.0),
        dwell=(20.0, 90.0),
    )


@dataclass(frozen=True)
class Scenario:
    """Content of the movie. At the defaults, spots are bright and can be linked within 5 pixels."""

    seed: int = 0
    n_frames: int = 1000
    shape: tuple[int, int] = (336, 336)  # pixels
    pixel_size_um: float = 0.1
    frame_interval_s: float = 0.05
    viruses: int = 84
    uncoating: int = 64  # viruses that uncoat; the others are controls
    visitors: int = 28  # other particles: half cross the borders, half appear and vanish inside
    entry: Entry = field(default_factory=_entry)
    quiet: int = 60  # least frames of a virus before and after it uncoats; fewer in short lives
    late: float = 0.25  # share of the viruses that land, or vanish, during the movie
    spacing_px: float = 20.0  # least distance between viruses when they appear
    snr: tuple[float, float] = (8.0, 12.0)  # A / sqrt(A + background), uniform
    sigma_px: float = 1.3  # of the point spread function
    background: float = 100.0  # mean photons per pixel, uneven
    blinking: float = 0.02  # share of frames in which a particle is off, 1 or 2 frames at a time
    offset: float = 100.0  # counts
    gain_e_per_count: float = 1.0
    read_noise_e: float = 1.5

    def __post_init__(self) -> None:
        """Check the settings.

        Raises
        ------
        SettingError
            The settings cannot be simulated.
        """
        if not 0 <= self.uncoating <= self.viruses:
            raise SettingError(
                f"{self.uncoating} of {self.viruses} viruses cannot uncoat: "
                f"give 0 to {self.viruses}"
            )
        if self.n_frames < 20:
            raise SettingError(f"{self.n_frames} frames are too few: simulate 20 or more")
        if min(self.shape) < 4 * MARGIN_PX:
            raise SettingError(f"a field of {self.shape} pixels is too small: give 32 or more")
        if self.seed < 0:
            raise SettingError(f"seed {self.seed} is negative: give 0 or more")


class _Particle(NamedTuple):
    """Path and motion of one particle while it is in the movie."""

    begin: int  # frame
    point: Floats  # (life, 2) pixels
    state: NDArray[np.int8]  # (life,)
    uncoat: int = -1  # frame


class SimulatedMovie:
    """A movie with its truth. It can be iterated, and any frame can be requested."""

    axes = "yx"
    dtype = "uint16"

    def __init__(self, scenario: Scenario, truth: NDArray[np.void], background: NDArray[Any]):
        self.scenario = scenario
        self.truth = truth  # TRUTH, by frame, then particle
        self.background = background  # photons per pixel
        changes = np.flatnonzero(truth["uncoated"])
        _, first = np.unique(truth["particle"][changes], return_index=True)
        rows = truth[changes[first]]
        self.uncoatings = np.zeros(len(rows), UNCOATING)  # by frame
        for name in UNCOATING.names or ():
            self.uncoatings[name] = rows[name]
        self.uncoatings.sort(order=["frame", "particle"])
        self._start = np.searchsorted(truth["frame"], np.arange(scenario.n_frames + 1))

    @property
    def shape(self) -> tuple[int, int]:
        """Size of a frame (y, x), pixels."""
        return self.scenario.shape

    @property
    def pixel_size_um(self) -> float:
        """Side of a pixel in the sample."""
        return self.scenario.pixel_size_um

    @property
    def frame_interval_s(self) -> float:
        """Time from one frame to the next."""
        return self.scenario.frame_interval_s

    @property
    def camera(self) -> dict[str, Any]:
        """Properties of the camera, in the form of `Start.camera`."""
        scenario = self.scenario
        return {
            "offset": scenario.offset,
            "gain_e_per_count": scenario.gain_e_per_count,
            "read_noise_e": scenario.read_noise_e,
            "known": "simulated",
        }

    def __len__(self) -> int:
        """Number of frames."""
        return self.scenario.n_frames

    def frame(self, i: int) -> NDArray[np.uint16]:
        """Image (y, x) of frame i, counts.

        Raises
        ------
        IndexError
            The movie has no such frame.
        """
        if not 0 <= i < len(self):
            raise IndexError(f"there is no frame {i} in a movie of {len(self)} frames")
        scenario = self.scenario
        rows = self.truth[self._start[i] : self._start[i + 1]]
        expected = render(
            rows["y"], rows["x"], rows["photons"], self.shape, scenario.sigma_px, self.background
        )
        return camera(
            expected,
            np.random.default_rng((scenario.seed, i, NOISE)),
            offset=scenario.offset,
            gain_e_per_count=scenario.gain_e_per_count,
            read_noise_e=scenario.read_noise_e,
        )

    def __iter__(self) -> Iterator[Frame]:
        """Yield every frame, with the time of the simulated camera."""
        clock = CLOCKS.index("camera")
        for i in range(len(self)):
            time_s = i * self.scenario.frame_interval_s
            yield Frame(i, i, 0, 0, time_s, self.frame(i), clock)


def _virus(scenario: Scenario, rng: Generator, number: int, uncoats: bool) -> _Particle:
    """Draw a virus that starts at the origin; `number` is the number of its track."""
    n = scenario.n_frames
    begin, end = 0, n
    if rng.random() < scenario.late:
        cut = int(rng.integers(1, n // 4 + 1))
        begin, end = (cut, n) if rng.random() < 0.5 else (0, n - cut)
    life = end - begin
    quiet = min(scenario.quiet, life // 3) / life
    track = simulate_entry(
        1,
        scenario.seed + TRACKS,
        n_frames=life,
        dt_s=scenario.frame_interval_s,
        uncoating=float(uncoats),
        midway=0.5 if begin == 0 else 0.0,  # a virus that lands begins at the membrane
        noise=False,
        entry=scenario.entry._replace(between=(quiet, 1 - quiet)),
        first=number,
    )
    uncoat = begin + int(track.uncoat[0]) if uncoats else -1
    return _Particle(begin, track.point[:, 1:] / scenario.pixel_size_um, track.label, uncoat)


def _visitor(scenario: Scenario, rng: Generator, motion: int, frames: tuple[int, int]) -> _Particle:
    """Draw a particle with one behaviour and a limited life, which starts at the origin."""
    longest = min(frames[1], scenario.n_frames)
    life = int(rng.integers(min(frames[0], longest), longest + 1))
    begin = int(rng.integers(0, scenario.n_frames - life + 1))
    entry, dt_s = scenario.entry, scenario.frame_interval_s
    diffusion = log_uniform(rng, slow := entry.diffusion[0], min(5 * slow, entry.diffusion_most))
    behaviour = draw_behaviour(rng, motion, diffusion, 2, dt_s, pull=entry.pull)
    path = move(rng, behaviour, life, 2, dt_s) / scenario.pixel_size_um
    return _Particle(begin, path, np.full(life, motion, np.int8))


class _Field:
    """Paths of all particles placed so far, to which particles are added."""

    def __init__(self, scenario: Scenario, rng: Generator):
        self.shape = np.array(scenario.shape)
        self.rng = rng
        self.particles: list[_Particle] = []
        self.points = np.full((0, scenario.n_frames, 2), np.nan)  # pixels; NaN: not in the movie

    def meetings(self, particle: _Particle) -> tuple[int, float]:
        """Frames it spends close to others, and its distance to the nearest when it appears."""
        life = slice(particle.begin, particle.begin + len(particle.point))
        apart = np.linalg.norm(self.points[:, life] - particle.point, axis=2)
        nearest = np.min(apart[:, 0], initial=np.inf, where=~np.isnan(apart[:, 0]))
        return int(np.sum(apart < CONTACT_PX)), float(nearest)

    def add(self, particle: _Particle, starts: Floats, spacing: float) -> bool:
        """Add it at the one of `starts` (n, 2) with the fewest meetings; False if none has room."""
        best: tuple[int, _Particle] | None = None
        for start in starts:
            moved = particle._replace(point=particle.point + start)
            count, nearest = self.meetings(moved)
            if nearest >= spacing and (best is None or count < best[0]):
                best = count, moved
        if best is None:
            return False
        row = np.full((1, *self.points.shape[1:]), np.nan)
        row[0, best[1].begin : best[1].begin + len(best[1].point)] = best[1].point
        self.points = np.concatenate([self.points, row])
        self.particles.append(best[1])
        return True

    def inside(self, particle: _Particle, count: int) -> Floats:
        """Draw `count` starts from which the path stays inside; none if the path is too long."""
        low = MARGIN_PX - particle.point.min(0)
        high = self.shape - 1 - MARGIN_PX - particle.point.max(0)
        if np.any(low > high):
            return np.empty((0, 2))
        return self.rng.uniform(low, high, (count, 2))

    def inward(self, particle: _Particle) -> tuple[_Particle, Floats]:
        """Mirror the path so that it leads in from a border; draw starts on that border."""
        axis, far = int(self.rng.integers(2)), bool(self.rng.integers(2))
        point = particle.point.copy()
        if (point[-1, axis] < 0) != far:
            point[:, axis] *= -1
        starts = self.rng.uniform(MARGIN_PX, self.shape - 1 - MARGIN_PX, (10, 2))
        starts[:, axis] = self.shape[axis] + 1.5 if far else -2.5
        return particle._replace(point=point), starts


def _populate(scenario: Scenario, rng: Generator) -> list[_Particle]:
    """Place all particles: first the viruses that uncoat, then the controls, then the others."""
    space = _Field(scenario, rng)
    number = 0
    for i in range(scenario.viruses):
        for _ in range(50):
            virus = _virus(scenario, rng, number, i < scenario.uncoating)
            number += 1
            if space.add(virus, space.inside(virus, 20), scenario.spacing_px):
                break
        else:
            raise SettingError(
                f"no room for virus {i + 1} of {scenario.viruses} in {scenario.shape} pixels: "
                "request fewer viruses, a larger field or less spacing"
            )
    for i in range(scenario.visitors):
        if i % 2:
            guest = _visitor(scenario, rng, int(rng.integers(len(MOTIONS))), (20, 150))
            space.add(guest, space.inside(guest, 10), 0.0)
        else:
            motion = DIRECTED if i % 4 else NORMAL
            guest, starts = space.inward(_visitor(scenario, rng, motion, (100, 500)))
            space.add(guest, starts, 0.0)
    return space.particles


def _blinks(rng: Generator, n: int, share: float) -> NDArray[np.bool_]:
    """Frames (n,) in which a particle is off: one or two in a row, with at least four between."""
    off = np.zeros(n, np.bool_)
    busy = -1
    for start in np.flatnonzero(rng.random(n) < share / 1.5).tolist():
        if start > busy:
            stay = int(rng.integers(1, 3))
            off[start : start + stay] = True
            busy = start + stay + 3
    return off


def virus_entry(scenario: Scenario) -> SimulatedMovie:
    """Simulate viruses that enter cells, most of which uncoat, with their truth.

    Parameters
    ----------
    scenario : Scenario

    Raises
    ------
    SettingError
        The field has no room for that many viruses.
    """
    rng = np.random.default_rng((scenario.seed, PLACES, PLACES))
    background = uneven(scenario.shape, scenario.background, rng)
    tables = []
    for number, particle in enumerate(_populate(scenario, rng)):
        life = len(particle.point)
        rows = np.zeros(life, TRUTH)
        rows["frame"] = particle.begin + np.arange(life)
        rows["particle"] = number
        rows["y"], rows["x"] = particle.point.T
        rows["visible"] = ~_blinks(rng, life, scenario.blinking)
        total = photons_for_snr(rng.uniform(*scenario.snr), scenario.background, scenario.sigma_px)
        rows["photons"] = total * rows["visible"]
        rows["state"] = particle.state
        rows["uncoated"] = (particle.uncoat >= 0) & (rows["frame"] >= particle.uncoat)
        on = np.all((particle.point >= -0.5) & (particle.point < np.array(scenario.shape) - 0.5), 1)
        tables.append(rows[on])
    truth = np.concatenate([np.zeros(0, TRUTH), *tables])
    truth.sort(order=["frame", "particle"])
    return SimulatedMovie(scenario, truth, background)
