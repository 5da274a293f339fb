"""Every sink does what sinks must do; Zarr or a bare ZeroMQ socket reads what they hold."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
import zmq
from numpy.typing import NDArray

from build import FREE
from livespt.stream.analyzer import Analyzer
from livespt.stream.recovery.checkpoints import Checkpoints
from livespt.stream.recovery.reanalysis import Reanalysis
from livespt.stream.settings import Settings
from livespt.stream.sinks import Published, StoredReplay, StoredTables
from livespt.stream.store.movie import MovieWriter
from livespt.stream.store.run import RunWriter, create_run, open_run
from livespt.stream.store.table_writer import TableWriter
from livespt.stream.types import Frame, Sink, Start, Stop, Update
from livespt.stream.wire.publisher import Publisher
from livespt.tools.conformance.sink import TABLES, SinkTests
from livespt.tools.runs.resume import UnfinishedRun

GIVE_UP_MS = 300_000  # for a machine that is very busy


def unused(*_: object) -> Any:
    raise AssertionError("nothing is analyzed by this analyzer")


def stored(run: Path) -> dict[str, NDArray[np.void]]:
    """The tables of a closed run, as any Zarr program sees them."""
    group, tables = zarr.open_group(run, mode="r"), {}
    for name in TABLES:
        columns = {field: np.asarray(array[...]) for field, array in group[name].arrays()}
        rows = np.zeros(
            len(next(iter(columns.values()))), [(k, c.dtype) for k, c in columns.items()]
        )
        for field, column in columns.items():
            rows[field] = column
        tables[name] = rows
    return tables


class TestStoredReplay(SinkTests):
    def made(self, folder: Path, start: Start, frames: list[Frame]) -> Sink:
        return StoredReplay(RunWriter(folder / "run.zarr", start))

    def held(self, folder: Path) -> dict[str, NDArray[np.void]]:
        return stored(folder / "run.zarr")


class TestStoredTables(SinkTests):
    """The recorder, another process, has stored all frames."""

    @pytest.fixture(autouse=True)
    def _open_publisher(self) -> Iterator[None]:
        self.publishers: list[Publisher] = []
        yield
        for publisher in self.publishers:
            publisher.close(Stop("conformance", "complete"))

    def made(self, folder: Path, start: Start, frames: list[Frame]) -> Sink:
        create_run(folder / "run.zarr", start)
        recorder = MovieWriter(folder / "run.zarr", start)
        for frame in frames:
            recorder.add_frame(frame)
        recorder.close()
        self.publishers.append(Publisher(FREE, start))
        return StoredTables(TableWriter(folder / "run.zarr"), self.publishers[-1], lambda: 0)

    def held(self, folder: Path) -> dict[str, NDArray[np.void]]:
        return stored(folder / "run.zarr")


class Checkpointed:
    """A store with checkpoints behind it, as in a run."""

    def __init__(self, run: Path, start: Start) -> None:
        writer = RunWriter(run, start)
        self.store = StoredReplay(writer)
        analyzer = Analyzer(unused, unused, Settings())
        self.checkpoints = Checkpoints(run, analyzer, writer.tables, every_s=0.0)

    def __call__(self, frame: Frame, update: Update) -> None:
        self.store(frame, update)
        self.checkpoints(frame, update)

    def finish(self, update: Update) -> None:
        self.store.finish(update)
        self.checkpoints.finish(update)

    def close(self, stop: Stop) -> None:
        self.checkpoints.close(stop)
        self.store.close(stop)


class TestCheckpoints(SinkTests):
    def made(self, folder: Path, start: Start, frames: list[Frame]) -> Sink:
        return Checkpointed(folder / "run.zarr", start)

    def held(self, folder: Path) -> dict[str, NDArray[np.void]]:
        return stored(folder / "run.zarr")


class TestUnfinishedRun(SinkTests):
    """A run that was cut short before its first frame."""

    def made(self, folder: Path, start: Start, frames: list[Frame]) -> Sink:
        run = folder / "run.zarr"
        RunWriter(run, start).leave()
        writer = RunWriter(run, start, resume=True)
        analyzer = Analyzer(unused, unused, Settings())
        recall = Reanalysis(run, analyzer, writer.tables)
        return UnfinishedRun(open_run(run), writer, recall, None)

    def held(self, folder: Path) -> dict[str, NDArray[np.void]]:
        return stored(folder / "run.zarr")


class TestPublished(SinkTests):
    """Heard by a socket that knows JSON and NumPy alone."""

    @pytest.fixture(autouse=True)
    def _open_sockets(self) -> Iterator[None]:
        self.heard: list[list[bytes]] = []
        with zmq.Context() as context, context.socket(zmq.SUB) as self.socket:
            self.socket.subscribe(b"")
            yield

    def made(self, folder: Path, start: Start, frames: list[Frame]) -> Sink:
        publisher = Publisher(FREE, start)
        self.socket.connect(publisher.endpoint)
        self.receive(lambda topic: topic == b"start")  # sent again and again: it is connected
        return Published(publisher)

    def held(self, folder: Path) -> dict[str, NDArray[np.void]]:
        self.receive(lambda topic: topic == b"stop")
        updates = []
        for topic, text, *arrays in self.heard:
            if topic == b"update":
                header = json.loads(text)
                updates.append(
                    dict(zip((a["name"] for a in header["arrays"]), arrays, strict=True))
                )
                dtypes = {
                    a["name"]: np.dtype([(k, v) for k, v in a["dtype"]]) for a in header["arrays"]
                }
        return {
            name: np.frombuffer(b"".join(update[name] for update in updates), dtypes[name])
            for name in TABLES
        }

    def receive(self, until: Callable[[bytes], bool]) -> None:
        while not self.heard or not until(self.heard[-1][0]):
            assert self.socket.poll(GIVE_UP_MS), "nothing is heard"
            self.heard.append(self.socket.recv_multipart())
