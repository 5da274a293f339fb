"""Runs and tables for which nobody looks for uncoating: `p_uncoated` is NaN, the rest as ever."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile

from build import FREE
from livespt.acquisition.simulated import Scenario, virus_entry
from livespt.models.motion import uncoating as uncoating_model
from livespt.stream.errors import SettingError
from livespt.stream.store.run import RunReader, open_run
from livespt.stream.types import KINDS
from livespt.tools.cli.main import run
from livespt.tools.runs.options import Options
from livespt.tools.runs.replay import replay
from livespt.tools.tables.analyze import analyze_table
from livespt.tools.tables.export import export_run
from livespt.tools.tables.segments import segment_table

OFF = Options(settings={"uncoating": "off"})
UNCOATING = KINDS.index("uncoating")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunReader, RunReader]:
    """A movie in which viruses uncoat, replayed with and without looking for it."""
    folder = tmp_path_factory.mktemp("off")
    movie = virus_entry(Scenario(3, 200, (160, 160), viruses=20, uncoating=20, visitors=0, late=0))
    frames = np.stack([movie.frame(i) for i in range(len(movie))])
    tifffile.imwrite(folder / "m.tif", frames, metadata={"axes": "TYX"})
    for name, options in (("on", Options()), ("off", OFF)):
        replay(folder / "m.tif", folder / f"{name}.zarr", options, endpoint=FREE, say=str)
    return open_run(folder / "on.zarr"), open_run(folder / "off.zarr")


def test_nothing_else_changes(runs: tuple[RunReader, RunReader]) -> None:
    on, off = runs
    assert on.spots.tobytes() == off.spots.tobytes()
    assert np.isnan(off.states["p_uncoated"]).all() and np.isfinite(on.states["p_uncoated"]).all()
    same = [name for name in on.states.dtype.names if name != "p_uncoated"]
    for name in same:
        np.testing.assert_array_equal(on.states[name], off.states[name])
    others = on.events[on.events["kind"] != UNCOATING]
    assert len(others) < len(on.events), "the movie shows uncoatings"
    assert (off.events["kind"] != UNCOATING).all() and len(off.events) == len(others)
    for name in ("kind", "frame", "track", "y", "x"):
        np.testing.assert_array_equal(others[name], off.events[name])


def test_the_first_word_says_so_and_a_replay_obeys(
    runs: tuple[RunReader, RunReader], tmp_path: Path
) -> None:
    on, off = runs
    assert off.start.settings["uncoating"] == "off" and "uncoating" not in off.start.models
    replay(off.path, tmp_path / "again.zarr", Options(), endpoint=FREE, say=str)
    again = open_run(tmp_path / "again.zarr")
    for name in ("spots", "states", "events"):
        assert getattr(again, name).tobytes() == getattr(off, name).tobytes()
    back = Options(settings={"uncoating": "on"})
    replay(off.path, tmp_path / "back.zarr", back, endpoint=FREE, say=str)
    for name in ("spots", "states", "events"):
        assert getattr(open_run(tmp_path / "back.zarr"), name).tobytes() == (
            getattr(on, name).tobytes()
        )


def test_the_network_is_not_opened(
    runs: tuple[RunReader, RunReader], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(*_: Any, **__: Any) -> None:
        raise AssertionError("the uncoating network was opened")

    monkeypatch.setattr(uncoating_model.Uncoating, "__init__", opened)
    replay(runs[1].path, tmp_path / "again.zarr", Options(), endpoint=FREE, say=str)


def test_exports_and_segments_of_such_a_run(
    runs: tuple[RunReader, RunReader], tmp_path: Path
) -> None:
    export_run(runs[1].path, tmp_path / "off.csv")
    table = pd.read_csv(tmp_path / "off.csv")
    assert table["p_uncoated"].isna().all() and table["p_normal"].notna().all()
    found = [
        segment_table(run.path, tmp_path / f"{i}.csv", say=str)["segments"]
        for i, run in enumerate(runs)
    ]
    assert found[0] == found[1] > 0


@pytest.mark.parametrize("offline", [False, True])
def test_tables_without_uncoating(tmp_path: Path, offline: bool) -> None:
    rng = np.random.default_rng(5)
    walk = np.cumsum(rng.normal(0, 0.5, (60, 2)), axis=0)
    source = pd.DataFrame({"frame": np.arange(60), "particle": 0, "y": walk[:, 0], "x": walk[:, 1]})
    source.to_csv(tmp_path / "tracks.csv", index=False)
    how: dict[str, Any] = {"pixel_size_um": 0.1, "frame_interval_s": 0.05, "offline": offline}
    for name, look in (("on.csv", True), ("off.csv", False)):
        out = tmp_path / name
        analyze_table(tmp_path / "tracks.csv", out, look_for_uncoating=look, say=str, **how)
    on, off = pd.read_csv(tmp_path / "on.csv"), pd.read_csv(tmp_path / "off.csv")
    assert off.pop("p_uncoated").isna().all() and on.pop("p_uncoated").notna().all()
    pd.testing.assert_frame_equal(on, off)
    text = "--pixel-size-um 0.1 --frame-interval-s 0.05 --uncoating off".split()
    words = ["analyze", str(tmp_path / "tracks.csv"), str(tmp_path / "cli.csv"), *text]
    assert run([*words, *(["--offline"] if offline else [])]) == 0
    assert (tmp_path / "cli.csv").read_bytes() == (tmp_path / "off.csv").read_bytes()


def test_intensities_need_the_network_that_reads_them() -> None:
    from livespt.stream.settings import Settings

    with pytest.raises(SettingError, match="uncoating is off"):
        Settings(uncoating="off", read_intensity=True)
