"""Publisher: the sink that sends what a run produces to everyone who listens.

Two sockets. The PUB socket (broadcast.py) is written by the thread that calls the sink, under a
lock: a send to a full or dead subscriber returns at once, so handing over costs microseconds and
needs no queue of ours, and the time returned is that of the send itself. One named daemon thread
owns the ROUTER, answers who missed something, and beats the heart under the same lock.

Nothing waits for a subscriber. What is lost on PUB can be asked for again if it is an event
(`since`); each subscriber counts its own losses by `seq`. Nor can anyone who asks too much take the
time of the run: so many requests are answered in a beat, of one peer and of all; libzmq takes them
from the peers in turn, and keeps the others waiting where they come from.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zmq
from numpy.typing import NDArray

from livespt.stream.degradation import IMAGE_EVERY
from livespt.stream.errors import WireError
from livespt.stream.types import Frame, Start, Stop, Update
from livespt.stream.wire import codec, keys, payloads
from livespt.stream.wire.event_history import EventLog, StoredEvents, living
from livespt.stream.wire.peer_faults import PEER_FAULTS, FaultNotices
from livespt.stream.wire.sockets import admitted, bind, publishing

BEAT_S = 0.1
HEED_S = 0.02  # between looks for a flood of subscriptions
START_EVERY = 10  # beats
GREET_S = 0.5  # a run stays up this long, so that who waits for it finds it
RECENT = 64  # updates from which the states of living tracks are taken
MAX_PEERS = 1024
ANSWERS = (40, 200)  # in one beat: to one peer, to all of them
SNAPSHOTS = 4  # made in one beat: of many who ask at once, the others get the last one of these

Arrays = Mapping[str, NDArray[Any]]


class Publisher:
    """Sends updates, events, images and notices; answers those who join late or missed some.

    Parameters
    ----------
    endpoint : str
        `tcp://127.0.0.1:PORT` of the PUB socket; the ROUTER takes PORT + 1. Port 0 picks two free
        ones. `endpoint` and `router_endpoint` say what was taken.
    start : Start
        First word of the run.
    epoch : int
        How many publishers of this run came before.
    events : StoredEvents or EVENT array (n,), optional
        What those published: `StoredEvents(path of the run)`, from which old events are also read
        once they are too many for memory; give it to the first publisher of a stored run, too.
    image_rate_hz : float
        Images are sent at most so often, and only while someone subscribes to them.
    folder : Path, optional
        Keys of those who may follow (keys.py); all others get nothing.

    Raises
    ------
    WireError
        The endpoint is malformed, busy, or open to other machines; `start` is too large.
    """

    def __init__(
        self,
        endpoint: str,
        start: Start,
        *,
        epoch: int = 0,
        events: StoredEvents | NDArray[np.void] | None = None,
        image_rate_hz: float = 30.0,
        folder: Path | None = None,
    ) -> None:
        self._allowed = admitted(endpoint, folder)
        host, port = codec.address(endpoint)
        self.start, self.epoch = start, epoch
        self.resent = 0  # events fetched through the ROUTER
        self.refused = 0  # peers without a known key
        self.limited = 0  # requests beyond what one peer is answered in a beat
        self._nonsense = self._too_large = 0
        self._asked: Counter[bytes] = Counter()  # requests of each peer in this beat
        self._made: list[list[bytes]] = []  # snapshots, in this beat
        self._told = FaultNotices()
        self._refused_at = ""
        self._log = EventLog(events)
        self._seq = dict.fromkeys(codec.TOPICS, 0)
        self._recent: deque[Update] = deque(maxlen=RECENT)
        self._image_period_ns = round(1e9 / image_rate_hz)
        self._image_due_ns = 0
        self._peers: set[bytes] = set()
        self._stop: Stop | None = None
        self._deadline = 0.0
        self._opened = time.monotonic()
        self._encode("start", payloads.first_word(start))  # fits into a message
        self._lock = threading.Lock()
        own = None if folder is None else keys.of_publisher(folder)
        self._context = zmq.Context()
        self._zap = self._context.socket(zmq.REP) if own else None
        if self._zap is not None:
            self._zap.bind(keys.ZAP)  # before the others: libzmq asks it about each peer
        self._pub, self._router = publishing(self._context, start, own)  # PUB under the lock
        ends = bind(self._context, self._pub, self._router, host, port)
        self.endpoint, self.router_endpoint = ends
        self._thread = threading.Thread(target=self._serve, name="livespt-publisher", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Sends that met a subscriber's full queue, images too large to send."""
        return self._pub.dropped + self._too_large

    @property
    def hung_up(self) -> int:
        """Times that a flood made us cut everyone off."""
        return self._pub.hung_up

    @property
    def malformed(self) -> int:
        """Requests and subscriptions that made no sense."""
        return self._nonsense + self._pub.malformed

    def __call__(self, frame: Frame, update: Update) -> int:
        """Send one analyzed frame: its events, the update, and the image if it is due.

        Returns
        -------
        int
            `time.monotonic_ns()` just after events and update were handed to the socket.
        """
        with self._lock:
            sent_ns = self._publish(update)
            left_out = update.level >= 1 and frame.number % IMAGE_EVERY
            if self._pub.wants_images and sent_ns >= self._image_due_ns and not left_out:
                self._image_due_ns = max(self._image_due_ns + self._image_period_ns, sent_ns)
                self._send_image(frame)
        return sent_ns

    def begin(self, start: Start) -> None:
        """Replace the first word by one that says more, before the first update is sent."""
        with self._lock:
            self.start = start
            self._send("start", payloads.first_word(start))

    def finish(self, update: Update) -> int:
        """Send what the end of the run settled; returns as `__call__` does."""
        with self._lock:
            return self._publish(update)

    def status(self, kind: str, text: str) -> None:
        """Send an operational notice."""
        with self._lock:
            frame = self._recent[-1].t if self._recent else -1
            self._send("status", {"kind": kind, "frame": frame, "text": text})

    def close(self, stop: Stop, linger_s: float = 5.0) -> None:
        """Send the last word, then wait until those who joined have everything.

        A subscriber that joined (asked for a snapshot) says `bye` when it is done; one that died
        is noticed; one that hangs delays this call by `linger_s` at most. Once closed, it stays so.
        """
        with self._lock:
            if self._stop is not None:
                return
            self._stop = stop
            self._deadline = time.monotonic() + linger_s
            self._send("stop", self._last_word(stop))
        self._thread.join()
        left_ms = max(100, round(1000 * (self._deadline - time.monotonic())))
        self._router.close(linger=left_ms)
        self._pub.close(left_ms)
        if self._zap is not None:  # after those for whom it judges
            self._zap.close(linger=0)
        self._context.term()

    def _publish(self, update: Update) -> int:
        if self._stop is not None:
            raise WireError("the publisher is closed: nothing can be sent after stop")
        self._log.append(update.events)
        for index, row in enumerate(update.events):
            fields = payloads.event_fields(row)
            fields["head"] = fields["seq"] + 1  # those behind it are still on their way
            self._send("event", fields, {"events": update.events[index : index + 1]})
        tables = {"spots": update.spots, "states": update.states, "events": update.events}
        self._send("update", payloads.update_fields(update), tables)
        self._recent.append(update)
        return time.monotonic_ns()

    def _send_image(self, frame: Frame) -> None:
        if frame.image.nbytes > codec.MAX_BYTES:
            self._too_large += 1
        else:
            self._send("image", payloads.image_fields(frame), {"image": frame.image})

    def _send(self, topic: str, fields: Mapping[str, Any], arrays: Arrays | None = None) -> None:
        """Send to everyone, now; needs the lock."""
        parts = self._encode(topic, fields, arrays)
        self._seq[topic] += 1
        self._pub.send(parts)

    def _encode(
        self, topic: str, fields: Mapping[str, Any], arrays: Arrays | None = None
    ) -> list[bytes]:
        header = {
            "run": self.start.run,
            "epoch": self.epoch,
            "seq": self._seq[topic],
            "head": self._log.head,
            **fields,
        }
        return codec.encode(topic, header, arrays)

    def _sent(self) -> dict[str, int]:
        """Messages sent of the topics that are not sent again, which shows what was lost last."""
        return {topic: self._seq[topic] for topic in ("update", "image", "status")}

    def _last_word(self, stop: Stop) -> dict[str, Any]:
        return {"stop": payloads.plain(stop), "sent": self._sent()}

    def _serve(self) -> None:
        """Thread: heartbeats, and answers until the run is over and everyone has everything."""
        beat, due, heed = 0, time.monotonic(), 0.0
        poller = zmq.Poller()
        poller.register(self._router, zmq.POLLIN)
        if self._zap is not None:
            poller.register(self._zap, zmq.POLLIN)
        while not self._is_over():
            now = time.monotonic()
            if now >= due:
                self._beat(beat)
                self._asked.clear()
                self._made.clear()
                beat, due = beat + 1, max(due + BEAT_S, now)
            if now >= heed:
                heed = now + HEED_S
                with self._lock:
                    self._pub.heed()
            wait_s = max(0.0, min(due, heed) - now)
            if self._asked.total() >= ANSWERS[1]:  # the rest waits for the next beat
                time.sleep(wait_s)
                continue
            ready = dict(poller.poll(round(1000 * wait_s)))
            if self._zap in ready:
                self._admit()
            if self._router in ready:
                self._answer()

    def _admit(self) -> None:
        """Tell libzmq whether a peer may come in."""
        assert self._zap is not None
        answer, refused = keys.judged(self._zap.recv_multipart(), self._allowed)
        self._zap.send_multipart(answer)
        self._asked[refused.encode()] += 1
        if refused:
            self.refused += 1
            self._refused_at = refused

    def _is_over(self) -> bool:
        now = time.monotonic()
        if self._stop is None or now < self._opened + GREET_S:
            return False
        return not self._peers or now >= self._deadline

    def _beat(self, beat: int) -> None:
        counts = {name: getattr(self, name) for name in ("dropped", *PEER_FAULTS)}
        for kind, text in self._told.due(counts, self._refused_at):
            self.status(kind, text)
        with self._lock:
            self._send("heartbeat", {**counts, "sent": self._sent()})
            if beat % START_EVERY == 0:
                self._send("start", payloads.first_word(self.start))
            stop = self._stop
        if stop is not None:  # told in person, because a full queue may have swallowed it
            parts = self._encode("stop", self._last_word(stop))
            for peer in tuple(self._peers):
                self._reply([peer], parts)

    def _answer(self) -> None:
        parts = self._router.recv_multipart()
        envelope = parts[: 2 if parts[1:2] == [b""] else 1]  # a REQ puts an empty part in front
        peer = envelope[0]
        self._asked[peer] += 1
        try:
            request = codec.decode_request(parts[len(envelope) :])
        except WireError:
            self._nonsense += 1
            return
        if self._asked[peer] > ANSWERS[0]:
            self.limited += 1  # it asks again
            return
        if request.topic == "bye":
            self._peers.discard(peer)
        elif request.topic == "since":
            self._reply(envelope, self._events(request))
        else:
            if len(self._peers) < MAX_PEERS:
                self._peers.add(peer)
            if len(self._made) < SNAPSHOTS:
                self._made.append(self._snapshot())
            self._reply(envelope, self._made[-1])

    def _reply(self, envelope: list[bytes], parts: list[bytes]) -> None:
        try:
            self._router.send_multipart([*envelope, *parts], zmq.DONTWAIT)
        except zmq.Again:
            pass  # its queue is full of answers: it asks again
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            self._peers.discard(envelope[0])

    def _events(self, request: codec.Request) -> list[bytes]:
        with self._lock:
            events = self._log.since(request.seq, request.to)
            is_old = request.seq < self._log.first
            first = self._log.first
        if is_old:  # from the disk, without the lock
            events = self._log.stored(request.seq, request.to)  # none: it has lost them
            first = 0 if len(events) else first
        self.resent += len(events)
        with self._lock:
            return self._encode("since", {"first": first}, {"events": events})

    def _snapshot(self) -> list[bytes]:
        with self._lock:
            updates, stop = tuple(self._recent), self._stop
            fields: dict[str, Any] = {
                **payloads.first_word(self.start),
                "stop": None if stop is None else payloads.plain(stop),
            }
            if not updates:
                return self._encode("snapshot", fields)
            # of this very moment: events go on while the answer is put together
            fields |= {"head": self._log.head, **payloads.update_fields(updates[-1])}
        arrays = {"spots": updates[-1].spots, "states": living(updates)}
        return self._encode("snapshot", fields, arrays)
