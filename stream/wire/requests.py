"""Requests of a subscriber to the ROUTER: repeated while there is no answer, ever less often."""

from __future__ import annotations

import time

import zmq

from livespt.stream.wire.codec import Request, encode_request

ASK_S, SLOW_S = 0.15, 2.0  # until an unanswered request is repeated: first, and at most


class Requests:
    """Sends requests over one socket.

    Parameters
    ----------
    dealer : zmq.Socket
        The DEALER that is connected to the publisher's ROUTER.

    Attributes
    ----------
    since : int
        First event that was last asked for; -1: none yet.
    """

    def __init__(self, dealer: zmq.Socket[bytes]) -> None:
        self.since = -1
        self._dealer = dealer
        self._due: dict[str, float] = {}  # of each request without an answer: when to repeat it
        self._wait_s = ASK_S

    def ask(self, request: Request) -> bool:
        """Send a request, if there is a connection; False while one like it waits for an answer."""
        now = time.monotonic()
        if now < self._due.get(request.topic, 0.0):
            return False
        if self.send(request):
            if request.topic in self._due:  # no answer: the publisher may be busy
                self._wait_s = min(2 * self._wait_s, SLOW_S)
            self._due[request.topic] = now + self._wait_s
            if request.topic == "since":
                self.since = request.seq
        return True

    def send(self, request: Request) -> bool:
        """Send a request that has no answer; False where there is no connection."""
        try:
            self._dealer.send_multipart(encode_request(request), zmq.DONTWAIT)
        except zmq.Again:
            return False
        return True

    def answered(self, topic: str) -> None:
        """Note an answer: the next request of that topic may follow at once."""
        self._due.pop(topic, None)
        if topic == "since":
            self._wait_s = max(ASK_S, self._wait_s / 2)

    def restart(self) -> None:
        """Expect no answers any more: another publisher listens now."""
        self._due.clear()
        self._wait_s = ASK_S
