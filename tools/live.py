"""A live run: capture here, recorder and analyzer in processes of their own, one ring between.

    capture (this process)   microscope -> hook -> ring: copies and returns
    recorder                 lossless reader: every frame into `movie`
    analyzer                 the loop: analyzes, publishes, stores the tables

The camera starts only when both have said that they are ready. Either may die or stall: capture
goes on, and the run ends with what went wrong.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from livespt.stream import pipeline
from livespt.stream.errors import LiveSptError, SettingError, StoreError, WireError
from livespt.stream.files import Durability
from livespt.stream.history import StoredEvents
from livespt.stream.ladder import Ladder, graded
from livespt.stream.publish import Publisher, admitted
from livespt.stream.ring import RingReader, RingWriter
from livespt.stream.store import MovieWriter, TableWriter, create_run, open_run
from livespt.stream.types import Start, Stop
from livespt.stream.wire import ENDPOINT, address
from livespt.tools.compose import Facts, Options, check_options, compose
from livespt.tools.replay import Published
from livespt.tools.storage import StoredTables, store_frames

if TYPE_CHECKING:
    from livespt.acquisition.hook import Put
    from livespt.acquisition.microscope import Acquired

SLOTS = 128  # frames in the ring
MAX_BEHIND = 64  # frames the analyzer may lag before it skips to the newest
READY_S = 180.0  # for models to load and numba to compile, the first time
DONE_S = 120.0  # for the backlog of a full ring on a slow machine


class Worker(NamedTuple):
    """A child process and the pipe to it."""

    name: str
    process: Any  # multiprocessing.context.SpawnProcess
    pipe: Connection


def record(
    acquire: Callable[[Put], Acquired],
    out: Path,
    facts: Facts,
    options: Options,
    *,
    endpoint: str = ENDPOINT,
    keys: Path | None = None,
    durability: Durability = "second",
    say: Callable[[str], None] = print,
) -> tuple[Stop, Acquired]:
    """Acquire into a new run that is analyzed while it records.

    Parameters
    ----------
    acquire : callable
        Acquires all frames, putting each with the callable it is given: a microscope that is ready.

    Raises
    ------
    LiveSptError
        What the recorder or the analyzer refused, before anything is written; or, when the run is
        closed with what there is, what went wrong in capture, recorder or analyzer.
    """
    if out.exists():
        raise StoreError(f"'{out}' exists already: choose another --out")
    ring_name = f"livespt-{uuid4().hex[:12]}"
    ring = RingWriter(ring_name, SLOTS, facts.shape, facts.dtype)
    workers: list[Worker] = []
    problems: list[str] = []
    acquired = None
    try:
        words = (ring_name, out, facts, options, endpoint, keys, durability)
        analyzer = _spawn("analyzer", _analyze, *words)
        workers.append(analyzer)
        start = _hear(analyzer, READY_S)
        create_run(out, start)
        workers.append(_spawn("recorder", _record, ring_name, out, start, durability))
        _hear(workers[1], READY_S)
        analyzer.pipe.send("created")
        _hear(analyzer, READY_S)
        say(f"recording to {out}, publishing on {endpoint}")
        try:
            acquired = acquire(ring.put)
            if acquired.errors:
                problems.append(f"{acquired.errors} frames refused: {acquired.last_error}")
        except LiveSptError as error:
            problems.append(str(error))
        ring.end()
        _finish(workers[1], problems)  # the recorder first: tables follow the movie
        with suppress(OSError):  # it may have died: that is heard next
            analyzer.pipe.send(_ending(acquired, problems))
        _finish(analyzer, problems)
    finally:
        for worker in workers:
            if worker.process.is_alive():
                worker.process.terminate()
                worker.process.join(5)
        ring.close()
    stop = open_run(out).stop
    if acquired is None or stop is None or problems:
        raise LiveSptError("; ".join(problems) or f"the run '{out}' was cut short")
    return stop, acquired


def _finish(worker: Worker, problems: list[str]) -> None:
    """Wait until a worker is done; note what it failed at."""
    try:
        _hear(worker, DONE_S)
        worker.process.join(10)
    except LiveSptError as error:
        problems.append(str(error))


def _ending(acquired: Acquired | None, problems: list[str]) -> tuple[str, str]:
    """Status and reason of `Stop`, by how capture and recorder ended."""
    if acquired is None or problems:
        return "failed", "; ".join(problems)
    return ("aborted", "interrupted") if acquired.stopped else ("complete", "")


def check_free(endpoint: str, keys: Path | None = None) -> None:
    """Refuse an endpoint that is busy, or open without keys, before a camera is opened for it."""
    admitted(endpoint, keys)
    host, port = address(endpoint)
    for wanted in (port, port + 1) if port else ():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, os.name == "posix")
            try:
                probe.bind((host, wanted))
            except OSError as error:
                raise WireError(
                    f"cannot publish on {endpoint}: port {wanted}: {error.strerror}; end the run "
                    "that publishes there, or give another --endpoint"
                ) from error


def _spawn(name: str, target: Callable[..., None], *args: Any) -> Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(
        name=f"livespt-{name}", target=_work, args=(target, theirs, *args), daemon=True
    )
    process.start()
    theirs.close()
    return Worker(name, process, ours)


def _hear(worker: Worker, within_s: float) -> Any:
    """Wait for the worker's next word; raise what it raised, or that it died."""
    try:
        if not worker.pipe.poll(within_s):
            raise LiveSptError(f"the {worker.name} said nothing for {within_s:.0f} s")
        word = worker.pipe.recv()
    except EOFError:
        worker.process.join(5)
        raise LiveSptError(
            f"the {worker.name} process ended early (exit code {worker.process.exitcode})"
        ) from None
    if isinstance(word, LiveSptError):
        raise word
    return word


