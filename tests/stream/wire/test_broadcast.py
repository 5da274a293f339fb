"""What strangers can cost a publisher is bounded, and what they do is counted and told."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
import zmq

from build import FREE, GIVE_UP_S, make_events, make_frame, make_start, make_update, until
from livespt.stream.types import Stop
from livespt.stream.wire import codec
from livespt.stream.wire.broadcast import MESSAGE_BYTES, UNKNOWN
from livespt.stream.wire.publisher import ANSWERS, Publisher
from livespt.stream.wire.subscriber import Subscriber

START = make_start((32, 32))


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    publisher = Publisher(FREE, START)
    yield publisher
    publisher.close(Stop("r", "complete"), linger_s=1.0)


def publish(publisher: Publisher, first: int, n: int) -> None:
    for seq in range(first, first + n):
        frame = make_frame(seq, (32, 32))
        publisher(frame, make_update(frame, events=make_events(seq, 1)))


def numbers(subscriber: Subscriber, n: int) -> list[int]:
    return [int(row["seq"]) for _, row in zip(range(n), subscriber.events(GIVE_UP_S), strict=False)]


def await_count(publisher: Publisher, name: str, at_least: int) -> None:
    until(lambda: getattr(publisher, name) >= at_least, f"{name} is too small")


@pytest.mark.parametrize("kind", ["subscriptions", "messages"])
def test_who_floods_is_cut_off_and_the_honest_come_back(publisher: Publisher, kind: str) -> None:
    first = b"\1" if kind == "subscriptions" else b"x"
    with Subscriber(publisher.endpoint, since=0) as subscriber:
        publish(publisher, 0, 5)
        with zmq.Context() as context, context.socket(zmq.XSUB) as xsub:
            xsub.linger, xsub.sndhwm = 0, 0
            xsub.connect(publisher.endpoint)
            deadline = time.monotonic() + GIVE_UP_S
            sent = 0
            while not publisher.hung_up and time.monotonic() < deadline:
                for _ in range(10 * UNKNOWN):
                    xsub.send(first + b"junk %d" % sent)
                    sent += 1
                time.sleep(0.05)
        assert publisher.hung_up and publisher.malformed > 0
        publish(publisher, 5, 5)
        assert numbers(subscriber, 10) == list(range(10))


def test_a_frame_that_is_too_long_ends_the_connection_and_no_more(publisher: Publisher) -> None:
    with Subscriber(publisher.endpoint, since=0) as subscriber:
        with zmq.Context() as context, context.socket(zmq.XSUB) as xsub:
            xsub.linger = 500
            xsub.connect(publisher.endpoint)
            xsub.send(b"\1" + bytes(MESSAGE_BYTES))
            publish(publisher, 0, 5)
            assert numbers(subscriber, 5) == list(range(5))
    assert publisher.malformed == 0 and publisher.hung_up == 0


def test_one_who_asks_too_much_leaves_room_for_the_others(publisher: Publisher) -> None:
    publish(publisher, 0, 300)
    beats = publisher._seq["heartbeat"]
    with zmq.Context() as context, context.socket(zmq.DEALER) as greedy:
        greedy.linger, greedy.sndhwm = 0, 0
        greedy.connect(publisher.router_endpoint)
        for _ in range(3000):
            greedy.send_multipart(codec.encode_request(codec.Request("since")))
        await_count(publisher, "limited", ANSWERS[1])
        with Subscriber(publisher.endpoint, since=0) as subscriber:
            assert numbers(subscriber, 300) == list(range(300))
    resent, beats = publisher.resent, publisher._seq["heartbeat"] - beats
    assert resent <= 300 * (ANSWERS[0] * (beats + 2) + 1)


def test_the_heartbeat_tells_what_was_odd(publisher: Publisher) -> None:
    with zmq.Context() as context:
        with context.socket(zmq.DEALER) as dealer, context.socket(zmq.SUB) as sub:
            dealer.linger = round(1000 * GIVE_UP_S)
            dealer.connect(publisher.router_endpoint)
            sub.connect(publisher.endpoint)
            sub.subscribe(b"heartbeat")
            for _ in range(3):
                dealer.send_multipart([b"since", b"?"])
            await_count(publisher, "malformed", 3)
            counts: dict[str, int] = {}
            while counts.get("malformed") != 3:
                assert sub.poll(1000 * GIVE_UP_S)
                counts = json.loads(sub.recv_multipart()[1])
    told = {name: counts[name] for name in ("malformed", "limited", "refused", "hung_up")}
    assert told == {"malformed": 3, "limited": 0, "refused": 0, "hung_up": 0}
