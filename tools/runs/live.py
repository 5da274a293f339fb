"""`livespt live`: a live run with three processes that share a ring buffer.

    capture (this process)   microscope -> hook -> ring: copies each frame and returns
    recorder                 reads the ring without loss, and stores every frame in `movie`
    analyzer                 the loop: analyzes, publishes, and stores the tables

The camera starts when recorder and analyzer have reported that they are ready. If one of them dies,
capture goes on, and a new process continues its work (supervisor.py). If one of them reports an
error, the run ends with this error.
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
from livespt.stream.recovery.checkpoints import CHECKPOINT_S
from livespt.stream.ring.writer import RingWriter
from livespt.stream.sources import FIRST_FRAMES
from livespt.stream.store.attributes import read_attributes
from livespt.stream.store.frame_log import LogReader
from livespt.stream.store.run import create_run, open_run
from livespt.stream.types import Start, Stop
from livespt.stream.wire.codec import ENDPOINT, address
from livespt.stream.wire.sockets import admitted
from livespt.tools.runs.options import Facts, LiveOrders, Options
from livespt.tools.runs.recorder import recording
from livespt.tools.runs.supervisor import Worker
from livespt.tools.runs.workers import analyzing

if TYPE_CHECKING:
    from livespt.acquisition.microscope.hook import Put
    from livespt.acquisition.microscope.microscope import Acquired


SLOTS = 128  # frames in the ring
READY_S = 180.0  # time limit for loading the models and, the first time, for compiling
DONE_S = 120.0  # time limit for the backlog of a full ring on a slow computer


def record(
    acquire: Callable[[Put], Acquired],
    out: Path,
    facts: Facts,
    options: Options,
    *,
    endpoint: str = ENDPOINT,
    keys: Path | None = None,
    durability: Durability = "second",
    checkpoint_s: float = CHECKPOINT_S,
    say: Callable[[str], None] = print,
) -> tuple[Stop, Acquired]:
    """Acquire frames into a new run, which is analyzed at the same time.

    Parameters
    ----------
    acquire : callable
        Acquires all frames of a microscope that is ready, and passes each to the callable that it
        is given.

    Raises
    ------
    LiveSptError
        Recorder or analyzer refused the run, and nothing was written; or capture, recorder or
        analyzer failed, and the run was closed with what it has.
    """
    if out.exists():
        raise StoreError(f"'{out}' exists already: choose another --out, or --overwrite")
    ring_name = f"livespt-{uuid4().hex[:12]}"
    ring = RingWriter(ring_name, SLOTS, facts.shape, facts.dtype)
    orders = LiveOrders(ring_name, out, facts, options, endpoint, keys, durability, checkpoint_s)
    workers: list[Worker] = []
    problems: list[str] = []
    acquired = None
    try:
        analyzer = Worker("analyzer", analyzing, lambda restarts: (orders, restarts), out)
        workers.append(analyzer)
        start, orders = _started(analyzer, orders)
        create_run(out, start)
        recorder = Worker("recorder", recording, lambda restarts: (orders, start, restarts), out)
        workers.append(recorder)
        recorder.receive(READY_S)
        analyzer.send("created")
        analyzer.receive(READY_S)
        analyzer.is_over = lambda: read_attributes(out).stop is not None
        recorder.on_restart = lambda text: analyzer.send(("note", "restarted", text))
        analyzer.on_said = say
        for worker in workers:
            worker.watch()
        say(f"recording to {out}, publishing on {orders.endpoint}")
        try:
            with crash_log(out, "capture"):
                acquired = acquire(ring.put)
            if acquired.errors:
                problems.append(f"{acquired.errors} frames refused: {acquired.last_error}")
        except LiveSptError as error:
            problems.append(str(error))
        ring.end()
        problems += _recorded(recorder, out, ring.count)  # the tables wait for the movie
        analyzer.send(("end", *_ending(acquired, problems)), last=True)
        problems += filter(None, [analyzer.finish(DONE_S)])
    finally:
        for worker in workers:
            worker.end()
        ring.close()
    stop = read_attributes(out).stop
    if stop is None:
        problems.append(f"the run was interrupted: finish it with `livespt resume {out}`")
    elif stop.status == "failed" and not problems:
        problems.append(stop.reason)
    if acquired is None or stop is None or problems:
        raise LiveSptError("; ".join(problems))
    return stop, acquired


def _started(analyzer: Worker, orders: LiveOrders) -> tuple[Start, LiveOrders]:
    """Wait for the `Start` of the run and for the endpoint at which it is published."""
    start, endpoint = analyzer.receive(READY_S)
    return start, orders._replace(endpoint=endpoint)


def _recorded(recorder: Worker, out: Path, frames: int) -> list[str]:
    """Wait for the recorder; return its error, or the number of frames lost during a restart."""
    if problem := recorder.finish(DONE_S):
        return [problem]
    lost = frames - len(LogReader(out).poll())
    if not lost:
        return []
    return [f"{lost} frames could not be recorded while the recorder was restarted"]


def _ending(acquired: Acquired | None, problems: list[str]) -> tuple[str, str]:
    """Status and reason of `Stop`, from the end of capture and recorder."""
    if acquired is None or problems:
        return "failed", "; ".join(problems)
    return ("aborted", "interrupted") if acquired.stopped else ("complete", "")


def check_free(endpoint: str, keys: Path | None = None) -> None:
    """Refuse an endpoint that is in use, or needs keys, before a camera is opened."""
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
    """Open Micro-Manager as requested by the options, and record from it.

    Raises
    ------
    LiveSptError
        Micro-Manager cannot be reached, a setting or model is refused, or the run failed.
    """
    from livespt.acquisition.microscope import connect

    if out.exists():
        raise StoreError(f"'{out}' exists already: choose another --out, or --overwrite")
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
            frame_interval_s=interval_ms / 1000 or None,
            exposure_s=exposure_ms / 1000,
        )
        acquire = partial(
            microscope.acquire, n_frames=frames, interval_ms=interval_ms, exposure_ms=exposure_ms
        )
        where: dict[str, Any] = {"endpoint": endpoint, "keys": keys, "durability": durability}
        stop, acquired = record(acquire, out, facts, options, say=say, **where)
    if acquired.stopped:
        say(f"stopped after {acquired.frames} of {frames} frames: '{out}' is complete up to there")
        raise KeyboardInterrupt
    return summary(out, stop, acquired)


def summary(out: Path, stop: Stop, acquired: Acquired) -> dict[str, Any]:
    """Summary of a live run, for printing."""
    return {
        "run": str(out),
        "frames": {
            "sent": acquired.frames,
            "recorded": stop.recorded,
            "analyzed": stop.analyzed,
            "skipped": stop.skipped,
            "lost": stop.lost,
            "late": acquired.late,
        },
        "interval_ms": round(1000 * stop.frame_interval_s, 4) if stop.frame_interval_s else None,
        "spots": stop.spots,
        "events": stop.events,
        "speed": speed(open_run(out).frames),
    }


def speed(frames: NDArray[np.void]) -> dict[str, float | None]:
    """Frames per second, and latency from hook to published, of the analyzed frames.

    The first ones wait until the interval is known, and say nothing of the latency.
    """
    analyzed = frames[frames["analyzed"] == 1]
    latency = analyzed["latency_ms"][FIRST_FRAMES:]
    latency = latency[np.isfinite(latency)]
    span = float(np.ptp(analyzed["time_s"])) if len(analyzed) > 1 else 0.0
    return {
        "frames_per_s": round((len(analyzed) - 1) / span, 2) if span else None,
        "p50_ms": round(float(np.percentile(latency, 50)), 2) if len(latency) else None,
        "p99_ms": round(float(np.percentile(latency, 99)), 2) if len(latency) else None,
    }
