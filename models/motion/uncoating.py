"""Uncoating: the network that follows tracks and says how likely a virus has uncoated, opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from livespt.models.motion.reader import Reader
from livespt.stream.errors import ModelError


class Uncoating(Reader):
    """Probability that a point was reached after uncoating.

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
