"""Fingerprints of the tracks in a table, the input of a user's classifier.

The motion states are computed as in a live run. From them and the positions come the forty features
of each whole track, or of the window that ends at each of its points. Training and `analyze` both
use this module, so that a classifier gets the same input as in training.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.models.fingerprint import fingerprint
from livespt.models.fingerprint.fingerprint import Units
from livespt.stream.types import MOTIONS
from livespt.tools.tables.export import UNSURE

if TYPE_CHECKING:
    from livespt.models.fingerprint.classifier import TrackClassifier


Ints = NDArray[np.int64]


class Described(NamedTuple):
    """Features of whole tracks, or of windows, one for each point."""

    features: NDArray[np.float32]  # (n, fingerprint.COUNT)
    size: Ints  # (n,) number of points of each
    since: Ints  # (n,) number of points of its track up to its end
    row: Ints  # (n,) row of the table at which each ends
    of: Ints  # (rows,) index of the features that belong to each row of the table


def describe(
    frames: Ints,
    particles: Ints,
    points: NDArray[np.float64],
    states: NDArray[np.void],
    units: Units,
    window: int,
    lag: int = 0,
) -> Described:
    """Features of the tracks of a table.

    Parameters
    ----------
    frames, particles : (rows,)
    points : (rows, 3)
        z, y, x in pixels.
    states : (rows,)
        STATE rows from `readings` of analyze.py.
    window : int
        Points of a window; 0: whole tracks.
    lag : int
        Frames after a row that are known when its class is decided. A row gets the window that has
        it in its middle, or as near to the middle as this look-ahead allows.
    """
    order = np.lexsort((frames, particles))
    share = np.stack([states[f"p_{motion}"][order] for motion in MOTIONS], axis=1)
    first = np.flatnonzero(np.diff(particles[order], prepend=-1))
    offset = np.append(first, len(order))
    arguments = offset, points[order], frames[order], share, units
    size = np.diff(offset)
    of = np.empty(len(order), np.int64)
    if window:
        features = fingerprint.rolling(*arguments, window)
        since = np.arange(len(order)) - np.repeat(first, size) + 1
        at = frames[order] - frames.min(initial=0)
        at += np.repeat(np.arange(len(size)), size) * (at.max(initial=0) + lag + 1)
        known = np.searchsorted(at, at + lag, side="right") - 1
        of[order] = np.minimum(known, np.arange(len(order)) + window // 2)
        return Described(features, np.minimum(since, window), since, order, of)
    of[order] = np.repeat(np.arange(len(size)), size)
    return Described(fingerprint.of_tracks(*arguments), size, size, order[offset[1:] - 1], of)


def task_columns(task: TrackClassifier) -> tuple[str, ...]:
    """Names of the columns of `class_columns`."""
    return (*(f"p_{name}" for name in task.classes), "task")


def class_columns(task: TrackClassifier, described: Described) -> dict[str, NDArray[Any]]:
    """Columns predicted by `task`, one value per table row: p_CLASS of each class, and `task`."""
    probability = task(described.features, described.size)
    name = np.array([*task.classes, UNSURE])[task.decide(probability)]  # -1: the last
    columns = [*probability[described.of].T, name[described.of]]
    return dict(zip(task_columns(task), columns, strict=True))
