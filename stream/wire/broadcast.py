"""Broadcast: the PUB socket of a publisher, which nobody who listens can slow down or fill.

What finds a subscriber's queue full is lost to that subscriber alone. `dropped` counts the sends
that met a full queue; it is a lower bound, because libzmq leaves that subscriber out without a word
for as long as its queue stays full.

What may come in is a subscription to one of our topics. libzmq remembers every other one too, 48
bytes a character (measured), without a limit. So a frame that comes in is short, and who floods us
makes us hang up on everyone: the socket is opened anew, and who is honest connects again and
fetches what was missed.
"""

from __future__ import annotations

from typing import Any

import zmq

from livespt.stream.wire import codec, keys

MESSAGE_BYTES = 48  # of a frame that comes in: a topic with its command 19, a SUB's greeting 25
CURVE_BYTES = 512  # the same with the handshake of CURVE (about 350)
HEEDED = 1000  # messages read at a time: more is a flood, for honest ones differ in topic only
UNKNOWN = 200  # subscriptions to nothing of ours that are borne
HANDSHAKE_MS = 2000


class Broadcast:
    """A PUB socket. Its owner makes sure that one thread at a time calls.

    Parameters
    ----------
    context : zmq.Context
    queue : int
        Messages that wait for one slow subscriber.
    own : keys.Pair, optional
        The publisher's key: then only who may follow gets anything.

    Attributes
    ----------
    dropped, malformed, hung_up : int
        Sends that met a full queue; messages in that made no sense; times everyone was cut off.
    wants_images : bool
    """

    def __init__(self, context: zmq.Context[Any], queue: int, own: keys.Pair | None) -> None:
        self._context, self._queue, self._own = context, queue, own
        self.dropped = self.malformed = self.hung_up = 0
        self._images: set[bytes] = set()  # subscriptions that images meet
        self._unknown = 0
        self._unbound = ""  # endpoint to bind again as soon as it is free
        self._socket = self._open()

    @property
    def wants_images(self) -> bool:
        """Whether anyone subscribes to images."""
        return bool(self._images)

    def bind(self, endpoint: str) -> str:
        """Bind, and return the endpoint taken; a `zmq.ZMQError` says why not."""
        self._socket.bind(endpoint)
        return self._socket.getsockopt_string(zmq.LAST_ENDPOINT)

    def unbind(self, endpoint: str) -> None:
        """Let go of an endpoint bound before."""
        self._socket.unbind(endpoint)

    def send(self, parts: list[bytes]) -> None:
        """Send to everyone whose queue has room; returns at once."""
        try:
            self._socket.send_multipart(parts, zmq.DONTWAIT)
        except zmq.Again:
            self.dropped += 1
            self._socket.setsockopt(zmq.XPUB_NODROP, 0)  # to those whose queue has room
            self._socket.send_multipart(parts, zmq.DONTWAIT)
            self._socket.setsockopt(zmq.XPUB_NODROP, 1)

    def heed(self) -> None:
        """Learn whether anyone wants images; to be called often."""
        if self._unbound:
            self._bind_again()
        for _ in range(HEEDED):
            try:
                word, *_ = self._socket.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                break
            self._take(word)
        else:
            self._unknown = UNKNOWN + 1
        if self._unknown > UNKNOWN:
            self._hang_up()

    def close(self, linger_ms: int) -> None:
        """Close, after at most so long for what is queued."""
        self._socket.close(linger=linger_ms)

    def _open(self) -> zmq.Socket[bytes]:
        socket: zmq.Socket[bytes] = self._context.socket(zmq.XPUB)
        socket.maxmsgsize = CURVE_BYTES if self._own else MESSAGE_BYTES
        socket.handshake_ivl = HANDSHAKE_MS
        socket.tcp_keepalive = 1
        socket.sndhwm = self._queue
        socket.setsockopt(zmq.XPUB_NODROP, 1)
        if self._own is not None:
            keys.protect(socket, self._own)
        return socket

    def _take(self, word: bytes) -> None:
        prefix = word[1:]
        known = any(topic.encode().startswith(prefix) for topic in codec.TOPICS)
        if word[:1] not in (b"\0", b"\1") or (word[0] and not known):
            self.malformed += 1
        if word[:1] in (b"\0", b"\1") and not known:
            self._unknown = max(0, self._unknown + (1 if word[0] else -1))
        elif word[:1] == b"\1" and b"image".startswith(prefix):
            self._images.add(prefix)
        elif word[:1] == b"\0":
            self._images.discard(prefix)

    def _hang_up(self) -> None:
        """Cut everyone off, and what libzmq holds for them."""
        self.hung_up += 1
        self._unbound = self._unbound or self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self._images.clear()
        self._unknown = 0
        self._socket.close(linger=0)
        self._socket = self._open()
        self._bind_again()

    def _bind_again(self) -> None:
        try:
            self._socket.bind(self._unbound)
        except zmq.ZMQError:
            return  # libzmq has not let go of the port yet: next time
        self._unbound = ""
