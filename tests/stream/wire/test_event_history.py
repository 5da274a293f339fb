"""What is kept for those who come late: in memory the newest, in the store the rest."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from build import GIVE_UP_S, make_events, make_frame, make_start, make_update
from livespt.stream.errors import WireError
from livespt.stream.store.run import create_run
from livespt.stream.store.table_writer import TableWriter
from livespt.stream.types import EVENT, Stop
from livespt.stream.wire import event_history
from livespt.stream.wire.event_history import ANSWER_EVENTS, EventLog, StoredEvents

START = make_start()
CHUNK, AT_A_TIME = 300, 50


class Writing:
    """A run that is being stored: its tables, `AT_A_TIME` events a frame."""

    def __init__(self, path: Path) -> None:
        create_run(path, START, movie=False, chunk_rows=CHUNK)
        self.tables = TableWriter(path, segment_bytes=4 * AT_A_TIME * EVENT.itemsize)
        self.t = 0
        self.path = path

    def step(self) -> np.ndarray:
        t, events = self.t, make_events(self.t * AT_A_TIME, AT_A_TIME)
        self.t += 1
        frame = make_frame(t)
        self.tables.commit(frame, make_update(frame, events=events))
        return events

    def step_until(self, stored: int) -> None:
        """Go on until so many events are in columns, which follow behind."""
        deadline = time.monotonic() + GIVE_UP_S
        while StoredEvents(self.path).head < stored:
            assert time.monotonic() < deadline, "the columns did not follow"
            self.step()


def everything(log: EventLog, seq: int, to: int) -> np.ndarray:
    """All of [seq, to), asked for part after part, as the publisher answers."""
    parts = [np.empty(0, EVENT)]
    while seq < to:
        rows = log.stored(seq, to) if seq < log.first else log.since(seq, to)
        assert 0 < len(rows) <= ANSWER_EVENTS
        parts.append(rows)
        seq += len(rows)
    return np.concatenate(parts)


def test_memory_stays_bounded_and_the_store_has_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_history, "HELD_EVENTS", 200)
    log = EventLog(StoredEvents(tmp_path / "run.zarr"))  # opened before there is a run
    assert (log.first, log.head) == (0, 0)
    run = Writing(tmp_path / "run.zarr")
    held = []
    deadline = time.monotonic() + GIVE_UP_S
    while log.first < 2 * CHUNK and time.monotonic() < deadline:
        log.append(run.step())
        held.append(log.head - log.first)
    n = log.head
    assert log.first >= 2 * CHUNK and min(held[-50:]) < max(held)
    whole = make_events(0, n)
    for seq, to in ((0, n), (299, 301), (log.first - 1, log.first + 1), (n - 10, n)):
        assert everything(log, seq, to).tobytes() == whole[seq:to].tobytes()
    run.tables.close(Stop("r", "complete"), wait_s=0)


@pytest.mark.parametrize("stored", [0, 3, 2 * CHUNK], ids=["nothing", "journal", "columns too"])
def test_a_new_publisher_goes_on_where_the_store_ends(tmp_path: Path, stored: int) -> None:
    run = Writing(tmp_path / "run.zarr")
    for _ in range(stored if stored < CHUNK else 0):
        run.step()
    run.step_until(stored // CHUNK * CHUNK)
    log = EventLog(StoredEvents(tmp_path / "run.zarr"))  # as after a kill: nothing was closed
    head = run.t * AT_A_TIME
    assert log.head == head
    log.append(make_events(max(head - 20, log.first), 30))  # some are made again
    if head:
        assert everything(log, 0, log.head).tobytes() == make_events(0, log.head).tobytes()
    with pytest.raises(WireError, match="is missing before"):
        log.append(make_events(log.head + 1, 1))
    run.tables.close(Stop("r", "complete"), wait_s=0)


def test_a_damaged_column_is_not_passed_on(tmp_path: Path) -> None:
    run = Writing(tmp_path / "run.zarr")
    run.step_until(2 * CHUNK)
    log = EventLog(StoredEvents(tmp_path / "run.zarr"))
    chunk = tmp_path / "run.zarr" / "events" / "track" / "c" / "0"
    raw = bytearray(chunk.read_bytes())
    raw[len(raw) // 2] ^= 1
    chunk.write_bytes(raw)
    assert len(log.stored(0, 10)) == 0
    assert len(log.stored(CHUNK, CHUNK + 10)) == 10
    run.tables.close(Stop("r", "complete"), wait_s=0)
