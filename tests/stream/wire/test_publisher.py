"""Publishing and following a run: real sockets on free ports, real processes that are killed."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import zmq
from hypothesis import given, settings, strategies as st

from build import (
    FREE,
    GIVE_UP_S,
    environment,
    make_events,
    make_frame,
    make_start,
    make_update,
    until,
)
from livespt.stream.errors import SettingError, WireError
from livespt.stream.types import EVENT, FORMAT, KINDS, SPOT, STATE, Frame, Stop, Update
from livespt.stream.wire import codec
from livespt.stream.wire.event_history import ANSWER_EVENTS, EventLog, living
from livespt.stream.wire.event_order import PENDING
from livespt.stream.wire.publisher import Publisher
from livespt.stream.wire.subscriber import Subscriber
from livespt.tools.chaos.trial_publisher import free_endpoint

GIVE_UP_MS = 1000 * int(GIVE_UP_S)
LINGER_S = 60.0  # for those who have not said goodbye
START = make_start((32, 32), run="run-1")
STOP = Stop("run-1", "complete")


@pytest.fixture(autouse=True)
def in_no_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the time that a publisher stays up for those who wait for it."""
    monkeypatch.setattr("livespt.stream.wire.publisher.GREET_S", 0.0)


def step(t: int, events: np.ndarray | None = None, tracks: int = 3) -> tuple[Frame, Update]:
    """An analyzed frame: `tracks` spots with a state each."""
    spots, states = np.zeros(tracks, SPOT), np.zeros(tracks, STATE)
    spots["frame"] = states["frame"] = states["made"] = t
    spots["track"] = states["track"] = np.arange(tracks)
    events = make_events(0, 0) if events is None else events
    frame = make_frame(t, image=np.full((32, 32), t, "<u2"))
    return frame, make_update(frame, spots, states, events)


@contextlib.contextmanager
def publishing(endpoint: str = FREE, **options: Any) -> Iterator[Publisher]:
    publisher = Publisher(endpoint, START, **options)
    try:
        yield publisher
    finally:
        publisher.close(STOP, LINGER_S)


@contextlib.contextmanager
def closing(publisher: Publisher) -> Iterator[None]:
    """Close in another thread, as another process would, while the block reads on."""
    thread = threading.Thread(target=publisher.close, args=(STOP, LINGER_S))
    thread.start()
    try:
        yield
    finally:
        thread.join()


def await_live(subscriber: Subscriber) -> None:
    """Wait until what is published reaches it: from now on it misses none but in full queues."""

    def hears() -> bool:
        list(subscriber.statuses(0))
        return subscriber._silence.unheard_s == 0

    until(hears)


def assert_whole(events: list[Any], first: int, n: int) -> None:
    """Every event from `first` on, once, in order, unchanged."""
    got = np.array(events, EVENT)
    np.testing.assert_array_equal(got["seq"], np.arange(first, first + n))
    assert got.tobytes() == make_events(first, n).tobytes()


# Who listens, and what they get.


@pytest.mark.parametrize("since", [0, 3, ANSWER_EVENTS + 7])
def test_who_joins_late_gets_every_event_from_there_on(since: int) -> None:
    n = 2 * ANSWER_EVENTS + 11
    publisher = Publisher(FREE, START, events=make_events(0, n))
    publisher(*step(0, make_events(n, 5)))
    with Subscriber(publisher.endpoint, since=since) as subscriber:
        publisher(*step(1, make_events(n + 5, 5)))
        with closing(publisher):
            assert_whole(list(subscriber.events()), since, n + 10 - since)
        assert subscriber.ended and subscriber.stop == STOP
        assert subscriber.next_seq == n + 10
        assert list(subscriber.events()) == []


def test_from_now_means_no_event_of_before() -> None:
    with publishing() as publisher:
        publisher(*step(0, make_events(0, 9)))
        with Subscriber(publisher.endpoint) as subscriber:
            publisher(*step(1, make_events(9, 2)))
            events = subscriber.events(GIVE_UP_S)
            assert_whole([next(events), next(events)], 9, 2)


