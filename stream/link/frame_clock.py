"""Frame clock: the time of frames in mean intervals between them, which motion models count in."""

from __future__ import annotations

import math


class FrameClock:
    """Time of the last frame, from the seconds of frames where they are known.

    Attributes
    ----------
    now : float
        Of the last frame, in mean intervals since the first.
    time_s : float
        Its seconds; NaN: unknown.
    interval_s : float
        Running mean of the interval; NaN: none known yet.
    """

    def __init__(self) -> None:
        self.now, self.time_s, self.interval_s = 0.0, math.nan, math.nan

    def tick(self, frame: int, before: int | None, time_s: float | None) -> float:
        """Return the time of `frame`, which follows `before` (None: it is the first one).

        Where the seconds of a frame are unknown or do not rise, numbers of frames count.
        """
        if before is None:
            self.now = 0.0
        else:
            frames, seconds = frame - before, math.nan
            if time_s is not None:
                seconds = time_s - self.time_s
            if seconds > 0:
                each = seconds / frames
                if not self.interval_s > 0:
                    self.interval_s = each
                known = self.interval_s
                self.now += seconds / known
                self.interval_s += 0.1 * (min(max(each, 0.5 * known), 2.0 * known) - known)
            else:
                self.now += frames
        self.time_s = math.nan if time_s is None else float(time_s)
        return self.now
