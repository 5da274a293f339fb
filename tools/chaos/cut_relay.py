"""Cut relay: an endpoint in front of another, whose connections are cut as a bad network does."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable

from livespt.stream.errors import WireError
from livespt.stream.wire import codec

PIECE = 1 << 16


class Relay:
    """Passes on what comes in, both ways, on a PUB and a ROUTER port of its own.

    Parameters
    ----------
    target : str
        Endpoint of the publisher.
    """

    def __init__(self, target: str) -> None:
        host, port = codec.address(target)
        self._servers = _two_servers(host)
        self.endpoint = f"tcp://{host}:{self._servers[0].getsockname()[1]}"
        self._ends: set[socket.socket] = set()
        self._lock = threading.Lock()
        for server, there in zip(self._servers, (port, port + 1), strict=True):
            _start(self._accept, server, (host, there))

    def cut_connections(self) -> None:
        """End every connection."""
        with self._lock:
            ends, self._ends = self._ends, set()
        for end in ends:
            _shut(end)

    def close(self) -> None:
        """Take no new connections, and end those there are."""
        for server in self._servers:
            _shut(server)
            server.close()
        self.cut_connections()

    def _accept(self, server: socket.socket, there: tuple[str, int]) -> None:
        while True:
            try:
                near, _ = server.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(there, 5)
                far.settimeout(None)
            except OSError:  # the publisher is away
                near.close()
                continue
            with self._lock:
                self._ends |= {near, far}
            _start(self._pass, near, far)
            _start(self._pass, far, near)

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(PIECE):
                sink.sendall(piece)
        _shut(sink)
        source.close()
        with self._lock:
            self._ends.discard(source)


def _two_servers(host: str) -> tuple[socket.socket, socket.socket]:
    for _ in range(20):
        first = socket.create_server((host, 0))
        with contextlib.suppress(OSError):
            return first, socket.create_server((host, first.getsockname()[1] + 1))
        first.close()
    raise WireError("no two free ports follow each other")


def _start(function: Callable[..., None], *arguments: object) -> None:
    threading.Thread(target=function, args=arguments, name="chaos-relay", daemon=True).start()


def _shut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
