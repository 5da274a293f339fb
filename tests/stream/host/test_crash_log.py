"""Crash log: stacks of a process that crashes, no file where none does."""

from __future__ import annotations

import faulthandler
import os
import signal
import subprocess
import sys
from multiprocessing.connection import deliver_challenge
from pathlib import Path

import pytest

from livespt.stream.errors import LiveSptError
from livespt.stream.host.crash_log import crash_log, crash_log_path, remove_empty_logs
from livespt.tools.runs.supervisor import Worker

CRASH = """
import faulthandler, sys
from pathlib import Path
from livespt.stream.host.crash_log import crash_log

def crash_in_context(run, how):
    with crash_log(run, "analyzer"):
        getattr(faulthandler, how)()

crash_in_context(Path(sys.argv[1]), sys.argv[2])
"""


@pytest.mark.parametrize("how", ["_sigsegv", "_sigabrt"])
def test_a_crash_leaves_the_stacks_beside_the_run(tmp_path: Path, how: str) -> None:
    run = tmp_path / "run.zarr"
    done = subprocess.run([sys.executable, "-c", CRASH, str(run), how], check=False)
    assert done.returncode != 0
    assert "in crash_in_context" in crash_log_path(run, "analyzer").read_text()


def test_no_crash_leaves_no_file(tmp_path: Path) -> None:
    run = tmp_path / "run.zarr"
    with crash_log(run, "replay"):
        assert crash_log_path(run, "replay").exists()
    with pytest.raises(KeyError), crash_log(run, "replay"):
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_stops_nothing(tmp_path: Path) -> None:
    with crash_log(tmp_path / "none" / "run.zarr", "replay"):
        pass
    assert faulthandler.is_enabled()


def test_logs_of_killed_processes_are_removed_and_stacks_kept(tmp_path: Path) -> None:
    run = tmp_path / "run.zarr"
    crash_log_path(run, "analyzer").touch()
    crash_log_path(run, "recorder").write_text("Fatal Python error")
    remove_empty_logs(run)
    assert [path.name for path in tmp_path.iterdir()] == ["run.zarr.recorder.crash.txt"]


@pytest.mark.skipif(os.name != "posix", reason="this system sends no signals")
def test_a_worker_that_crashed_names_its_stacks(tmp_path: Path) -> None:
    run = tmp_path / "run.zarr"
    worker = Worker("analyzer", deliver_challenge, lambda restarts: (b"key",), run)
    try:
        worker._pipe.recv_bytes()  # the challenge: from now on the worker waits for the answer
        os.kill(worker._process.pid or 0, signal.SIGSEGV)
        with pytest.raises(LiveSptError, match=r"run\.zarr\.analyzer\.crash\.txt"):
            worker.receive(600.0)
    finally:
        worker.end()
