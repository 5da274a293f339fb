"""Subscriber: follows a run over the wire; every event once and in order, whatever was missed.

Live messages come from the PUB socket and may be lost: each tells the `head`, so that a gap is seen
with the next message or heartbeat, and is filled through the ROUTER. Updates, images and notices
are best effort: the newest are kept, and what was lost is counted. A publisher that is restarted
within the run (a new `epoch`) is followed as if nothing had happened.

No thread: the sockets are read inside the iterators. ZMTP heartbeats stay off, because they abort
a process whose SUB socket stalls (libzmq issues 3937 and 4767).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
import zmq

from livespt.stream.errors import SettingError, WireError
from livespt.stream.types import EVENT, KINDS, Frame, Stop, Update
from livespt.stream.wire import codec, keys, payloads
from livespt.stream.wire.event_order import EventOrder
from livespt.stream.wire.losses import Losses, Lost
from livespt.stream.wire.payloads import Status
from livespt.stream.wire.requests import ASK_S, SLOW_S, Requests
from livespt.stream.wire.silence import Silence
from livespt.stream.wire.sockets import following

QUIET_S = 0.5  # without a heartbeat, before it is asked whether there is a new publisher
PATIENCE_S = 1.0  # of silence, before a word about it
CONNECT_S = 0.02  # between looks for a connection
BATCH = 200  # messages read at a time: fewer than are kept

FOLLOWED = ("event", "update", "image", "status")  # topics


class Subscriber:
    """Follows the run that is published at an endpoint.

    Parameters
    ----------
    endpoint : str
        PUB endpoint, `tcp://HOST:PORT`.
    topics : collection of str
        What to follow, of `event`, `update`, `image`, `status`.
    since : int, optional
        First event wanted; 0 is the whole run, None from now on.
    kinds : collection of str
        Names in `types.KINDS` of the events wanted; none named: all.
    connect_s : float
        How long to wait for a publisher.
    silence_s : float
        How long to wait for a word (heartbeats come every 100 ms) before giving up.
    key : Path, optional
        One's own key file (keys.py), of a publisher that lets in only whom it knows.
    say : callable, optional
        Told, once each time, that there was nothing to hear for `PATIENCE_S`.

    Attributes
    ----------
    start, stop : Start, Stop or None
        First and last word of the run.
    joined : Update or None
        What had happened on joining: spots of the last update, newest state of each living track.
    epoch, restarts, malformed, refetched : int
        Publishers before this one; restarts seen; messages that made no sense; events that came
        through the ROUTER.
    sequence : EventOrder
        The events: how many there are so far, gaps found.
    lost : Lost

    Raises
    ------
    WireError
        Nothing publishes there, or it speaks another format.
    SettingError
        A topic or kind that does not exist.
    """

    def __init__(
        self,
        endpoint: str = codec.ENDPOINT,
        *,
        topics: Collection[str] = ("event",),
        since: int | None = None,
        kinds: Collection[str] = (),
        connect_s: float = 10.0,
        silence_s: float = 30.0,
        key: Path | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        host, port = codec.address(endpoint)
        for given, known in ((topics, FOLLOWED), (kinds, KINDS)):
            for name in given:
                if name not in known:
                    raise SettingError(f"{name!r} is none of {', '.join(known)}")
        self.endpoint, self.silence_s = endpoint, silence_s
        self.stop: Stop | None = None
        self.joined: Update | None = None
        self.restarts = self.malformed = self.refetched = 0
        self._say = say or (lambda text: None)
        self._losses = Losses()
        self._topics = frozenset(topics)
        self.sequence = EventOrder(since or 0, [KINDS.index(name) for name in kinds or KINDS])
        self._updates: deque[Update] = deque(maxlen=256)
        self._images: deque[Frame] = deque(maxlen=1)
        self._statuses: deque[Status] = deque(maxlen=256)
        self._joined = -1  # epoch of the newest snapshot
        self._silence = Silence()
        self._told = False  # all that was sent live until the stop came, or was lost on the way
        self._sent: tuple[int, ...] = (0, 0, 0)  # updates, images, notices when the run stopped
        self._said_bye = False
        self._fault = ""
        own = None if key is None else keys.of_follower(key)
        self._context = zmq.Context()
        self._sub, self._dealer = following(self._context, host, port, self._topics, own)
        self._requests = Requests(self._dealer)
        try:
            snapshot = self._join(connect_s)
            self.start = payloads.read_start(snapshot.header.get("start"))
            self.epoch = snapshot.header["epoch"]
            self._take(snapshot, live=False)
        except BaseException:
            self.close()
            raise
        if since is None:
            self.sequence.want = self.head

    @property
    def lost(self) -> Lost:
        """What was published and not seen."""
        return self._losses.lost

    @property
    def next_seq(self) -> int:
        """The event that comes next: `since` for a subscriber that goes on from here."""
        return self.sequence.next_seq

    @property
    def head(self) -> int:
        """The `seq` after the newest event published, as far as was told."""
        return self.sequence.head

    @property
    def ended(self) -> bool:
        """Whether the run is over and every event followed was read from the sockets."""
        behind = "event" in self._topics and self.sequence.want < self.head
        return (
            self.stop is not None
            and (self._told or self._silence.unheard_s > QUIET_S)
            and not behind
        )

    def events(self, timeout_s: float | None = None) -> Iterator[np.void]:
        """Yield each `EVENT` once and in order; ends with the run, or if none came in time."""
        return self._each(self.sequence.queue, timeout_s)

    def updates(self, timeout_s: float | None = None) -> Iterator[Update]:
        """Yield updates in order; of those not asked for in time, the 256 newest are kept."""
        return self._each(self._updates, timeout_s)

    def images(self, timeout_s: float | None = None) -> Iterator[Frame]:
        """Yield the newest image not yet seen."""
        return self._each(self._images, timeout_s)

    def statuses(self, timeout_s: float | None = None) -> Iterator[Status]:
        """Yield operational notices in order."""
        return self._each(self._statuses, timeout_s)

    def close(self) -> None:
        """Say goodbye and close the sockets."""
        self._bye()
        self._sub.close(linger=0)
        self._dealer.close(linger=200)
        self._context.term()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _join(self, connect_s: float) -> codec.Message:
        begin = time.monotonic()
        deadline, told, patient_s = begin + connect_s, False, ASK_S
        while (left := deadline - time.monotonic()) > 0:
            wait_s = CONNECT_S
            if self._requests.send(codec.Request("snapshot")):
                wait_s, patient_s = patient_s, min(2 * patient_s, SLOW_S)
            if not self._dealer.poll(round(1000 * min(wait_s, left))):
                if not told and time.monotonic() - begin > PATIENCE_S:
                    told = True
                    self._say(f"nothing publishes at {self.endpoint} yet: waiting {connect_s:g} s")
                continue
            answer = codec.decode(self._dealer.recv_multipart())
            if answer.topic == "snapshot":
                return answer
        raise WireError(
            f"nothing publishes at {self.endpoint}, or not to this key: start `livespt live` or "
            "`livespt replay`, give another endpoint, or --key FILE"
        )

    def _each(self, queue: deque[Any], timeout_s: float | None) -> Iterator[Any]:
        while True:
            deadline = None if timeout_s is None else time.monotonic() + timeout_s
            while not queue:
                if self.ended:
                    return
                left = ASK_S if deadline is None else max(0.0, deadline - time.monotonic())
                self._read(min(ASK_S, left))
                if left == 0 and not queue:
                    return
            yield queue.popleft()

    def _read(self, timeout_s: float) -> None:
        """Read what is there, waiting at most `timeout_s` for it; ask for what is missing."""
        poller = zmq.Poller()
        poller.register(self._sub, zmq.POLLIN)
        poller.register(self._dealer, zmq.POLLIN)
        ready = [socket for socket, _ in poller.poll(round(1000 * timeout_s))]
        for socket in ready:
            for _ in range(BATCH):
                try:
                    self._hear(socket.recv_multipart(zmq.DONTWAIT), live=socket is self._sub)
                except zmq.Again:
                    break
        self._listen_for_silence(bool(ready), live=self._sub in ready)
        if self._fault:
            raise WireError(self._fault)
        self._fill()
        if self.ended:
            self._losses.count_tail(self._sent)
            self._bye()

    def _hear(self, parts: list[bytes], live: bool) -> None:
        try:
            word = codec.decode(parts)
            if word.header["run"] == self.start.run:
                self._take(word, live)
                self.sequence.look()
                return
        except WireError:
            self.malformed += 1
            return
        self._fault = (
            f"run {self.start.run} ended without a stop and {self.endpoint} publishes run "
            f"{word.header['run']} now: start again; what is missing is in the run's store"
        )

    def _take(self, word: codec.Message, live: bool) -> None:
        """Take a message of this run; `live`: from PUB, whose order shows what is missing."""
        header = word.header
        if header["epoch"] < self.epoch:
            return
        if header["epoch"] > self.epoch:
            self.epoch, self.sequence.head = header["epoch"], header["head"]
            self.restarts += 1
            self._requests.restart()
            self._losses.restart()
        if live or word.topic != "since":
            self.sequence.head = max(self.head, header["head"])
        if word.topic == "event" or word.topic == "since":
            self._take_events(word)
        elif word.topic == "update":
            self._losses.keep(self._updates, payloads.read_update(word), header["seq"], "updates")
        elif word.topic == "image":
            self._losses.keep(self._images, payloads.read_image(word), header["seq"], "images")
        elif word.topic == "status":
            self._losses.keep(self._statuses, payloads.read_status(word), header["seq"], "statuses")
        elif word.topic == "start":  # its interval becomes known with the first frames
            self.start = payloads.read_start(header.get("start"))
        elif word.topic == "stop":
            self._sent = payloads.read_sent(word)
            self.stop = payloads.read_stop(header.get("stop"))
        elif word.topic == "snapshot":
            self._joined = self.epoch
            self._requests.answered("snapshot")
            if header.get("stop") is not None:
                self.stop = payloads.read_stop(header["stop"])
            if "frame" in header:
                self.joined = payloads.read_update(word)
        if live and word.topic in ("heartbeat", "stop"):
            sent = payloads.read_sent(word)
            self._losses.count_tail(sent)
            stopped = self.stop is not None
            self._told |= stopped and all(n >= m for n, m in zip(sent, self._sent, strict=True))

    def _take_events(self, word: codec.Message) -> None:
        rows = payloads.table(word, "events", EVENT)
        gained = self.sequence.take(rows)
        if word.topic == "since":
            first = codec.integer(word.header, "first", 0, codec.MAX_SEQ)
            self.refetched += gained
            if (
                len(rows) and int(rows["seq"][0]) == self._requests.since
            ):  # else one asked for before
                self._requests.answered("since")
            elif not len(rows) and (want := self.sequence.want) < first:
                self._fault = (
                    f"{self.endpoint} holds no events before {first}: read those from {want} on "
                    "from the run's store"
                )

    def _fill(self) -> None:
        """Ask for the snapshot of a new publisher, or for events that are missing."""
        self.sequence.deliver()
        self.sequence.look()
        if (
            self._joined < self.epoch or self._silence.quiet_s > QUIET_S
        ):  # there is, or may be, a new one
            self._requests.ask(codec.Request("snapshot"))
        if "event" in self._topics and self.sequence.is_behind:
            if self._requests.ask(codec.Request("since", self.sequence.want, self.sequence.until)):
                self.sequence.asked()

    def _bye(self) -> None:
        if not self._said_bye:
            self._said_bye = True
            self._requests.send(codec.Request("bye"))

    def _listen_for_silence(self, heard: bool, live: bool) -> None:
        """Report a silence once, and give up after `silence_s`."""
        before = self._silence.add(heard, live)
        if before <= PATIENCE_S < self._silence.quiet_s:
            self._say(f"{self.endpoint} fell silent: waiting {self.silence_s:g} s for a word")
        if self._silence.quiet_s > self.silence_s:
            raise WireError(
                f"run {self.start.run} at {self.endpoint} fell silent {self.silence_s:g} s ago "
                f"without a stop: its publisher is gone; go on from event {self.next_seq}"
            )
