"""Degradation: what a live analysis gives up, step by step, when it falls behind the camera.

    level 1   images are published every `IMAGE_EVERY`-th frame only; no table changes
    level 2   and provisional states are reported every `STATE_EVERY`-th frame only; settled
              states are all reported
    level 3   and only every `DETECT_EVERY`-th frame is analyzed; the others count as skipped, like
              those that a reader of the ring skips

Beyond that the ring skips to its newest frame (`RingReader`, `max_behind`). Raw frames are the
recorder's and are never given up for speed.

The level is the loop's decision and depends on clocks, so it is stored with each frame and a replay
takes it from there: the same bytes again.
"""

from __future__ import annotations

IMAGE_EVERY, STATE_EVERY, DETECT_EVERY = 4, 4, 2  # frames, by their numbers
LEVEL_BACKLOGS = (8, 16, 32)  # waiting frames from which the level is 1, 2, 3
RECOVER_AFTER = 32  # frames in a row with less than half of that waiting, until a level is left
MESSAGES = (
    "everything again",
    f"images are published every {IMAGE_EVERY}th frame",
    f"provisional states are reported every {STATE_EVERY}th frame",
    f"every {DETECT_EVERY}nd frame is analyzed",
)


class Degradation:
    """Level for each frame, from how many wait behind it.

    It is climbed at once and left a step at a time, so that it does not swing.

    Attributes
    ----------
    level : int
        0: nothing is given up.
    """

    def __init__(self) -> None:
        self.level = 0
        self._few_waiting = 0  # frames in a row with few waiting

    def __call__(self, behind: int) -> int:
        """The level of the next frame."""
        wanted = sum(behind >= limit for limit in LEVEL_BACKLOGS)
        if wanted >= self.level:
            self.level, self._few_waiting = wanted, 0
        elif 2 * behind >= LEVEL_BACKLOGS[self.level - 1]:
            self._few_waiting = 0
        else:
            self._few_waiting += 1
            if self._few_waiting >= RECOVER_AFTER:
                self.level, self._few_waiting = self.level - 1, 0
        return self.level
