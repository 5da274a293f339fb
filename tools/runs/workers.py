"""The workers of a live run: recorder and analyzer, the two processes that read the ring.

If capture dies, both first store everything that it handed over, and then end. A restarted worker
continues where the last one died.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

from livespt.stream.degradation import Degradation
from livespt.stream.frame_times import differ
from livespt.stream.recovery.reanalysis import Reanalysis
from livespt.stream.ring.reader import RingReader
from livespt.stream.sinks import StoredTables
from livespt.stream.sources import first_interval, graded, handed_over
from livespt.stream.store.attributes import read_attributes, restate
from livespt.stream.store.movie_reader import MovieReader
from livespt.stream.store.table_writer import TableWriter
from livespt.stream.types import Frame, Start
from livespt.stream.wire.publisher import Publisher
from livespt.tools.runs.compose import Chain, compose
from livespt.tools.runs.options import LiveOrders
from livespt.tools.runs.outputs import Outputs, open_outputs, open_publisher
from livespt.tools.runs.resume import chain_of_run
from livespt.tools.runs.supervisor import SAID

MAX_BEHIND = 64  # waiting frames from which the analyzer skips to the newest
MIN_SHRINK = 0.9  # a backlog that shrinks less is given up
ORDERS_S = 0.25  # interval between checks for messages
PORT_S = 60.0  # for the system to give back the port of a process that died


class Orders:
    """Messages from capture to the analyzer: notices, and how the run ends."""

    def __init__(self, pipe: Connection, notify: Callable[[str, int, str], None]) -> None:
        self._pipe, self._notify = pipe, notify
        self._due = 0.0
        self._ending: tuple[str, str] | None = None

    def until(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        """Yield frames, and process the messages that arrive in the meantime."""
        for frame in frames:
            if time.monotonic() >= self._due:
                self._due = time.monotonic() + ORDERS_S
                while self._ending is None and self._pipe.poll():
                    self._receive(frame.t)
            yield frame

    def __call__(self) -> tuple[str, str]:
        """Status and reason of `Stop`."""
        while self._ending is None:
            self._receive(-1)
        return self._ending

    def _receive(self, t: int) -> None:
        try:
            kind, first, second = self._pipe.recv()
        except (EOFError, OSError):
            self._ending = "failed", "the process that acquires died"
            return
        if kind == "end":
            self._ending = first, second
        else:
            self._notify(first, t, second)


def analyzing(pipe: Connection, live: LiveOrders, restarts: int) -> None:
    """Analyzer process: the loop."""
    if restarts:
        _go_on(pipe, live, restarts)
        return
    chain = compose(live.facts, live.options, "live")
    stated = chain.start.frame_interval_s
    chain = chain._replace(start=replace(chain.start, frame_interval_s=None))
    publisher = open_publisher(live.endpoint, chain.start, live.out, keys=live.keys)
    pipe.send((chain.start, publisher.endpoint))
    pipe.recv()  # the run exists
    tables = TableWriter(live.out, durability=live.durability)
    with RingReader(live.ring, max_behind=MAX_BEHIND) as reader:
        store = StoredTables(tables, publisher, lambda: reader.refused)
        outputs = open_outputs(
            chain,
            live.out,
            store,
            tables,
            publisher=publisher,
            durability=live.durability,
            checkpoint_s=live.checkpoint_s,
            say=partial(_say, pipe),
        )
        pipe.send("ready")
        _begin(live, chain, outputs, publisher, stated, first_interval(reader))
        _loop(pipe, outputs, publisher, handed_over(graded(reader, Degradation())))


def _begin(
    live: LiveOrders,
    chain: Chain,
    outputs: Outputs,
    publisher: Publisher,
    stated_s: float | None,
    interval_s: float | None,
) -> None:
    """Complete the first word of a run by the interval that its first frames have.

    Raises
    ------
    ModelError
        A user's classifier was trained with another interval.
    """
    start = replace(chain.start, frame_interval_s=interval_s or stated_s)
    chain.infer.measure(start.pixel_size_um, start.frame_interval_s, len(start.axes))
    analyzer = chain.analyzer
    analyzer.known = analyzer.known._replace(frame_interval_s=start.frame_interval_s)
    restate(live.out, start)
    publisher.begin(start)
    if interval_s and stated_s and differ(interval_s, stated_s):
        text = (
            f"{stated_s * 1000:.4g} ms from frame to frame were asked for, the clock of the frames "
            f"says {interval_s * 1000:.4g} ms: {interval_s * 1000:.4g} ms is taken"
        )
        publisher.status("interval", text)
        outputs.tables.status("interval", 0, text)


def _go_on(pipe: Connection, live: LiveOrders, restarts: int) -> None:
    """Continue for an analyzer that died: restore its state, then the backlog, then the ring."""
    start = read_attributes(live.out).start
    tables = TableWriter(live.out, resume=True, durability=live.durability)
    try:
        publisher = open_publisher(
            live.endpoint, start, live.out, keys=live.keys, epoch=restarts, within_s=PORT_S
        )
        chain = chain_of_run(start, lambda text: None)
        reanalysis = Reanalysis(live.out, chain.analyzer, tables)
    except BaseException:
        tables.leave()
        raise
    text = f"the analyzer died after frame {tables.mark().number} and was restarted"
    publisher.status("restarted", text)
    tables.status("restarted", -1, text)
    with RingReader(live.ring, max_behind=MAX_BEHIND) as reader:
        store = StoredTables(tables, publisher, lambda: reader.refused, reanalysis)
        outputs = open_outputs(
            chain,
            live.out,
            store,
            tables,
            publisher=publisher,
            reanalysis=reanalysis,
            checkpoint_s=live.checkpoint_s,
            say=partial(_say, pipe),
        )
        _loop(pipe, outputs, publisher, _follow(live.out, start, reanalysis, reader))


def _say(pipe: Connection, text: str) -> None:
    """Hand a text for the user to capture; if that has died, the run has it all the same."""
    with suppress(OSError):
        pipe.send((SAID, text))


def _loop(
    pipe: Connection, outputs: Outputs, publisher: Publisher, frames: Iterator[Frame]
) -> None:
    """Analyze until capture sends how the run ends; publish and store its notices."""

    def notify(kind: str, t: int, text: str) -> None:
        publisher.status(kind, text)
        outputs.tables.status(kind, t, text)

    ending = Orders(pipe, notify)
    outputs.run(ending.until(frames), ending)
    pipe.send("done")


def _follow(out: Path, start: Start, reanalysis: Reanalysis, reader: RingReader) -> Iterator[Frame]:
    """Yield recorded frames as long as the backlog shrinks, then live frames from the ring."""
    movie = MovieReader(out, start)
    at, last, behind = 0, -1, None
    while True:
        movie.poll()
        left = len(movie.log) - at
        if not left or (behind is not None and left > MIN_SHRINK * behind):
            break
        for i in range(at, at + left):
            last = int(movie.log["number"][i])
            if reanalysis.wanted(last):
                yield reanalysis.graded(movie.frame(i))
        at, behind = at + left, left
    reader.pass_over(last)
    yield from handed_over(_ring(reanalysis, reader))


def _ring(reanalysis: Reanalysis, reader: RingReader) -> Iterator[Frame]:
    """Yield frames of a ring: first those that the last analyzer had started, then as usual."""
    for frame in reader:
        if reanalysis.wanted(frame.number):
            yield reanalysis.graded(frame)
        if not reanalysis.knows(frame.number):
            break
    yield from graded(reader, Degradation())
