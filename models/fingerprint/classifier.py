"""Classifier: one of what a user labelled (identity, place, ...), from fingerprints of tracks.

The model is an `.onnx` file with its card (task "classifier"), as `train classifier` makes it from
the forty numbers of models/fingerprint. All that is learned, scales and temperature included, lies
in the file: features go in as they are, probabilities come out.
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

UNSURE = -1  # what `decide` answers below `abstain_below`
SAME = 0.01  # share by which the frame interval may be off: cameras round it


class TrackClassifier:
    """A classifier of tracks or of windows of them.

    Attributes
    ----------
    classes : tuple of str
        Names, in the order of the probabilities.
    positive : int
        Index of the class to tell of where there is room for one probability.
    window : int
        Points that a question is about, the newest last; 0: the whole track.
    shortest : int
        Points; what is shorter gets `prior`.
    prior : (K,) float32
        Shares of the classes in training: the answer of one who knows nothing.
    abstain_below : float
        Largest probabilities below it are no answer.
    segmenter : str
        SHA-256 of the segmenter whose readings the features are made with.
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
                f"the card or graph of {self.path} is no task classifier's ({error!r}): train it "
                "again"
            ) from error
        if width != (COUNT, len(self.classes)):
            raise ModelError(
                f"{self.path} makes {width[1]} probabilities of {width[0]} features, where its "
                f"card has {len(self.classes)} classes and a fingerprint {COUNT}: train it again"
            )

    def units(self, pixel_size_um: float, frame_interval_s: float, ndim: int) -> Units:
        """Units of fingerprints that this model reads, for tracks of such pixels and frames.

        Raises
        ------
        ModelError
            Trained in another number of dimensions, or at another frame interval: steps, and what
            lies in them, would mean something else.
        """
        mine = self._units
        if ndim != mine.ndim:
            raise ModelError(
                f"{self.path} was trained on tracks in {mine.ndim} dimensions, these have {ndim}: "
                "train it on such tracks"
            )
        if not math.isclose(frame_interval_s, mine.frame_interval_s, rel_tol=SAME):
            raise ModelError(
                f"{self.path} was trained at {mine.frame_interval_s:g} s a frame, these tracks "
                f"have {frame_interval_s:g} s: train it on such tracks"
            )
        if not (pixel_size_um > 0 and math.isfinite(pixel_size_um)):
            raise SettingError(f"pixel_size_um must be above 0, not {pixel_size_um}")
        return mine._replace(pixel_size_um=pixel_size_um)

    def check_segmenter(self, sha256: str) -> None:
        """Refuse readings of another segmenter than that of training.

        Raises
        ------
        ModelError
        """
        if sha256 != self.segmenter:
            raise ModelError(
                f"{self.path} was trained with readings of another segmenter (SHA-256 "
                f"{self.segmenter[:12]}..., here {sha256[:12]}...): name that one with "
                "--segmenter, or train the classifier again"
            )

    def __call__(
        self, features: NDArray[np.float32], count: NDArray[np.int64] | None = None
    ) -> NDArray[np.float32]:
        """Probabilities (n, K) of the classes.

        A row depends on nothing but its features: batches are padded to multiples of 16 rows, as
        in models/follow, so that the same kernels run however many there are.

        Parameters
        ----------
        features : (n, 40)
            As of models/fingerprint, in the units that `units` gives.
        count : (n,), optional
            Points behind each row. Below `shortest`, and where a feature is not finite, the
            answer is `prior`.
        """
        if features.ndim != 2 or features.shape[1] != COUNT:
            raise InputError(f"features must be (n, {COUNT}), not {features.shape}")
        features = np.ascontiguousarray(features, np.float32)
        answer = np.tile(self.prior, (len(features), 1))
        good = np.isfinite(features).all(axis=1)
        if count is not None:
            good &= count >= self.shortest
        rows = np.flatnonzero(good)
        for some in (rows[low : low + BATCH] for low in range(0, len(rows), BATCH)):
            answer[some] = self.session.run(padded(features[some]))[0][: len(some)]
        return answer

    def decide(self, probabilities: NDArray[np.float32]) -> NDArray[np.int64]:
        """Index of the likeliest class of each row (n, K); UNSURE below `abstain_below`."""
        best = probabilities.argmax(axis=1)
        return np.where(probabilities.max(axis=1) >= self.abstain_below, best, UNSURE)
