"""Hostile publisher: sends a subscriber of ours whatever it likes."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np
import zmq

from livespt.stream.errors import LiveSptError
from livespt.stream.types import EVENT, SPOT, STATE, Frame, Stop, Update
from livespt.stream.wire import codec, payloads
from livespt.stream.wire.subscriber import FOLLOWED, Subscriber
from livespt.tools.chaos.trial_publisher import START, context, free_endpoint, made_up, resources

TURN_S = 0.3  # the victim asks for each kind of message for so long
JOIN_S = 5.0  # it waits for a publisher
GIVE_UP_S = 300.0  # without a sign of life: whoever is merely slow has given one
WAITING = 100  # messages: with more, all might be sent to the first of the victim's lives


class Suffered(NamedTuple):
    """What the victim went through."""

    malformed: int  # messages counted as such
    errors: int  # LiveSptError raised: "another run publishes here now", for one
    turns: int  # in which it listened, also those that ended in an error
    longest_s: float  # a turn of TURN_S took
    memory_mb: float  # it grew by


def good_messages() -> dict[str, list[bytes]]:
    """A proper message of every topic."""
    common = {"run": START.run, "epoch": 0, "seq": 3, "head": 2}
    start, stop = payloads.plain(START), payloads.plain(Stop(START.run, "complete"))
    tables = {"spots": np.zeros(3, SPOT), "states": np.zeros(3, STATE), "events": made_up(0, 2)}
    update = Update(1, 1, 0, 0, 0.1, 0, tables["spots"], tables["states"], tables["events"])
    image = np.zeros((8, 8), "<u2")
    sent = {"sent": {"update": 1, "image": 1, "status": 1}}
    contents: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "update": (payloads.update_fields(update), tables),
        "event": (payloads.event_fields(made_up(0, 1)[0]), {"events": made_up(0, 1)}),
        "image": (payloads.image_fields(Frame(1, 1, 0, 0, 0.1, image)), {"image": image}),
        "status": ({"kind": "x", "frame": 1, "text": "y"}, {}),
        "heartbeat": ({"dropped": 0, **sent}, {}),
        "stop": ({"stop": stop, **sent}, {}),
        "snapshot": ({"start": start, "stop": None}, {}),
        "since": ({"first": 0}, {"events": np.zeros(0, EVENT)}),
    }
    return {
        topic: codec.encode(topic, common | fields, arrays)
        for topic, (fields, arrays) in contents.items()
    }


def hostile_publisher(
    times: int,
    spoil: Callable[[list[bytes], random.Random], list[bytes]],
    say: Callable[[str], None],
) -> tuple[Suffered, list[str]]:
    """Send `times` spoilt messages to a subscriber; return what it suffered, and what is wrong."""
    ours, theirs = context().Pipe()
    suffered, failed = Suffered(0, 0, 0, float("nan"), float("nan")), []
    with zmq.Context() as zmq_context:
        publisher = _Hostile(zmq_context, spoil)
        arguments = (theirs, publisher.endpoint)
        victim = context().Process(target=_victim, args=arguments, daemon=True)
        victim.start()
        theirs.close()
        sent = publisher.send_spoilt(times, victim.is_alive)
        with contextlib.suppress(OSError, EOFError):  # it is dead
            ours.send("enough")
            while publisher.is_patient and not ours.poll(0.001):
                publisher.answer_requests()  # it may be about to join once more
            if ours.poll(0):
                suffered = ours.recv()
        publisher.close()
    victim.join(GIVE_UP_S if suffered.turns else 10)
    if victim.exitcode:
        failed.append(f"the subscriber of a hostile publisher died, code {victim.exitcode}")
    elif victim.exitcode is None or not suffered.turns:
        failed.append("the subscriber of a hostile publisher hung")
        victim.kill()
    elif sent < times:
        failed.append(f"the subscriber of a hostile publisher took {sent} of {times} messages")
    say(f"hostile publisher: {sent} messages; {suffered}")
    return suffered, failed


class _Hostile:
    """Both sockets of a publisher whose every message but the first answer is damaged."""

    def __init__(
        self,
        zmq_context: zmq.Context[Any],
        spoil: Callable[[list[bytes], random.Random], list[bytes]],
    ) -> None:
        self._spoil, self._chance, self._good = spoil, random.Random(7), good_messages()
        self._pub, self._router = zmq_context.socket(zmq.XPUB), zmq_context.socket(zmq.ROUTER)
        self._pub.setsockopt(zmq.XPUB_NODROP, 1)
        self._pub.sndhwm = WAITING
        self._pub.linger = self._router.linger = 0
        self.endpoint = free_endpoint()
        self._pub.bind(self.endpoint)
        host, port = codec.address(self.endpoint)
        self._router.bind(f"tcp://{host}:{port + 1}")
        self._joined = self._there = False  # the victim was let in; it listens
        self._alive_at = time.monotonic()

    @property
    def is_patient(self) -> bool:
        """Whether the victim gave a sign of life within `GIVE_UP_S`."""
        return time.monotonic() < self._alive_at + GIVE_UP_S

    def send_spoilt(self, times: int, is_alive: Callable[[], bool]) -> int:
        """Send spoilt messages as fast as they are taken; return how many."""
        sent, live = 0, [self._good[topic] for topic in (*FOLLOWED, "heartbeat", "stop")]
        while sent < times and is_alive() and self.is_patient:
            self.answer_requests()
            while self._pub.poll(0):
                subscription = self._pub.recv()
                if subscription[1:] == b"heartbeat":
                    self._there = subscription[:1] == b"\1"
            if self._joined and self._there:
                topic, *rest = self._chance.choice(live)
                message = [topic, *self._spoil(rest, self._chance)]
                with contextlib.suppress(zmq.Again):
                    self._pub.send_multipart(message, zmq.DONTWAIT)
                    sent, self._alive_at = sent + 1, time.monotonic()
                    continue
            time.sleep(0.001)  # the victim comes again, or its queue is full
        return sent

    def answer_requests(self) -> None:
        """Let in who asks for a snapshot; answer everything else with something spoilt."""
        while self._router.poll(0):
            peer, *parts = self._router.recv_multipart()
            if parts[:1] == [b"snapshot"]:
                self._joined = True
                self._router.send_multipart([peer, *self._good["snapshot"]])
            else:
                since = self._spoil(self._good["since"], self._chance)
                self._router.send_multipart([peer, *since])

    def close(self) -> None:
        """Close both sockets."""
        self._pub.close()
        self._router.close()


def _victim(pipe: Connection, endpoint: str) -> None:
    """Process of the subscriber: follows, and connects again after every error."""
    malformed = errors = turns = rounds = 0
    longest, base = 0.0, resources()[0]
    while not (turns and pipe.poll(0)):
        subscriber = None
        try:
            subscriber = Subscriber(endpoint, topics=FOLLOWED, since=0, connect_s=JOIN_S)
            while True:
                for listen in (subscriber.events, subscriber.updates, subscriber.images):
                    turns, begin = turns + 1, time.monotonic()
                    try:
                        for _ in listen(TURN_S):
                            if time.monotonic() > begin + TURN_S:
                                break
                    finally:
                        longest = max(longest, time.monotonic() - begin)
                rounds += 1
                if rounds == 1:
                    base = resources()[0]  # warm
                if subscriber.ended or pipe.poll(0):
                    break
        except LiveSptError:
            errors += 1
        if subscriber is not None:
            malformed += subscriber.malformed
            subscriber.close()
    pipe.recv()
    pipe.send(Suffered(malformed, errors, turns, longest, resources()[0] - base))
