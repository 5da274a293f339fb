"""A live run: capture here, recorder and analyzer in processes of their own, one ring between.

    capture (this process)   microscope -> hook -> ring: copies and returns
    recorder                 lossless reader: every frame into `movie`
    analyzer                 the loop: analyzes, publishes, stores the tables

The camera starts only when both have said that they are ready. Either may die: capture goes on, a
new one is begun and goes on where it was (supervisor.py). Either may fail: the run ends with what
went wrong.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from livespt.stream.errors import LiveSptError, SettingError, StoreError, WireError
from livespt.stream.host.atomic_files import Durability
from livespt.stream.host.crash_log import crash_log
from livespt.stream.recovery.checkpoints import EVERY_S
from livespt.stream.ring.writer import RingWriter
from livespt.stream.store.attributes import read_attributes
from livespt.stream.store.frame_log import LogReader
from livespt.stream.store.run import create_run, open_run
from livespt.stream.types import Start, Stop
from livespt.stream.wire.codec import ENDPOINT, address
from livespt.stream.wire.sockets import admitted
from livespt.tools.runs.options import Facts, LiveOrders, Options, check_options
from livespt.tools.runs.recorder import recording
from livespt.tools.runs.supervisor import Worker
from livespt.tools.runs.workers import analyzing

if TYPE_CHECKING:
    from livespt.acquisition.microscope.hook import Put
    from livespt.acquisition.microscope.microscope import Acquired


SLOTS = 128  # frames in the ring
READY_S = 180.0  # for models to load and numba to compile, the first time
DONE_S = 120.0  # for the backlog of a full ring on a slow machine


def record(
    acquire: Callable[[Put], Acquired],
    out: Path,
    facts: Facts,
    options: Options,
    *,
    endpoint: str = ENDPOINT,
    keys: Path | None = None,
    durability: Durability = "second",
    checkpoint_s: float = EVERY_S,
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
    told = LiveOrders(ring_name, out, facts, options, endpoint, keys, durability, checkpoint_s)
    workers: list[Worker] = []
    problems: list[str] = []
    acquired = None
    try:
        analyzer = Worker("analyzer", analyzing, lambda restarts: (told, restarts), out)
        workers.append(analyzer)
        start, told = _begun(analyzer, told)
        create_run(out, start)
        recorder = Worker("recorder", recording, lambda restarts: (told, start, restarts), out)
        workers.append(recorder)
        recorder.hear(READY_S)
        analyzer.tell("created")
        analyzer.hear(READY_S)
        analyzer.is_over = lambda: read_attributes(out).stop is not None
        recorder.on_restart = lambda text: analyzer.tell(("note", "restarted", text))
        for worker in workers:
            worker.watch()
        say(f"recording to {out}, publishing on {told.endpoint}")
        try:
            with crash_log(out, "capture"):
                acquired = acquire(ring.put)
            if acquired.errors:
                problems.append(f"{acquired.errors} frames refused: {acquired.last_error}")
        except LiveSptError as error:
            problems.append(str(error))
        ring.end()
        problems += _recorded(recorder, out, ring.count)  # before the tables, which follow it
        analyzer.tell(("end", *_ending(acquired, problems)), last=True)
        problems += filter(None, [analyzer.finish(DONE_S)])
    finally:
        for worker in workers:
            worker.end()
        ring.close()
    stop = read_attributes(out).stop
    if stop is None:
        problems.append(f"the run is cut short: finish it with `livespt resume {out}`")
    elif stop.status == "failed" and not problems:
        problems.append(stop.reason)
    if acquired is None or stop is None or problems:
        raise LiveSptError("; ".join(problems))
    return stop, acquired


def _begun(analyzer: Worker, told: LiveOrders) -> tuple[Start, LiveOrders]:
    """First word of the run, and what to tell from now on: where it is published."""
    start, endpoint = analyzer.hear(READY_S)
    return start, told._replace(endpoint=endpoint)


def _recorded(recorder: Worker, out: Path, frames: int) -> list[str]:
    """Wait for the recorder; what it failed at, and what it missed while it was dead."""
    if problem := recorder.finish(DONE_S):
        return [problem]
    lost = frames - len(LogReader(out).poll())
    if not lost:
        return []
    return [f"{lost} frames could not be recorded while the recorder was restarted"]


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
    from livespt.acquisition.microscope import connect

    check_options(options)
    if out.exists():
        raise StoreError(f"'{out}' exists already: choose another --out")
    check_free(endpoint, keys)
    if mm_dir is None and (java or mm_config is not None):
        raise SettingError("--java and --mm-config need --mm-dir, the Micro-Manager folder")
    if demo_camera and mm_dir is not None:
        raise SettingError("--demo-camera and --mm-dir exclude each other")
    if demo_camera:
        opened = connect.demo_microscope()
    elif mm_dir is None:
        opened = connect.attach(port)
    elif mm_config is None:
        raise SettingError("--mm-dir needs --mm-config, the hardware configuration to load")
    elif java:
        opened = connect.start_java(mm_dir, mm_config, port=port)
    else:
        opened = connect.open_python(mm_dir, mm_config)
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
