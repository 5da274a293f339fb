"""Segmenter: the network that follows tracks and says how each one moves, opened."""

from __future__ import annotations

from livespt.models.motion.reader import Reader
from livespt.stream.types import MOTIONS


class Segmenter(Reader):
    """Probabilities of the four motions, in the order of `types.MOTIONS`."""

    task, default, outputs = "segment", "segmenter", len(MOTIONS)

    @property
    def abstain_below(self) -> float:
        """Likeliest motions below this probability are no answer."""
        return float(self.card["abstain_below"])
