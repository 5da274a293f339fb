"""The uncoating classifier, and all networks that classify tracks, combined for the analyzer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from livespt.models.motion.reader import Reader
from livespt.stream.errors import ModelError


class Uncoating(Reader):
    """Network that predicts the probability that the virus has uncoated before a point.

    Attributes
    ----------
    decision : dict
        Rule for announcing an uncoating: `threshold` of the probability, `hold` (settled points
        in a row above it) and `lag`.
    """

    task, default, outputs = "uncoating", "uncoating", 1

    def __init__(
        self, path: str | Path | None = None, *, provider: str = "auto", threads: int = 1
    ) -> None:
        super().__init__(path, provider=provider, threads=threads)
        self.decision: dict[str, Any] = _decision(self.card, self.path)


def _decision(card: dict[str, Any], path: Path) -> dict[str, Any]:
    """Rule of the card; a threshold below 0.5 or a hold of 0 would announce false uncoatings."""
    found = card.get("decision")
    rule = found if isinstance(found, dict) else {}
    threshold, hold = rule.get("threshold"), rule.get("hold")
    good = isinstance(threshold, float) and 0.5 <= threshold < 1
    if not (good and isinstance(hold, int) and hold >= 1):
        raise ModelError(
            f"the card of {path} has threshold {threshold} and hold {hold}: the threshold must be "
            "from 0.5 to below 1 and the hold a whole number from 1, train the model again"
        )
    return dict(rule)
