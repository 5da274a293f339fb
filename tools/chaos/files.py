"""Chaos of files: runs, models, cards and movies with damage or malice in them, opened one by one.

Every trial changes one file of a good store or model and opens it in a child process, which a
watchdog stops after five seconds of work. What may come of it is one of our errors, or the truth:
an exception of another kind, a crash, a hang, or a table or frame that is not what was stored is a
failure, and reported with the number of the trial, which repeats it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from livespt.tools.chaos.damage import damaged
from livespt.tools.chaos.good_files import SIGN, prepare

HANG_S = 5.0  # of processor time; where others take that, PATIENCE times as long
PATIENCE = 12
LOAD_S = 300.0  # for a child to start: models are loaded, numba compiles
ROOM_BYTES = 3 << 30  # of address space beyond what a child has at its start
SHARE = {"stores": 1.0, "models": 1.0, "tiff": 0.1, "zarr": 0.1}  # of the trials asked for


class Result(NamedTuple):
    """What a trial came to."""

    outcome: str  # "refused", "read", "foreign", "wrong", "unnoticed", "crash" or "hang"
    text: str  # of a failure
    grown_mb: float  # peak memory of the child, above that at its start


def run(times: int, folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Try `times` stores and models each, a tenth of it TIFF and Zarr movies each.

    Parameters
    ----------
    times : int
    folder : Path
        For what is tried; must exist.
    say : callable
        Takes lines meant for a person.

    Returns
    -------
    dict
        For each kind: `trials`, how many were `refused` (with one of our errors), `read` (what was
        returned is the truth), and the failures: `foreign` exceptions, `wrong` data, `unnoticed` by
        verify, `crashes`, `hangs`; `slowest_ms`, `grown_mb`. And `held`: there was no failure.
    """
    found: dict[str, Any] = {}
    for kind, share in SHARE.items():
        found[kind] = _try(kind, max(1, round(times * share)), folder, say)
        say(f"{kind}: " + ", ".join(f"{name} {value}" for name, value in found[kind].items()))
    bad = ("foreign", "wrong", "unnoticed", "crashes", "hangs")
    found["failures"] = sum(found[kind][name] for kind in SHARE for name in bad)
    found["held"] = found["failures"] == 0
    return found


def _try(kind: str, trials: int, folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    counts: Counter[str] = Counter()
    slowest = grown = 0.0
    child = None
    for number in range(trials):
        child = child or _Child(kind, folder)
        began = time.perf_counter()
        result = child.ask(number)
        slowest = max(slowest, time.perf_counter() - began)
        counts[result.outcome] += 1
        grown = max(grown, result.grown_mb)
        if result.outcome not in ("refused", "read"):
            say(f"{kind} {number}: {result.outcome}: {result.text}")
        if result.outcome in ("crash", "hang"):
            child.end()
            child = None
    if child:
        child.end()
    names = ("refused", "read", "foreign", "wrong", "unnoticed")
    return (
        {"trials": trials}
        | {name: counts[name] for name in names}
        | {"crashes": counts["crash"], "hangs": counts["hang"]}
        | {"slowest_ms": round(slowest * 1e3), "grown_mb": round(grown)}
    )


class _Child:
    """A process that tries what it is asked to, and can be given up."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.folder = folder / kind
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(
            target=_work, name=f"livespt-{kind}", args=(theirs, kind, self.folder), daemon=True
        )
        self.process.start()
        theirs.close()
        if not self.pipe.poll(LOAD_S) or self.pipe.recv() != "ready":
            raise RuntimeError(f"the child for {kind} did not start")

    def ask(self, number: int) -> Result:
        spent_before = _spent_s(self.process.pid)
        self.pipe.send(number)
        for _ in range(PATIENCE):
            if self.pipe.poll(HANG_S) or _spent_s(self.process.pid) - spent_before > HANG_S:
                break
        if not self.pipe.poll(0):
            return Result("hang", f"nothing for {HANG_S:.0f} s", 0)
        try:
            return Result(*self.pipe.recv())
        except EOFError:
            self.process.join(HANG_S)
            return Result("crash", f"exit code {self.process.exitcode}", 0)

    def end(self) -> None:
        self.pipe.close()  # its last question: none
        self.process.join(1)
        self.process.kill()
        self.process.join()
        shutil.rmtree(self.folder, ignore_errors=True)


def _work(pipe: Connection, kind: str, folder: Path) -> None:
    """Child process: prepare good files, then damage, open and restore one for each number."""
    files = prepare(kind, folder)
    for file in files:
        outcome, text = file.open(False)  # whatever compiles or loads, once
        if outcome != "read":
            raise RuntimeError(f"{file.path} is not read as it is: {text}")
    before = _bounded()
    pipe.send("ready")
    while True:
        try:
            number = pipe.recv()
        except EOFError:
            return
        file = files[number % len(files)]
        with damaged(file.path, number, SIGN[kind]) as done:
            outcome, text = file.open(done.forged)
            if outcome in ("read", "refused") and done.visible and not file.noticed():
                outcome = "unnoticed"
        pipe.send((outcome, f"{file.path.name}: {done.what}: {text}", _peak_mb() - before))


def _spent_s(pid: int | None) -> float:
    """Processor time that a process has spent; wall-clock time where it is not known."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError, ValueError):
        return time.monotonic()


def _bounded() -> float:
    """Bound the memory of this process; peak so far, MB."""
    with contextlib.suppress(ImportError, OSError, ValueError):  # elsewhere than on Linux
        import resource

        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + ROOM_BYTES, size + ROOM_BYTES))
    return _peak_mb()


def _peak_mb() -> float:
    with contextlib.suppress(ImportError):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return 0.0
