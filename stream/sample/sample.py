"""Sample: what one channel and position shows of the sample, frame by frame.

It counts and compares; it changes no spot and no link. Two of its answers go back into the
analysis: how far the sample has drifted (`drift.offset`), where the run is to be corrected for it,
and whether its tracks are unlike those that the networks learned from (`is_unlike`). Both depend on
the frames so far alone, so that a replay decides as the live run did.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.stream.sample import advice
from livespt.stream.sample.advice import Notice
from livespt.stream.sample.drift import JUDGED_EVERY, Drift
from livespt.stream.sample.known import Known
from livespt.stream.sample.likeness import EVERY_FRAMES, Likeness, Outlier
from livespt.stream.sample.shared_noise import SharedNoise
from livespt.stream.sample.survey import Survey
from livespt.stream.settings import Settings
from livespt.stream.windows import Windows

FIRST_FRAMES = 50  # after which a sample is judged,
FIRST_ENDED, LEAST_FRAMES = 200, 20  # or after so many tracks that ended, in so many frames


class Sample:
    """The sample as one channel and position shows it.

    Parameters
    ----------
    known : Known
    settings : Settings

    Attributes
    ----------
    survey : Survey
    drift : Drift
    noise : SharedNoise
    is_unlike : bool
        Whether its tracks, or its spots, are unlike those of the training.
    """

    CONSTANTS = ("known", "settings")

    def __init__(self, known: Known, settings: Settings) -> None:
        self.known, self.settings = known, settings
        self.survey, self.drift, self.noise = Survey(), Drift(), SharedNoise()
        size = known.pixel_size_um or 0.0
        self.likeness = Likeness(known.learned, (size * settings.z_scale, size, size))
        self.is_unlike = False
        self._is_judged = False

    @property
    def offset(self) -> tuple[float, float] | None:
        """How far the sample has drifted, y and x, pixels; None: nobody looks."""
        if self.settings.drift == "off":
            return None
        return float(self.drift.offset[0]), float(self.drift.offset[1])

    def shift(self) -> NDArray[np.float64] | None:
        """What to take off positions (3,) z, y, x before motion is read, pixels; None: nothing."""
        if self.settings.drift != "correct":
            return None
        return np.concatenate([[0.0], self.drift.offset])

    def add(
        self,
        t: int,
        slots: NDArray[np.int32],
        points: NDArray[np.float64],
        ended: NDArray[np.int64],
        windows: Windows,
    ) -> None:
        """Take what was linked in one frame, before `windows` takes it.

        Parameters
        ----------
        t : int
            Time point.
        slots : (n,)
        points : (n, 3)
            z, y, x, pixels.
        ended : (m,)
            Numbers of points of the tracks that ended.
        windows : Windows
        """
        windows.reserve(slots)
        self.survey.add_ended(ended)
        old = windows.count[slots] > 0
        mine = slots[old]
        passed = t - windows.last_frame(mine)
        velocity = (points[old] - windows.last_point(mine))[:, 1:] / passed[:, None]
        self.survey.add_steps(velocity)
        if self.settings.drift != "off":
            self.drift.add(t, velocity)

    def judged(
        self, spots: NDArray[np.void], image: NDArray[Any], windows: Windows
    ) -> list[Notice]:
        """Take the spots of that frame, judge, and return what is worth telling, told or not.

        `image` is that of the frame; `windows` have taken the frame.
        """
        survey = self.survey
        survey.add_spots(spots, image.shape)
        self.noise.add(image)
        if survey.frames == 1:
            return list(advice.of_units(self.known))
        if survey.frames % JUDGED_EVERY:
            return []
        if self.settings.drift != "off":
            self.drift.judge(windows)
        told = list(advice.of_drift(self.drift, self.settings.drift))
        if survey.frames % EVERY_FRAMES == 0:
            self.likeness.add(windows)
            told += self._judge_tracks(windows)
        enough = int(survey.ended.sum()) >= FIRST_ENDED and survey.frames >= LEAST_FRAMES
        if not self._is_judged and (enough or survey.frames >= FIRST_FRAMES):
            self._is_judged = True
            told += self._first_impression(windows)
        return told

    def conclusion(self, windows: Windows) -> list[Notice]:
        """Return what is worth telling at the end of a run, told or not."""
        return [
            *self._first_impression(windows),
            *advice.of_drift(self.drift, self.settings.drift),
            *advice.of_tracks(self._outliers(windows), self.known),
        ]

    def _first_impression(self, windows: Windows) -> Iterator[Notice]:
        s = self.settings
        yield from advice.of_spots(self.survey, self.known)
        yield from advice.of_noise(self.noise.correlation)
        lifetime = self.survey.lifetime(windows.count)
        yield from advice.of_links(self.survey, lifetime, s.search_range, s.memory)

    def _judge_tracks(self, windows: Windows) -> Iterator[Notice]:
        outliers = self._outliers(windows)
        self.is_unlike = bool(outliers) or advice.are_foreign(self.survey, self.known)
        return advice.of_tracks(outliers, self.known)

    def _outliers(self, windows: Windows) -> list[Outlier]:
        survey = self.survey
        old = survey.frames >= FIRST_FRAMES and survey.spots >= advice.MIN_SPOTS
        return self.likeness.outliers(survey.lifetime(windows.count) if old else math.nan)
