"""Classify: how likely a virus has uncoated, and both motion readings in one call."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.models.segment import Reader, Segmenter
from livespt.stream.errors import ModelError


class Uncoating(Reader):
    """Probability (n, N) that a point was reached after uncoating."""

    task, default, outputs = "uncoating", "uncoating", 1

    @property
    def decision(self) -> dict[str, Any]:
        """When to announce: `threshold` of the probability, `hold` settled points, `lag`."""
        return dict(self.card["decision"])

    def __call__(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probability (n, N) of windows (n, N, 5)."""
        return self.read(windows)[:, :, 0]


class Infer:
    """Windows (n, N, 5) to readings (n, N, 5): four motions and uncoated, of every point.

    Both networks must have been made for the same window and lag.
    """

    def __init__(self, segmenter: Segmenter, uncoating: Uncoating) -> None:
        for key in ("window", "lag"):
            ours, theirs = getattr(segmenter, key), getattr(uncoating, key)
            if ours != theirs:
                raise ModelError(
                    f"{segmenter.path.name} has {key} {ours} and {uncoating.path.name} {theirs}: "
                    "use two models trained alike"
                )
        self.segmenter = segmenter
        self.uncoating = uncoating
        self.window = segmenter.window
        self.lag = segmenter.lag
        self.abstain_below = segmenter.abstain_below
        self.decision = uncoating.decision

    def __call__(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Readings (n, N, 5) of windows (n, N, 5)."""
        return np.concatenate([self.segmenter.read(windows), self.uncoating.read(windows)], axis=2)

    def warm_up(self) -> None:
        """Run both once."""
        self.segmenter.warm_up()
        self.uncoating.warm_up()
