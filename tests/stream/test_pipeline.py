"""The pipeline: order of sinks, measured times, and the last word of a run that fails."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from build import Unsure, make_start
from livespt.stream import pipeline, timing
from livespt.stream.analyzer import Analyzer
from livespt.stream.errors import StoreError
from livespt.stream.notices import Notices
from livespt.stream.settings import Settings
from livespt.stream.types import KINDS, SPOT, Frame, Stop, Update

START = make_start((8, 8))


def localize(image: NDArray[np.generic]) -> NDArray[np.void]:
    """One particle, at the row that the image names; none where it says 0."""
    spots = np.zeros(int(image.any()), SPOT)
    spots["y"] = image.max()
    return spots


class Cleared(Unsure):
    """Knows which slots were cleared."""

    def __init__(self) -> None:
        self.cleared: list[int] = []

    def clear(self, slots: NDArray[np.int32]) -> None:
        self.cleared += slots.tolist()


def frames(rows: list[int], channels: int = 1) -> Iterator[Frame]:
    for number, row in enumerate(rows):
        image = np.full((8, 8), row, np.uint16)
        yield Frame(number, number // channels, number % channels, 0, number * 0.1, image)


class Kept:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.updates: list[Update] = []
        self.stop: Stop | None = None

    def __call__(self, frame: Frame, update: Update) -> Update:
        self.updates.append(update)
        return update._replace(timings=update.timings._replace(latency_ms=1.5))

    def finish(self, update: Update) -> None:
        self.updates.append(update)

    def close(self, stop: Stop) -> None:
        self.stop = stop


def run(source: Iterator[Frame], *sinks: Kept, memory: int = 1) -> Stop:
    stages = timing.Stages(timing.Timed(localize), timing.TimedInfer(Unsure))
    settings = Settings(search_range=3, memory=memory, lag=2)
    analyzer = Analyzer(stages.localize, stages.infer, settings)
    return pipeline.run(source, analyzer, sinks, START, stages)


def test_a_run_ends_with_its_counts_and_every_sink_sees_all() -> None:
    first, second = Kept(), Kept()
    stop = run(frames([1, 2, 3, 0, 5, 6]), first, second)
    assert (stop.status, stop.analyzed, stop.spots, stop.lost) == ("complete", 6, 5, 0)
    assert first.stop == second.stop == stop
    assert sum(len(u.states) for u in first.updates) == stop.states == 2 * stop.spots
    assert all(u.timings.analyze_ms > 0 for u in first.updates[:-1])
    assert second.updates[0].timings.latency_ms == 1.5  # measured by the sink before
    assert {int(t) for u in first.updates for t in u.spots["track"]} == {0}


def test_tracks_are_born_and_lost_in_order() -> None:
    kept = Kept()
    run(frames([1, 1, 0, 0, 0, 6, 6]), kept, memory=1)
    events = np.concatenate([u.events for u in kept.updates])
    told = [(KINDS[e["kind"]], int(e["track"]), int(e["frame"]), int(e["delay"])) for e in events]
    assert told == [("born", 0, 0, 0), ("lost", 0, 1, 2), ("born", 1, 5, 0)]
    assert events["seq"].tolist() == [0, 1, 2]


def test_channels_have_tracks_of_their_own() -> None:
    kept = Kept()
    run(frames([1, 6, 1, 6, 1, 6], channels=2), kept)
    spots = np.concatenate([u.spots for u in kept.updates])
    assert spots["track"].tolist() == [0, 1] * 3
    assert spots["channel"].tolist() == [0, 1] * 3


def test_a_gap_in_the_numbers_is_counted() -> None:
    kept = Kept()
    stop = run((f for f in frames([1] * 6) if f.number not in (2, 3)), kept)
    assert stop.lost == 2
    assert [u.lost for u in kept.updates] == [0, 0, 2, 0, 0]


def test_spots_in_too_dense_a_crowd_are_counted_and_told_once() -> None:
    def crowd(image: NDArray[np.generic]) -> NDArray[np.void]:
        return np.zeros(int(image.max()), SPOT)

    analyzer, notices = Analyzer(crowd, Unsure, Settings(lag=1)), Notices()
    updates = [analyzer(frame) for frame in frames([2000, 2000, 2000, 3, 2000])]
    assert [u.degraded for u in updates] == [0, 2000, 2000, 0, 2000]
    told = [kind for update in updates for kind, _ in notices(update) if kind != "flat"]
    assert told == ["crowded", "crowded"]
    assert [kind for kind, _ in notices(updates[3]._replace(lost=2))] == ["lost"]


def test_what_breaks_a_stage_ends_the_run_with_a_word() -> None:
    def source() -> Iterator[Frame]:
        yield from frames([1, 2])
        raise ValueError("broken")

    class Full(Kept):
        def close(self, stop: Stop) -> None:
            raise StoreError("disk full")

    first, last = Kept(), Full()
    with pytest.raises(ValueError, match="broken"):  # not what closing raised
        run(source(), first, last)
    assert first.stop is not None
    assert (first.stop.status, first.stop.analyzed) == ("failed", 2)
    assert "broken" in first.stop.reason
    with pytest.raises(StoreError):
        run(frames([1]), first, last)
    assert first.stop.status == "complete"


def test_a_source_that_was_stopped_still_settles() -> None:
    def stopped() -> tuple[str, str]:
        return "aborted", "enough"

    kept = Kept()
    stages = timing.Stages(timing.Timed(localize), timing.TimedInfer(Unsure))
    analyzer = Analyzer(stages.localize, stages.infer, Settings(lag=2))
    stop = pipeline.run(frames([1, 1, 1]), analyzer, [kept], START, stages, ending=stopped)
    assert (stop.status, stop.reason, stop.states) == ("aborted", "enough", 6)


def test_an_empty_source_is_a_complete_run_of_nothing() -> None:
    assert run(frames([])).status == "complete"


def test_the_time_of_all_followers_is_added_up() -> None:
    """Each call of a follower takes one tick of this clock, and clearing takes none."""
    ticks, made = iter(range(0, 10**9, 1_000_000)), []

    def infer() -> Cleared:
        made.append(Cleared())
        return made[-1]

    timed = timing.TimedInfer(infer, clock=lambda: next(ticks))
    first, second = timed(), timed()
    slots, frames, points = np.zeros(2, np.int32), np.zeros(2, np.int64), np.zeros((2, 3))
    assert first.push(slots, frames, points).shape == second.read(slots, frames).shape == (2, 5)
    first.clear(slots)
    assert [len(some.cleared) for some in made] == [2, 0]
    assert timed.take_ms() == 2
    second.push(slots, frames, points)
    assert (timed.take_ms(), timed.take_ms()) == (1, 0)


def test_inference_is_timed_in_every_lane() -> None:
    kept, slow = Kept(), 0.002

    class Slow(Unsure):
        def push(self, slots: NDArray[np.int32], *_: NDArray[np.generic]) -> NDArray[np.float32]:
            time.sleep(slow)
            return super().push(slots)

    stages = timing.Stages(timing.Timed(localize), timing.TimedInfer(Slow))
    analyzer = Analyzer(stages.localize, stages.infer, Settings(lag=0))
    pipeline.run(frames([1, 2, 1, 2], channels=2), analyzer, [kept], START, stages)
    for update in kept.updates[:-1]:
        assert 1000 * slow <= update.timings.infer_ms <= update.timings.analyze_ms