def test_who_joins_before_the_first_frames_is_told_their_interval() -> None:
    publisher = Publisher(FREE, replace(START, frame_interval_s=None))
    with Subscriber(publisher.endpoint, since=0) as subscriber:
        await_live(subscriber)
        assert subscriber.start.frame_interval_s is None
        publisher.begin(replace(START, frame_interval_s=0.025))
        publisher(*step(0, make_events(0, 1)))
        with closing(publisher):
            assert len(list(subscriber.events(GIVE_UP_S))) == 1
        assert subscriber.start.frame_interval_s == 0.025


def test_who_joins_late_sees_what_is_known() -> None:
    with publishing() as publisher:
        with Subscriber(publisher.endpoint, topics=()) as early:
            assert early.joined is None and early.start == START
        publisher(*step(0, tracks=5))
        gone = make_events(0, 1)
        gone["kind"], gone["track"] = KINDS.index("lost"), 1
        publisher(*step(1, gone, tracks=3))
        with Subscriber(publisher.endpoint, topics=()) as late:
            joined = late.joined
    assert joined is not None and joined.t == 1 and joined.spots["track"].tolist() == [0, 1, 2]
    assert joined.states["track"].tolist() == [0, 2, 3, 4]  # 1 was lost; 3 and 4 may come back
    assert joined.states["frame"].tolist() == [1, 1, 0, 0]


def test_a_snapshot_has_the_head_of_its_update(monkeypatch: pytest.MonkeyPatch) -> None:
    with publishing() as publisher, zmq.Context() as context:
        publisher(*step(0, make_events(0, 4)))

        def meanwhile(updates: Any) -> np.ndarray:
            other = threading.Thread(target=publisher, args=step(1, make_events(4, 3)))
            other.start()
            other.join(0.5)
            return living(updates)

        monkeypatch.setattr("livespt.stream.wire.publisher.living", meanwhile)
        with context.socket(zmq.DEALER) as dealer:
            dealer.connect(publisher.router_endpoint)
            dealer.send_multipart(codec.encode_request(codec.Request("snapshot")))
            assert dealer.poll(GIVE_UP_MS)
            header = codec.decode(dealer.recv_multipart()).header
            dealer.send_multipart(codec.encode_request(codec.Request("bye")))
        assert (header["frame"], header["head"]) == (0, 4)


def test_only_the_kinds_that_are_wanted() -> None:
    with publishing() as publisher:
        publisher(*step(0, make_events(0, 40)))
        with Subscriber(publisher.endpoint, since=0, kinds=["uncoating", "rule"]) as subscriber:
            with closing(publisher):
                kinds = [KINDS[event["kind"]] for event in subscriber.events()]
    assert kinds == ["uncoating", "rule"] * 5


def test_a_subscriber_goes_on_where_another_stopped() -> None:
    with publishing() as publisher:
        publisher(*step(0, make_events(0, 40)))
        with Subscriber(publisher.endpoint, since=0) as first:
            events = first.events(GIVE_UP_S)
            head = [next(events) for _ in range(15)]
        with Subscriber(publisher.endpoint, since=first.next_seq) as second:
            with closing(publisher):
                assert_whole([*head, *second.events()], 0, 40)


def test_updates_come_whole_and_in_order() -> None:
    sent = [step(t, make_events(t, 1), tracks=t) for t in range(50)]
    with publishing() as publisher:
        with Subscriber(publisher.endpoint, topics=("update", "status")) as subscriber:
            await_live(subscriber)
            for frame, update in sent:
                publisher(frame, update)
            publisher.status("disk full", "0 bytes left")
            with closing(publisher):
                got = list(subscriber.updates())
            (status,) = subscriber.statuses()
    assert (status.kind, status.frame, status.text) == ("disk full", 49, "0 bytes left")
    assert [update.number for update in got] == list(range(50))
    for update, (_, original) in zip(got, sent, strict=True):
        for name in ("spots", "states", "events"):
            assert getattr(update, name).tobytes() == getattr(original, name).tobytes()
    assert subscriber.lost == (0, 0, 0) and publisher.dropped == 0