def _work(target: Callable[..., None], pipe: Connection, *args: Any) -> None:
    """Run a worker; an interrupt is the parent's to handle, an error is told to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        target(pipe, *args)
    except LiveSptError as error:
        pipe.send(error)
    finally:
        pipe.close()


def _record(
    pipe: Connection, ring_name: str, out: Path, start: Start, durability: Durability
) -> None:
    """Recorder process: every frame into `movie`."""
    writer = MovieWriter(out, start, durability=durability)
    with RingReader(ring_name, lossless=True) as reader:
        pipe.send("ready")
        store_frames(reader, writer)
    pipe.send("done")


def _analyze(
    pipe: Connection,
    ring_name: str,
    out: Path,
    facts: Facts,
    options: Options,
    endpoint: str,
    keys: Path | None,
    durability: Durability,
) -> None:
    """Analyzer process: the loop."""
    chain = compose(facts, options, "live")
    publisher = Publisher(endpoint, chain.start, events=StoredEvents(out), folder=keys)
    pipe.send(chain.start)
    pipe.recv()  # the run exists
    reader = RingReader(ring_name, max_behind=MAX_BEHIND)
    tables = StoredTables(
        TableWriter(out, durability=durability), publisher, lambda: reader.refused
    )
    sinks: list[pipeline.Sink] = [Published(publisher), tables]
    pipe.send("ready")
    frames = graded(reader, Ladder())
    pipeline.run(
        frames, chain.analyzer, sinks, chain.start, chain.stages, ending=lambda: pipe.recv()
    )
    reader.close()
    pipe.send("done")


def live(
    options: Options,
    *,
    out: Path,
    frames: int,
    interval_ms: float,
    exposure_ms: float | None,
    port: int,
    mm_dir: Path | None,
    mm_config: Path | None,
    java: bool,
    demo_camera: bool,
    pixel_size_um: float | None,
    endpoint: str,
    keys: Path | None = None,
    durability: Durability = "second",
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Open Micro-Manager in the way that was asked for and record from it.

    Raises
    ------
    LiveSptError
        Micro-Manager cannot be reached, a setting or model is refused, or the run failed.
    """
    from livespt.acquisition import micromanager

    check_options(options)
    if out.exists():
        raise StoreError(f"'{out}' exists already: choose another --out")
    check_free(endpoint, keys)
    if mm_dir is None and (java or mm_config is not None):
        raise SettingError("--java and --mm-config need --mm-dir, the Micro-Manager folder")
    if demo_camera and mm_dir is not None:
        raise SettingError("--demo-camera and --mm-dir exclude each other")
    if demo_camera:
        opened = micromanager.demo_microscope()
    elif mm_dir is None:
        opened = micromanager.attach(port)
    elif mm_config is None:
        raise SettingError("--mm-dir needs --mm-config, the hardware configuration to load")
    elif java:
        opened = micromanager.start_java(mm_dir, mm_config, port=port)
    else:
        opened = micromanager.open_python(mm_dir, mm_config)
    with opened as microscope:
        exposure_ms = exposure_ms or microscope.exposure_ms
        facts = Facts(
            source=microscope.name,
            axes="yx",
            shape=microscope.shape,
            dtype=microscope.dtype.str,
            pixel_size_um=pixel_size_um or microscope.pixel_size_um,
            frame_interval_s=max(interval_ms, exposure_ms) / 1000,
        )
        acquire = partial(
            microscope.acquire, n_frames=frames, interval_ms=interval_ms, exposure_ms=exposure_ms
        )
        where: dict[str, Any] = {"endpoint": endpoint, "keys": keys, "durability": durability}
        stop, acquired = record(acquire, out, facts, options, say=say, **where)
    if acquired.stopped:
        say(f"stopped after {acquired.frames} of {frames} frames: '{out}' is whole")
        raise KeyboardInterrupt
    return summary(out, stop, acquired)


def summary(out: Path, stop: Stop, acquired: Acquired) -> dict[str, Any]:
    """What a live run did, for printing."""
    return {
        "run": str(out),
        "frames": {
            "sent": acquired.frames,
            "recorded": stop.frames,
            "analyzed": stop.analyzed,
            "lost": stop.lost,
            "late": acquired.late,
        },
        "spots": stop.spots,
        "events": stop.events,
        "speed": speed(open_run(out).frames),
    }


def speed(frames: NDArray[np.void]) -> dict[str, float | None]:
    """Frames per second kept, and latency from hook to published, of the analyzed frames."""
    analyzed = frames[frames["analyzed"] == 1]
    latency = analyzed["latency_ms"][np.isfinite(analyzed["latency_ms"])]
    span = float(np.ptp(analyzed["time_s"])) if len(analyzed) > 1 else 0.0
    return {
        "frames_per_s": round((len(analyzed) - 1) / span, 2) if span else None,
        "p50_ms": round(float(np.percentile(latency, 50)), 2) if len(latency) else None,
        "p99_ms": round(float(np.percentile(latency, 99)), 2) if len(latency) else None,
    }
