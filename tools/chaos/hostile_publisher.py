"""Hostile publisher: sends a subscriber of ours whatever it likes."""

from __future__ import annotations

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
from livespt.tools.chaos.trial_publisher import START, context, made_up, resources

TURN_S = 0.3  # the victim asks for each kind of message for so long
ENOUGH_S = 60.0


class Suffered(NamedTuple):
    """What the victim went through."""

    malformed: int  # messages counted as such
    errors: int  # LiveSptError raised: "another run publishes here now", for one
    turns: int
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
    chance, good, failed = random.Random(7), good_messages(), []
    live = [good[topic] for topic in (*FOLLOWED, "heartbeat", "stop")]
    ours, theirs = context().Pipe()
    with zmq.Context() as zmq_context:
        pub, router = zmq_context.socket(zmq.XPUB), zmq_context.socket(zmq.ROUTER)
        pub.setsockopt(zmq.XPUB_NODROP, 1)
        pub.linger = router.linger = 0
        endpoint = f"tcp://127.0.0.1:{pub.bind_to_random_port('tcp://127.0.0.1', 20000, 30000)}"
        router.bind(f"tcp://127.0.0.1:{codec.address(endpoint)[1] + 1}")
        victim = context().Process(target=_victim, args=(theirs, endpoint), daemon=True)
        victim.start()
        theirs.close()
        sent, there, last = 0, False, time.monotonic()
        while sent < times and victim.is_alive() and time.monotonic() < last + ENOUGH_S:
            _answer(router, good, spoil, chance)
            while pub.poll(0):
                word = pub.recv()
                there = word[:1] == b"\1" if word[1:] == b"heartbeat" else there
            if not there:  # the victim comes again
                time.sleep(0.001)
                continue
            topic, *rest = chance.choice(live)
            try:
                pub.send_multipart([topic, *spoil(rest, chance)], zmq.DONTWAIT)
            except zmq.Again:  # the victim's queue is full
                time.sleep(0.001)
                continue
            sent, last = sent + 1, time.monotonic()
        pub.close()
        router.close()
    suffered = Suffered(0, 0, 0, float("nan"), float("nan"))
    try:
        ours.send("enough")
        if ours.poll(ENOUGH_S):
            suffered = ours.recv()
    except (OSError, EOFError):
        pass
    victim.join(5)
    if victim.exitcode:
        failed.append(f"the subscriber of a hostile publisher died, code {victim.exitcode}")
    elif not suffered.turns:
        failed.append("the subscriber of a hostile publisher hung")
        victim.kill()
    say(f"hostile publisher: {sent} messages; {suffered}")
    return suffered, failed


def _answer(
    router: zmq.Socket[bytes],
    good: dict[str, list[bytes]],
    spoil: Callable[[list[bytes], random.Random], list[bytes]],
    chance: random.Random,
) -> None:
    """Let in who asks for a snapshot; answer everything else with something spoilt."""
    while router.poll(0):
        peer, *parts = router.recv_multipart()
        if parts[:1] == [b"snapshot"]:
            router.send_multipart([peer, *good["snapshot"]])
        else:
            router.send_multipart([peer, *spoil(good["since"], chance)])


def _victim(pipe: Connection, endpoint: str) -> None:
    """Process of the subscriber: follows, and comes again whenever it is told an error."""
    malformed = errors = turns = 0
    longest, base = 0.0, resources()[0]
    while not pipe.poll(0):
        subscriber = None
        try:
            subscriber = Subscriber(endpoint, topics=FOLLOWED, since=0, connect_s=TURN_S)
            while not pipe.poll(0) and not subscriber.ended:
                for turn in (subscriber.events, subscriber.updates, subscriber.images):
                    begin = time.monotonic()
                    for _ in turn(TURN_S):
                        if time.monotonic() > begin + TURN_S:
                            break
                    turns, longest = turns + 1, max(longest, time.monotonic() - begin)
                if turns == 3:
                    base = resources()[0]  # warm
        except LiveSptError:
            errors += 1
        if subscriber is not None:
            malformed += subscriber.malformed
            subscriber.close()
    pipe.recv()
    pipe.send(Suffered(malformed, errors, turns, longest, resources()[0] - base))
