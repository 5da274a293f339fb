"""Segmenter: how every point of a window moves, by the network `train segmenter` made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.models.session import Session, open_session, shipped
from livespt.stream.errors import ModelError
from livespt.stream.types import MOTIONS

BATCH = 256  # windows a run: bounds memory, and a window's answer must not depend on it
FARTHEST = 1e9  # pixels; beyond, squares no longer fit a float32


class Reader:
    """A motion network: windows (n, N, 5) in, probabilities (n, N, k) out.

    Attributes
    ----------
    window : int
        N, points of a window that the live path keeps; any other N is read as well.
    lag : int
        Frames of look-ahead after which a reading is settled.
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
        for key in ("window", "lag"):
            if not isinstance(self.card.get(key), int):
                raise ModelError(f"the card of {self.path} has no '{key}': train the model again")
        self.window: int = self.card["window"]
        self.lag: int = self.card["lag"]

    def read(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities (n, N, k) of windows (n, N, 5): dt, z, y, x, valid; padding is undefined.

        A window that holds NaN, infinity or a place beyond 1e9 pixels says nothing: all motions
        equally likely, nothing uncoated.
        """
        n, length, columns = windows.shape
        if columns != 5:
            raise ModelError(f"{self.path.name} reads windows of 5 columns, got {columns}")
        answer = np.empty((n, length, self.outputs), np.float32)
        if not n or not length:
            return answer
        near = np.abs(windows) < FARTHEST  # NaN compares as False
        bad = ~np.all(near, axis=(1, 2))
        if bad.any():
            windows = np.where(bad[:, None, None], np.float32(0), windows)
        for some in range(0, n, BATCH):
            answer[some : some + BATCH] = self.session.run(windows[some : some + BATCH])[0]
        answer[bad] = 1 / len(MOTIONS) if self.outputs == len(MOTIONS) else 0
        return answer


class Segmenter(Reader):
    """Probabilities (n, N, 4) of the motions, in the order of `types.MOTIONS`."""

    task, default, outputs = "segment", "segmenter", len(MOTIONS)

    @property
    def abstain_below(self) -> float:
        """Likeliest motions below this probability are no answer."""
        return float(self.card["abstain_below"])

    def __call__(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities (n, N, 4) of windows (n, N, 5)."""
        return self.read(windows)
