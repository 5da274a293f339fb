"""Kills: kill -9 of the analyzer, of the writer of a store, and of the process that acquires.

A simulated camera goes through the real path. After each kill the run is opened at once, and what
it holds then must be in the run that comes of it, which in turn must be, byte for byte, an
uninterrupted replay of the frames that were analyzed.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import random
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from livespt.acquisition.microscope.hook import Put
from livespt.acquisition.microscope.microscope import Acquired
from livespt.stream.errors import LiveSptError
from livespt.stream.host.shared_memory import free_bytes
from livespt.stream.store.attributes import read_attributes
from livespt.stream.store.run import RunReader, RunWriter, open_run
from livespt.stream.store.verify import verify
from livespt.stream.types import Frame, Stop
from livespt.tools.chaos.kill_checks import (
    FREE,
    HZ,
    Tally,
    camera,
    compare,
    facts,
    inspect_run,
    movie,
)
from livespt.tools.runs.compose import compose
from livespt.tools.runs.live import record
from livespt.tools.runs.options import Options
from livespt.tools.runs.replay import replay
from livespt.tools.runs.resume import resume

A_RUN = 4  # kills of the analyzer in a run
AT_WORK, AT_WORK_S = 0.7, 300.0  # share of kills at work, the others may hit a start; for so long
CHECKPOINT_S = 0.5
END_S = 300.0  # for an orphaned run to end, on a machine that is very busy
PRELOAD = [
    "livespt.tools.runs.live",
    "livespt.tools.runs.replay",
    "livespt.models.infer",
    "onnxruntime",
]


def run(times: int, folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Kill analyzer and writer `times` times each, the process that acquires a fifth as often.

    Parameters
    ----------
    times : int
    folder : Path
        For the runs.
    say : callable
        Told how it goes.

    Returns
    -------
    dict
        Of each kind the figures of `Tally`.
    """
    chance = random.Random(times)
    images = movie()
    found = {}
    kinds = (("analyzer", kill_analyzers, times), ("writer", kill_writers, times))
    for name, kill, n in (*kinds, ("capture", kill_captures, max(1, times // 5))):
        tally = Tally()
        kill(n, folder, images, tally, chance, say)
        found[name] = tally.figures()
        say(f"{name}: {found[name]}")
    return found


def kill_analyzers(
    times: int,
    folder: Path,
    images: list[NDArray[Any]],
    tally: Tally,
    chance: random.Random,
    say: Callable[[str], None],
) -> None:
    """Kill the analyzer of live runs, `A_RUN` times each, at any moment of its work or start."""
    path = folder / "live.zarr"
    while tally.kills < times:
        cuts: list[RunReader] = []
        over = threading.Event()
        arguments = (min(A_RUN, times - tally.kills), path, images, tally, chance, cuts, over)
        killer = threading.Thread(target=_kill_analyzer, args=arguments, name="killer")
        try:
            stop, acquired = record(
                _until(over, killer, images), path, facts(images), Options(), endpoint=FREE,
                checkpoint_s=CHECKPOINT_S, say=lambda text: None,
            )  # fmt: skip
            tally.lost += acquired.frames - stop.recorded
        except LiveSptError as error:
            tally.wrong.append(str(error))
        killer.join()
        if read_attributes(path).stop is not None:
            inspect_run(path, images, tally)
            compare(path, cuts, folder, tally)
        shutil.rmtree(path)
        say(f"analyzer killed {tally.kills} times")


def _kill_analyzer(
    times: int,
    path: Path,
    images: list[NDArray[Any]],
    tally: Tally,
    chance: random.Random,
    cuts: list[RunReader],
    over: threading.Event,
) -> None:
    """Thread: kill, and keep what the run held then."""
    try:
        for _ in range(times):
            if chance.random() < AT_WORK:
                _await_rows(path)
            time.sleep(chance.uniform(0.0, 2.0))
            analyzer = _child("livespt-analyzer")
            if analyzer is not None:
                analyzer.kill()
                analyzer.join()
                tally.kills += 1
                cuts.append(inspect_run(path, images, tally))
        time.sleep(0.5)
    finally:
        over.set()


def _await_rows(path: Path) -> None:
    """Wait until the analyzer is at work: it commits what was not there."""
    begin = time.monotonic()
    reader = open_run(path)
    count = len(reader.frames)
    while len(reader.frames) == count and time.monotonic() < begin + AT_WORK_S:
        time.sleep(0.01)
        reader.refresh()


def _until(
    over: threading.Event, killer: threading.Thread, images: list[NDArray[Any]]
) -> Callable[[Put], Acquired]:
    """A microscope that begins with the killer, and ends when that is done."""

    def acquire(put: Put) -> Acquired:
        killer.start()
        count = sum(1 for _ in camera(put, images, over.is_set))
        return Acquired(count, 0, 0, "", False)

    return acquire


def kill_writers(
    times: int,
    folder: Path,
    images: list[NDArray[Any]],
    tally: Tally,
    chance: random.Random,
    say: Callable[[str], None],
) -> None:
    """Kill processes that replay a movie into a run, then resume the run."""
    source, path = _source(folder, images), folder / "cut.zarr"
    while tally.kills < times:
        writer = _context().Process(target=_replay, args=(source, path))
        writer.start()
        while not (path / "zarr.json").exists() and writer.is_alive():
            time.sleep(0.001)
        time.sleep(chance.uniform(0.0, len(images) / HZ))
        writer.kill()
        writer.join()
        if read_attributes(path).stop is None:
            tally.kills += 1
            cut_run = inspect_run(path, images, tally)
            tally.faults += sum(1 for _ in verify(path))
            try:
                begin = time.perf_counter()
                RunWriter(path, cut_run.start, resume=True).leave()
                tally.opened_s = max(tally.opened_s, time.perf_counter() - begin)
                resume(path, movie=source, checkpoint_s=CHECKPOINT_S, say=lambda text: None)
                tally.lost += len(images) - inspect_run(path, images, tally).n_frames
                compare(path, [cut_run], folder, tally)
            except LiveSptError as error:
                tally.wrong.append(str(error))
            say(f"writer killed {tally.kills} times")
        shutil.rmtree(path)


def _source(folder: Path, images: list[NDArray[Any]]) -> Path:
    """A run of these images, where nothing was found."""
    source = folder / "source.zarr"
    start = compose(facts(images), Options(), "live").start
    writer = RunWriter(source, start)
    for number, image in enumerate(images):
        writer.add_frame(Frame(number, number, 0, 0, number / HZ, image))
    writer.close(Stop(start.run, "failed", "not analyzed"))
    return source


def _replay(source: Path, path: Path) -> None:
    replay(
        source, path, Options(), all_frames=True, endpoint=FREE, rate="realtime",
        checkpoint_s=CHECKPOINT_S, say=lambda text: None,
    )  # fmt: skip


def kill_captures(
    times: int,
    folder: Path,
    images: list[NDArray[Any]],
    tally: Tally,
    chance: random.Random,
    say: Callable[[str], None],
) -> None:
    """Kill processes that acquire; what they had handed over must be stored, and all else end."""
    while tally.kills < times:
        path, log = folder / "orphan.zarr", folder / "log"
        shared = set(_shared())
        capture = _context().Process(target=_acquire, args=(path, log, images))
        capture.start()
        while not (log.exists() and log.stat().st_size) and capture.is_alive():
            time.sleep(0.001)
        time.sleep(chance.uniform(0.0, 2.0))
        capture.kill()
        capture.join()
        tally.kills += 1
        handed_over = log.stat().st_size if log.exists() else 0
        deadline = time.monotonic() + END_S
        while read_attributes(path).stop is None and time.monotonic() < deadline:
            time.sleep(0.02)
        while (left := set(_shared()) - shared) and time.monotonic() < deadline:
            time.sleep(0.02)
        if left:
            tally.wrong.append(f"shared memory is left: {sorted(left)}")
        tally.lost += max(0, handed_over - inspect_run(path, images, tally).n_frames)
        if read_attributes(path).stop is None:
            tally.wrong.append(f"{path} did not end")
        else:
            compare(path, [], folder, tally)
        shutil.rmtree(path)
        log.unlink()
        say(f"capture killed {tally.kills} times")


def _acquire(path: Path, log: Path, images: list[NDArray[Any]]) -> None:
    """Process that acquires and logs, a byte a frame, what it has handed over."""

    def acquire(put: Put) -> Acquired:
        with log.open("wb", buffering=0) as file:
            for _ in camera(put, images, lambda: False):
                file.write(b".")
        raise AssertionError("a camera never ends")

    record(acquire, path, facts(images), Options(), endpoint=FREE, say=lambda text: None)


def _child(name: str) -> Any:
    found = [child for child in multiprocessing.active_children() if child.name == name]
    return found[0] if found else None


def _context() -> Any:
    """Processes that begin with everything imported, and nothing done."""
    context = multiprocessing.get_context("forkserver")
    with contextlib.suppress(ValueError):
        context.set_forkserver_preload(PRELOAD)
    return context


def _shared() -> list[Path]:
    """Files of shared memory that rings have."""
    return [path for folder in free_bytes() for path in folder.glob("livespt-livespt-*")]
