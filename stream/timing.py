"""Timing: the stages of an analyzer, each with a clock that adds up how long its calls took."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.stream.types import Follower, Infer


class Timed:
    """A stage that adds up how long its calls took, until `take_ms` returns the sum."""

    def __init__(self, stage: Callable[..., Any], clock: Callable[[], int] = time.perf_counter_ns):
        self.stage = stage
        self._clock = clock
        self._ns = 0

    def __call__(self, *args: Any) -> Any:
        begin = self._clock()
        try:
            return self.stage(*args)
        finally:
            self._ns += self._clock() - begin

    def take_ms(self) -> float:
        """Return the milliseconds since the last call."""
        ns, self._ns = self._ns, 0
        return ns / 1e6


class TimedInfer:
    """An `Infer` that adds up the time of all calls of its followers."""

    def __init__(self, infer: Infer, clock: Callable[[], int] = time.perf_counter_ns):
        self.infer = infer
        self._clock = clock
        self._parts: list[Timed] = []

    def __call__(self) -> Follower:
        follower = TimedFollower(self.infer(), self._clock)
        self._parts += [follower.push, follower.read]
        return follower

    def take_ms(self) -> float:
        """Return the milliseconds since the last call."""
        return sum(part.take_ms() for part in self._parts)


class TimedFollower:
    """A follower whose `push` and `read` are timed."""

    CONSTANTS = ("push", "read")

    def __init__(self, follower: Follower, clock: Callable[[], int]) -> None:
        self.follower = follower
        self.push, self.read = Timed(follower.push, clock), Timed(follower.read, clock)

    def clear(self, slots: NDArray[np.int32]) -> None:
        """Forget the tracks in `slots`."""
        self.follower.clear(slots)


class Stages(NamedTuple):
    """The timed stages inside an analyzer."""

    localize: Timed
    infer: TimedInfer
