"""Odd frames: whatever a camera does, nothing raises, and what happened is counted and told.

Each case is a list of frames as they come out of the ring. It goes through the loop with the
shipped localizer into a run, live as the recorder and the analyzer do it and replayed from what
was stored: the tables are the same bytes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence, Set as AbstractSet
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from build import TablesAlone, Unsure, make_start
from livespt.acquisition.microscope.hook import Hook
from livespt.acquisition.recordings.open_movie import open_movie
from livespt.models.localize.localizer import Localizer
from livespt.stream import frame_quality, pipeline, timing
from livespt.stream.analyzer import Analyzer
from livespt.stream.errors import InputError
from livespt.stream.ring.reader import RingReader
from livespt.stream.ring.writer import RingWriter
from livespt.stream.settings import Settings
from livespt.stream.sinks import StoredReplay
from livespt.stream.store.movie import MovieWriter
from livespt.stream.store.run import RunReader, RunWriter, create_run, open_run
from livespt.stream.store.table_writer import TableWriter
from livespt.stream.types import CLOCKS, SPOT, Frame, Start
from livespt.tools.runs.replay import chosen

SHAPE = (32, 48)
RING = f"odd-{os.getpid()}"
CAMERA = CLOCKS.index("camera")
NOISE = np.random.default_rng(3).normal(0, 2, (12, *SHAPE))


def scene(i: int, dtype: str = "<u2") -> NDArray[Any]:
    """Two spots of light on noise; one moves a pixel in four frames."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    image = 100 + NOISE[i % 12]
    for at_y, at_x in ((10, 12 + 0.25 * (i % 40)), (22, 30)):
        image += 120 * np.exp(-((y - at_y) ** 2 + (x - at_x) ** 2) / (2 * 1.3**2))
    return image.astype(dtype)


def frame(number: int, image: NDArray[Any] | None = None, **facts: Any) -> Frame:
    pixels = scene(number) if image is None else image
    own = {"t": number, "time_s": 0.05 * number, "clock": CAMERA} | facts
    return Frame(number, own["t"], 0, 0, own["time_s"], pixels, own["clock"])


Change = Callable[[NDArray[Any]], object]
N, S, F, K, B = (
    frame_quality.NOT_FINITE,
    frame_quality.SATURATED,
    frame_quality.FLAT,
    frame_quality.STUCK,
    frame_quality.CLOCK_BACKWARDS,
)


def with_pixels(dtype: str, *changes: Change | None) -> list[Frame]:
    """Frames that are changed; those without a change are as they should be."""
    images = [scene(i, dtype) for i in range(len(changes))]
    for image, change in zip(images, changes, strict=True):
        if change:
            change(image)
    return [frame(i, image) for i, image in enumerate(images)]


def block(value: float) -> Change:
    """Some pixels away from the particles."""

    def change(image: NDArray[Any]) -> None:
        image[:6, :12] = value

    return change


def everywhere(value: float) -> Change:
    return lambda image: image.fill(value)


def hot(image: NDArray[Any]) -> None:
    image[5, 40] = 4000
    image[28, 5] = 0


def numbered(numbers: list[int], **facts: Any) -> list[Frame]:
    return [frame(n, scene(i), **facts) for i, n in enumerate(numbers)]


def at(points: list[int]) -> list[Frame]:
    return [frame(i, t=t) for i, t in enumerate(points)]


def timed(seconds: list[float]) -> list[Frame]:
    return [frame(i, time_s=s) for i, s in enumerate(seconds)]


class Case(NamedTuple):
    """Frames as they come, and what must be told."""

    frames: list[Frame]
    notices: AbstractSet[str] = frozenset()
    analyzed: int = 8
    lost: int = 0
    odd: Sequence[int] = (0,) * 8  # bits, by frame


def dead(image: NDArray[Any]) -> None:
    image[:, 3] = 0


