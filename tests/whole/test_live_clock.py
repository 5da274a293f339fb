"""The clock of a live run: its interval is what its frames say, from the first update on."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from livespt.acquisition.microscope.hook import Put
from livespt.acquisition.microscope.microscope import Acquired
from livespt.stream import sources
from livespt.stream.ring.reader import RingReader
from livespt.stream.ring.writer import RingWriter
from livespt.stream.sources import first_interval
from livespt.stream.store.run import open_run
from livespt.stream.types import CLOCKS
from livespt.tools.runs.live import record
from livespt.tools.runs.options import Facts, Options
from livespt.tools.runs.replay import replay

FREE = "tcp://127.0.0.1:0"
RNG = np.random.default_rng(1)
IMAGES = RNG.poisson(100, (48, 40, 40)).astype(np.uint16)
CAMERA = CLOCKS.index("camera")


def numbers_and_times(case: str) -> tuple[list[int], list[float]]:
    numbers, rng = np.arange(48), np.random.default_rng(2)
    if case == "lost":
        numbers = np.flatnonzero(rng.random(60) > 0.2)[:48]
        return numbers.tolist(), (0.0252 * numbers).tolist()
    steps = rng.uniform(0.4, 1.6, 48) * 0.0252 if case == "jitter" else np.full(48, 0.0252)
    if case == "pause":
        steps[30] = 8.0
    return numbers.tolist(), np.cumsum(steps).tolist()


@pytest.mark.parametrize("case", ["slow read-out", "lost", "jitter", "pause"])
def test_the_interval_is_that_of_the_first_frames(case: str) -> None:
    name = f"clock-{case.replace(' ', '-')}-{time.monotonic_ns()}"
    with RingWriter(name, 64, (40, 40), "<u2") as ring, RingReader(name) as reader:
        for i, (number, at) in enumerate(zip(*numbers_and_times(case), strict=True)):
            ring.put(IMAGES[i], number=number, t=number, time_s=at, clock=CAMERA)
        found = first_interval(reader)
        assert found == pytest.approx(0.0252, rel=0.3 if case == "jitter" else 1e-6)
        assert next(iter(reader)).number == numbers_and_times(case)[0][0], "all are still there"


def test_a_camera_that_waits_for_the_analysis_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sources, "FIRST_S", 0.05)
    name = f"clock-{time.monotonic_ns()}"
    with RingWriter(name, 64, (40, 40), "<u2") as ring, RingReader(name) as reader:
        ring.put(IMAGES[0], number=0, t=0, time_s=0.0, clock=CAMERA)
        assert first_interval(reader) is None
        ring.put(IMAGES[1], number=1, t=1, time_s=0.5, clock=CAMERA)
        assert first_interval(reader) == 0.5
        ring.end()
        monkeypatch.setattr(sources, "FIRST_S", 1e9)
        assert first_interval(reader) == 0.5


@pytest.mark.parametrize("case", ["lost", "pause"])
def test_a_live_run_stores_what_its_camera_says(case: str, tmp_path: Path) -> None:
    numbers, times = numbers_and_times(case)

    def acquire(put: Put) -> Acquired:
        for i, (number, at) in enumerate(zip(numbers, times, strict=True)):
            now = time.monotonic_ns()
            put(IMAGES[i], number=number, t=number, time_s=at, clock=CAMERA, captured_ns=now)
        return Acquired(len(numbers), numbers[-1] + 1 - len(numbers), 0, "", False)

    out = tmp_path / "run.zarr"
    # what was asked for is not what came
    facts = Facts("camera", "yx", (40, 40), "<u2", 0.1, 0.01, exposure_s=0.002)
    stop, _ = record(acquire, out, facts, Options(), endpoint=FREE, say=str)
    run = open_run(out)
    assert run.start.frame_interval_s == pytest.approx(0.0252)
    assert stop.frame_interval_s == pytest.approx(0.0252)
    assert run.start.exposure_s == 0.002
    assert np.allclose(run.frames["time_s"], times)
    assert (stop.recorded, stop.lost) == (48, numbers[-1] + 1 - 48)
    assert stop.recorded == stop.analyzed + stop.skipped
    (text,) = run.status["text"][run.status["kind"] == "interval"]
    assert "10 ms" in text and "25.2 ms is taken" in text
    replay(out, tmp_path / "again.zarr", Options(), endpoint=FREE, say=str)
    again = open_run(tmp_path / "again.zarr")
    assert again.start.frame_interval_s == pytest.approx(0.0252)
    for name in ("spots", "states", "events"):
        assert getattr(again, name).tobytes() == getattr(run, name).tobytes()
