"""`livespt warm-up`: compile ahead of the first run, and report where the time goes."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numba.core import event as compiler

from livespt.stream.compiled import cache_folder
from livespt.tools.runs.compose import compose, load_whole
from livespt.tools.runs.options import Facts, Options
from livespt.tools.tables.analyze import whole_tracks

LONGEST = 8  # modules that the report names
MODELLED = {"motion": "auto", "refine": 4, "lineage": True}


class CompileTimes(compiler.Listener):
    """Listener of the numba compiler: seconds per module, without called functions."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: dict[str, float] = defaultdict(float)
        self.functions = 0
        self._running: list[tuple[str, float]] = []

    def on_start(self, event: Any) -> None:
        """Note that the compilation of a function starts, which interrupts that of its caller."""
        now = self._add()
        module = event.data["dispatcher"].py_func.__module__.removeprefix("livespt.")
        self._running.append((module, now))
        self.functions += 1

    def on_end(self, event: Any) -> None:
        """Note that the compilation of a function ends, and that of its caller continues."""
        now = self._add()
        self._running.pop()
        if self._running:
            self._running[-1] = self._running[-1][0], now

    def _add(self) -> float:
        """Add the time since the last call to the current function; return the current time."""
        now = time.perf_counter()
        if self._running:
            module, since = self._running[-1]
            self.seconds[module] += now - since
        return now


@contextmanager
def compile_times() -> Iterator[CompileTimes]:
    """Measure what numba compiles within the context, without functions from the cache."""
    times = CompileTimes()
    with compiler.install_listener("numba:compile", times):
        yield times


def warm_up(say: Callable[[str], None] = print) -> dict[str, Any]:
    """Compile the functions of runs and tables into the user's cache.

    Parameters
    ----------
    say : callable
        Is called with a line of text for each part that is done.

    Returns
    -------
    dict
        `folder`; total `seconds`; `parts`, seconds of each; `compiled`, number of functions that
        were not in the cache; `compile_s`, time of the compiler, and of the slowest modules.
    """
    parts: dict[str, Callable[[], object]] = {
        "frames": lambda: _compose("yx", Options()),
        "motion models": lambda: _compose(
            "yx", Options(settings={"motion": "auto", "refine": 4, "lineage": True})
        ),
        "stacks": lambda: _compose("zyx", Options()),
        "whole tracks": _whole_tracks,
    }
    took: dict[str, float] = {}
    with compile_times() as times:
        for name, part in parts.items():
            begin = time.perf_counter()
            part()
            took[name] = round(time.perf_counter() - begin, 2)
            say(f"{name}: {took[name]:.1f} s")
    longest = sorted(times.seconds.items(), key=lambda item: -item[1])[:LONGEST]
    return {
        "folder": str(cache_folder()),
        "seconds": round(sum(took.values()), 2),
        "parts": took,
        "compiled": times.functions,
        "compile_s": round(sum(times.seconds.values()), 2),
        "modules": {module: round(seconds, 2) for module, seconds in longest},
    }


def _compose(axes: str, options: Options) -> None:
    """Build the chain of a run, which compiles everything that its frames need."""
    shape = (64, 64) if axes == "yx" else (9, 64, 64)
    compose(Facts("warm-up", axes, shape, "<u2", 0.1, 0.05), options, "live")


def _whole_tracks() -> None:
    """Analyze one short track forwards and backwards."""
    frames = np.arange(8)
    points = np.stack([np.zeros(8), frames, frames % 3], axis=1).astype(np.float64)
    whole_tracks(*load_whole(Options()), frames, np.zeros(8, np.int64), points, 0.1)