CASES = {
    "nothing odd": Case(numbered(list(range(8)))),
    "32-bit pixels": Case(
        with_pixels(
            "<f4",
            None,
            block(np.nan),
            block(np.inf),
            block(-np.inf),
            everywhere(np.nan),
            None,
            everywhere(7.5),
            block(3e38),
        ),
        {"pixels", "flat"},
        odd=(0, N, N, N, N | F, 0, F, 0),
    ),
    "16-bit pixels": Case(
        with_pixels(
            "<u2",
            hot,
            block(65535),
            block(4095),
            everywhere(0),
            dead,
            everywhere(65535),
            everywhere(123),
            None,
        ),
        {"saturated", "flat", "stuck"},
        odd=(K, S, S, F, 0, S | F, F, 0),
    ),
    "8-bit pixels": Case(
        with_pixels("|u1", None, block(255), None, everywhere(255), everywhere(0), *[None] * 3),
        {"saturated", "flat"},
        odd=(0, S, 0, S | F, F, 0, 0, 0),
    ),
    "a time point twice": Case(at([0, 1, 2, 3, 3, 4, 5, 6, 7]), {"order", "lost"}, lost=1),
    "time points out of order": Case(at([0, 1, 3, 2, 4, 5, 6, 7]), {"order", "lost"}, 7, 1),
    "one dropped": Case(numbered([0, 1, 2, 3, 5, 6, 7, 8]), {"lost"}, lost=1),
    "ten dropped": Case(numbered([0, 1, 2, 3, 14, 15, 16, 17]), {"lost"}, lost=10),
    "a thousand dropped": Case(
        numbered([0, 1, 2, 3, 1004, 1005, 1006, 1007]), {"lost", "pause"}, lost=1000
    ),
    "numbers beyond all": Case(
        numbered([0, 1, 2, 3, 2**40, 2**40 + 1], time_s=0.0), {"lost"}, 6, 2**40 - 4
    ),
    "time points from 0 again": Case(at([0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2]), {"order"}, lost=3),
    "time back": Case(
        timed([0, 0.05, 0.1, 0.02, 0.07, 0.12, 0.17, 0.22]), {"clock"}, odd=(0, 0, 0, B, 0, 0, 0, 0)
    ),
    "no time": Case(
        timed([0, 0.05, np.nan, 0.15, 0.2, 0.25, 0.3, 0.35]),
        {"clock"},
        odd=(0, 0, B, 0, 0, 0, 0, 0),
    ),
    "a pause of 30 s": Case(timed([0, 0.05, 0.1, 0.15, 30.2, 30.25, 30.3, 30.35]), {"pause"}),
}


@pytest.fixture(scope="module")
def localizer() -> Localizer:
    return Localizer("fast", provider="cpu")


def chain(localizer: Callable[..., Any]) -> tuple[Analyzer, timing.Stages]:
    stages = timing.Stages(timing.Timed(localizer), timing.TimedInfer(Unsure))
    settings = Settings(search_range=4, memory=2, lag=3, motion="auto")
    return Analyzer(stages.localize, stages.infer, settings), stages


def start_of(frames: list[Frame], mode: str = "live") -> Start:
    image = frames[0].image
    return make_start(image.shape, mode=mode, dtype=image.dtype.str)


def live(frames: list[Frame], path: Path, localizer: Callable[..., Any]) -> RunReader:
    """As the recorder and the analyzer do it, one after the other."""
    start = start_of(frames)
    create_run(path, start)
    movie, tables = MovieWriter(path, start), TableWriter(path)

    def recorded() -> Iterator[Frame]:
        for one in frames:
            movie.add_frame(one)
            yield one
        movie.close()

    analyzer, stages = chain(localizer)
    pipeline.run(recorded(), analyzer, [TablesAlone(tables)], start, stages)
    return open_run(path)


