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
    """What reads tracks: called once for each channel and position, it returns their memory.

    A reading is five numbers: the probabilities of four motions, and of having uncoated; a sixth
    where a user's classifier is asked too. Both networks must have been made for the same lag.

    Attributes
    ----------
    pixel_size_um : float or None
        None: nobody knows.
    units : Units or None
        Of a user's classifier, once `measure` was told them.
    """

    def __init__(
        self, segmenter: Segmenter, uncoating: Uncoating, task: TrackClassifier | None = None
    ) -> None:
        if segmenter.lag != uncoating.lag:
            raise ModelError(
                f"{segmenter.path.name} has lag {segmenter.lag} and {uncoating.path.name} "
                f"{uncoating.lag}: use two models trained alike"
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
                    f"{task.path} was trained on whole tracks and cannot follow them as they grow: "
                    "train it with --window"
                )

    def measure(
        self, pixel_size_um: float | None, frame_interval_s: float | None, ndim: int
    ) -> None:
        """Take note of the sizes of pixels and frames.

        Raises
        ------
        SettingError
            A user's classifier needs them and they are not known.
        ModelError
            It was trained at others.
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
        """Memory of tracks, empty."""
        networks = self.segmenter.network, self.uncoating.network
        following = TrackFollower(networks, self.farthest, self.pixel_size_um)
        if self.task is None or self.units is None:
            return following
        return WithClassifier(following, self.task, self.units)
