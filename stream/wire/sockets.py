"""Sockets of a run: what publisher and subscriber open, bind and connect, and how much each holds.

A publisher has a PUB socket on a port and a ROUTER on the next one; a subscriber has a SUB and a
DEALER. All limits on what comes in and on what waits for a peer stand here.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import zmq

from livespt.stream.errors import WireError
from livespt.stream.types import Start
from livespt.stream.wire import codec, keys
from livespt.stream.wire.broadcast import HANDSHAKE_MS, Broadcast

QUEUE_BYTES = 1 << 26  # of images, for one slow subscriber
QUEUE_MESSAGES = (16, 1000)
REQUEST_BYTES = 1024  # of a frame that comes in
WAITING = (64, 8)  # requests of one peer, and answers to it (about 130 kB each)
# of one array or header that comes in, and messages that wait: a hostile publisher fills no more
LIMITS = {
    "image": (codec.MAX_BYTES, 16),
    "update": (1 << 26, 256),
    "status": (codec.MAX_HEADER, 1000),
    "event": (codec.MAX_HEADER, 1000),
}
ANSWER_BYTES, ANSWERS_WAITING = 1 << 26, 16  # a snapshot of 20 000 tracks has 3 MB


def admitted(endpoint: str, folder: Path | None) -> frozenset[bytes]:
    """Keys of those who may follow at `endpoint`, of the folder of keys; without one: everyone.

    Raises
    ------
    WireError
        The endpoint is malformed, or open to other machines and there are no keys.
    SettingError
        A folder without keys.
    """
    host, _ = codec.address(endpoint)
    if folder is not None:
        return keys.known(folder)
    if not codec.is_loopback(host):
        raise WireError(
            f"{endpoint} is open to other machines, which needs CURVE keys: make them with "
            f"`livespt keys FOLDER NAME` and give --keys FOLDER, or publish on {codec.ENDPOINT}"
        )
    return frozenset()


def publishing(
    context: zmq.Context[zmq.Socket[bytes]], start: Start, own: keys.Pair | None
) -> tuple[Broadcast, zmq.Socket[bytes]]:
    """PUB and ROUTER of a publisher, not bound yet; `own` is its key, None: no keys."""
    image_bytes = int(np.prod(start.shape)) * np.dtype(start.dtype).itemsize
    low, high = QUEUE_MESSAGES
    queue = max(low, min(high, QUEUE_BYTES // max(image_bytes, 1)))
    pub, router = Broadcast(context, queue, own), context.socket(zmq.ROUTER)
    router.maxmsgsize = REQUEST_BYTES
    router.handshake_ivl = HANDSHAKE_MS
    router.tcp_keepalive = 1
    router.rcvhwm, router.sndhwm = WAITING
    router.router_mandatory = True  # a send to a dead peer is an error, which tells us
    if own is not None:
        keys.protect(router, own)
    return pub, router


def bind(
    context: zmq.Context[zmq.Socket[bytes]],
    pub: Broadcast,
    router: zmq.Socket[bytes],
    host: str,
    port: int,
) -> tuple[str, str]:
    """Bind PUB on `port` and ROUTER on the next one; return both endpoints. Port 0: free ones.

    Raises
    ------
    WireError
        A port is busy; the context is destroyed then.
    """
    for _ in range(20 if port == 0 else 1):
        endpoint, wanted = "", f"tcp://{host}:{port or '*'}"
        try:
            endpoint = pub.bind(wanted)
            wanted = f"tcp://{host}:{codec.address(endpoint)[1] + 1}"
            router.bind(wanted)
            return endpoint, wanted
        except zmq.ZMQError as error:
            why = zmq.strerror(error.errno or 0)
        if endpoint:
            pub.unbind(endpoint)
    context.destroy(linger=0)
    raise WireError(
        f"cannot publish on {wanted}: {why}; end the run that publishes there, or give "
        "another endpoint"
    )


def following(
    context: zmq.Context[zmq.Socket[bytes]],
    host: str,
    port: int,
    topics: Collection[str],
    own: keys.Pair | None,
) -> tuple[zmq.Socket[bytes], zmq.Socket[bytes]]:
    """SUB and DEALER of a subscriber to `topics`, connecting; `own` is its key, None: no keys."""
    sub, dealer = context.socket(zmq.SUB), context.socket(zmq.DEALER)
    largest = next((topic for topic in LIMITS if topic in topics), "status")
    sub.maxmsgsize, sub.rcvhwm = LIMITS[largest]
    dealer.maxmsgsize, dealer.rcvhwm = ANSWER_BYTES, ANSWERS_WAITING
    for socket, there in ((sub, port), (dealer, port + 1)):
        socket.reconnect_ivl = 50
        socket.handshake_ivl = 2000
        if own is not None:
            keys.protect(socket, own)
        socket.tcp_keepalive = 1
        if socket is dealer:
            socket.immediate = True  # no requests pile up for a publisher that is away
        else:
            for topic in (*topics, "start", "heartbeat", "stop"):
                socket.subscribe(topic)
        socket.connect(f"tcp://{host}:{there}")
    return sub, dealer
