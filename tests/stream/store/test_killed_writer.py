"""Writers that are killed lose nothing that they acknowledged; cost does not grow."""

from __future__ import annotations

import os
import random
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from build import environment, make_frame, make_start, varied_update
from livespt.stream.store.run import RunWriter, open_run
from stored_runs import STOP, check_frames, check_tables

# kill -9

CHILD = """
import sys
from pathlib import Path
from build import make_frame, make_start, varied_update
from livespt.stream.store.run import MovieWriter, TableWriter, create_run
path = Path(sys.argv[1])
start = make_start()
create_run(path, start, chunk_rows=32)
movie, tables = MovieWriter(path, start), TableWriter(path, segment_bytes=4000)
print("ready", flush=True)
for i in range(100000):
    movie.add_frame(make_frame(i))
    print(f"f{i}", flush=True)
    tables.commit(make_frame(i), varied_update(i))
    print(f"c{i}", flush=True)
"""


def kill_once(path: Path, after_s: float) -> tuple[int, int]:
    """Write a run in another process, look at it meanwhile, kill; returns frames, commits acked."""
    command = [sys.executable, "-c", CHILD, path]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment())
    assert child.stdout is not None
    try:
        assert child.stdout.readline() == b"ready\n"
        run, seen, end, text = open_run(path), 0, time.monotonic() + after_s, b""
        while time.monotonic() < end or b"\nc" not in text:
            if select.select([child.stdout], [], [], 0.002)[0]:
                text += os.read(child.stdout.fileno(), 1 << 16)
            run.refresh()
            assert seen <= len(run.frames) <= run.n_frames
            if run.n_frames:  # the newest frame is whole as soon as it is there
                newest = run.n_frames - 1
                assert np.array_equal(run.frame(newest).image, make_frame(newest).image)
            seen = len(run.frames)
            check_tables(run, list(range(seen)))
    finally:
        child.kill()
    text += child.stdout.read()
    child.stdout.close()
    assert child.wait() == -9, "the writer failed by itself"
    acked = text.split(b"\n")[:-1]
    frames = sum(line.startswith(b"f") for line in acked)
    return frames, len(acked) - frames


def check_kills(tmp_path: Path, kills: int, seed: int) -> None:
    rng, total = random.Random(seed), 0
    for k in range(kills):
        shutil.rmtree(tmp_path / f"{k - 10}.zarr", ignore_errors=True)
        path = tmp_path / f"{k}.zarr"
        frames, commits = kill_once(path, rng.uniform(0.0, 0.6))
        run = open_run(path)
        assert frames <= run.n_frames <= frames + 1
        assert commits <= len(run.frames) <= commits + 1
        check_tables(run, list(range(len(run.frames))))
        check_frames(run)
        assert run.stop is None
        total += commits
    assert total > 0


def test_a_killed_writer_loses_nothing_it_acknowledged(tmp_path: Path) -> None:
    check_kills(tmp_path, 2, seed=1)


@pytest.mark.slow
def test_a_hundred_killed_writers_lose_nothing(tmp_path: Path) -> None:
    check_kills(tmp_path, 100, seed=2)


# Cost


@pytest.mark.slow
def test_a_commit_costs_the_same_at_any_length(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "a.zarr", make_start(), movie=False)
    cost = []
    for i in range(3000):
        frame, update = make_frame(i), varied_update(i)
        begin = time.process_time()
        writer.add_frame(frame)
        writer.commit(frame, update)
        cost.append(time.process_time() - begin)
    writer.close(STOP)
    assert np.median(cost[-500:]) < 2 * np.median(cost[10:510])


@pytest.mark.slow
def test_a_frame_costs_the_same_at_any_length(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "a.zarr", make_start())
    cost = []
    for i in range(6000):
        frame, update = make_frame(i), varied_update(i)
        begin = time.process_time()
        writer.add_frame(frame)
        writer.commit(frame, update)
        cost.append(time.process_time() - begin)
    writer.close(STOP)
    assert np.median(cost[-500:]) < 1.5 * np.median(cost[10:510])