def test_heartbeats_come_without_frames_and_say_the_head() -> None:
    with publishing(events=make_events(0, 12)) as publisher:
        with zmq.Context() as context, context.socket(zmq.SUB) as sub:
            sub.connect(publisher.endpoint)
            sub.subscribe(b"heartbeat")
            beats = []
            for _ in range(4):
                assert sub.poll(GIVE_UP_MS)
                beats.append(codec.decode(sub.recv_multipart()).header)
    assert [beat["seq"] for beat in beats] == list(range(beats[0]["seq"], beats[0]["seq"] + 4))
    assert all(beat["head"] == 12 for beat in beats)


class Clock:
    """The module `time`, whose nanoseconds pass when it is told so."""

    monotonic, sleep = staticmethod(time.monotonic), staticmethod(time.sleep)
    now_ns = 10**9

    def monotonic_ns(self) -> int:
        return self.now_ns


def test_images_are_sent_to_those_who_ask_and_not_too_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, n = Clock(), 40
    monkeypatch.setattr("livespt.stream.wire.publisher.time", clock)
    with publishing(image_rate_hz=20) as publisher:
        with Subscriber(publisher.endpoint, topics=("update",)) as other:
            for t in range(20):
                publisher(*step(t))
            assert not publisher._pub.wants_images
            with Subscriber(publisher.endpoint, topics=("image",)) as subscriber:
                until(lambda: publisher._pub.wants_images)
                got = []
                for t in range(20, 20 + n):
                    clock.now_ns += 10_000_000
                    sent = publisher._seq["image"]
                    publisher(*step(t))
                    if publisher._seq["image"] > sent:
                        got.append(next(subscriber.images(GIVE_UP_S)))
            until(lambda: not publisher._pub.wants_images)
            assert list(other.images(0)) == []
    # 100 frames/s; the first two at once, because none was due for a second
    assert [image.number for image in got] == [20, 21, *range(25, 20 + n, 5)]
    for image in got:
        assert (image.image == image.number).all()
    assert subscriber.lost.images == 0


# Nothing is lost.


