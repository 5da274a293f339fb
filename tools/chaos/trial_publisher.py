"""Trial publisher: a run that is made up and published by a process of its own.

Frame t has `EVENTS` events, from number `EVENTS * t` on, which depend on their number alone. So
whoever follows the run can be judged by the bytes that it must have received, and a publisher that
was killed can be replaced by one that goes on where the first one last noted how far it was.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.stream.errors import LiveSptError
from livespt.stream.types import EVENT, KINDS, SPOT, STATE, Frame, Start, Stop, Update
from livespt.stream.wire.publisher import Publisher

EVENTS = 4  # a frame
NOTE_EVERY = 10  # frames: those after the last note are made, and published, once more
START = Start("chaos", "live", "made up", "yx", (512, 512), "<u2", 0.1, 0.02)
LINGER_S = 60.0  # after the last word, for those who have not said goodbye
PORTS = range(20_000, 30_000, 2)  # none that the system gives to sockets that connect
ANSWER_S = LINGER_S + 240.0  # for a word from the child, on a machine that is very busy


class Plan(NamedTuple):
    """How the run is published."""

    endpoint: str = "tcp://127.0.0.1:0"
    epoch: int = 0
    frame_hz: float = 50.0
    tracks: int = 0  # spots and states of each update
    keys: str = ""  # folder
    noted: str = ""  # file that holds how many frames a publisher before this one got to


class Health(NamedTuple):
    """How a publisher is."""

    events: int  # published
    worst_ms: float  # longest time that publishing a frame took, since last asked
    rss_mb: float  # NaN where the system does not say
    descriptors: int  # -1 where the system does not say
    counts: dict[str, int]  # malformed, limited, refused, hung_up, dropped, resent


def made_up(first: int, n: int) -> NDArray[np.void]:
    """The events `first` to `first + n - 1`, EVENT (n,)."""
    events = np.zeros(n, EVENT)
    events["seq"] = np.arange(first, first + n)
    events["frame"] = events["seq"] // EVENTS
    events["track"] = 7 * events["seq"] + 1
    events["kind"] = events["seq"] % len(KINDS)
    events["other"] = events["amends"] = -1
    return events


def free_endpoint() -> str:
    """An endpoint whose two ports are free, and stay so while a publisher is begun again."""
    for port in random.SystemRandom().sample(PORTS, 50):
        try:
            with (
                socket.create_server(("127.0.0.1", port)),
                socket.create_server(("127.0.0.1", port + 1)),
            ):
                return f"tcp://127.0.0.1:{port}"
        except OSError:
            continue
    raise LiveSptError("no two free ports follow each other")


def context() -> Any:
    """Where processes come from: ready ones where the system can fork them, else new ones."""
    methods = multiprocessing.get_all_start_methods()
    chosen = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if "forkserver" in methods:
        chosen.set_forkserver_preload(["livespt.tools.chaos.trial_publisher"])
    return chosen


class Child:
    """A process that publishes as planned, until it is asked to stop or is killed."""

    def __init__(self, plan: Plan) -> None:
        ours, theirs = context().Pipe()
        self.process = context().Process(target=_publish, args=(theirs, plan), daemon=True)
        self.process.start()
        theirs.close()
        self._pipe: Connection = ours
        self.endpoint: str = self._receive()

    def health(self) -> Health:
        """How it is; raises where it is dead or hangs."""
        self._pipe.send("how")
        health: Health = self._receive()
        return health

    def stop(self) -> int:
        """End the run; return how many events it had."""
        self._pipe.send("stop")
        events: int = self._receive()
        self.process.join(ANSWER_S)
        return events

    def kill(self) -> None:
        """As `kill -9` does."""
        self.process.kill()
        self.process.join()

    def _receive(self) -> Any:
        try:
            if self._pipe.poll(ANSWER_S):
                return self._pipe.recv()
        except (EOFError, ConnectionError):
            self.process.join(5)
            raise LiveSptError(f"the publisher died, code {self.process.exitcode}") from None
        raise LiveSptError(f"the publisher said nothing for {ANSWER_S:g} s")


@contextmanager
def publishing(plan: Plan) -> Iterator[Child]:
    """A child that is killed at the latest at the end of the block."""
    child = Child(plan)
    try:
        yield child
    finally:
        child.kill()


def resources(process: str = "self") -> tuple[float, int]:
    """Resident memory in MB and open file descriptors; NaN and -1 where /proc is missing."""
    folder = Path("/proc") / process
    try:
        pages = int((folder / "statm").read_text().split()[1])
        return pages * 4096 / 1e6, len(list((folder / "fd").iterdir()))
    except OSError:
        return float("nan"), -1


def _publish(pipe: Connection, plan: Plan) -> None:
    """Child process."""
    note = os.open(plan.noted, os.O_RDWR | os.O_CREAT, 0o644) if plan.noted else -1
    t = int(os.pread(note, 12, 0) or 0) if note >= 0 else 0
    publisher = Publisher(
        plan.endpoint,
        START,
        epoch=plan.epoch,
        events=made_up(0, EVENTS * t) if t else None,
        folder=Path(plan.keys) if plan.keys else None,
    )
    pipe.send(publisher.endpoint)
    image = np.zeros(START.shape, START.dtype)
    tables = np.zeros(plan.tracks, SPOT), np.zeros(plan.tracks, STATE)
    for table in tables:
        table["track"] = np.arange(plan.tracks)
    due, worst = time.monotonic(), 0.0
    while True:
        due = max(due + 1 / plan.frame_hz, time.monotonic() - 1)
        while (left := due - time.monotonic()) > 0:
            if not pipe.poll(left):
                continue
            if pipe.recv() == "stop":
                publisher.close(Stop(START.run, "complete", events=EVENTS * t), linger_s=LINGER_S)
                pipe.send(EVENTS * t)
                return
            names = ("malformed", "limited", "refused", "hung_up", "dropped", "resent")
            counts = {name: getattr(publisher, name) for name in names}
            pipe.send(Health(EVENTS * t, worst, *resources(), counts))
            worst = 0.0
        tables[0]["frame"] = tables[1]["frame"] = tables[1]["made"] = t
        begin = time.monotonic()
        events = made_up(EVENTS * t, EVENTS)
        publisher(
            Frame(t, t, 0, 0, t / plan.frame_hz, image), Update(t, t, 0, 0, 0.0, 0, *tables, events)
        )
        worst = max(worst, 1000 * (time.monotonic() - begin))
        t += 1
        if note >= 0 and t % NOTE_EVERY == 0:
            os.pwrite(note, f"{t:12d}".encode(), 0)
