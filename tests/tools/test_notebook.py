"""The functions that a notebook imports from `livespt.tools`, used one after another."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import numpy as np
import pytest
import tifffile

from livespt import tools
from livespt.acquisition.simulated import Scenario, virus_entry
from livespt.tools import (
    Options,
    Stated,
    analyze_table,
    export_run,
    link_points,
    link_table,
    open_movie,
    open_run,
    replay,
    segment_table,
    spot_table,
)


def test_a_notebook_goes_from_a_movie_to_tables(tmp_path: Path) -> None:
    scene = virus_entry(Scenario(seed=3, n_frames=24))
    movie, run = str(tmp_path / "movie.tif"), str(tmp_path / "run.zarr")
    tifffile.imwrite(movie, np.stack([scene.frame(i) for i in range(24)]))
    assert len(open_movie(movie)) == 24

    options, stated = Options(settings={"search_range": 4.0}), Stated(None, 0.1, 0.05)
    summary = replay(movie, run, options, stated, endpoint="tcp://127.0.0.1:0")
    held = open_run(run)
    assert summary["frames"] == 24 and len(held.spots) == summary["spots"] > 100

    table = spot_table(held.start, held.spots, held.states)
    csv, linked, states, stretches = (str(tmp_path / f"{name}.csv") for name in "abcd")
    export_run(run, csv)
    points = table[["y", "x"]].to_numpy()
    track = link_points(table["frame"].to_numpy(), points, 4.0, 3)
    table.assign(track=track)[["frame", "y", "x"]].to_csv(linked, index=False)
    assert link_table(linked, states, search_range=4.0, memory=3)["tracks"] == len(set(track))
    scale = {"pixel_size_um": 0.1, "frame_interval_s": 0.05}
    analyze_table(states, stretches, **scale)
    assert segment_table(stretches, str(tmp_path / "e.csv"), **scale)["segments"] > 0


def test_the_example_of_the_readme_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    readme = (Path(__file__).resolve().parents[2] / "README.md").read_text("utf-8")
    code = readme.split("## In Python\n\n```python\n")[1].split("```")[0]
    assert set(re.findall(r"\w+_\w+", code.splitlines()[0])) <= set(tools.__all__)
    scene = virus_entry(Scenario(seed=3, n_frames=24))
    tifffile.imwrite(tmp_path / "movie.tif", np.stack([scene.frame(i) for i in range(24)]))
    monkeypatch.chdir(tmp_path)
    free = functools.partial(replay, endpoint="tcp://127.0.0.1:0")  # tests run side by side
    monkeypatch.setattr(tools, "replay", free)
    exec(code)
    run = open_run("run.zarr")
    assert run.start.settings["search_range"] == 4
    assert (run.start.pixel_size_um, run.start.frame_interval_s) == (0.1, 0.05)
    assert str(run.spots["y"]) in capsys.readouterr().out
