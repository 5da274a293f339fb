"""The flow: simulate, record live through the real core, store, replay to the same bytes."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from build import FREE, GIVE_UP_S
from livespt.acquisition.microscope.connect import simulated_microscope
from livespt.acquisition.microscope.hook import Put
from livespt.acquisition.microscope.microscope import Acquired
from livespt.acquisition.simulated import Scenario, SimulatedMovie, virus_entry
from livespt.stream import pipeline
from livespt.stream.errors import LiveSptError, MicroscopeError, StoreError
from livespt.stream.sinks import StoredReplay
from livespt.stream.store.run import RunReader, RunWriter, open_run
from livespt.stream.store.verify import verify
from livespt.stream.types import Frame
from livespt.stream.wire.subscriber import Subscriber
from livespt.tools.chaos.trial_publisher import free_endpoint
from livespt.tools.demo import score_run
from livespt.tools.runs.compose import compose
from livespt.tools.runs.live import record
from livespt.tools.runs.options import Facts, Options
from livespt.tools.runs.replay import replay
from livespt.tools.runs.resume import resume

AHEAD = 5  # frames; the analysis gives up something when 8 wait (stream/degradation.py)
INTERVAL_S = 0.02
TABLES = ("spots", "states", "events")


@pytest.fixture(scope="module")
def movie() -> SimulatedMovie:
    return virus_entry(Scenario(seed=11, n_frames=140))


def facts(movie: SimulatedMovie) -> Facts:
    return Facts("simulated", "yx", movie.shape, movie.dtype, movie.pixel_size_um, INTERVAL_S)


def await_analysis(out: Path, i: int) -> None:
    """Let a camera wait, before frame i, for an analysis that is too far behind."""
    deadline, run = time.monotonic() + GIVE_UP_S, open_run(out)
    while len(run.frames) < i - AHEAD:
        assert time.monotonic() < deadline, f"the analysis hangs at frame {len(run.frames)}"
        time.sleep(0.005)
        run.refresh()


@pytest.fixture(scope="module")
def recorded(movie: SimulatedMovie, tmp_path_factory: pytest.TempPathFactory) -> RunReader:
    """A live run: MMCore -> pycromanager -> hook -> ring -> recorder and analyzer processes."""
    out = tmp_path_factory.mktemp("live") / "run.zarr"
    images = [movie.frame(i) for i in range(len(movie))]

    def image(i: int) -> NDArray[Any]:
        await_analysis(out, i)
        return images[i]

    with simulated_microscope(
        image, len(images), movie.shape, movie.dtype, INTERVAL_S
    ) as microscope:
        acquire = partial(microscope.acquire, n_frames=len(images))
        stop, acquired = record(acquire, out, facts(movie), Options(), endpoint=FREE, say=str)
    assert (acquired.frames, acquired.errors, stop.status) == (len(movie), 0, "complete")
    return open_run(out)


def same_bytes(one: RunReader, other: RunReader) -> None:
    """Compare the tables as arrays and as the files they are stored in."""
    for name in TABLES:
        ours, theirs = getattr(one, name), getattr(other, name)
        assert len(ours) and ours.tobytes() == theirs.tobytes(), name
        files = sorted(p.relative_to(one.path) for p in (one.path / name).rglob("*") if p.is_file())
        assert files
        for file in files:
            assert (one.path / file).read_bytes() == (other.path / file).read_bytes(), file


def test_every_frame_that_was_sent_is_stored(recorded: RunReader, movie: SimulatedMovie) -> None:
    assert recorded.n_frames == len(movie)
    for i in (0, 77, len(movie) - 1):
        np.testing.assert_array_equal(recorded.frame(i).image, movie.frame(i))
    assert len(recorded.frames) == len(movie) and recorded.frames["analyzed"].all()
    assert np.isfinite(recorded.frames["latency_ms"]).all()


def test_what_was_found_is_true(recorded: RunReader, movie: SimulatedMovie) -> None:
    found = score_run(movie, recorded.path)
    assert found["detection"]["recall"] > 0.95
    assert found["detection"]["precision"] > 0.95
    assert found["tracks"]["purity"] > 0.95


def test_every_spot_has_one_settled_state(recorded: RunReader) -> None:
    spots, states = recorded.spots, recorded.states
    settled = states[states["settled"] == 1]
    keys = ["frame", "track"]
    assert np.array_equal(np.sort(spots[keys]), np.sort(settled[keys]))
    told = states[states["settled"] == 0]
    assert np.array_equal(np.sort(spots[keys]), np.sort(told[keys]))
    total = sum(settled[n] for n in ("p_normal", "p_directed", "p_confined", "p_subdiffusive"))
    np.testing.assert_allclose(total, 1, atol=1e-5)
    assert np.array_equal(recorded.events["seq"], np.arange(len(recorded.events)))


def test_a_replay_gives_the_same_bytes(recorded: RunReader, tmp_path: Path) -> None:
    again = tmp_path / "again.zarr"
    replay(recorded.path, again, Options(), endpoint=FREE, say=str)
    same_bytes(recorded, open_run(again))
    once_more = tmp_path / "once_more.zarr"  # a replay of the replay, complete in itself
    replay(again, once_more, Options(), endpoint=FREE, say=str)
    same_bytes(recorded, open_run(once_more))


def test_frames_that_were_skipped_live_are_skipped_again(
    movie: SimulatedMovie, tmp_path: Path
) -> None:
    chain = compose(facts(movie), Options(), "live")
    writer = RunWriter(tmp_path / "run.zarr", chain.start)
    frames = [frame for frame in movie if frame.number < 60]

    def source() -> Iterator[Frame]:
        for frame in frames:
            if frame.number in (20, 21, 40):
                writer.add_frame(frame)  # recorded, not analyzed
            else:
                yield frame

    pipeline.run(source(), chain.analyzer, [StoredReplay(writer)], chain.start, chain.stages)
    run = open_run(tmp_path / "run.zarr")
    assert run.frames["number"][run.frames["analyzed"] == 0].tolist() == [20, 21, 40]
    replay(run.path, tmp_path / "again.zarr", Options(), endpoint=FREE, say=str)
    same_bytes(run, open_run(tmp_path / "again.zarr"))
    replay(run.path, tmp_path / "all.zarr", Options(), all_frames=True, endpoint=FREE, say=str)
    assert open_run(tmp_path / "all.zarr").frames["analyzed"].all()


def played(movie: SimulatedMovie, put: Put, then: Callable[[int], None]) -> Acquired:
    """A capture that calls `then` before each of 40 frames."""
    for i in range(40):
        then(i)
        put(movie.frame(i), number=i, t=i, time_s=i * INTERVAL_S, captured_ns=time.monotonic_ns())
    return Acquired(40, 0, 0, "", False)


def kill(name: str) -> None:
    """Kill this worker of the run, as soon as there is one."""
    deadline, workers = time.monotonic() + GIVE_UP_S, []
    while not workers:
        assert time.monotonic() < deadline, f"there is no {name}"
        workers = [p for p in multiprocessing.active_children() if p.name == f"livespt-{name}"]
    workers[0].kill()


def test_a_capture_that_breaks_leaves_a_whole_run(movie: SimulatedMovie, tmp_path: Path) -> None:
    def broken(i: int) -> None:
        await_analysis(out, i)
        if i == 25:
            raise MicroscopeError("the cable is out")

    out = tmp_path / "run.zarr"
    with pytest.raises(LiveSptError, match="cable"):
        record(lambda put: played(movie, put, broken), out, facts(movie), Options(), endpoint=FREE)
    run = open_run(out)
    assert run.stop is not None and run.stop.status == "failed" and "cable" in run.stop.reason
    assert run.n_frames == 25 and run.frames["analyzed"].all()
    assert (run.states["settled"] == 1).sum() == len(run.spots) > 0


@pytest.mark.parametrize("name", ["analyzer", pytest.param("recorder", marks=pytest.mark.slow)])
def test_a_worker_that_dies_is_begun_again(
    name: str, movie: SimulatedMovie, tmp_path: Path
) -> None:
    heard, epochs = [], []
    patience = {"connect_s": GIVE_UP_S, "silence_s": GIVE_UP_S}

    def listen(endpoint: str) -> None:
        with Subscriber(endpoint, since=0, **patience) as subscriber:
            heard.extend(np.array(event) for event in subscriber.events())
            epochs.append(subscriber.epoch)

    def follow(said: str) -> None:
        threads.append(Thread(target=listen, args=(said.split()[-1],)))
        threads[0].start()

    threads: list[Thread] = []

    def killing(i: int) -> None:
        if name == "analyzer":
            await_analysis(out, i)
        else:
            time.sleep(0.03)  # what was analyzed without a recorder waits for the next frame
        if i in (15, 30):
            kill(name)

    out = tmp_path / "run.zarr"
    stop, _ = record(
        lambda put: played(movie, put, killing),
        out,
        facts(movie),
        Options(),
        endpoint=free_endpoint(),
        say=follow,
    )
    run = open_run(out)
    threads[0].join()
    assert epochs == [2 if name == "analyzer" else 0]
    assert np.array(heard).tobytes() == run.events.tobytes(), "each once and in order"
    assert (stop.status, stop.recorded, stop.analyzed) == ("complete", 40, 40)
    assert set(run.status["kind"]) == {"restarted"} and not list(verify(out))
    replay(out, tmp_path / "again.zarr", Options(), endpoint=FREE, say=str)
    same_bytes(run, open_run(tmp_path / "again.zarr"))


@pytest.mark.slow
def test_an_analyzer_that_dies_for_good_leaves_a_run_to_resume(
    movie: SimulatedMovie, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("livespt.tools.runs.supervisor.RESTARTS", 0)

    def killing(i: int) -> None:
        if i <= 15:
            await_analysis(out, i)
        if i == 15:
            kill("analyzer")

    out = tmp_path / "run.zarr"
    with pytest.raises(LiveSptError, match="livespt resume"):
        record(lambda put: played(movie, put, killing), out, facts(movie), Options(), endpoint=FREE)
    assert open_run(out).n_frames == 40 and open_run(out).stop is None
    assert resume(out, say=str)["status"] == "complete"
    replay(out, tmp_path / "again.zarr", Options(), endpoint=FREE, say=str)
    same_bytes(open_run(out), open_run(tmp_path / "again.zarr"))


def test_an_analyzer_that_refuses_leaves_nothing(movie: SimulatedMovie, tmp_path: Path) -> None:
    out = tmp_path / "run.zarr"
    model = tmp_path / "none.onnx"

    def never(put: object) -> None:
        raise AssertionError("the camera must not start")

    with pytest.raises(LiveSptError, match=r"none\.onnx"):
        record(never, out, facts(movie), Options(localizer=model), endpoint=FREE)  # type: ignore[arg-type]
    assert not out.exists()
    out.mkdir()
    with pytest.raises(StoreError, match="exists already"):
        record(never, out, facts(movie), Options(), endpoint=FREE)  # type: ignore[arg-type]
