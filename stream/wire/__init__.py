"""A run over ZeroMQ: publisher, subscriber, their messages and keys."""

__all__ = [
    "broadcast",
    "codec",
    "event_history",
    "event_order",
    "keys",
    "losses",
    "payloads",
    "peer_faults",
    "publisher",
    "requests",
    "silence",
    "sockets",
    "subscriber",
]
