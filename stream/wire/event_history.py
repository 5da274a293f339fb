"""Event history: what a run has published so far, for those who missed it.

An event takes 65 bytes. The newest are held in memory; older ones are read from the columns of the
run store, where there is one, so that memory stays bounded however long a run lasts. Without a
store (a replay that stores nothing) all are held: 65 MB a million.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from livespt.stream.descriptions import COLUMNS, fills, fitted
from livespt.stream.errors import InputError, WireError
from livespt.stream.store.attributes import read_attributes
from livespt.stream.store.columns import read_rows
from livespt.stream.store.journal_reader import JournalReader
from livespt.stream.types import EVENT, KINDS, STATE, Update, joined

ANSWER_EVENTS = 2000  # in one answer, about 130 kB
HELD_EVENTS = 1 << 16  # newest ones that stay in memory, 4 MB
LOST = KINDS.index("lost")


class StoredEvents:
    """The events of a run that is being stored, from the first on.

    Reads whole chunks of the columns, which never change, and so needs no lock against the writer.
    The run may not exist yet: then nothing is stored.

    Parameters
    ----------
    path : Path
        Of the run.
    """

    def __init__(self, path: Path | str) -> None:
        self._run = Path(path)
        self._folder = self._run / "events"
        self._rows_a_chunk = 0  # known as soon as there is a chunk
        self._dtype: np.dtype[Any] | None = None  # of the run; known as soon as there is one
        self._chunks = 0
        self._held: tuple[int, NDArray[np.void]] = (-1, np.empty(0, EVENT))  # the last chunk read

    @property
    def head(self) -> int:
        """The `seq` after the last event in columns."""
        if self._dtype is None:
            if not (self._run / "zarr.json").exists():
                return 0
            self._dtype = read_attributes(self._run).tables["events"]
        last = self._folder / (self._dtype.names or ())[-1] / "c"  # written after other columns
        chunks = self._chunks
        while (last / str(chunks)).exists():  # of its own: two threads ask
            chunks += 1
        self._chunks = chunks
        if chunks and not self._rows_a_chunk:
            self._rows_a_chunk = zarr.open_array(self._folder / "seq", mode="r").chunks[0]
        return chunks * self._rows_a_chunk

    def tail(self) -> NDArray[np.void]:
        """The committed events that are not in columns, EVENT (n,); all of them if none is.

        Raises
        ------
        InputError
            The run is damaged.
        """
        if not (self._run / "zarr.json").exists():
            return np.empty(0, EVENT)
        tables = read_attributes(self._run).tables
        journal = JournalReader(self._run / "journal", list(tables.values()))
        if not journal.poll():
            return np.empty(0, EVENT)
        return joined(EVENT, map(_ours, journal.rows[list(tables).index("events")]))

    def since(self, seq: int, to: int) -> NDArray[np.void]:
        """Copy of the events in [seq, to), at most `ANSWER_EVENTS`, of those in columns.

        Raises
        ------
        InputError
            A column is damaged.
        """
        if not 0 <= seq < self.head:
            return np.empty(0, EVENT)
        k, at = divmod(seq, self._rows_a_chunk)
        if self._held[0] != k:
            first = k * self._rows_a_chunk
            assert self._dtype is not None  # there is a chunk
            rows = read_rows(self._folder, self._dtype, first, first + self._rows_a_chunk)
            self._held = k, _ours(rows)
        return self._held[1][at : at + min(max(to - seq, 0), ANSWER_EVENTS)].copy()


class EventLog:
    """The events of a run, in order of `seq`, without a gap.

    Parameters
    ----------
    events : StoredEvents or EVENT array (n,), optional
        Those of before. With a store the log goes on after the last committed event, and lets go
        of what can be read there.

    Attributes
    ----------
    first : int
        `seq` of the earliest event in memory.
    """

    def __init__(self, events: StoredEvents | NDArray[np.void] | None = None) -> None:
        self._rows = np.empty(1024, EVENT)
        self._count = self.first = 0
        self._full = 2 * HELD_EVENTS
        self._stored = events if isinstance(events, StoredEvents) else None
        if isinstance(events, StoredEvents):
            # a chunk just written may still be in the journal too: the tail says where it begins
            self.first = events.head
            self.append(events.tail())
        elif events is not None:
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
            if self._stored is None or seq < self.first:
                self.first = seq
        whole = np.array_equal(events["seq"], np.arange(seq, seq + len(events)))
        if not whole or not self.first <= seq <= self.head:
            raise WireError(f"event {self.head} is missing before event {seq}: number without gaps")
        events = events[self.head - seq :]
        need = self._count + len(events)
        if need > len(self._rows):
            self._rows = joined(EVENT, [self._rows, np.empty(need, EVENT)])
        self._rows[self._count : need] = events
        self._count = need
        if self._stored is not None and self._count > self._full:
            self._let_go(self._stored.head)

    def since(self, seq: int, to: int) -> NDArray[np.void]:
        """Copy of the events in [seq, to) in memory, at most `ANSWER_EVENTS`."""
        low = min(max(seq - self.first, 0), self._count)
        high = min(max(to - self.first, low), self._count, low + ANSWER_EVENTS)
        return self._rows[low:high].copy()

    def stored(self, seq: int, to: int) -> NDArray[np.void]:
        """The same of those in the store, which takes milliseconds."""
        empty: NDArray[np.void] = np.empty(0, EVENT)
        try:
            return empty if self._stored is None else self._stored.since(seq, to)
        except InputError:  # `livespt verify` names what is damaged; this one says it has none
            return empty

    def _let_go(self, stored: int) -> None:
        """Drop what is in columns, but for the newest `HELD_EVENTS`."""
        old = min(self._count - HELD_EVENTS, max(stored - self.first, 0))
        kept = self._rows[old : self._count]
        self._rows = joined(EVENT, [kept, np.empty(HELD_EVENTS, EVENT)])
        self.first += old
        self._count -= old
        self._full = max(2 * HELD_EVENTS, self._count + HELD_EVENTS // 4)


def _ours(rows: NDArray[np.void]) -> NDArray[np.void]:
    """EVENT rows, (n,), of rows as the run stores them."""
    return fitted(rows, EVENT, fills(COLUMNS["events"]))


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
