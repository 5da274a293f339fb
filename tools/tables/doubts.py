"""Doubts about a table of a user: its unit, pixel size, interval, and the kind of its tracks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from livespt.stream.sample.advice import of_units
from livespt.stream.sample.known import Known, LearnedRange
from livespt.stream.sample.likeness import MEANING, MIN_POINTS, POINTS, Likeness, track_features

FIELD, STEP = 60.0, 0.2  # greatest coordinate and median step that micrometres would have
FEWEST = 20  # steps and descriptions of tracks, below which nothing is said
CAMERA_PX = 100.0, 10_000.0  # sides of fields that cameras have
LEAST_STEP_PX = 0.2  # of particles that are followed to see them move


def of_unit(
    frames: NDArray[np.int64],
    particles: NDArray[np.int64],
    points: NDArray[np.float64],
    pixel_size_um: float | None,
) -> Iterator[str]:
    """Doubt that positions which are taken for pixels are micrometres.

    They would be if all lie in a field too small for a camera, if particles hardly move by what a
    pixel is, and if both are as usual once they are divided by the pixel size.

    Parameters
    ----------
    frames, particles : (n,)
    points : (n, 3)
        z, y, x, as they are in the table.
    pixel_size_um : float, optional
        None: not known, and 0.1 is assumed for the doubt.
    """
    order = np.lexsort((frames, particles))
    follows = (np.diff(particles[order]) == 0) & (np.diff(frames[order]) == 1)
    steps = np.linalg.norm(np.diff(points[order, 1:], axis=0)[follows], axis=1)
    if len(steps) < FEWEST or points[:, 1:].min() < 0:
        return
    side, step, size = float(points[:, 1:].max()), float(np.median(steps)), pixel_size_um or 0.1
    like_um = side < FIELD and step < STEP
    if like_um and CAMERA_PX[0] <= side / size <= CAMERA_PX[1] and step / size >= LEAST_STEP_PX:
        yield (
            f"positions are taken for pixels, but they end at {side:.3g} and move by {step:.2g} a "
            "frame, as micrometres would: if they are, say so with --columns unit=um"
        )


def of_scale(pixel_size_um: float | None, frame_interval_s: float | None) -> Iterator[str]:
    """Doubts about pixel size and interval."""
    known = Known(pixel_size_um=pixel_size_um, frame_interval_s=frame_interval_s)
    yield from (text for _, text in of_units(known))


def of_tracks(
    particles: NDArray[np.int64],
    frames: NDArray[np.int64],
    points_um: NDArray[np.float64],
    learned: dict[str, tuple[float, float]],
    model: str,
) -> Iterator[str]:
    """Doubt that the tracks of a table are like those that a motion model learned from.

    Parameters
    ----------
    particles, frames : (n,)
    points_um : (n, 3)
        z, y, x, um.
    learned : dict
        Range of each feature, as `Segmenter.learned` has it.
    model : str
        Its name.
    """
    order = np.lexsort((frames, particles))
    _, first, count = np.unique(particles[order], return_index=True, return_counts=True)
    long = count >= MIN_POINTS
    if np.count_nonzero(long) < FEWEST:
        return
    end = (first + count)[long]
    at = np.maximum(end[:, None] - POINTS + np.arange(POINTS), 0)
    rows = track_features(points_um[order][at], np.minimum(count[long], POINTS))
    ranges = tuple(LearnedRange(name, *ends) for name, ends in learned.items())
    likeness = Likeness(ranges, (1.0, 1.0, 1.0))
    for one in likeness.compared(rows, float("nan")):
        yield (
            f"these tracks are unlike those that {model} learned from: "
            f"{MEANING[one.learned.feature]} {one.value:.3g}, learned {one.learned.low:.3g} to "
            f"{one.learned.high:.3g}: its answers may be wrong. Check pixel size and unit"
        )
