"""A classifier of tracks that a user has labelled, from their fingerprints.

The model is an `.onnx` file with its card (task "classifier"), made by `train classifier`. The file
contains everything that is learned, including scales and temperature: its input are unscaled
features, its output are probabilities.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.models.fingerprint.definitions import COUNT
from livespt.models.fingerprint.fingerprint import Units
from livespt.models.motion.follower import BATCH, padded
from livespt.models.runtime.session import Session, open_session
from livespt.stream.errors import InputError, ModelError, SettingError

UNSURE = -1  # result of `decide` below `abstain_below`
INTERVAL_TOLERANCE = 0.01  # relative, because cameras round it


class TrackClassifier:
    """A classifier of tracks or of windows of them.

    Attributes
    ----------
    classes : tuple of str
        Names, in the order of the probabilities.
    positive : int
        Index of the class whose probability is reported where there is room for one.
    window : int
        Number of last points that are classified; 0: the whole track.
    shortest : int
        Least number of points; shorter tracks get `prior`.
    prior : (K,) float32
        Shares of the classes in training, the probabilities without any information.
    abstain_below : float
        If the largest probability is below this, the class is undecided.
    segmenter : str
        SHA-256 of the segmenter from whose probabilities the features were made.
    card : dict
    path : Path
    """

    def __init__(self, path: str | Path, *, provider: str = "auto", threads: int = 1) -> None:
        self.session: Session = open_session(path, provider, threads, task="classifier")
        self.sha256: str = self.session.sha256
        self.card: dict[str, Any] = self.session.card
        self.path: Path = self.session.path
        self.provider: str = self.session.provider
        try:
            self.classes = tuple(str(name) for name in self.card["classes"])
            self.positive = self.classes.index(self.card["positive"])
            self.window = int(self.card["window"])
            self.shortest = int(self.card["shortest"])
            self.abstain_below = float(self.card["abstain_below"])
            self.segmenter = str(self.card["segmenter"])
            self.prior = np.array([self.card["prior"][name] for name in self.classes], np.float32)
            self._units = Units(**self.card["units"])
            width = self.session.width("features"), self.session.width("probabilities")
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"the card or graph of {self.path} is not that of a classifier ({error!r}): train "
                "it again"
            ) from error
        if width != (COUNT, len(self.classes)):
            raise ModelError(
                f"{self.path} computes {width[1]} probabilities from {width[0]} features, but its "
                f"card has {len(self.classes)} classes and a fingerprint {COUNT} features: train "
                "it again"
            )

    def units(self, pixel_size_um: float, frame_interval_s: float, ndim: int) -> Units:
        """Units of the fingerprints for this model, for tracks with these pixels and frames.

        Raises
        ------
        ModelError
            The model was trained in another number of dimensions, or at another frame interval, at
            which features of steps have other values.
        """
        mine = self._units
        if ndim != mine.ndim:
            raise ModelError(
                f"{self.path} was trained on tracks in {mine.ndim} dimensions, these have {ndim}: "
                "train it on such tracks"
            )
        if not math.isclose(frame_interval_s, mine.frame_interval_s, rel_tol=INTERVAL_TOLERANCE):
            raise ModelError(
                f"{self.path} was trained at {mine.frame_interval_s:g} s per frame, these tracks "
                f"have {frame_interval_s:g} s: train it on tracks with this interval"
            )
        if not (pixel_size_um > 0 and math.isfinite(pixel_size_um)):
            raise SettingError(f"pixel_size_um must be above 0, not {pixel_size_um}")
        return mine._replace(pixel_size_um=pixel_size_um)

    def check_segmenter(self, sha256: str) -> None:
        """Check that the segmenter is the one used in training.

        Raises
        ------
        ModelError
            It is another one.
        """
        if sha256 != self.segmenter:
            raise ModelError(
                f"{self.path} was trained with another segmenter (SHA-256 "
                f"{self.segmenter[:12]}..., here {sha256[:12]}...): name that one with "
                "--segmenter, or train the classifier again"
            )

    def __call__(
        self, features: NDArray[np.float32], count: NDArray[np.int64] | None = None
    ) -> NDArray[np.float32]:
        """Probabilities (n, K) of the classes.

        A row of the result depends only on the features of this row: batches are padded to a
        multiple of 16 rows, so that the same kernels run for any number of rows.

        Parameters
        ----------
        features : (n, 40)
            Fingerprints, in the units given by `units`.
        count : (n,), optional
            Number of points of each row. Below `shortest`, or if a feature is not finite, the
            result is `prior`.
        """
        if features.ndim != 2 or features.shape[1] != COUNT:
            raise InputError(f"features must be (n, {COUNT}), not {features.shape}")
        features = np.ascontiguousarray(features, np.float32)
        probability = np.tile(self.prior, (len(features), 1))
        good = np.isfinite(features).all(axis=1)
        if count is not None:
            good &= count >= self.shortest
        rows = np.flatnonzero(good)
        for some in (rows[low : low + BATCH] for low in range(0, len(rows), BATCH)):
            probability[some] = self.session.run(padded(features[some]))[0][: len(some)]
        return probability

    def decide(self, probabilities: NDArray[np.float32]) -> NDArray[np.int64]:
        """Index of the most probable class of each row (n, K); UNSURE below `abstain_below`."""
        best = probabilities.argmax(axis=1)
        return np.where(probabilities.max(axis=1) >= self.abstain_below, best, UNSURE)
