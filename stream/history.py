"""History: what a run has published so far, for those who missed it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from livespt.stream.errors import WireError
from livespt.stream.types import EVENT, KINDS, STATE, Update

ANSWER_EVENTS = 2000  # in one answer, about 120 kB
LOST = KINDS.index("lost")


class EventLog:
    """The events of a run, in order of `seq`, without a gap."""

    def __init__(self, events: NDArray[np.void] | None = None) -> None:
        self._rows = np.empty(1024, EVENT)
        self._count = 0
        self.first = 0  # seq of the earliest event held
        if events is not None:
            self.append(events)

    @property
    def head(self) -> int:
        """The next event's `seq`."""
        return self.first + self._count

    def append(self, events: NDArray[np.void]) -> None:
        """Take new events; those already held (a restarted analyzer repeats some) change nothing.

        Raises
        ------
        WireError
            A `seq` is missing before or among the events.
        """
        if not len(events):
            return
        seq = int(events["seq"][0])
        if not self._count:
            self.first = seq
        whole = np.array_equal(events["seq"], np.arange(seq, seq + len(events)))
        if not whole or not self.first <= seq <= self.head:
            raise WireError(f"event {self.head} is missing before event {seq}: number without gaps")
        events = events[self.head - seq :]
        need = self._count + len(events)
        if need > len(self._rows):
            self._rows = np.concatenate([self._rows, np.empty(need, EVENT)])
        self._rows[self._count : need] = events
        self._count = need

    def since(self, seq: int, to: int) -> NDArray[np.void]:
        """Copy of the events in [seq, to), at most `ANSWER_EVENTS`."""
        low = min(max(seq - self.first, 0), self._count)
        high = min(max(to - self.first, low), self._count, low + ANSWER_EVENTS)
        return self._rows[low:high].copy()


def living(updates: Sequence[Update]) -> NDArray[np.void]:
    """The newest state of every track in `updates` (oldest first) that was not lost since."""
    states = np.concatenate([np.empty(0, STATE), *(update.states for update in updates)])
    order = np.lexsort([states[k] for k in ("made", "frame", "track", "position", "channel")])
    states = states[order]
    last = np.ones(len(states), bool)
    last[:-1] = np.diff(states["track"]) != 0
    for key in ("channel", "position"):
        last[:-1] |= states[key][1:] != states[key][:-1]
    lost = [update.events["track"][update.events["kind"] == LOST] for update in updates]
    gone = np.isin(states["track"], np.concatenate([np.empty(0, np.int64), *lost]))
    living_states: NDArray[np.void] = states[last & ~gone]
    return living_states
