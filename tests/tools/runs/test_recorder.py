"""A disk that takes nothing for a while: who is told, what is stored, what waits, what is lost."""

from __future__ import annotations

import errno
import os
import resource
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from build import FREE, make_events, make_frame, make_start, make_update
from livespt.stream.errors import StoreError
from livespt.stream.ring.reader import RingReader
from livespt.stream.ring.writer import RingWriter
from livespt.stream.sinks import REASONS, StoredTables
from livespt.stream.store import table_writer as table_store
from livespt.stream.store.movie import MovieWriter
from livespt.stream.store.run import create_run, open_run
from livespt.stream.store.table_writer import TableWriter
from livespt.stream.store.verify import verify
from livespt.stream.types import SPOT, Frame, Stop, Update
from livespt.stream.wire.publisher import Publisher
from livespt.tools.chaos import disk
from livespt.tools.runs.recorder import store_frames

START = make_start((32, 32), mode="live")
STOP = Stop("r", "complete")


def noisy(number: int) -> Frame:
    """A frame that is hardly smaller when it is compressed."""
    image = np.random.default_rng(number).integers(0, 60000, START.shape).astype("<u2")
    return make_frame(number, image=image)


def found(number: int) -> Update:
    spots = np.zeros(20, SPOT)
    spots["frame"], spots["x"] = number, number / 3
    return make_update(noisy(number), spots, events=make_events(number, 1))


@pytest.fixture
def limit() -> Iterator[None]:
    """Writes beyond a size of file fail, as on a disk without room, until the test is over."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def room(size: int) -> None:
    """Let files grow to so many bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def test_storage_stops_and_goes_on_and_says_so_once_each(limit: None, tmp_path: Path) -> None:
    path = tmp_path / "run.zarr"
    create_run(path, START)
    publisher = Publisher(FREE, START)
    failed: list[str] = []
    name = f"storage-{os.getpid()}"

    def recording() -> None:
        with RingReader(name, lossless=True, wait_s=300) as reader:
            try:
                store_frames(reader, MovieWriter(path, START))
            except StoreError as error:
                failed.append(str(error))

    with RingWriter(name, 8, START.shape, "<u2", lossless_wait_s=300.0) as ring:
        recorder = Thread(target=recording)
        recorder.start()
        reader = RingReader(name)
        sink = StoredTables(TableWriter(path), publisher, lambda: reader.refused)
        n = 0

        def put() -> None:
            nonlocal n
            frame = noisy(n)
            ring.put(frame.image, number=n, t=n, time_s=frame.time_s)
            sink(frame, found(n))
            n += 1

        # the recorder is a thread that may lie behind: what it meets decides how long each part is
        while n < 20:
            put()
        room(30_000)
        while not reader.refused and n < 1000:
            put()
        put()
        room(1 << 30)
        while reader.refused and n < 2000:
            put()
        for _ in range(10):
            put()
        ring.end()
        recorder.join()
        sink.finish(found(n))
        reader.close()
    stop = sink.close(STOP)
    publisher.close(stop, 0.0)
    run = open_run(path)
    assert run.status["text"][run.status["kind"] == "storage"].tolist() == [
        "storage stopped: file too large",
        "storage resumed",
    ]
    assert np.array_equal(run.events["seq"], np.arange(n + 1)), "what waited is stored"
    assert 10 <= run.n_frames < n and f"{n - run.n_frames} frames could not" in failed[0]
    for i, number in enumerate(run.log["number"]):
        assert np.array_equal(run.frame(i).image, noisy(int(number)).image)
    assert list(verify(path)) == []


def test_what_waits_is_bounded_and_what_is_lost_is_told(
    limit: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_store, "MAX_WAITING", 30_000)
    path = tmp_path / "run.zarr"
    create_run(path, START, movie=False)
    publisher = Publisher(FREE, START)
    sink = StoredTables(TableWriter(path), publisher, lambda: 0)
    room(100)
    for number in range(40):
        sink(noisy(number), found(number))
    room(1 << 30)
    with pytest.raises(StoreError, match=r"\d+ analyzed frames could not be stored"):
        sink.close(STOP)
    publisher.close(STOP, 0.0)
    run = open_run(path)
    kept = 40 - sink.writer.dropped
    assert 5 < kept < 30 and run.events["seq"].tolist() == list(range(40)), "events without a gap"
    assert run.stop == replace(
        STOP,
        recorded=40,
        analyzed=40,
        spots=20 * kept,
        events=40,
        frame_interval_s=run.stop.frame_interval_s,
    )
    assert list(verify(path)) == []


def test_every_error_of_a_disk_has_a_word() -> None:
    for name in ("ENOSPC", "EDQUOT", "EROFS", "EACCES", "EPERM", "EFBIG"):
        assert REASONS[getattr(errno, name)]


@pytest.mark.slow
@pytest.mark.parametrize("trouble", ["full", "broken", "read_only", "memory"])
def test_a_live_run_survives_its_disk(trouble: str, tmp_path: Path) -> None:
    result = disk.tried(trouble, tmp_path)
    assert result.get("held", "skipped" in result), result
