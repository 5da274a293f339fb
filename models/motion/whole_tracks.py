"""Whole tracks: networks that read finished tracks forwards and backwards, opened."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.models.motion import features, intensity_features
from livespt.models.motion.follower import usable
from livespt.models.motion.reader import check_intensity
from livespt.models.runtime.session import open_session
from livespt.stream.errors import ModelError

BATCH_TRACKS = 16  # in one run of the network
LENGTH_STEP = 32  # points, to which lengths are rounded up: similar tracks run together


class WholeReader:
    """A network that reads finished tracks both ways.

    Attributes
    ----------
    session : Session
    """

    def __init__(self, path: str | Path, task: str, *, provider: str = "auto", threads: int = 1):
        self.session = open_session(path, provider, threads, task=task)
        try:
            self.outputs = self.session.width("probabilities")
            self.reads_intensity = self.session.width("ahead") > features.COUNT
        except KeyError as error:
            raise ModelError(f"{path} reads no whole tracks: train it again") from error

    @property
    def abstain_below(self) -> float:
        """Likeliest motions below this probability are no answer."""
        return float(self.session.card.get("abstain_below", 0.0))

    def check_intensity(self) -> None:
        """Raise ModelError if this network does not use intensities."""
        check_intensity(self.reads_intensity, self.session.path)

    def __call__(
        self,
        offset: NDArray[np.int64],
        frame: NDArray[np.int64],
        point: NDArray[np.float64],
        pixel_size_um: float | None = None,
        intensity: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float32]:
        """Predict the probabilities (total, outputs) of every point of whole tracks.

        Parameters
        ----------
        offset : (n + 1,)
            Track i is rows `offset[i]:offset[i + 1]`, sorted by frame.
        frame : (total,)
        point : (total, 3)
            z, y, x in pixels. A position that is NaN, infinite or beyond 1e9 pixels is left out of
            its track; its prediction is that for a track without points.
        pixel_size_um : float, optional
            None if it is unknown.
        intensity : (total,), optional
            Intensities, for a network that uses them; NaN, or None for all, if they are unknown.
        """
        if intensity is None:
            intensity = np.full(len(frame), np.nan)
        unknown = 1 / self.outputs if self.outputs > 1 else 0.0
        predictions = np.full((len(frame), self.outputs), unknown, np.float32)
        seen = usable(point)
        rows = np.flatnonzero(seen)
        kept = np.concatenate([[0], np.cumsum(seen)])[offset]
        count = np.diff(kept)
        pixel_sizes_um = np.full(BATCH_TRACKS, pixel_size_um or 0.0)
        for which in _alike(count):
            mine = rows[np.concatenate([np.arange(kept[i], kept[i + 1]) for i in which])]
            own = np.concatenate([[0], np.cumsum(count[which])])
            motion = own, frame[mine], point[mine], pixel_sizes_um
            ahead = features.of_tracks(*motion)
            back = features.of_tracks(*motion, backwards=True)
            if self.reads_intensity:
                intensities = own, intensity[mine]
                ahead = np.concatenate([ahead, intensity_features.of_tracks(*intensities)], axis=1)
                back = np.concatenate(
                    [back, intensity_features.of_tracks(*intensities, backwards=True)], axis=1
                )
            here = _rows(own)
            there = here.row >= 0
            feed = [_laid(ahead, here.row), _laid(back, here.end), here.turn]
            got = self.session.run(*feed)[0]
            predictions[mine[here.row[there]]] = got[there]
        return predictions


class _Rows:
    """Row indices (T, TOGETHER) of the tracks of a batch; -1 is padding."""

    def __init__(self, row: NDArray[Any], end: NDArray[Any], turn: NDArray[Any]) -> None:
        self.row, self.end, self.turn = row, end, turn


def _rows(offset: NDArray[np.int64]) -> _Rows:
    n, first = np.zeros(BATCH_TRACKS, np.int64), np.zeros(BATCH_TRACKS, np.int64)
    n[: len(offset) - 1], first[: len(offset) - 1] = np.diff(offset), offset[:-1]
    k = np.arange(int(-(-n.max() // LENGTH_STEP) * LENGTH_STEP))[:, None]
    there = k < n
    turn = np.where(there, n - 1 - k, 0)
    return _Rows(np.where(there, first + k, -1), np.where(there, first + turn, -1), turn)


def _laid(features: NDArray[np.float32], row: NDArray[np.int64]) -> NDArray[np.float32]:
    """Features (T, n, COUNT) of the rows (T, n), with zeros for padding."""
    return np.where(row[..., None] >= 0, features[row], np.float32(0))


def _alike(count: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Batches of up to TOGETHER tracks of equal padded length, without empty tracks."""
    length = -(-count // LENGTH_STEP)
    for one in np.unique(length[count > 0]):
        group = np.flatnonzero(length == one)
        yield from (group[k : k + BATCH_TRACKS] for k in range(0, len(group), BATCH_TRACKS))
