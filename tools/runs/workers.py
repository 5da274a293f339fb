"""The workers of a live run: recorder and analyzer, the two processes that read the ring.

If capture dies, both first store everything that it handed over, and then end. A restarted worker
continues where the last one died.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from livespt.stream import pipeline
from livespt.stream.degradation import Degradation
from livespt.stream.errors import WireError
from livespt.stream.recovery.checkpoints import Checkpoints
from livespt.stream.recovery.reanalysis import Reanalysis
from livespt.stream.ring.reader import RingReader
from livespt.stream.sinks import Published, StoredTables
from livespt.stream.sources import after_reanalysis, graded, handed_over
from livespt.stream.store.attributes import read_attributes
from livespt.stream.store.movie_reader import MovieReader
from livespt.stream.store.table_writer import TableWriter
from livespt.stream.types import Frame, Start
from livespt.stream.wire.event_history import StoredEvents
from livespt.stream.wire.publisher import Publisher
from livespt.tools.runs.compose import Chain, compose
from livespt.tools.runs.options import LiveOrders
from livespt.tools.runs.resume import chain_of_run

MAX_BEHIND = 64  # waiting frames from which the analyzer skips to the newest
GAINED = 0.9  # a backlog that does not shrink by this factor is given up
ORDERS_S = 0.25  # interval between checks for messages
PORT_S = 60.0  # for the system to give back the port of a process that died


class Orders:
    """Messages from capture to the analyzer: notices, and how the run ends."""

    def __init__(self, pipe: Connection, tell: Callable[[str, int, str], None]) -> None:
        self._pipe, self._tell = pipe, tell
        self._due = 0.0
        self._word: tuple[str, str] | None = None

    def until(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        """Yield frames, and process the messages that arrive in the meantime."""
        for frame in frames:
            if time.monotonic() >= self._due:
                self._due = time.monotonic() + ORDERS_S
                while self._word is None and self._pipe.poll():
                    self._hear(frame.t)
            yield frame

    def __call__(self) -> tuple[str, str]:
        """Status and reason of `Stop`."""
        while self._word is None:
            self._hear(-1)
        return self._word

    def _hear(self, t: int) -> None:
        try:
            kind, first, second = self._pipe.recv()
        except (EOFError, OSError):
            self._word = "failed", "the process that acquires died"
            return
        if kind == "end":
            self._word = first, second
        else:
            self._tell(first, t, second)


def analyzing(pipe: Connection, live: LiveOrders, restarts: int) -> None:
    """Analyzer process: the loop."""
    if restarts:
        _go_on(pipe, live, restarts)
        return
    chain = compose(live.facts, live.options, "live")
    publisher = Publisher(
        live.endpoint, chain.start, events=StoredEvents(live.out), folder=live.keys
    )
    pipe.send((chain.start, publisher.endpoint))
    pipe.recv()  # the run exists
    tables = TableWriter(live.out, durability=live.durability)
    if live.durability != "second":
        tables.status("durability", -1, live.durability)
    with RingReader(live.ring, max_behind=MAX_BEHIND) as reader:
        pipe.send("ready")
        _loop(
            pipe, live, chain, publisher, tables, reader, handed_over(graded(reader, Degradation()))
        )


def _go_on(pipe: Connection, live: LiveOrders, restarts: int) -> None:
    """Continue for an analyzer that died: restore its state, then the backlog, then the ring."""
    start = read_attributes(live.out).start
    tables = TableWriter(live.out, resume=True, durability=live.durability)
    try:
        publisher = _publisher(live, start, restarts)
        chain = chain_of_run(start, lambda text: None)
        reanalysis = Reanalysis(live.out, chain.analyzer, tables)
    except BaseException:
        tables.leave()
        raise
    text = f"the analyzer died after frame {tables.mark().number} and was restarted"
    publisher.status("restarted", text)
    tables.status("restarted", -1, text)
    with RingReader(live.ring, max_behind=MAX_BEHIND) as reader:
        frames = _follow(live.out, start, reanalysis, reader)
        _loop(pipe, live, chain, publisher, tables, reader, frames, reanalysis)


def _loop(
    pipe: Connection,
    live: LiveOrders,
    chain: Chain,
    publisher: Publisher,
    tables: TableWriter,
    reader: RingReader,
    frames: Iterator[Frame],
    reanalysis: Reanalysis | None = None,
) -> None:
    def tell(kind: str, t: int, text: str) -> None:
        publisher.status(kind, text)
        tables.status(kind, t, text)

    ending = Orders(pipe, tell)
    frames = tables.taking(ending.until(frames))
    if reanalysis is not None:
        frames = after_reanalysis(chain.stages, reanalysis, frames)
    sinks: list[pipeline.Sink] = [
        Published(publisher),
        StoredTables(tables, publisher, lambda: reader.refused, reanalysis),
        Checkpoints(live.out, chain.analyzer, tables, live.checkpoint_s),
    ]
    pipeline.run(frames, chain.analyzer, sinks, chain.start, chain.stages, ending=ending)
    pipe.send("done")


def _publisher(live: LiveOrders, start: Start, restarts: int) -> Publisher:
    """Open a publisher in place of the one that died."""
    deadline = time.monotonic() + PORT_S
    while True:
        try:
            events = StoredEvents(live.out)
            return Publisher(live.endpoint, start, epoch=restarts, events=events, folder=live.keys)
        except WireError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _follow(out: Path, start: Start, reanalysis: Reanalysis, reader: RingReader) -> Iterator[Frame]:
    """Yield recorded frames as long as the backlog shrinks, then live frames from the ring."""
    movie = MovieReader(out, start)
    at, last, behind = 0, -1, None
    while True:
        movie.poll()
        left = len(movie.log) - at
        if not left or (behind is not None and left > GAINED * behind):
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
