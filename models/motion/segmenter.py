"""Open a trained segmenter, and predict with it how a track moves at every point."""

from __future__ import annotations

from livespt.models.motion.reader import Reader
from livespt.stream.types import MOTIONS


class Segmenter(Reader):
    """Network that predicts the probabilities of the four motions, in the order of `MOTIONS`."""

    task, default, outputs = "segment", "segmenter", len(MOTIONS)

    @property
    def abstain_below(self) -> float:
        """Likeliest motions below this probability are no answer."""
        return float(self.card["abstain_below"])
