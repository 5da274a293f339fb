"""Sources: what wraps a stream of frames before the loop takes it.

Frames are graded by how many wait, paced by their interval, taken from a ring until its writer ends
or has died, and brought back after a re-analysis.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Protocol

from livespt.stream.degradation import DETECT_EVERY, Degradation
from livespt.stream.errors import MicroscopeError
from livespt.stream.frame_times import interval_of
from livespt.stream.recovery.reanalysis import Reanalysis
from livespt.stream.ring.reader import RingReader
from livespt.stream.timing import Stages
from livespt.stream.types import Frame

FIRST_FRAMES, FIRST_S = 20, 2.0  # frames from which the interval is known; seconds to wait for them
FIRST_POLL_S = 0.005


class Waiting(Protocol):
    """Frames, and how many more wait; `RingReader`."""

    @property
    def behind(self) -> int:
        """Frames that wait to be read."""

    def __iter__(self) -> Iterator[Frame]: ...


def graded(waiting: Waiting, degradation: Degradation) -> Iterator[Frame]:
    """Yield the frames to analyze, each with its level."""
    for frame in waiting:
        level = degradation(waiting.behind)
        if level < 3 or frame.number % DETECT_EVERY == 0:
            yield frame._replace(level=level)


def first_interval(reader: RingReader) -> float | None:
    """Return the interval of the first frames in a ring, which stay there to be read.

    It waits for so many that their median step is the interval (`FIRST_FRAMES`), but no longer than
    `FIRST_S` after the first: a camera may wait for what is found in it. None: too few frames came
    until then, or they have no times.
    """
    began: float | None = None
    while True:
        over = reader.over
        rows = reader.waiting(FIRST_FRAMES)
        now = time.monotonic()
        if len(rows) and began is None:
            began = now
        if over or len(rows) == FIRST_FRAMES or (began is not None and now > began + FIRST_S):
            return interval_of(rows)
        time.sleep(FIRST_POLL_S)


def paced(frames: Iterator[Frame], interval_s: float) -> Iterator[Frame]:
    """Yield each frame at its time, and late frames at once."""
    begin = time.monotonic()
    for frame in frames:
        wait = begin + frame.t * interval_s - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        yield frame


def handed_over(frames: Iterable[Frame]) -> Iterator[Frame]:
    """Yield the frames of a ring until its writer ends it, or has died and all frames are read."""
    with suppress(MicroscopeError):
        yield from frames


def after_reanalysis(
    stages: Stages, reanalysis: Reanalysis, frames: Iterator[Frame]
) -> Iterator[Frame]:
    """Restore the state by re-analysis, then yield the new frames, whose timings start at 0."""
    for frame in reanalysis(frames):
        stages.localize.take_ms()
        stages.infer.take_ms()
        yield frame
        yield from frames
        return