def replayed(run: RunReader, path: Path, localizer: Callable[..., Any]) -> RunReader:
    movie = open_movie(run.path)
    analyzer, stages = chain(localizer)
    writer = RunWriter(path, start_of([movie.frame(0)], "replay"))
    source = chosen(movie, False, writer)
    pipeline.run(source, analyzer, [StoredReplay(writer)], start_of([movie.frame(0)]), stages)
    return open_run(path)


# much like others
SLOW = (
    "a time point twice", "one dropped", "ten dropped", "no time", "16-bit pixels", "8-bit pixels",
    "time points from 0 again", "a pause of 30 s", "numbers beyond all",
)  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in CASES],
)
def test_odd_frames_are_told_and_live_equals_replay(
    name: str, tmp_path: Path, localizer: Localizer
) -> None:
    case = CASES[name]
    run = live(case.frames, tmp_path / "run.zarr", localizer)
    assert run.stop is not None and run.stop.status == "complete"
    assert (run.stop.recorded, run.stop.analyzed) == (len(case.frames), case.analyzed)
    assert run.stop.skipped + run.stop.lost == case.lost
    assert {str(kind) for kind in run.status["kind"]} == case.notices
    assert run.frames["quality"][:8].tolist() == list(case.odd[: len(case.frames)])
    assert run.frames["number"].tolist() == [one.number for one in case.frames]
    assert run.frames["analyzed"].sum() == case.analyzed
    for i, one in enumerate(case.frames):
        np.testing.assert_array_equal(run.frame(i).image, one.image)
    assert np.isfinite(run.spots["x"]).all() and len(run.spots) >= 2 * (case.analyzed - 4)
    settled = run.states[run.states["settled"] == 1]
    assert np.array_equal(
        np.sort(settled[["frame", "track"]]), np.sort(run.spots[["frame", "track"]])
    )
    again = replayed(run, tmp_path / "again.zarr", localizer)
    for table in ("spots", "states", "events"):
        assert getattr(run, table).tobytes() == getattr(again, table).tobytes(), table
    assert {str(kind) for kind in again.status["kind"]} <= case.notices | {"lost"}
    for column in ("number", "quality", "analyzed", "lost"):
        assert np.array_equal(run.frames[column], again.frames[column]), column


def test_hot_and_dead_pixels_are_no_particles(localizer: Localizer) -> None:
    image = scene(0)
    clean = localizer(image)
    hot(image)
    found = localizer(image)
    assert len(found) == len(clean) == 2


@pytest.mark.parametrize("counts", [[0, 0, 0], [3, 20_000, 3], [20_000, 20_000, 20_000]])
def test_none_and_twenty_thousand_particles(counts: list[int]) -> None:
    places = np.random.default_rng(0).uniform(0, 2000, (20_000, 2)).astype(np.float32)

    def localize(image: NDArray[Any]) -> NDArray[np.void]:
        spots = np.zeros(int(image[0, 0]), SPOT)
        spots["y"], spots["x"] = places[: len(spots)].T
        return spots

    analyzer, _ = chain(localize)
    for i, n in enumerate(counts):
        update = analyzer(frame(i, np.full((4, 4), n, np.uint16)))
        assert len(update.spots) == n
    assert analyzer.finish() is not None


def test_a_run_without_a_frame_is_whole(tmp_path: Path, localizer: Localizer) -> None:
    start = start_of([frame(0)])
    create_run(tmp_path / "run.zarr", start)
    movie, tables = MovieWriter(tmp_path / "run.zarr", start), TableWriter(tmp_path / "run.zarr")
    movie.close()
    analyzer, stages = chain(localizer)
    pipeline.run(iter(()), analyzer, [TablesAlone(tables)], start, stages)
    run = open_run(tmp_path / "run.zarr")
    assert run.stop is not None and run.stop.status == "complete" and run.stop.recorded == 0
    with pytest.raises(InputError, match="no frames"):
        open_movie(run.path)