def test_a_burst_beyond_every_queue_reaches_a_subscriber_that_slept() -> None:
    n, at_a_time = 20_000, 400
    publisher = Publisher(FREE, START)
    with Subscriber(publisher.endpoint, since=0) as subscriber:
        await_live(subscriber)
        for first in range(0, n, at_a_time):
            publisher(*step(first // at_a_time, make_events(first, at_a_time)))
        with closing(publisher):
            assert_whole(list(subscriber.events()), 0, n)
    assert subscriber.refetched > 0, "the burst fitted into the queues: nothing was tested"
    assert publisher.dropped > 0
    assert publisher.resent >= subscriber.refetched


def test_what_is_not_read_is_not_held_but_fetched_again() -> None:
    n = 3 * PENDING
    with publishing(events=make_events(0, n)) as publisher:
        with Subscriber(publisher.endpoint, topics=("event", "update"), since=0) as subscriber:
            publisher(*step(0))
            while subscriber.next_seq == 0 and len(subscriber.sequence.queue) < PENDING:
                list(subscriber.updates(0.01))
            publisher(*step(1))
            list(subscriber.updates(0.3))
            assert (
                len(subscriber.sequence.queue) == PENDING
                and len(subscriber.sequence._ahead) <= PENDING
            )
            with closing(publisher):
                assert_whole(list(subscriber.events()), 0, n)


def test_updates_that_did_not_come_are_counted() -> None:
    n = 6000
    with publishing() as publisher:
        with Subscriber(publisher.endpoint, topics=("update",)) as subscriber:
            await_live(subscriber)
            publisher(*step(0))
            first = next(subscriber.updates(GIVE_UP_S))
            frame, update = step(0, tracks=60)
            for t in range(1, n):
                publisher(frame, update._replace(number=t))
            with closing(publisher):
                got = [first, *subscriber.updates()]
    numbers = [update.number for update in got]
    assert numbers == sorted(set(numbers))
    assert subscriber.lost.updates > 0, "all fitted into the queues: nothing was tested"
    assert len(got) + subscriber.lost.updates == n


def test_updates_are_counted_though_nothing_came_live_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with publishing() as publisher:
        with Subscriber(publisher.endpoint, topics=("update",)) as subscriber:
            await_live(subscriber)
            publisher(*step(0))
            first = next(subscriber.updates(GIVE_UP_S))
            monkeypatch.setattr(publisher._pub, "send", lambda parts: None)
            for t in range(1, 6):
                publisher(*step(t))
            with closing(publisher):  # the stop comes in person, and tells
                assert list(subscriber.updates()) == [] and first.number == 0
            assert subscriber.stop == STOP and subscriber.lost.updates == 5


# A publisher in a process of its own, which says how far it is and can be killed.
PUBLISHER = """
import sys, time
from build import make_events, make_frame, make_start, make_update
from livespt.stream.types import Stop
from livespt.stream.wire.publisher import Publisher

endpoint, run, epoch, held, first, last = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
start = make_start((32, 32), run=run, mode="live")
publisher = Publisher(endpoint, start, epoch=epoch, events=make_events(0, held) if held else None)
print(publisher.endpoint, flush=True)
for seq in range(first, last):
    time.sleep(0.0005)
    frame = make_frame(seq, (32, 32))
    publisher(frame, make_update(frame, events=make_events(seq, 1)))
publisher.close(Stop(run, "complete"))
"""


@contextlib.contextmanager
def process(endpoint: str, run: str, *numbers: int) -> Iterator[Any]:
    arguments = [endpoint, run, *map(str, numbers)]
    command = [sys.executable, "-c", PUBLISHER, *arguments]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment())
    assert child.stdout is not None
    try:
        taken = child.stdout.readline().strip()
        assert taken == endpoint
        yield child
    finally:
        child.kill()
        child.communicate()


def test_a_killed_publisher_is_followed_into_its_next_life() -> None:
    endpoint = free_endpoint()
    with process(endpoint, "run-1", 0, 0, 0, 10**6) as child:
        with Subscriber(endpoint, since=0) as subscriber:
            events = subscriber.events(GIVE_UP_S)
            got = [next(events) for _ in range(120)]
            child.send_signal(signal.SIGKILL)
            child.wait()
            got += subscriber.events(0.3)
            # the store had not all of it: events 80 and on are made, and sent, again
            last = len(got) + 200
            with process(endpoint, "run-1", 1, 80, 80, last):
                got += subscriber.events(GIVE_UP_S)
        assert_whole(got, 0, last)
        assert subscriber.restarts == 1 and subscriber.epoch == 1 and subscriber.ended


def test_another_run_at_the_same_place_is_not_taken_for_the_same() -> None:
    endpoint = free_endpoint()
    with process(endpoint, "run-1", 0, 0, 0, 10**6) as child:
        with Subscriber(endpoint, since=0) as subscriber:
            next(subscriber.events(GIVE_UP_S))
            child.kill()
            child.wait()
            with process(endpoint, "run-2", 0, 0, 0, 10**6):
                with pytest.raises(WireError, match=r"publishes run run-2 now: start again"):
                    for _ in subscriber.events(GIVE_UP_S):
                        pass


def test_events_that_no_publisher_holds_are_reported_not_skipped() -> None:
    with publishing() as publisher:
        publisher(*step(0, make_events(100, 5)))  # a restarted run, without what came before
        with Subscriber(publisher.endpoint, since=98) as subscriber:
            with pytest.raises(WireError, match=r"no events before 100: read those from 98 on"):
                list(subscriber.events(GIVE_UP_S))


def test_a_publisher_that_falls_silent_is_reported() -> None:
    endpoint = free_endpoint()
    with process(endpoint, "run-1", 0, 0, 0, 10**6) as child:
        with Subscriber(endpoint, since=0, silence_s=GIVE_UP_S) as subscriber:
            next(subscriber.events(GIVE_UP_S))
            child.kill()
            subscriber.silence_s = 0.5
            with pytest.raises(WireError, match=r"fell silent 0.5 s ago .* go on from event \d+"):
                for _ in subscriber.events(GIVE_UP_S):
                    pass


def test_a_subscriber_that_stalls_longer_does_not_blame_the_publisher() -> None:
    with publishing() as publisher:
        with Subscriber(publisher.endpoint, since=0, silence_s=GIVE_UP_S) as subscriber:
            await_live(subscriber)
            subscriber._silence._read_at -= 10 * GIVE_UP_S  # it did not read for so long
            publisher(*step(0, make_events(0, 1)))
            assert_whole([next(subscriber.events(GIVE_UP_S))], 0, 1)


# The end.


def test_the_end_waits_for_who_joined_and_for_no_one_else() -> None:
    publisher = Publisher(FREE, START)
    begin = time.monotonic()
    publisher.close(STOP, GIVE_UP_S)
    assert time.monotonic() - begin < GIVE_UP_S

    publisher = Publisher(FREE, START, events=make_events(0, 5000))
    with Subscriber(publisher.endpoint, since=0) as subscriber:
        with closing(publisher):
            time.sleep(0.2)
            assert_whole(list(subscriber.events()), 0, 5000)
    publisher.close(STOP)  # once more does nothing
    with pytest.raises(WireError, match="closed"):
        publisher(*step(0))
    assert not [t for t in threading.enumerate() if t.name == "livespt-publisher"]


def test_the_end_does_not_wait_for_who_hangs_or_died() -> None:
    publisher = Publisher(FREE, START)
    context = zmq.Context()
    for _ in range(2):
        dealer = context.socket(zmq.DEALER)
        dealer.connect(publisher.router_endpoint)
        dealer.send_multipart(codec.encode_request(codec.Request("snapshot")))
        assert dealer.poll(GIVE_UP_MS)
        if len(publisher._peers) == 1:
            dealer.close(linger=0)  # died; the second one hangs
    assert len(publisher._peers) == 2
    with closing(publisher):
        until(lambda: len(publisher._peers) == 1)
        assert publisher._thread.is_alive()
        publisher._deadline = time.monotonic()  # as if it had waited as long as it may
    assert len(publisher._peers) == 1
    context.destroy(linger=0)


def test_a_run_that_is_over_at_once_reaches_who_waits_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("livespt.stream.wire.publisher.GREET_S", GIVE_UP_S)
    endpoint, got = free_endpoint(), []

    def wait() -> None:
        with Subscriber(endpoint, since=0, connect_s=GIVE_UP_S) as subscriber:
            got.extend(subscriber.events())

    waiting = threading.Thread(target=wait)
    waiting.start()
    time.sleep(0.2)
    with publishing(endpoint) as publisher:
        publisher(*step(0, make_events(0, 30)))
        with closing(publisher):
            until(lambda: bool(got))
            monkeypatch.setattr("livespt.stream.wire.publisher.GREET_S", 0.0)
    waiting.join()
    assert_whole(got, 0, 30)


# Refusals.


def test_a_busy_port_is_a_clear_error_and_leaves_nothing_bound() -> None:
    with publishing(free_endpoint()) as publisher:
        port = codec.address(publisher.endpoint)[1]
        for busy in (port, port + 1, port - 1):  # of both, the ROUTER's as PUB, the PUB's as ROUTER
            with pytest.raises(WireError, match=r"cannot publish on .* in use; end the run that"):
                Publisher(f"tcp://127.0.0.1:{busy}", START)
        with socket.socket() as free:
            free.bind(("127.0.0.1", port - 1))


@pytest.mark.parametrize(
    "endpoint", ["tcp://0.0.0.0:5570", "tcp://192.0.2.7:5570", "tcp://scope.lab:5570"]
)
def test_nothing_is_published_to_other_machines_without_keys(endpoint: str) -> None:
    with pytest.raises(WireError, match="needs CURVE keys"):
        Publisher(endpoint, START)


def test_a_first_word_that_does_not_fit_is_refused_before_the_run() -> None:
    with pytest.raises(WireError, match="header of start"):
        Publisher(FREE, replace(START, settings={"x": "x" * (1 << 20)}))


def test_who_finds_nothing_is_told_so() -> None:
    begin = time.monotonic()
    with pytest.raises(WireError, match=r"nothing publishes at tcp://127.0.0.1:1, or not to"):
        Subscriber("tcp://127.0.0.1:1", connect_s=0.3)
    assert time.monotonic() - begin > 0.2
    for wrong in ({"topics": ["events"]}, {"kinds": ["uncoated"]}):
        with pytest.raises(SettingError, match="is none of"):
            Subscriber("tcp://127.0.0.1:1", **wrong)  # type: ignore[arg-type]


# Hostile company.


def test_garbage_harms_no_one() -> None:
    chance = random.Random(5)
    publisher = Publisher(FREE, START, events=make_events(0, 50))
    host, port = codec.address(publisher.endpoint)
    with Subscriber(publisher.endpoint, since=0) as subscriber:
        for at in (port, port + 1):
            for _ in range(60):
                with socket.create_connection((host, at)) as raw:
                    with contextlib.suppress(ConnectionError):
                        raw.sendall(chance.randbytes(chance.randrange(1, 400)))
        with zmq.Context() as context:
            with context.socket(zmq.DEALER) as dealer, context.socket(zmq.XSUB) as xsub:
                dealer.linger, xsub.linger = GIVE_UP_MS, 500
                dealer.connect(publisher.router_endpoint)
                xsub.connect(publisher.endpoint)
                for _ in range(300):
                    parts = [chance.randbytes(chance.randrange(60)) for _ in range(3)]
                    dealer.send_multipart([chance.choice([b"since", b"bye", b"?"]), *parts[:1]])
                    xsub.send_multipart(parts)
                dealer.send_multipart([b"since", b'{"format": %d, "seq": -1}' % FORMAT])
                dealer.send_multipart([b"snapshot", b'{"format": 99}'])
        with zmq.Context() as context, context.socket(zmq.DEALER) as large:
            large.linger = 0
            large.connect(publisher.router_endpoint)
            large.send(bytes(1 << 20))  # above the limit: the connection is cut
        until(lambda: publisher.malformed >= 302)
        publisher(*step(0, make_events(50, 5)))
        with closing(publisher):
            assert_whole(list(subscriber.events()), 0, 55)
    assert subscriber.malformed == 0


def test_a_subscriber_counts_what_makes_no_sense_and_goes_on() -> None:
    with publishing() as publisher, Subscriber(publisher.endpoint, since=0) as subscriber:
        await_live(subscriber)
        with publisher._lock:
            publisher._pub.send([b"event", b"{}"])
            publisher._pub.send([b"event"])
            publisher._send("event", {"seq": 0}, {"events": np.zeros(2, SPOT)})
        publisher(*step(0, make_events(0, 2)))
        events = subscriber.events(GIVE_UP_S)
        assert_whole([next(events), next(events)], 0, 2)
        assert subscriber.malformed == 3


def test_a_plain_request_socket_is_answered_too() -> None:
    with publishing(events=make_events(0, 9)) as publisher:
        with zmq.Context() as context, context.socket(zmq.REQ) as req:
            req.linger = 0
            req.connect(publisher.router_endpoint)
            request = {"format": FORMAT, "seq": 4, "to": 7}
            req.send_multipart([b"since", json.dumps(request).encode()])
            assert req.poll(GIVE_UP_MS)
            answer = codec.decode(req.recv_multipart())
    assert answer.header["first"] == 0 and answer.header["head"] == 9
    assert answer.arrays["events"]["seq"].tolist() == [4, 5, 6]


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="this system cannot stop a process")
def test_a_stopped_subscriber_holds_no_one_up_and_misses_nothing() -> None:
    program = (
        "import sys\n"
        "from livespt.stream.wire.subscriber import Subscriber\n"
        "with Subscriber(sys.argv[1], since=0, silence_s=300) as subscriber:\n"
        "    for event in subscriber.events():\n"
        "        print(event['seq'], event['track'], flush=event['seq'] == 0)\n"
    )
    n, at_a_time = 10_000, 200
    with publishing() as publisher:
        child = subprocess.Popen(
            [sys.executable, "-c", program, publisher.endpoint], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        try:
            publisher(*step(0, make_events(0, at_a_time)))
            first = child.stdout.readline()
            os.kill(child.pid, signal.SIGSTOP)
            for begin in range(at_a_time, n, at_a_time):
                publisher(*step(begin, make_events(begin, at_a_time)))
            os.kill(child.pid, signal.SIGCONT)
            with closing(publisher):
                lines = [first, *child.stdout]
                child.wait()
        finally:
            child.kill()
            child.communicate()
    assert "".join(lines).splitlines() == [f"{seq} {7 * seq}" for seq in range(n)]
    assert child.returncode == 0


# What is kept for those who come late.


@settings(max_examples=60)
@given(st.integers(0, 5), st.lists(st.tuples(st.integers(0, 9), st.integers(0, 6)), max_size=8))
def test_the_log_holds_every_event_once(first: int, appends: list[tuple[int, int]]) -> None:
    log, head = EventLog(), first
    for back, n in appends:  # a restarted analyzer repeats up to `back` events
        begin = max(first, head - back)
        log.append(make_events(begin, n))
        head = max(head, begin + n) if n else head
    rows = log.since(0, 10**9)
    assert rows.tobytes() == make_events(first, head - first).tobytes()
    if len(rows):
        assert (log.first, log.head) == (first, head)
        assert log.since(first + 1, first + 3)["seq"].tolist() == [
            seq for seq in (first + 1, first + 2) if seq < head
        ]


@pytest.mark.parametrize("seqs", [[7], [5, 7], [5, 5], [2], [6, 5]], ids=str)
def test_the_log_refuses_gaps(seqs: list[int]) -> None:
    log = EventLog(make_events(3, 2))
    events = make_events(0, len(seqs))
    events["seq"] = seqs
    with pytest.raises(WireError, match="event 5 is missing"):
        log.append(events)
    assert log.since(0, 99)["seq"].tolist() == [3, 4]


ROW = st.tuples(st.integers(0, 1), st.integers(0, 1), st.integers(0, 3), st.integers(0, 5))


@settings(max_examples=60)
@given(st.lists(st.tuples(st.lists(ROW, max_size=6), st.lists(st.integers(0, 3), max_size=2))))
def test_living_tracks_have_their_newest_state(made: list[Any]) -> None:
    updates, newest, gone = [], {}, set()
    for t, (rows, lost) in enumerate(made):
        states, events = np.zeros(len(rows), STATE), make_events(0, len(lost))
        for at, (channel, position, track, frame) in enumerate(rows):
            states[at]["channel"], states[at]["position"] = channel, position
            states[at]["track"], states[at]["frame"], states[at]["made"] = track, frame, t
            key = (channel, position, track)
            newest[key] = max(newest.get(key, (-1, -1)), (frame, t))
        events["kind"], events["track"] = KINDS.index("lost"), lost
        gone |= set(lost)
        updates.append(step(t)[1]._replace(states=states, events=events))
    got = living(updates)
    found = {
        (int(s["channel"]), int(s["position"]), int(s["track"])): (int(s["frame"]), int(s["made"]))
        for s in got
    }
    assert len(found) == len(got)
    assert found == {key: value for key, value in newest.items() if key[2] not in gone}
