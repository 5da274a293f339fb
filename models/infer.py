"""Infer: all networks that read tracks, as the analyzer calls them."""

from __future__ import annotations

from livespt.models.fingerprint.classifier import TrackClassifier
from livespt.models.fingerprint.fingerprint import Units
from livespt.models.fingerprint.live_classifier import WithClassifier
from livespt.models.motion.follower import TrackFollower
from livespt.models.motion.segmenter import Segmenter
from livespt.models.motion.uncoating import Uncoating
from livespt.stream.errors import ModelError, SettingError


class Infer:
    """The networks that classify tracks. A call returns a follower for one channel and position.

    A prediction has five numbers: the probabilities of four motions and of uncoating. A sixth is
    the probability of a user's classifier, if there is one. Both networks must have been trained
    for the same lag. Without an uncoating network (None) the fifth number is NaN.

    Attributes
    ----------
    pixel_size_um : float or None
        None if it is unknown.
    units : Units or None
        Units for a user's classifier, set by `measure`.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        uncoating: Uncoating | None,
        task: TrackClassifier | None = None,
    ) -> None:
        if uncoating is not None and segmenter.lag != uncoating.lag:
            raise ModelError(
                f"{segmenter.path.name} has lag {segmenter.lag} and {uncoating.path.name} "
                f"has lag {uncoating.lag}: use two models trained alike"
            )
        self.segmenter = segmenter
        self.uncoating = uncoating
        self.lag = segmenter.lag
        self.networks = [one.network for one in (segmenter, uncoating) if one is not None]
        self.farthest = min(one.farthest for one in (segmenter, uncoating) if one is not None)
        self.abstain_below = segmenter.abstain_below
        self.decision = uncoating.decision if uncoating is not None else None
        self.task = task
        self.pixel_size_um: float | None = None
        self.units: Units | None = None
        if task is not None:
            task.check_segmenter(segmenter.session.sha256)
            if not task.window:
                raise ModelError(
                    f"{task.path} was trained on whole tracks and cannot follow them as they grow: "
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
                f"{self.task.path.name} measures in um and s and the {missing} is not known: give "
                "--pixel-size-um and --frame-interval-s"
            )
        self.units = self.task.units(pixel_size_um, frame_interval_s, ndim)

    def __call__(self) -> TrackFollower | WithClassifier:
        """Return a follower that knows no tracks yet."""
        blank = 1 if self.uncoating is None else 0
        following = TrackFollower(self.networks, self.farthest, self.pixel_size_um, blank=blank)
        if self.task is None or self.units is None:
            return following
        return WithClassifier(following, self.task, self.units)
