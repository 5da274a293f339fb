"""Notices about frames for a person: each is given once, and not for every frame."""

from __future__ import annotations

import math

from livespt.stream import degradation
from livespt.stream.frame_quality import CLOCK_BACKWARDS, FLAT, NAMES, NOT_FINITE, SATURATED, STUCK
from livespt.stream.frame_times import PAUSE_S, PAUSE_STEPS
from livespt.stream.types import Frame, Update

MESSAGES = {
    NOT_FINITE: "has pixels that are NaN or infinite: they count as background",
    SATURATED: "is saturated: intensities and positions of bright spots are off",
    FLAT: "has the same value everywhere: shutter closed, or no camera",
    STUCK: "has pixels that stick out of their neighbours: hot or dead ones",
    CLOCK_BACKWARDS: "is earlier than the one before by its clock: frames are counted instead",
}
REPEAT_AFTER_FRAMES = 1000  # frames without its cause, after which a notice is given again


class QualityNotices:
    """Notices about unusual frames: each kind once, and again after it was absent for long."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}  # kind -> number of the last frame that had it
        self._time_s, self._step_s = math.nan, math.nan

    def __call__(self, update: Update) -> list[tuple[str, str]]:
        """Kind and text of each notice about an analyzed frame, and about the sample so far."""
        notices = list(update.notices)
        for bit, message in MESSAGES.items():
            if update.quality & bit and self._is_new(NAMES[bit], update.number):
                notices.append((NAMES[bit], f"frame {update.t} {message}"))
        step = update.time_s - self._time_s
        if step > max(PAUSE_S, PAUSE_STEPS * self._step_s):
            notices.append(("pause", f"{step:.1f} s passed before frame {update.t}"))
        elif step > 0:
            self._step_s = step
        self._time_s = update.time_s
        return notices

    def left_out(self, frame: Frame, why: str) -> list[tuple[str, str]]:
        """Of a frame that is stored and not analyzed."""
        if not self._is_new("order", frame.number):
            return []
        return [("order", f"frame {frame.t} is not analyzed, nor others like it: {why}")]

    def _is_new(self, kind: str, number: int) -> bool:
        before = self._seen.get(kind)
        self._seen[kind] = number
        return before is None or abs(number - before) > REPEAT_AFTER_FRAMES


class Notices:
    """Notices about each update: lost exposures, unusual frames, degradation, dense regions."""

    def __init__(self) -> None:
        self._is_dense, self._level = False, 0
        self._quality = QualityNotices()
        self.left_out = self._quality.left_out

    def __call__(self, update: Update) -> list[tuple[str, str]]:
        """Kind and text of each notice."""
        found = self._quality(update)
        if update.level != self._level:
            message = degradation.MESSAGES[min(update.level, len(degradation.MESSAGES) - 1)]
            found.append(("level", f"level {update.level} from frame {update.t} on: {message}"))
        if update.lost > (degradation.DETECT_EVERY - 1 if 3 in (self._level, update.level) else 0):
            text = f"{update.lost} exposures before frame {update.t} were not analyzed"
            found.append(("lost", text))
        if update.degraded and not self._is_dense:
            text = (
                f"{update.degraded} of {len(update.spots)} spots of frame {update.t} lie too dense "
                "to be linked at the least cost; the frames table counts them from here on"
            )
            found.append(("crowded", text))
        self._is_dense, self._level = update.degraded > 0, update.level
        return found