# the hook: it must never raise into the microscope


SEQUENCES: dict[str, tuple[list[int], list[int], int, int]] = {
    # image numbers -> exposure numbers, lost, late
    "twice": ([0, 1, 2, 2, 3, 4], [0, 1, 2, 3, 4, 5], 0, 1),
    "out of order": ([0, 1, 3, 2, 4], [0, 1, 3, 4, 5], 1, 1),
    "the camera starts again": ([*range(40), *range(5)], list(range(45)), 0, 0),
    "and loses its first": ([*range(40), 2, 3], [*range(40), 42, 43], 2, 0),
    "always 0": ([0] * 5, list(range(5)), 0, 0),
    "dropped 1000": ([0, 1001, 1002], [0, 1001, 1002], 1000, 0),
}


@pytest.mark.parametrize("name", SEQUENCES)
def test_image_numbers_that_go_wrong(name: str) -> None:
    given, numbers, lost, late = SEQUENCES[name]
    put: list[int] = []
    hook = Hook(lambda image, *, number, **_: put.append(number))
    for n in given:
        hook(scene(0), {"ImageNumber": n, "Axes": {}})
    assert put == numbers and (hook.lost, hook.late, hook.errors) == (lost, late, 0)


BROKEN: dict[str, tuple[Any, Any]] = {
    "another shape": (np.zeros((5, 5), np.uint16), {"ImageNumber": 1}),
    "another dtype": (np.zeros(SHAPE, np.float64), {"ImageNumber": 1}),
    "a number below 0": (scene(0), {"ImageNumber": -3}),
    "a number beyond all": (scene(0), {"ImageNumber": 1 << 70}),
    "a number in words": (scene(0), {"ImageNumber": "one"}),
    "no image": (None, {"ImageNumber": 1}),
    "no metadata": (scene(0), None),
    "axes of something else": (scene(0), {"ImageNumber": 1, "Axes": 3}),
    "a list for an axis": (scene(0), {"ImageNumber": 1, "Axes": {"time": [1]}}),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_the_ring_cannot_take_is_counted_and_the_next_frame_goes_on(name: str) -> None:
    with RingWriter(RING, 8, SHAPE, "<u2") as ring, RingReader(RING) as reader:
        hook = Hook(ring.put)
        hook(scene(0), {"ImageNumber": 0, "Axes": {}})
        hook(*BROKEN[name])
        hook(scene(2), {"ImageNumber": 2, "Axes": {}})
        assert (hook.seen, hook.frames, hook.errors) == (3, 2, 1) and hook.last_error
        ring.end()
        seen = list(reader)
    assert [one.number for one in seen] in ([0, 2], [0, 1])
    np.testing.assert_array_equal(seen[1].image, scene(2))


def test_a_number_that_does_not_follow_is_refused_by_the_ring() -> None:
    with RingWriter(RING, 8, SHAPE, "<u2") as ring, RingReader(RING) as reader:
        ring.put(scene(0), number=3, t=3)
        for number in (3, 2, -1, 1 << 60):
            with pytest.raises(InputError, match="does not follow 3"):
                ring.put(scene(1), number=number, t=number)
        ring.put(scene(2), number=4, t=4)
        ring.end()
        assert [one.number for one in reader] == [3, 4]


def test_planes_of_another_kind_do_not_slip_into_a_stack() -> None:
    put: list[Any] = []
    hook = Hook(lambda image, **_: put.append(image), planes=[0, 1])
    for t, images in enumerate(
        ([scene(0), scene(1)], [scene(0), scene(1)[:1]], [scene(0), scene(1, "<f4")])
    ):
        for z, image in enumerate(images):
            hook(image, {"Axes": {"time": t, "z": z}})
    assert (len(put), hook.errors) == (1, 2) or (len(put), hook.errors) == (1, 3)
    assert "in a stack of" in hook.last_error or "planes" in hook.last_error
