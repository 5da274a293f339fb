"""Evaluate the whole chain on control movies, in which nothing uncoats.

Every uncoating that is announced there is false, and so is every changepoint far from a true change
of D. Each movie is analyzed like one in a replay, with the models and settings that hold where a
user chooses none, but in memory. The simulated virus entry is analyzed beside them, so that a chain
that announces nothing at all is not taken for a good one.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.acquisition.simulated import TRUTH, Scenario, SimulatedMovie, virus_entry
from livespt.stream.pipeline import run
from livespt.stream.types import ABSTAIN, EVENT, SPOT, STATE, Frame, Stop, Update, joined
from livespt.tools.evaluate.control_movies import CONTROLS, SEED, SHAPE, simulate
from livespt.tools.progress import Progress
from livespt.tools.runs.compose import compose
from livespt.tools.runs.options import Facts, Options
from livespt.tools.score import movie as score
from livespt.tools.score.segmenter import MATCH_FRAMES, rounded

if TYPE_CHECKING:
    from livespt.acquisition.recordings.movie import Movie

WATER = Path("bulk_water", "bulk_water.ome.tif")  # in the folder of real recordings
SHIFTS = range(1, 9)  # of the numbers of particles, for what is found by chance
COUNTS = ("frames", "track_frames", "uncoatings", "changepoints", "abstentions")


class ChainRows(NamedTuple):
    """Everything that the chain made of a movie."""

    frames: int
    spots: NDArray[np.void]  # SPOT
    states: NDArray[np.void]  # STATE, settled ones only: one for each frame of each track
    events: NDArray[np.void]  # EVENT


class _Kept:
    """A sink that keeps all updates in memory."""

    def __init__(self, passed: Progress) -> None:
        self.updates: list[Update] = []
        self._passed = passed

    def __call__(self, frame: Frame, update: Update) -> None:
        self.updates.append(update)
        self._passed()

    def finish(self, update: Update) -> None:
        self.updates.append(update)

    def close(self, stop: Stop) -> None:
        """Do nothing: what it keeps is complete."""


def evaluate(
    frames: int = 300,
    seed: int = 0,
    data: Path | None = None,
    shape: tuple[int, int] = SHAPE,
) -> dict[str, Any]:
    """Analyze every control movie and the simulated virus entry with the shipped models.

    Parameters
    ----------
    frames : int
        Of each movie; 20 or more. The recording may be shorter.
    seed : int
        Of the simulated movies, which no training has used.
    data : Path, optional
        Folder of real recordings; that of spheres in water is analyzed as well.
    shape : (int, int)
        Size of a frame (y, x) of the simulated controls, pixels.

    Returns
    -------
    dict
        "controls" has a row for each, for all simulated ones and for all: frames, track-frames
        (spots of tracks, each of which has one settled state), false uncoatings and changepoints,
        each also per 100 000 track-frames, and the share of settled states that name no motion.
        "D_changes" and "exchanged_names" tell what the receptors and the crossing particles
        underwent; the first changepoint within `MATCH_FRAMES` of a change of D is found there, and
        not false. "virus_entry" compares announced and true uncoatings; "skipped" names the
        recordings that are not there.
    """
    water = data / WATER if data is not None and (data / WATER).exists() else None
    counts: list[dict[str, Any]] = []
    tales: dict[str, Any] = {}  # what the particles underwent
    with Progress("analyzing", (len(CONTROLS) + 1 + bool(water)) * frames, "frame") as passed:
        for name in CONTROLS:
            movie, changes = simulate(name, frames, seed, shape)
            made = analyzed(movie, name, frames, passed)
            counts.append({"control": name} | false_events(movie.truth, changes, made))
            if name == "receptors":
                tales["D_changes"] = _found_changes(movie.truth, changes, made.events)
            if name == "exchanged names":
                tales["exchanged_names"] = score.exchanges(movie.truth, made.spots)
        if water:
            counts.append({"control": WATER.parent.name} | _of_recording(water, frames, passed))
        entry = virus_entry(Scenario(seed=SEED + 100 * seed + len(CONTROLS), n_frames=frames))
        made = analyzed(entry, "virus entry", frames, passed)
    totals = [_total("all simulated", counts[: len(CONTROLS)]), _total("all", counts)]
    figures: dict[str, Any] = rounded(
        {
            "controls": [_row(one) for one in [*counts, *totals]],
            **tales,
            "virus_entry": {"frames": made.frames, "track_frames": len(made.states)}
            | score.uncoating(entry.truth, made.events, shape=entry.shape),
            "skipped": [] if water else [WATER.parent.name],
        }
    )
    return figures


def _of_recording(path: Path, frames: int, passed: Progress) -> dict[str, int]:
    """Count what is false in a recording in which nothing uncoats, as `false_events` does."""
    from livespt.acquisition.recordings.open_movie import open_movie

    made = analyzed(open_movie(path), path.name, frames, passed)
    return false_events(np.zeros(0, TRUTH), np.empty((0, 2), np.int64), made)


def analyzed(
    movie: SimulatedMovie | Movie, source: str, frames: int, passed: Progress
) -> ChainRows:
    """Analyze the first frames of a movie as `livespt replay` does by default.

    Parameters
    ----------
    movie : SimulatedMovie or Movie
    source : str
        What it is, for error messages.
    frames : int
        Greatest number of frames.
    passed : Progress
        Is told of every frame.

    Raises
    ------
    ModelError
        A shipped model is missing or refuses these frames.
    """
    facts = Facts(
        source=source,
        axes=movie.axes,
        shape=movie.shape,
        dtype=np.dtype(movie.dtype).str,
        pixel_size_um=movie.pixel_size_um,
        frame_interval_s=movie.frame_interval_s,
    )
    chain = compose(facts, Options(), "replay")
    kept = _Kept(passed)
    stop = run(islice(movie, frames), chain.analyzer, [kept], chain.start, chain.stages)
    states = joined(STATE, (update.states for update in kept.updates))
    return ChainRows(
        stop.analyzed,
        joined(SPOT, (update.spots for update in kept.updates)),
        states[states["settled"] > 0],
        joined(EVENT, (update.events for update in kept.updates)),
    )


def false_events(
    truth: NDArray[np.void], changes: NDArray[np.int64], made: ChainRows
) -> dict[str, int]:
    """Count what is false where nothing uncoats: the numbers `COUNTS`.

    Parameters
    ----------
    truth : simulate.TRUTH (n,)
        Empty if it is unknown.
    changes : int array (k, 2)
        Particles, and the first frames in which they move in another way.
    made : ChainRows
    """
    found = score.changepoints(truth, changes, made.events, within=MATCH_FRAMES)
    return {
        "frames": made.frames,
        "track_frames": len(made.states),
        "uncoatings": int(score.uncoating(truth, made.events)["false"] or 0),
        "changepoints": found["false"],
        "abstentions": int(np.count_nonzero(made.states["state"] == ABSTAIN)),
    }


def _found_changes(
    truth: NDArray[np.void], changes: NDArray[np.int64], events: NDArray[np.void]
) -> dict[str, float]:
    """Count the changes of D near which a changepoint was announced, and as many by chance.

    By chance: as if each particle had the changes of another one, the mean over `SHIFTS`.
    """
    found = score.changepoints(truth, changes, events, within=MATCH_FRAMES)
    particles = int(truth["particle"].max()) + 1
    chance = []
    for shift in SHIFTS:
        moved = np.stack([(changes[:, 0] + shift) % particles, changes[:, 1]], axis=1)
        chance.append(score.changepoints(truth, moved, events, within=MATCH_FRAMES)["found"])
    return {
        "true": found["true"],
        "found": found["found"],
        "by_chance": float(np.mean(chance)),
    }


def _total(name: str, counts: list[dict[str, Any]]) -> dict[str, Any]:
    return {"control": name} | {key: sum(one[key] for one in counts) for key in COUNTS}


def _row(counts: dict[str, Any]) -> dict[str, Any]:
    """Row of the table: counts, and what they are per 100 000 track-frames."""
    at = max(counts["track_frames"], 1)
    return {
        "control": counts["control"],
        "frames": counts["frames"],
        "track_frames": counts["track_frames"],
        "uncoatings": counts["uncoatings"],
        "uncoatings_per_1e5": 1e5 * counts["uncoatings"] / at,
        "changepoints": counts["changepoints"],
        "changepoints_per_1e5": 1e5 * counts["changepoints"] / at,
        "abstained": counts["abstentions"] / at,
    }
