"""Losses of a subscriber: the messages that are not sent again, kept for a while and counted."""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple


class Lost(NamedTuple):
    """Messages that were published and never seen, or too old when they were wanted."""

    updates: int = 0
    images: int = 0
    statuses: int = 0


class Losses:
    """Counts what a subscriber misses, by the numbers of the messages of each topic.

    Attributes
    ----------
    lost : Lost
    """

    def __init__(self) -> None:
        self.lost = Lost()
        self._next = dict.fromkeys(Lost._fields, -1)  # seq expected; -1: any

    def restart(self) -> None:
        """Expect any number next: a new publisher counts anew."""
        self._next = dict.fromkeys(Lost._fields, -1)

    def keep(self, queue: deque[Any], value: Any, seq: int, name: str) -> None:
        """Queue the value of message `seq` of the kind `name`; a full queue loses its oldest."""
        self._count(name, seq)
        if len(queue) == queue.maxlen:  # the oldest makes room
            self.lost = self.lost._replace(**{name: getattr(self.lost, name) + 1})
        self._next[name] = seq + 1
        queue.append(value)

    def count_tail(self, sent: tuple[int, ...]) -> None:
        """Count what was sent before a heartbeat or stop, and did not come."""
        for name, seq in zip(Lost._fields, sent, strict=True):
            self._count(name, seq)

    def _count(self, name: str, seq: int) -> None:
        """`seq` is the message that comes now: those before it that did not come are lost."""
        if 0 <= self._next[name] < seq:
            missed = seq - self._next[name]
            self.lost = self.lost._replace(**{name: getattr(self.lost, name) + missed})
            self._next[name] = seq
