"""Progress of long work on stderr: a bar on a terminal, elsewhere a line every ten seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Self, TypeVar

from tqdm import tqdm

Item = TypeVar("Item")

LINE_EVERY_S = 10.0  # between two lines where stderr is a file or a pipe


class Progress:
    """Show how far some work is; used in a `with` statement, and called after each step.

    Parameters
    ----------
    title : str
        What is being done: "training".
    total : int, optional
        Steps in all; None: unknown.
    unit : str
        What a step is, in the singular.
    done : int
        Steps that were done before.
    clock : callable
        Returns seconds; the tests pass their own.
    """

    def __init__(
        self,
        title: str,
        total: int | None = None,
        unit: str = "step",
        done: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.title, self.total, self.unit, self.done = title, total, unit, done
        self._first, self._clock = done, clock
        self._begin = clock()
        self._due = self._begin + LINE_EVERY_S
        self._bar = tqdm(total=total, desc=title, unit=unit, initial=done, disable=None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()

    def __call__(self, steps: int = 1) -> None:
        """Count `steps` more as done."""
        self.done += steps
        if not self._bar.disable:
            self._bar.update(steps)
        elif (now := self._clock()) >= self._due:
            self._due = now + LINE_EVERY_S
            print(self.line(now - self._begin), file=sys.stderr, flush=True)

    def line(self, seconds: float) -> str:
        """Return the line that is written `seconds` after the start."""
        rate = (self.done - self._first) / seconds
        of = "" if self.total is None else f" of {self.total}"
        left = ""
        if self.total is not None and rate > 0:
            left = f", {_duration((self.total - self.done) / rate)} left"
        return f"{self.title}: {self.done}{of} {self.unit}s, {rate:.3g} {self.unit}s/s{left}"


def steps(
    items: Iterable[Item], title: str, total: int | None = None, unit: str = "step", done: int = 0
) -> Iterator[Item]:
    """Yield items, and show how many of them are done."""
    with Progress(title, total, unit, done) as passed:
        for item in items:
            yield item
            passed()


def _duration(seconds: float) -> str:
    """Return a duration as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
