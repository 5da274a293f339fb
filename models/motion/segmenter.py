"""Open a trained segmenter, and predict with it how a track moves at every point."""

from __future__ import annotations

import math

from livespt.models.motion.reader import Reader
from livespt.stream.errors import ModelError
from livespt.stream.types import MOTIONS


class Segmenter(Reader):
    """Network that predicts the probabilities of the four motions, in the order of `MOTIONS`."""

    task, default, outputs = "segment", "segmenter", len(MOTIONS)

    @property
    def abstain_below(self) -> float:
        """Likeliest motions below this probability are no answer."""
        return float(self.card["abstain_below"])

    @property
    def learned(self) -> dict[str, tuple[float, float]]:
        """Range of each feature of the tracks that it learned from; empty: its card has none.

        `livespt train ranges` computes it. An end that is null in the card is infinite.
        """
        try:
            return {
                name: (
                    -math.inf if low is None else float(low),
                    math.inf if high is None else float(high),
                )
                for name, (low, high) in self.card.get("tracks", {"ranges": {}})["ranges"].items()
            }
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ModelError(
                f"the card of {self.path} does not say what tracks it learned from ({error}): "
                "write it again with `livespt train ranges`"
            ) from error
