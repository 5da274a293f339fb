"""Classify: how likely a virus has uncoated, and both motion readings in one call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.models.segment import Reader, Segmenter
from livespt.stream.errors import ModelError


class Uncoating(Reader):
    """Probability (n, N) that a point was reached after uncoating.

    Attributes
    ----------
    decision : dict
        When to announce: `threshold` of the probability, `hold` settled points, `lag`.
    """

    task, default, outputs = "uncoating", "uncoating", 1

    def __init__(
        self, path: str | Path | None = None, *, provider: str = "auto", threads: int = 1
    ) -> None:
        super().__init__(path, provider=provider, threads=threads)
        self.decision: dict[str, Any] = _decision(self.card, self.path)

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


def _decision(card: dict[str, Any], path: Path) -> dict[str, Any]:
    """The card's decision; below 0.5 or without a hold, what is no uncoating would be announced."""
    found = card.get("decision")
    rule = found if isinstance(found, dict) else {}
    threshold, hold = rule.get("threshold"), rule.get("hold")
    good = isinstance(threshold, float) and 0.5 <= threshold < 1
    if not (good and isinstance(hold, int) and hold >= 1):
        raise ModelError(
            f"the card of {path} announces at threshold {threshold}, hold {hold}: the threshold "
            "must lie from 0.5 to below 1 and the hold be a whole number from 1, train it again"
        )
    return dict(rule)
