"""Crash log: the stacks of all threads of a process that dies of a fatal signal, beside its run.

A crash inside compiled code or a library (SIGSEGV, SIGABRT, "double free") leaves no Python
traceback. `faulthandler` writes one from within the signal's handler, into a file that must be open
by then. The file is named `RUN.zarr.PROCESS.crash.txt`; a process that ends otherwise removes it.
"""

from __future__ import annotations

import faulthandler
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def crash_log_path(run: Path, process: str) -> Path:
    """Return the file that holds the stacks of a process of `run`, if that has crashed."""
    return run.with_name(f"{run.name}.{process}.crash.txt")


@contextmanager
def crash_log(run: Path, process: str) -> Iterator[None]:
    """Write the stacks of all threads beside `run` where this process crashes in the context.

    What an earlier process of that name left there is kept. Where the file cannot be opened (a disk
    that is full or read-only), the stacks go to stderr.

    Parameters
    ----------
    run : Path
    process : str
        What this process does for the run: "capture", "recorder", "analyzer", "replay", ...
    """
    path = crash_log_path(run, process)
    try:
        file = path.open("ab")
    except OSError:
        crashes_to_stderr()
        yield
        return
    try:
        with file:
            faulthandler.enable(file)
            try:
                yield
            finally:
                crashes_to_stderr()
    finally:
        _remove_empty(path)


def remove_empty_logs(run: Path) -> None:
    """Remove the logs of processes that were killed; no process of `run` may be alive."""
    for path in run.parent.glob(crash_log_path(run, "*").name):
        _remove_empty(path)


def crashes_to_stderr() -> None:
    """Write the stacks of a crash to stderr, as far as this process has one."""
    with suppress(AttributeError, OSError, RuntimeError, ValueError):
        faulthandler.enable(sys.__stderr__ or sys.stderr)


def _remove_empty(path: Path) -> None:
    with suppress(OSError):  # gone already, or held by another process
        if not path.stat().st_size:
            path.unlink()
