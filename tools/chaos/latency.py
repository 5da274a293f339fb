"""Latency: what subscribers cost the one who publishes, and the camera before it.

Frames go through a ring from this process, the camera's, to one that publishes them, at once and
without an analysis between. Phases with subscribers alternate with phases without, so that both
see the same machine.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.stream.errors import LiveSptError
from livespt.stream.ring.reader import RingReader
from livespt.stream.ring.writer import RingWriter
from livespt.stream.types import SPOT, STATE, Stop, Update
from livespt.stream.wire.publisher import Publisher
from livespt.tools.chaos.trial_publisher import ANSWER_S, EVENTS, START, context, made_up
from livespt.tools.chaos.trial_subscriber import TrialSubscriber

SLOTS = 128
FRAME_HZ = 50.0
TRACKS = 200
SUBSCRIBERS = 6  # one of them draws images, one is stopped
PHASE_S = 8.0
SETTLE_S = 2.0  # at the beginning of a phase: processes start or end
MAX_P99_RATIO = 2.0  # times as slow with subscribers, at p99


class PublisherFigures(NamedTuple):
    """What the publishing process measured."""

    latency_ms: NDArray[np.float64]  # (frames,), hook to published; NaN: never published
    lost: int  # frames that it could not read


def run(times: int, folder: Path, say: Callable[[str], None], pace: float = 1.0) -> dict[str, Any]:
    """Measure `times` pairs of phases; see `subscribers.run`."""
    ring_name = f"livespt-chaos-{os.getpid()}"
    ring = RingWriter(ring_name, SLOTS, START.shape, START.dtype)
    ours, theirs = context().Pipe()
    publisher = context().Process(target=_publish, args=(theirs, ring_name), daemon=True)
    publisher.start()
    theirs.close()
    try:
        endpoint = _receive(ours)
        camera = Camera(ring, FRAME_HZ)
        phases: list[tuple[bool, int, int]] = []  # with subscribers; its frames: first, end
        for at in range(2 * times):
            followers = (
                [_one(endpoint, folder, at, i) for i in range(SUBSCRIBERS)] if at % 2 else []
            )
            camera.run(SETTLE_S * pace)
            if followers:
                followers[0].signal(signal.SIGSTOP)
            first = camera.count
            camera.run(PHASE_S * pace)
            phases.append((bool(followers), first, camera.count))
            for follower in followers:
                follower.process.kill()
                follower.process.join()
        ring.end()
        published: PublisherFigures = _receive(ours)
    finally:
        publisher.kill()
        ring.close()
    return _compared(published, phases, camera, say)


class Camera:
    """Puts frames at a steady rate, and notes how long the ring took."""

    def __init__(self, ring: RingWriter, rate_hz: float) -> None:
        self._ring, self._period_s = ring, 1 / rate_hz
        self._image = np.zeros(START.shape, START.dtype)
        self.count, self.worst_ms = 0, 0.0

    def run(self, for_s: float) -> None:
        """Put frames for so long."""
        end = time.monotonic() + for_s
        while (begin := time.monotonic()) < end:
            k, now_ns = self.count, time.monotonic_ns()
            self._ring.put(self._image, number=k, t=k, captured_ns=now_ns)
            self.worst_ms = max(self.worst_ms, (time.monotonic_ns() - now_ns) / 1e6)
            self.count += 1
            time.sleep(max(0.0, begin + self._period_s - time.monotonic()))


def _one(endpoint: str, folder: Path, at: int, i: int) -> TrialSubscriber:
    topics = ("event", "update", "image") if i == 1 else ("event", "update")
    return TrialSubscriber(endpoint, folder / f"{at} {i}.events", topics)


def _receive(pipe: Connection) -> Any:
    if not pipe.poll(ANSWER_S):
        raise LiveSptError("the publishing process said nothing")
    return pipe.recv()


def _compared(
    published: PublisherFigures,
    phases: list[tuple[bool, int, int]],
    camera: Camera,
    say: Callable[[str], None],
) -> dict[str, Any]:
    figures: dict[str, Any] = {"frames": camera.count, "lost": published.lost}
    p99 = {}
    for with_them, name in ((False, "alone"), (True, "with subscribers")):
        parts = [
            published.latency_ms[first:end]
            for is_followed, first, end in phases
            if is_followed is with_them
        ]
        latency = np.concatenate(parts)
        p99[name] = float(np.nanpercentile(latency, 99))
        figures[name] = {
            "p50_ms": round(float(np.nanpercentile(latency, 50)), 3),
            "p99_ms": round(p99[name], 3),
            "max_ms": round(float(np.nanmax(latency)), 3),
        }
    figures["p99_ratio"] = round(p99["with subscribers"] / p99["alone"], 2)
    figures["worst_put_ms"] = round(camera.worst_ms, 2)
    say(f"latency of the publisher: {figures}")
    failed, late = [], []
    if figures["p99_ratio"] > MAX_P99_RATIO:
        late.append(f"p99 latency is {figures['p99_ratio']} times that without subscribers")
    if published.lost or np.isnan(published.latency_ms[: camera.count]).any():
        failed.append(f"{published.lost} frames of the camera were lost")
    return figures | {"failed": failed, "late": late}


def _publish(pipe: Connection, ring_name: str) -> None:
    """Publishing process."""
    publisher = Publisher("tcp://127.0.0.1:0", START)
    reader = RingReader(ring_name, lossless=True)
    spots, states = np.zeros(TRACKS, SPOT), np.zeros(TRACKS, STATE)
    latency: list[float] = []
    pipe.send(publisher.endpoint)
    for frame in reader:
        n = frame.number
        update = Update(n, n, 0, 0, 0.0, 0, spots, states, made_up(EVENTS * n, EVENTS))
        sent_ns = publisher(frame, update)
        latency += [float("nan")] * (n - len(latency))
        latency.append((sent_ns - frame.captured_ns) / 1e6)
    lost = reader.lost
    reader.close()
    publisher.close(Stop(START.run, "complete"), linger_s=0.5)
    pipe.send(PublisherFigures(np.array(latency), lost))


if __name__ == "__main__":
    import json
    import sys
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        print(json.dumps(run(int(sys.argv[1]), Path(name), print), indent=2))
