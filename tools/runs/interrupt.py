"""Interrupt: Ctrl-C as a clean end of a run."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from typing import Self

from livespt.stream.types import Frame


class Interrupt:
    """Ctrl-C as a clean end: the current frame is finished, and the run is closed."""

    def __init__(self) -> None:
        self.seen = False

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *exc: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _note(self, number: int, frame: object) -> None:
        if self.seen:  # asked twice
            raise KeyboardInterrupt
        self.seen = True

    def until(self, frames: Iterator[Frame], passed: Callable[[int], object]) -> Iterator[Frame]:
        """Yield frames until interrupted; call `passed` after each."""
        for frame in frames:
            if self.seen:
                return
            yield frame
            passed(1)

    def ending(self) -> tuple[str, str]:
        """Status and reason of `Stop`."""
        return ("aborted", "interrupted") if self.seen else ("complete", "")
