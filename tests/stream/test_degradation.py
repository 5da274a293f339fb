"""The ladder: levels follow the backlog, change what they say, and are repeated by a replay."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from build import TablesAlone, make_frame, make_start
from livespt.acquisition.recordings.open_movie import open_movie
from livespt.stream import pipeline, timing
from livespt.stream.analyzer import Analyzer
from livespt.stream.degradation import (
    DETECT_EVERY,
    LEVEL_BACKLOGS,
    RECOVER_AFTER,
    STATE_EVERY,
    Degradation,
)
from livespt.stream.notices import Notices
from livespt.stream.ring.reader import RingReader
from livespt.stream.ring.writer import RingWriter
from livespt.stream.settings import Settings
from livespt.stream.sinks import StoredReplay
from livespt.stream.sources import graded
from livespt.stream.store.movie import MovieWriter
from livespt.stream.store.run import RunReader, RunWriter, create_run, open_run
from livespt.stream.store.table_writer import TableWriter
from livespt.stream.types import SPOT, Frame, Update
from livespt.tools.runs.replay import chosen
from livespt.tools.runs.workers import MAX_BEHIND

START = make_start((8, 8), mode="live")
TABLES = ("spots", "states", "events")
CLIMBS = {
    "at once": ([0, 7, 8, 16, 32, 200], [0, 0, 1, 2, 3, 3]),
    "straight to the top": ([0, 40], [0, 3]),
    "and down, step by step": (
        [40, *[0] * (3 * RECOVER_AFTER)],
        [3, *[3] * (RECOVER_AFTER - 1), *[2] * RECOVER_AFTER, *[1] * RECOVER_AFTER, 0],
    ),
    "not while it is half as much": ([9, *[LEVEL_BACKLOGS[0] // 2] * 100], [1] * 101),
    "nor for a moment": (
        [9, *([0] * (RECOVER_AFTER - 1) + [5]) * 3],
        [1] * (1 + 3 * RECOVER_AFTER),
    ),
    "up again in between": (
        [20, *[0] * (RECOVER_AFTER + 3), 17],
        [2, *[2] * (RECOVER_AFTER - 1), *[1] * 4, 2],
    ),
}


@pytest.mark.parametrize("name", CLIMBS)
def test_levels_follow_what_waits(name: str) -> None:
    behind, levels = CLIMBS[name]
    ladder = Degradation()
    assert [ladder(n) for n in behind] == levels


def test_the_ladder_ends_before_frames_are_skipped() -> None:
    assert list(LEVEL_BACKLOGS) == sorted(LEVEL_BACKLOGS) and LEVEL_BACKLOGS[-1] < MAX_BEHIND


class Read:
    """A follower whose readings depend on how many points it was told of."""

    def __init__(self) -> None:
        self.told = np.zeros(512)

    def push(self, slots: NDArray[np.int32], *_: Any) -> NDArray[np.float32]:
        self.told[slots] += 1
        return self._reading(slots)

    def read(self, slots: NDArray[np.int32], ages: NDArray[np.int64]) -> NDArray[np.float32]:
        return self._reading(slots)

    def clear(self, slots: NDArray[np.int32]) -> None:
        self.told[slots] = 0

    def _reading(self, slots: NDArray[np.int32]) -> NDArray[np.float32]:
        share = 1 / (1 + self.told[slots])
        return np.stack([share, 1 - share, *[0 * share] * 2, share], axis=1).astype(np.float32)


def localize(image: NDArray[Any]) -> NDArray[np.void]:
    spots = np.zeros(2, SPOT)
    spots["y"] = 1, 6
    spots["x"] = image[0, 0] % 7, 4
    return spots


def chain() -> tuple[Analyzer, timing.Stages]:
    stages = timing.Stages(timing.Timed(localize), timing.TimedInfer(Read))
    return Analyzer(stages.localize, stages.infer, Settings(lag=3)), stages


def frame(number: int, level: int = 0) -> Frame:
    image = np.full((8, 8), number, np.uint16)
    image[4:] = 9999
    return make_frame(number, image=image, level=level)


def updates(levels: list[int]) -> list[Update]:
    analyzer, _ = chain()
    done = [analyzer(frame(i, level)) for i, level in enumerate(levels)]
    last = analyzer.finish()
    assert last is not None
    return [*done, last]


def test_levels_leave_out_provisional_states_and_nothing_else() -> None:
    plain, stepped = updates([0] * 24), updates([0, 1] * 6 + [2, 3] * 6)
    for one, other in zip(plain, stepped, strict=True):
        assert one.spots.tobytes() == other.spots.tobytes()
        assert one.events.tobytes() == other.events.tobytes()
        settled = [u.states[u.states["settled"] == 1] for u in (one, other)]
        assert settled[0].tobytes() == settled[1].tobytes()
        kept = other.level < 2 or other.number % STATE_EVERY == 0
        given = other.states[other.states["settled"] == 0]
        assert len(given) == (2 if kept and other is not stepped[-1] else 0)


def test_every_second_frame_is_looked_at_on_the_last_step() -> None:
    class Waiting:
        behind = LEVEL_BACKLOGS[-1]

        def __iter__(self) -> Iterator[Frame]:
            return map(frame, range(10))

    seen = list(graded(Waiting(), Degradation()))
    assert [one.number for one in seen] == list(range(0, 10, DETECT_EVERY))
    assert {one.level for one in seen} == {3}


def test_each_change_is_told_once() -> None:
    notices, told = Notices(), []
    analyzer, _ = chain()
    for number, level in [(0, 0), (1, 1), (2, 1), (4, 3), (6, 3), (8, 2), (9, 2), (13, 0)]:
        told += notices(analyzer(frame(number, level)))
    assert [kind for kind, _ in told] == ["level", "level", "level", "level", "lost"]
    assert "every 2nd frame is analyzed" in told[1][1] and "everything again" in told[3][1]


def same(one: RunReader, other: RunReader) -> None:
    for name in TABLES:
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes(), name
    for name in ("number", "analyzed", "level"):
        assert np.array_equal(one.frames[name], other.frames[name]), name


def replayed(run: RunReader, path: Path, all_frames: bool = False) -> RunReader:
    analyzer, stages = chain()
    writer = RunWriter(path, START)
    source = chosen(open_movie(run.path), all_frames, writer)
    pipeline.run(source, analyzer, [StoredReplay(writer)], START, stages)
    return open_run(path)


def test_a_loop_that_falls_behind_climbs_and_its_replay_repeats_it(tmp_path: Path) -> None:
    """The camera is far ahead when the analysis begins, later it waits for it."""
    create_run(tmp_path / "run.zarr", START)
    movie, tables = MovieWriter(tmp_path / "run.zarr", START), TableWriter(tmp_path / "run.zarr")
    name = f"ladder-{os.getpid()}"
    count, at_once = 200, MAX_BEHIND  # more would be skipped
    with RingWriter(name, 512, (8, 8), "<u2") as ring:
        reader = RingReader(name, max_behind=MAX_BEHIND)

        def film() -> None:
            for i in range(count):
                while i >= at_once and reader.behind > 1:
                    time.sleep(0.0002)
                one = frame(i)
                movie.add_frame(one)
                ring.put(one.image, number=i, t=i, time_s=one.time_s)
            movie.close()
            ring.end()

        stages = timing.Stages(timing.Timed(localize), timing.TimedInfer(Read))
        analyzer = Analyzer(stages.localize, stages.infer, Settings(lag=3))
        filming = threading.Thread(target=film, name="film")
        filming.start()
        while ring.count < at_once:
            time.sleep(0.001)
        source = graded(reader, Degradation())
        stop = pipeline.run(source, analyzer, [TablesAlone(tables)], START, stages)
        filming.join()
        reader.close()
    run = open_run(tmp_path / "run.zarr")
    assert stop.status == "complete" and run.n_frames == count
    levels, analyzed = run.frames["level"], run.frames["analyzed"] == 1
    assert levels.max() == 3 and levels[-1] == 0 and analyzed.sum() + run.stop.skipped == count  # type: ignore[union-attr]
    told = [str(text) for text in run.status["text"][run.status["kind"] == "level"]]
    assert len(told) == np.count_nonzero(np.diff(levels[analyzed].astype(int), prepend=0))
    spots, states = run.spots, run.states
    settled, provisional = (states[states["settled"] == k] for k in (1, 0))
    keys = ["frame", "track"]
    assert np.array_equal(np.sort(spots[keys]), np.sort(settled[keys]))
    assert 0 < len(provisional) < len(spots)
    again = replayed(run, tmp_path / "again.zarr")
    same(run, again)
    same(run, replayed(again, tmp_path / "once_more.zarr"))
    whole = replayed(run, tmp_path / "all.zarr", all_frames=True)
    assert whole.frames["analyzed"].all() and not whole.frames["level"].any()
    assert [whole.graded(i).level for i in (0, 9)] == [0, 0]
    top = int(np.flatnonzero(levels == 3)[0])
    assert run.graded(top).level == 3 and run.frame(top).level == 0
