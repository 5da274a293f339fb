"""The uncoating classifier, and all networks that classify tracks, combined for the analyzer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from livespt.models.fingerprint import Units
from livespt.models.follow import Following
from livespt.models.rolling import Tasked
from livespt.models.segment import Reader, Segmenter
from livespt.models.task import Task
from livespt.stream.errors import ModelError, SettingError


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


class Infer:
    """The networks that classify tracks. A call returns a follower for one channel and position.

    A prediction has five numbers: the probabilities of four motions and of uncoating. A sixth is
    the probability of a user's classifier, if there is one. Both networks must have been trained
    for the same lag.

    Attributes
    ----------
    pixel_size_um : float or None
        None if it is unknown.
    units : Units or None
        Units for a user's classifier, set by `measure`.
    """

    def __init__(
        self, segmenter: Segmenter, uncoating: Uncoating, task: Task | None = None
    ) -> None:
        if segmenter.lag != uncoating.lag:
            raise ModelError(
                f"{segmenter.path.name} has lag {segmenter.lag} and {uncoating.path.name} has "
                f"lag {uncoating.lag}: use two models trained for the same lag"
            )
        self.segmenter = segmenter
        self.uncoating = uncoating
        self.lag = segmenter.lag
        self.farthest = min(segmenter.farthest, uncoating.farthest)
        self.abstain_below = segmenter.abstain_below
        self.decision = uncoating.decision
        self.task = task
        self.pixel_size_um: float | None = None
        self.units: Units | None = None
        if task is not None:
            task.check_segmenter(segmenter.session.sha256)
            if not task.window:
                raise ModelError(
                    f"{task.path} was trained on whole tracks and cannot classify growing tracks: "
                    "train it with --window"
                )

    def measure(
        self, pixel_size_um: float | None, frame_interval_s: float | None, ndim: int
    ) -> None:
        """Set pixel size, frame interval and number of dimensions.

        Raises
        ------
        SettingError
            A user's classifier needs the pixel size or the interval, and it is unknown.
        ModelError
            The classifier was trained with others.
        """
        self.pixel_size_um = pixel_size_um
        if self.task is None:
            return
        if pixel_size_um is None or frame_interval_s is None:
            missing = "pixel size" if pixel_size_um is None else "frame interval"
            raise SettingError(
                f"{self.task.path.name} measures in um and s, but the {missing} is unknown: give "
                "--pixel-size-um and --frame-interval-s"
            )
        self.units = self.task.units(pixel_size_um, frame_interval_s, ndim)

    def __call__(self) -> Following | Tasked:
        """Return a follower that knows no tracks yet."""
        networks = self.segmenter.network, self.uncoating.network
        following = Following(networks, self.farthest, self.pixel_size_um)
        if self.task is None or self.units is None:
            return following
        return Tasked(following, self.task, self.units)


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
