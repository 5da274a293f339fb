"""Builders shared by all tests: first words, frames and updates of known content, a follower.

Programs that a test starts import them, too, with `environment`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.stream.notices import Notices
from livespt.stream.store.table_writer import TableWriter
from livespt.stream.types import EVENT, KINDS, SPOT, STATE, Frame, Start, Timings, Update

FREE = "tcp://127.0.0.1:0"  # any free port
GIVE_UP_S = 300.0  # for a machine that is very busy


def make_start(shape: tuple[int, ...] = (8, 12), **changes: Any) -> Start:
    """The first word of a run, with `changes` of its fields."""
    start = Start("r", "replay", "movie.tif", "yx", shape, "<u2", 0.1, 0.05)
    return replace(start, **changes)


def make_frame(
    number: int, shape: tuple[int, ...] = (8, 12), dtype: str = "<u2", **changes: Any
) -> Frame:
    """A frame whose pixels differ from frame to frame, with `changes` of its fields."""
    image = ((np.arange(np.prod(shape)) * 7 + number * 13) % 251).reshape(shape).astype(dtype)
    frame = Frame(number, number, 0, 0, number * 0.05, image, clock=1)
    return frame._replace(**changes)


def make_update(
    frame: Frame,
    spots: NDArray[np.void] | None = None,
    states: NDArray[np.void] | None = None,
    events: NDArray[np.void] | None = None,
    **changes: Any,
) -> Update:
    """What a frame gave, with `changes` of its fields: without rows nothing."""
    tables = [
        np.zeros(0, dtype) if rows is None else rows
        for rows, dtype in ((spots, SPOT), (states, STATE), (events, EVENT))
    ]
    return Update(*frame[:5], 0, *tables, level=frame.level)._replace(**changes)


def varied_update(number: int) -> Update:
    """Rows that differ for every frame; between none and six of a table."""
    spots = np.zeros(number * 5 % 7, SPOT)
    spots["frame"], spots["track"], spots["x"] = number, np.arange(len(spots)), number / 3
    states = np.zeros(number * 3 % 5, STATE)
    states["frame"], states["p_normal"] = number, number / 7
    events = np.zeros(number % 2, EVENT)
    events["seq"], events["frame"] = number // 2, number
    timings = Timings(1.0, 2.0, number, 4.0)
    frame = make_frame(number)
    return make_update(frame, spots, states, events, timings=timings, degraded=number % 3)


def make_events(first: int, n: int) -> NDArray[np.void]:
    """Events `first` to `first + n - 1`, the same ones whoever makes them."""
    events = np.zeros(n, EVENT)
    events["seq"] = events["frame"] = np.arange(first, first + n)
    events["track"] = 7 * events["seq"]
    events["kind"] = events["seq"] % len(KINDS)
    return events


class Unsure:
    """A follower that never knows."""

    def push(self, slots: NDArray[np.int32], *_: Any) -> NDArray[np.float32]:
        return np.full((len(slots), 5), 0.25, np.float32)

    read = push

    def clear(self, slots: NDArray[np.int32]) -> None:
        pass


class TablesAlone:
    """The sink of the analyzer's process, unpublished: the recorder stores the frames."""

    def __init__(self, writer: TableWriter) -> None:
        self._writer, self._notices = writer, Notices()
        self.finish, self.close = writer.finish, writer.close

    def __call__(self, frame: Frame, update: Update) -> None:
        for kind, text in self._notices(update):
            self._writer.status(kind, update.t, text)
        self._writer.commit(frame, update)

    def leave_out(self, frame: Frame, why: str) -> None:
        for kind, text in self._notices.left_out(frame, why):
            self._writer.status(kind, frame.t, text)


def until(true: Callable[[], bool], what: str = "it did not happen") -> None:
    """Wait for something that another thread or process does."""
    deadline = time.monotonic() + GIVE_UP_S
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


def environment() -> dict[str, str]:
    """The environment of a program that imports `build`."""
    return os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
