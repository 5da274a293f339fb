"""Whole runs of a sample that drifts: told, stored, taken off, exported, live as in a replay."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from numpy.typing import NDArray

from build import FREE, GIVE_UP_S
from livespt.acquisition.microscope.connect import simulated_microscope
from livespt.acquisition.recordings.movie import Stated
from livespt.stream.store.run import RunReader, open_run
from livespt.stream.types import MOTIONS, STATE
from livespt.tools.runs.live import record
from livespt.tools.runs.options import Facts, Options
from livespt.tools.runs.replay import replay
from livespt.tools.tables.export import export_run

FRAMES, SIDE, WALKERS, STEP = 170, 160, 40, 0.45
UNITS = Stated(pixel_size_um=0.1, frame_interval_s=0.05)
TABLES = ("spots", "states", "events")


def film(drift: tuple[float, float]) -> NDArray[np.uint16]:
    """Brownian particles, which leave on one side and come back on the other."""
    rng = np.random.default_rng(6)
    steps = rng.normal(0, STEP, (FRAMES, WALKERS, 2)) + drift
    places = (rng.uniform(0, SIDE, (WALKERS, 2)) + np.cumsum(steps, axis=0)) % SIDE
    axis = np.arange(SIDE)[:, None]
    light = np.full((FRAMES, SIDE, SIDE), 100.0)
    for t, here in enumerate(places):
        rows, columns = (np.exp(-((axis - here[:, k]) ** 2) / 3.4) for k in (0, 1))
        light[t] += 500 * rows @ columns.T
    return rng.poisson(light).astype(np.uint16)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunReader]:
    """Replays of a movie with and without drift, by what was asked for."""
    folder = tmp_path_factory.mktemp("drift")
    found = {}
    for name, drift in (("moving", (0.3, 0.0)), ("still", (0.0, 0.0))):
        tifffile.imwrite(folder / f"{name}.tif", film(drift), metadata={"axes": "TYX"})
        for mode in ("off", "report", "correct"):
            out, said = folder / f"{name}_{mode}.zarr", list[str]()
            options = Options(settings={"drift": mode})
            replay(folder / f"{name}.tif", out, options, UNITS, endpoint=FREE, say=said.append)
            found[f"{name} {mode}"] = run = open_run(out)
            told = [text.removeprefix("note: ") for text in said if "drifts" in text]
            stored = [text for text in run.status["text"] if "drifts" in text]
            assert told == stored, "what the terminal says is stored"
    return found


def directed(run: RunReader) -> float:
    """Share of settled states that are directed, of tracks whose drift is known from the start."""
    settled = run.states[(run.states["settled"] == 1) & (run.states["frame"] > 80)]
    return float(np.mean(settled["state"] == MOTIONS.index("directed")))


def drift_notices(run: RunReader) -> int:
    return sum(kind == "drift" for kind in run.status["kind"])


def test_a_drift_is_told_once_and_none_is_told_without(runs: dict[str, RunReader]) -> None:
    told = {name: drift_notices(run) for name, run in runs.items()}
    assert told == {name: int(name in ("moving report", "moving correct")) for name in runs}


def test_frames_hold_how_far_it_has_drifted(runs: dict[str, RunReader]) -> None:
    frames = runs["moving report"].frames
    rate = np.diff(frames[["drift_y", "drift_x"]][[60, 120]].tolist(), axis=0)[0] / 60
    np.testing.assert_allclose(rate, (0.3, 0.0), atol=0.02)
    assert np.isnan(runs["moving off"].frames["drift_y"]).all()
    assert np.abs(runs["still report"].frames["drift_y"]).max() < 1.0


def test_a_report_changes_no_byte_and_a_correction_only_states(runs: dict[str, RunReader]) -> None:
    for name in ("moving", "still"):
        off, report, correct = (runs[f"{name} {mode}"] for mode in ("off", "report", "correct"))
        for table in TABLES:
            assert getattr(off, table).tobytes() == getattr(report, table).tobytes()
        assert correct.spots.tobytes() == off.spots.tobytes()


def test_without_its_drift_a_sample_moves_as_it_does(runs: dict[str, RunReader]) -> None:
    undrifted = directed(runs["still off"])
    assert directed(runs["moving report"]) > 0.7, "drift makes everything directed"
    assert directed(runs["moving correct"]) < undrifted + 0.04 < 0.15


def test_an_export_has_no_drift_if_readings_have_none(
    runs: dict[str, RunReader], tmp_path: Path
) -> None:
    tables = {}
    for mode in ("report", "correct"):
        export_run(runs[f"moving {mode}"].path, tmp_path / f"{mode}.csv")
        tables[mode] = pd.read_csv(tmp_path / f"{mode}.csv")
    frames = runs["moving correct"].frames
    offset = frames["drift_y"][np.searchsorted(frames["frame"], tables["report"]["frame"])]
    moved = tables["report"]["y"] - tables["correct"]["y"]
    np.testing.assert_allclose(moved, offset, atol=1e-3)
    assert moved.max() > 25
    about = json.loads((tmp_path / "correct.csv.json").read_text())["columns"]["y"]["meaning"]
    assert about.endswith("The drift of the sample is taken off.")
    plain = json.loads((tmp_path / "report.csv.json").read_text())["columns"]["y"]["meaning"]
    assert "drift" not in plain


def test_a_live_run_says_and_takes_off_what_a_replay_does(
    tmp_path: Path, await_analysis: Callable[[Path, int], None]
) -> None:
    images, out, said = film((0.3, 0.0)), tmp_path / "live.zarr", list[str]()

    def image(i: int) -> NDArray[Any]:
        await_analysis(out, i)
        return images[i]

    facts = Facts("simulated", "yx", (SIDE, SIDE), "<u2", 0.1, 0.02)
    options = Options(settings={"drift": "correct"})
    with simulated_microscope(image, FRAMES, (SIDE, SIDE), "uint16", 0.02) as microscope:
        acquire = partial(microscope.acquire, n_frames=FRAMES)
        record(acquire, out, facts, options, endpoint=FREE, say=said.append)
    live = open_run(out)
    assert sum("drifts" in text for text in said) == drift_notices(live) == 1
    replay(out, tmp_path / "again.zarr", Options(), endpoint=FREE, say=said.append)
    again = open_run(tmp_path / "again.zarr")
    for table in TABLES:
        assert getattr(live, table).tobytes() == getattr(again, table).tobytes()
    for axis in "yx":
        np.testing.assert_array_equal(live.frames[f"drift_{axis}"], again.frames[f"drift_{axis}"])
    assert live.states.dtype == STATE and sum("drifts" in text for text in said) == 2


@pytest.fixture
def await_analysis() -> Callable[[Path, int], None]:
    """Let a camera wait for an analysis that is behind: then no level is given up."""
    import time

    def wait(out: Path, i: int) -> None:
        deadline, run = time.monotonic() + GIVE_UP_S, open_run(out)
        while len(run.frames) < i - 5:
            assert time.monotonic() < deadline, "the analysis hangs"
            time.sleep(0.005)
            run.refresh()

    return wait
