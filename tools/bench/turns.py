"""Turns: the processes that are compared take turns in small chunks, so that drift cancels.

All sides of a comparison run as processes of their own and stay alive; one works while the others
wait in a read. The order turns round from pair to pair (A B, B A, ...): a machine that grows slower
does no side a favour. And as the place of code and data in memory makes a process faster or slower
by some percent for as long as it lives, all are started again after every few pairs.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from livespt.stream.errors import LiveSptError, SettingError

TAIL = 20  # frames at the end whose results are compared, too


class Unable(LiveSptError):
    """A side cannot do the job; the message says why."""


class Side(NamedTuple):
    """Who takes part."""

    name: str
    command: tuple[str, ...]  # that a job is appended to
    job: str = ""  # its own name for the job, if it has one
    frames: int = 0  # of a chunk; 0: as planned


class TurnPlan(NamedTuple):
    """How much is measured."""

    pairs: int
    frames: int  # of a chunk
    warm_up: int  # frames before the first chunk, of every process
    launches: int = 1  # processes of each side, one after the other


class Series(NamedTuple):
    """What one side did."""

    cpu_ms: list[float]  # of a frame, one value a pair
    order: list[int]  # place in each pair, 0: first
    digests: list[dict[str, str]]  # of each launch: of the results, by field
    facts: dict[str, Any]  # where its code lies, versions


class BuildWorker:
    """One process that does a job as ordered; a context manager that ends it.

    Raises
    ------
    Unable
        It says that it cannot do the job.
    SettingError
        It does not start.
    LiveSptError
        It ended where an answer was due; the message holds its last line.
    """

    def __init__(self, side: Side, job: dict[str, Any]) -> None:
        self.side = side
        self._errors = tempfile.TemporaryFile()
        try:
            self._process = subprocess.Popen(
                [*side.command, json.dumps({**job, "job": side.job or job["job"]})],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
            )
        except OSError as error:
            self._errors.close()
            reason = error.strerror or str(error)
            raise SettingError(
                f"{side.command[0]} does not start ({reason}): give the Python of an environment"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def tell(self, **order: Any) -> None:
        """Send an order."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise self._ended() from error

    def hear(self) -> dict[str, Any]:
        """Wait for an answer."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise self._ended()
        answer: dict[str, Any] = json.loads(line)
        if "skipped" in answer:
            raise Unable(str(answer["skipped"]))
        return answer

    def ask(self, **order: Any) -> dict[str, Any]:
        """Send an order, wait for the answer."""
        self.tell(**order)
        return self.hear()

    def _ended(self) -> LiveSptError:
        code = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "no message")
        return LiveSptError(f"{self.side.name} ended with code {code}: {last}")


def take_turns(
    sides: Sequence[Side],
    job: dict[str, Any],
    folder: Path,
    plan: TurnPlan,
    passed: Callable[[int], object] = lambda pairs: None,
) -> list[Series]:
    """Let the sides do the same job in turns; what each did, in their order.

    Parameters
    ----------
    folder
        Where each process gets a folder of its own, gone with it.
    passed
        Told of each pair that is done.

    Raises
    ------
    Unable, LiveSptError
        As `BuildWorker`.
    """
    series = [Series([], [], [], {}) for _ in sides]
    edges = [plan.pairs * launch // plan.launches for launch in range(plan.launches + 1)]
    for launch, (first, end) in enumerate(pairwise(edges)):
        with ExitStack() as stack:
            started = {i: _start(stack, sides[i], job, folder) for i in turn(len(sides), launch)}
            workers = [started[i] for i in range(len(sides))]
            for worker, one in zip(workers, series, strict=True):
                one.facts.update(worker.hear()["facts"])
            _all(workers, frames=plan.warm_up, keep=True)
            for pair in range(first, end):
                for place, i in enumerate(turn(len(sides), pair)):
                    frames = sides[i].frames or plan.frames
                    answer = workers[i].ask(frames=frames)
                    series[i].cpu_ms.append(1e3 * answer["cpu_s"] / frames)
                    series[i].order.append(place)
                passed(1)
            _all(workers, frames=min(TAIL, plan.frames), keep=True)
            for one, answer in zip(series, _all(workers, end=True), strict=True):
                one.digests.append(answer["digests"])
    return series


def turn(sides: int, at: int) -> range:
    """Who works when in turn number `at`: forwards and backwards, by turns."""
    return range(sides) if at % 2 == 0 else range(sides - 1, -1, -1)


def _start(stack: ExitStack, side: Side, job: dict[str, Any], folder: Path) -> BuildWorker:
    """Start a process in a folder of its own."""
    own = stack.enter_context(tempfile.TemporaryDirectory(dir=folder))
    return stack.enter_context(BuildWorker(side, {**job, "folder": own}))


def _all(workers: Sequence[BuildWorker], **order: Any) -> list[dict[str, Any]]:
    """Send all the same order at once; their answers. Nothing is measured meanwhile."""
    for worker in workers:
        worker.tell(**order)
    return [worker.hear() for worker in workers]


def ratios(ours: Series, theirs: Series) -> list[float]:
    """CPU of a frame in units of the other's, pair by pair."""
    return [a / b for a, b in zip(ours.cpu_ms, theirs.cpu_ms, strict=True)]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and greatest."""
    return {
        "median": float(np.median(values)),
        "least": float(min(values)),
        "greatest": float(max(values)),
    }


def differing(ours: Series, theirs: Series) -> list[str]:
    """Fields that both have and whose results differ; all fields, where none is common."""
    unlike: dict[str, None] = {}
    for mine, others in zip(ours.digests, theirs.digests, strict=True):
        common = mine.keys() & others.keys()
        if not common:
            return sorted(mine.keys() | others.keys())
        unlike |= dict.fromkeys(sorted(name for name in common if mine[name] != others[name]))
    return list(unlike)
