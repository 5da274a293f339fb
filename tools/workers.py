"""Workers: the two processes that follow the ring of a live run, recorder and analyzer.

Both end by themselves when capture has died: everything that it handed over is stored first. Both
go on where one before them died.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from livespt.stream import pipeline
from livespt.stream.attributes import read_attributes
from livespt.stream.checkpoints import Checkpoints
from livespt.stream.commits import LogReader
from livespt.stream.errors import MicroscopeError, StoreError, WireError
from livespt.stream.files import Durability
from livespt.stream.history import StoredEvents
from livespt.stream.movie import MovieReader, MovieWriter
from livespt.stream.publish import Publisher
from livespt.stream.recall import Recall
from livespt.stream.ring import RingReader
from livespt.stream.store import TableWriter
from livespt.stream.types import Frame, Start, Update
from livespt.tools.compose import Chain, Facts, Options, compose
from livespt.tools.replay import Notices, Published
from livespt.tools.resume import recalled, recomposed

MAX_BEHIND = 64  # frames the analyzer may lag before it skips to the newest
GAINED = 0.9  # a backlog that does not shrink by this factor is not made up for
ORDERS_S = 0.25  # between looks for orders
PORT_S = 5.0  # for the system to give back the port of a process that died


class Live(NamedTuple):
    """What the workers of a run are told."""

    ring: str
    out: Path
    facts: Facts
    options: Options
    endpoint: str
    keys: Path | None
    durability: Durability
    checkpoint_s: float


class StoredTables:
    """Sink that stores the tables; the recorder stores the frames."""

    def __init__(self, writer: TableWriter, recall: Recall | None = None) -> None:
        self.writer = writer
        self.notices = Notices()
        self.close = writer.close
        self._recall = recall

    def __call__(self, frame: Frame, update: Update) -> None:
        for kind, text in self.notices(update):
            self.writer.status(kind, update.t, text)
        self.writer.commit(frame, update)

    def leave_out(self, frame: Frame, why: str) -> None:
        """Tell of a frame that is not analyzed; the recorder stores it."""
        for kind, text in self.notices.left_out(frame, why):
            self.writer.status(kind, frame.t, text)

    def finish(self, update: Update) -> None:
        """Store what the end settles, unless one that died after that has done so."""
        if self._recall is None or not self._recall.finish(update):
            self.writer.finish(update)


class Ending:
    """How a live run ends, as its analyzer hears it; notices from capture on the way there."""

    def __init__(self, pipe: Connection, sinks: list[pipeline.Sink]) -> None:
        self._pipe, self._sinks = pipe, sinks
        self._due = 0.0
        self._word: tuple[str, str] | None = None

    def until(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        """Yield frames until there is none, or the process that made them is dead."""
        try:
            for frame in frames:
                if time.monotonic() >= self._due:
                    self._due = time.monotonic() + ORDERS_S
                    while self._word is None and self._pipe.poll():
                        self._hear(frame.t)
                yield frame
        except MicroscopeError as error:
            self._word = "failed", str(error)

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
            notice(self._sinks, first, t, second)


def notice(sinks: list[pipeline.Sink], kind: str, t: int, text: str) -> None:
    """Publish and store an operational notice."""
    for sink in sinks:
        if isinstance(sink, Published):
            sink.publisher.status(kind, text)
        elif isinstance(sink, StoredTables):
            sink.writer.status(kind, t, text)


def record(pipe: Connection, live: Live, start: Start, restarts: int) -> None:
    """Recorder process: every frame into `movie`."""
    with RingReader(live.ring, lossless=True) as reader:
        log = LogReader(live.out).poll()
        writer = MovieWriter(live.out, start, resume=restarts > 0, durability=live.durability)
        if len(log):
            reader.pass_over(int(log["number"][-1]))
        pipe.send("ready")
        refused: list[str] = []
        try:
            for frame in reader:
                try:
                    writer.add_frame(frame)
                except StoreError as error:  # this one is lost; there may be room for the next
                    refused.append(str(error))
        except MicroscopeError:  # what it had handed over is stored
            pass
        writer.close()
        lost = reader.lost + len(refused)
    if lost:
        why = refused[0] if refused else "they came faster than the disk takes them"
        raise StoreError(f"{lost} frames could not be recorded: {why}")
    with suppress(OSError):
        pipe.send("done")


def analyze(pipe: Connection, live: Live, restarts: int) -> None:
    """Analyzer process: the loop."""
    if restarts:
        _analyze_on(pipe, live, restarts)
        return
    chain = compose(live.facts, live.options, "live")
    publisher = Publisher(
        live.endpoint, chain.start, events=StoredEvents(live.out), folder=live.keys
    )
    pipe.send((chain.start, publisher.endpoint))
    with suppress(EOFError, OSError):
        pipe.recv()  # the run exists
        tables = TableWriter(live.out)
        with RingReader(live.ring, max_behind=MAX_BEHIND) as reader:
            pipe.send("ready")
            _loop(pipe, live, chain, publisher, tables, iter(reader))


def _analyze_on(pipe: Connection, live: Live, restarts: int) -> None:
    """Go on for an analyzer that died: its memory, the backlog, then the ring."""
    start = read_attributes(live.out).start
    tables = TableWriter(live.out, resume=True)
    try:
        publisher = _publisher(live, start, restarts)
        chain = recomposed(start, lambda text: None)
        recall = Recall(live.out, chain.analyzer, tables)
    except BaseException:
        tables.leave()
        raise
    text = f"the analyzer died after frame {tables.mark().number} and was restarted"
    notice([Published(publisher), StoredTables(tables)], "restarted", -1, text)
    with RingReader(live.ring, max_behind=MAX_BEHIND) as reader:
        frames = _follow(live.out, start, recall, reader)
        _loop(pipe, live, chain, publisher, tables, frames, recall)


def _loop(
    pipe: Connection,
    live: Live,
    chain: Chain,
    publisher: Publisher,
    tables: TableWriter,
    frames: Iterator[Frame],
    recall: Recall | None = None,
) -> None:
    sinks: list[pipeline.Sink] = [Published(publisher), StoredTables(tables, recall)]
    ending = Ending(pipe, sinks)
    sinks.append(Checkpoints(live.out, chain.analyzer, tables, live.checkpoint_s))
    frames = tables.taking(ending.until(frames))
    if recall is not None:
        frames = recalled(chain, recall, frames)
    pipeline.run(frames, chain.analyzer, sinks, chain.start, chain.stages, ending=ending)
    with suppress(OSError):
        pipe.send("done")


def _publisher(live: Live, start: Start, restarts: int) -> Publisher:
    """A publisher in place of the one that died."""
    deadline = time.monotonic() + PORT_S
    while True:
        try:
            events = StoredEvents(live.out)
            return Publisher(live.endpoint, start, epoch=restarts, events=events, folder=live.keys)
        except WireError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _follow(out: Path, start: Start, recall: Recall, reader: RingReader) -> Iterator[Frame]:
    """Yield what is wanted of what is recorded, as long as that gains on the camera; then live."""
    movie = MovieReader(out, start)
    at, last, behind = 0, -1, None
    while True:
        movie.poll()
        left = len(movie.log) - at
        if not left or (behind is not None and left > GAINED * behind):
            break
        for i in range(at, at + left):
            last = int(movie.log["number"][i])
            if recall.wanted(last):
                yield movie.frame(i)
        at, behind = at + left, left
    reader.pass_over(last)
    for frame in reader:
        if recall.wanted(frame.number):
            yield frame
