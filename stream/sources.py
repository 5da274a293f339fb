"""Sources: what wraps a stream of frames before the loop takes it.

Frames are graded by how many wait, paced by their interval, taken from a ring until its writer ends
or has died, and brought back after a re-analysis.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Protocol

from livespt.stream.degradation import DETECT_EVERY, Degradation
from livespt.stream.errors import MicroscopeError
from livespt.stream.frame_times import interval_of_frames
from livespt.stream.recovery.reanalysis import Reanalysis
from livespt.stream.timing import Stages
from livespt.stream.types import Frame

FIRST_FRAMES, FIRST_S = 20, 2.0  # frames from which the interval is known; seconds to wait for them


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


def measured(frames: Iterator[Frame], begin: Callable[[float | None], object]) -> Iterator[Frame]:
    """Yield frames; before the first, call `begin` with the interval of the first ones.

    So many are held back that their median step is the interval (`FIRST_FRAMES`), or those of the
    first seconds of a slow camera. Their interval is None if they have no times.
    """
    held: list[Frame] = []
    opened = time.monotonic()
    for frame in frames:
        if not held:
            opened = time.monotonic()
        held.append(frame)
        waited = time.monotonic() - opened
        if len(held) == FIRST_FRAMES or (len(held) > 1 and waited > FIRST_S):
            break
    begin(interval_of_frames(held))
    yield from held
    yield from frames


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
