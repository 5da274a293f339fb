"""Event order: events in order and once each, from messages that come twice, late or not at all."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from livespt.stream.errors import WireError

PENDING = 5000  # events held for the consumer, and events held ahead of a gap


class EventOrder:
    """What a subscriber holds of the events of a run.

    Parameters
    ----------
    want : int
        `seq` of the first event wanted.
    kinds : collection of int
        Indices into `types.KINDS` that are passed on; the others only count.

    Attributes
    ----------
    queue : deque of EVENT rows
        For the consumer, in order.
    want, head : int
        `seq` of the event to come next; how many there are so far, as far as was told.
    gaps : int
        Times that events were found missing.
    noticed_s : float
        Longest time from the message that showed a gap until the missing events were asked for.
    """

    def __init__(self, want: int, kinds: Collection[int]) -> None:
        self.queue: deque[np.void] = deque()
        self.want, self.head = want, 0
        self.gaps, self.noticed_s = 0, 0.0
        self._kinds = frozenset(kinds)
        self._ahead: dict[int, np.void] = {}  # events beyond a gap
        self._shown_at = 0.0  # the present gap; 0: there is none, -1: it was asked for

    @property
    def next_seq(self) -> int:
        """The event that the consumer gets next."""
        return int(self.queue[0]["seq"]) if self.queue else self.want

    @property
    def is_behind(self) -> bool:
        """Whether events are missing, and there is room for them."""
        gap = self.want < self.head and self.want not in self._ahead
        return gap and len(self.queue) < PENDING

    @property
    def until(self) -> int:
        """The end of what is missing."""
        return min(self._ahead, default=self.head)

    def take(self, rows: NDArray[np.void]) -> int:
        """Take EVENT rows (n,) in any order; return how many events could be passed on.

        Raises
        ------
        WireError
            More than anyone asks for.
        """
        if len(rows) > PENDING:
            raise WireError(f"{len(rows)} events at once: {PENDING} at most")
        want = self.want
        for seq, row in zip(rows["seq"].tolist(), rows, strict=True):
            if self.want <= seq < self.want + PENDING:
                self._ahead.setdefault(seq, row)
        self.deliver()
        return self.want - want

    def deliver(self) -> None:
        """Pass on what follows without a gap, as far as the consumer keeps up."""
        while self.want in self._ahead and len(self.queue) < PENDING:
            row = self._ahead.pop(self.want)
            self.want += 1
            if int(row["kind"]) in self._kinds:
                self.queue.append(row)

    def look(self) -> None:
        """Look for a gap; to be called after every message."""
        if not self.is_behind:
            self._shown_at = 0.0
        elif self._shown_at == 0:
            self.gaps, self._shown_at = self.gaps + 1, time.monotonic()

    def woke(self) -> None:
        """Note that the process was stopped until now: a gap could not be noticed."""
        if self._shown_at > 0:
            self._shown_at = time.monotonic()

    def asked(self) -> None:
        """Note that the missing events were asked for, or would have been: no one was there."""
        if self._shown_at > 0:
            self.noticed_s = max(self.noticed_s, time.monotonic() - self._shown_at)
            self._shown_at = -1.0
