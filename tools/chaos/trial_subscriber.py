"""Trial subscriber: a process of its own, which keeps every event as the bytes it got.

It writes each event to a file, and, started again, goes on behind the last whole one there, as a
program would that stores what it has seen. What it must have at the end is known (`made_up`).
"""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any, NamedTuple

from livespt.stream.types import EVENT
from livespt.stream.wire.subscriber import Subscriber
from livespt.tools.chaos.trial_publisher import context, made_up

PATIENCE_S = 300.0  # for what a busy machine does late


class Seen(NamedTuple):
    """What a follower went through, of its last life."""

    events: int = 0  # in this life
    refetched: int = 0
    restarts: int = 0  # of the publisher
    gaps: int = 0
    noticed_s: float = 0.0
    malformed: int = 0
    lost_updates: int = 0
    longest_wait_s: float = 0.0  # from one event to the next


class TrialSubscriber:
    """One who follows a run into the file `path`."""

    def __init__(
        self, endpoint: str, path: Path, topics: tuple[str, ...] = ("event",), key: str = ""
    ) -> None:
        self.endpoint, self.path, self.topics, self.key = endpoint, path, topics, key
        self.start()

    def start(self) -> None:
        """Begin, or go on after the last event in the file."""
        arguments = (self.endpoint, self.path, self.topics, self.key)
        self.process = context().Process(target=_follow, args=arguments, daemon=True)
        self.process.start()

    def has_joined(self) -> bool:
        """Wait until it has an event, for `PATIENCE_S` at most; say whether it has one."""
        deadline = time.monotonic() + PATIENCE_S
        while not (self.path.exists() and self.path.stat().st_size):
            if time.monotonic() > deadline or not self.process.is_alive():
                return False
            time.sleep(0.05)
        return True

    def signal(self, number: int) -> None:
        """Send a signal to the process."""
        if self.process.pid is not None:
            os.kill(self.process.pid, number)

    def fault(self, events: int, within_s: float = PATIENCE_S) -> str:
        """Wait for the end; say how what it has differs from the first `events` events, or ""."""
        self.process.join(within_s)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
            return "did not end"
        if self.process.exitcode:
            return f"exit code {self.process.exitcode}"
        got, want = self.path.read_bytes(), made_up(0, events).tobytes()
        if got == want:
            return ""
        return f"{len(got) // EVENT.itemsize} events, not the {events} that there were"

    @property
    def seen(self) -> Seen:
        """What it went through; known once it ended by itself."""
        state: dict[str, Any] = json.loads(self.path.with_suffix(".json").read_text())
        return Seen(**state)


def _follow(endpoint: str, path: Path, topics: tuple[str, ...], key: str) -> None:
    """Follower process."""
    with path.open("ab", buffering=0) as file:
        whole = file.tell() // EVENT.itemsize
        file.truncate(whole * EVENT.itemsize)  # it may have been killed in a write
        with Subscriber(
            endpoint,
            topics=topics,
            since=whole,
            connect_s=PATIENCE_S,
            silence_s=PATIENCE_S,
            key=Path(key) if key else None,
        ) as subscriber:
            signal.signal(signal.SIGCONT, lambda *_: subscriber.sequence.woke())
            count, longest, last = 0, 0.0, time.monotonic()
            for event in subscriber.events():
                file.write(event.tobytes())
                now = time.monotonic()
                count, longest, last = count + 1, max(longest, now - last), now
    sequence = subscriber.sequence
    seen = Seen(
        count,
        subscriber.refetched,
        subscriber.restarts,
        sequence.gaps,
        sequence.noticed_s,
        subscriber.malformed,
        subscriber.lost.updates,
        longest,
    )
    path.with_suffix(".json").write_text(json.dumps(seen._asdict()))
