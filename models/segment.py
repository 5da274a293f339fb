"""Open a trained segmenter, and predict with it how a track moves at every point."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.models import brightness, traits
from livespt.models.follow import Network, usable
from livespt.models.session import Session, open_session, shipped
from livespt.stream.errors import ModelError
from livespt.stream.types import MOTIONS

TOGETHER = 16  # tracks in one batch of the network for whole tracks
STRIDE = 32  # points to whose multiple lengths are padded, so that similar ones share a batch


class Reader:
    """A network that follows tracks, with the settings of its card.

    Attributes
    ----------
    network : Network
    lag : int
        Look-ahead after which a prediction is settled, frames.
    farthest : int
        Greatest age of a point that it can predict, in points before the newest.
    card : dict
    path : Path
    provider : str
    """

    task, default, outputs = "", "", 1

    def __init__(
        self, path: str | Path | None = None, *, provider: str = "auto", threads: int = 1
    ) -> None:
        path = shipped(self.default) if path is None else path
        self.session: Session = open_session(path, provider, threads, task=self.task)
        self.card: dict[str, Any] = self.session.card
        self.path: Path = self.session.path
        self.provider: str = self.session.provider
        for key in ("lag", "farthest"):
            if not isinstance(self.card.get(key), int):
                raise ModelError(f"the card of {self.path} has no '{key}': train the model again")
        self.lag: int = self.card["lag"]
        self.farthest: int = self.card["farthest"]
        if not 0 <= self.lag <= self.farthest:
            raise ModelError(
                f"the card of {self.path} settles states after {self.lag} frames, but the network "
                f"predicts at most {self.farthest} points back: train the model again"
            )
        self.network = Network(self.session)
        if self.network.outputs != self.outputs:
            raise ModelError(
                f"{self.path} has {self.network.outputs} outputs where {self.outputs} are "
                "needed: name another model"
            )

    def check_intensity(self) -> None:
        """Raise ModelError if this network does not use intensities."""
        _check_intensity(self.network.reads_intensity, self.path)


class Segmenter(Reader):
    """Network that predicts the probabilities of the four motions, in the order of `MOTIONS`."""

    task, default, outputs = "segment", "segmenter", len(MOTIONS)

    @property
    def abstain_below(self) -> float:
        """Likeliest motions below this probability are no answer."""
        return float(self.card["abstain_below"])


class Whole:
    """A bidirectional network for finished tracks.

    Attributes
    ----------
    session : Session
    """

    def __init__(self, path: str | Path, task: str, *, provider: str = "auto", threads: int = 1):
        self.session = open_session(path, provider, threads, task=task)
        try:
            self.outputs = self.session.width("probabilities")
            self.reads_intensity = self.session.width("ahead") > traits.COUNT
        except KeyError as error:
            raise ModelError(f"{path} is not a network for whole tracks: train it again") from error

    @property
    def abstain_below(self) -> float:
        """Likeliest motions below this probability are no answer."""
        return float(self.session.card.get("abstain_below", 0.0))

    def check_intensity(self) -> None:
        """Raise ModelError if this network does not use intensities."""
        _check_intensity(self.reads_intensity, self.session.path)

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
        answer = np.full((len(frame), self.outputs), unknown, np.float32)
        seen = usable(point)
        rows = np.flatnonzero(seen)
        kept = np.concatenate([[0], np.cumsum(seen)])[offset]
        count = np.diff(kept)
        um = np.full(TOGETHER, pixel_size_um or 0.0)
        for which in _alike(count):
            mine = rows[np.concatenate([np.arange(kept[i], kept[i + 1]) for i in which])]
            own = np.concatenate([[0], np.cumsum(count[which])])
            told = own, frame[mine], point[mine], um
            ahead = traits.of_tracks(*told)
            back = traits.of_tracks(*told, backwards=True)
            if self.reads_intensity:
                lit = own, intensity[mine]
                ahead = np.concatenate([ahead, brightness.of_tracks(*lit)], axis=1)
                back = np.concatenate([back, brightness.of_tracks(*lit, backwards=True)], axis=1)
            here = _rows(own)
            there = here.row >= 0
            feed = [_laid(ahead, here.row), _laid(back, here.end), here.turn]
            got = self.session.run(*feed)[0]
            answer[mine[here.row[there]]] = got[there]
        return answer


def _check_intensity(reads: bool, path: Path) -> None:
    if not reads:
        raise ModelError(
            f"{path} does not use intensities: leave out --read-intensity, or train it again"
        )


class _Rows:
    """Row indices (T, TOGETHER) of the tracks of a batch; -1 is padding."""

    def __init__(self, row: NDArray[Any], end: NDArray[Any], turn: NDArray[Any]) -> None:
        self.row, self.end, self.turn = row, end, turn


def _rows(offset: NDArray[np.int64]) -> _Rows:
    n, first = np.zeros(TOGETHER, np.int64), np.zeros(TOGETHER, np.int64)
    n[: len(offset) - 1], first[: len(offset) - 1] = np.diff(offset), offset[:-1]
    k = np.arange(int(-(-n.max() // STRIDE) * STRIDE))[:, None]
    there = k < n
    turn = np.where(there, n - 1 - k, 0)
    return _Rows(np.where(there, first + k, -1), np.where(there, first + turn, -1), turn)


def _laid(told: NDArray[np.float32], row: NDArray[np.int64]) -> NDArray[np.float32]:
    """Features (T, n, COUNT) of the rows (T, n), with zeros for padding."""
    return np.where(row[..., None] >= 0, told[row], np.float32(0))


def _alike(count: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Batches of up to TOGETHER tracks of equal padded length, without empty tracks."""
    length = -(-count // STRIDE)
    for one in np.unique(length[count > 0]):
        group = np.flatnonzero(length == one)
        yield from (group[k : k + TOGETHER] for k in range(0, len(group), TOGETHER))
