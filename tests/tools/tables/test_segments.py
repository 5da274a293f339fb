"""Segments: stretches of one motion, their bounds, and what is measured of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from build import make_start
from livespt.stream.errors import InputError, SettingError
from livespt.stream.store.run import RunWriter
from livespt.stream.types import CLOCKS, EVENT, KINDS, SPOT, STATE, Frame, Stop, Update
from livespt.tools.tables.segments import segment_table, segments


def told(states: str) -> NDArray[np.float64]:
    """Probabilities whose likeliest state is the digit."""
    p = np.full((len(states), 4), 0.1)
    p[np.arange(len(states)), [int(c) for c in states]] = 0.7
    return p


CASES = {  # states of the points: segments as (state, start, points)
    "one": ("0000000", [(0, 0, 7)]),
    "two": ("000003333333", [(0, 0, 5), (3, 5, 7)]),
    "a blink is no segment": ("000001100000", [(0, 0, 12)]),
    "shortest first": ("0000012222233333", [(0, 0, 6), (2, 6, 5), (3, 11, 5)]),
    "at the start": ("1100000", [(0, 0, 7)]),
    "at the end": ("00000022", [(0, 0, 8)]),
    "a short track is one": ("12", [(2, 0, 2)]),
    "one point": ("2", [(2, 0, 1)]),
}


@pytest.mark.parametrize("name", CASES)
def test_stretches(name: str) -> None:
    states, expected = CASES[name]
    n = len(states)
    got = segments(np.zeros(n, np.int64), np.arange(n), np.zeros((n, 3)), told(states))
    names = ["normal", "directed", "confined", "subdiffusive"]
    state = [names.index(s) for s in got["state"]]
    found = list(zip(state, got["start"].tolist(), got["points"].tolist(), strict=True))
    assert found == expected
    assert np.array_equal(got["segment"], np.arange(len(expected)))


def test_rows_in_any_order_and_tracks_apart() -> None:
    frame = np.tile(np.arange(10), 2)
    particle = np.repeat([7, 3], 10)
    rng = np.random.default_rng(0)
    order = rng.permutation(20)
    point = rng.normal(size=(20, 3))
    p = told("0" * 10 + "0" * 10)
    one = segments(particle, frame, point, p)
    two = segments(particle[order], frame[order], point[order], p[order])
    assert list(one["particle"]) == [3, 7] and list(one["segment"]) == [0, 0]
    assert all(np.array_equal(one[k], two[k]) for k in one)


@pytest.mark.parametrize("how", ["lost", "jitter", "pause"])
def test_diffusion_and_duration_are_by_the_times_of_the_points(how: str) -> None:
    """Frames that nobody counts, uneven steps and a pause do not change D."""
    n, rng = 20000, np.random.default_rng(1)
    step = np.full(n, 0.05)
    if how == "lost":
        step *= 1 + rng.geometric(0.8, n) - 1
    elif how == "jitter":
        step *= rng.uniform(0.4, 1.6, n)
    else:
        step[n // 2] = 8.0
    time = np.cumsum(step)
    steps = rng.normal(0, 1, (n, 3)) * np.sqrt(2 * 0.3 * step / 0.05)[:, None] * (0, 1, 1)
    noisy = np.cumsum(steps, axis=0) + rng.normal(0, 1, (n, 3)) * (0, 1, 1)
    got = segments(
        np.zeros(n, np.int64), np.arange(n), noisy, told("0" * n), pixel_size_um=0.1, time_s=time
    )
    assert got["D_um2_s"][0] == pytest.approx(0.3 * 0.01 / 0.05, rel=0.1)
    assert got["duration_s"][0] == pytest.approx(time[-1] - time[0])


def test_a_table_without_rows_has_no_segments(tmp_path: Path) -> None:
    names = "frame,particle,y,x,p_normal,p_directed,p_confined,p_subdiffusive"
    (tmp_path / "a.csv").write_text(names + "\n")
    assert segment_table(tmp_path / "a.csv", tmp_path / "b.csv")["segments"] == 0
    (line,) = (tmp_path / "b.csv").read_text().splitlines()
    assert line.startswith("particle,segment,state,start,end,points")


def test_diffusion_is_free_of_the_localization_error() -> None:
    n = 20000
    rng = np.random.default_rng(1)
    walk = np.cumsum(rng.normal(0, np.sqrt(2 * 0.3), (n, 3)), axis=0) * (0, 1, 1)
    noisy = walk + rng.normal(0, 1, (n, 3)) * (0, 1, 1)
    got = segments(
        np.zeros(n, np.int64),
        np.arange(n),
        noisy,
        told("0" * n),
        pixel_size_um=0.1,
        frame_interval_s=0.05,
    )
    assert got["D_um2_s"][0] == pytest.approx(0.3 * 0.01 / 0.05, rel=0.1)
    assert got["duration_s"][0] == pytest.approx((n - 1) * 0.05)


def test_a_table_and_what_it_lacks(tmp_path: Path) -> None:
    src, out = tmp_path / "states.csv", tmp_path / "segments.csv"
    table = pd.DataFrame({"frame": range(12), "particle": 1, "y": 0.0, "x": np.arange(12.0)})
    table.to_csv(src, index=False)
    with pytest.raises(InputError, match="p_normal"):
        segment_table(src, out)
    p = told("000003333333")
    for k, name in enumerate(("normal", "directed", "confined", "subdiffusive")):
        table[f"p_{name}"] = p[:, k]
    table.to_csv(src, index=False)
    with pytest.raises(SettingError, match="min_points"):
        segment_table(src, out, min_points=0)
    assert segment_table(src, out)["segments"] == 2
    rows = pd.read_csv(out)
    assert list(rows["state"]) == ["normal", "subdiffusive"] and rows["path_px"].sum() == 10


def test_what_the_user_states_rules_over_times(tmp_path: Path) -> None:
    src, out = tmp_path / "states.csv", tmp_path / "segments.csv"
    table = pd.DataFrame({"frame": range(12), "particle": 1, "y": 0.0, "x": np.arange(12.0)})
    table["time_s"] = table["frame"] * 0.05 + (table["frame"] > 5) * 2.0
    for k, name in enumerate(("normal", "directed", "confined", "subdiffusive")):
        table[f"p_{name}"] = told("0" * 12)[:, k]
    table.to_csv(src, index=False)
    said: list[str] = []
    for stated, duration in ((None, 11 * 0.05 + 2), (0.05, 11 * 0.05), (0.1, 11 * 0.1)):
        segment_table(src, out, frame_interval_s=stated, overwrite=True, say=said.append)
        assert pd.read_csv(out)["duration_s"][0] == pytest.approx(duration)
    assert said == ["frame interval 0.1 s as you state it; the steps of time_s are 0.05 s"]


def test_a_run_with_links_that_were_corrected_without_uncoating(tmp_path: Path) -> None:
    """Track 1 takes what 0 has from frame 6 on, as is told in frame 11; no model of uncoating."""
    run, out = tmp_path / "run.zarr", tmp_path / "segments.csv"
    start = make_start((32, 40), pixel_size_um=0.1, frame_interval_s=0.01)
    writer = RunWriter(run, start, movie=False)
    for t in range(12):
        here = [0, 1] if t < 6 else [0] if t < 11 else [1]
        spots, states = np.zeros(len(here), SPOT), np.zeros(len(here), STATE)
        for rows in (spots, states):
            for name in rows.dtype.names or ():
                if rows.dtype[name].kind == "f":
                    rows[name] = np.nan
            rows["frame"], rows["track"] = t, here
        spots["y"], spots["x"] = [5, 15][: len(here)], 20.0 + t
        states["settled"], states["p_uncoated"] = 1, np.nan
        for k, name in enumerate(("normal", "directed", "confined", "subdiffusive")):
            states[f"p_{name}"] = told("0")[0, k]
        events = np.zeros(int(t == 11), EVENT)
        if t == 11:
            events["kind"], events["frame"], events["amends"] = KINDS.index("relinked"), 6, -1
            events["track"], events["other"], events["delay"] = 0, 1, 5
        image = np.zeros((32, 40), start.dtype)
        clock = CLOCKS.index("camera")
        writer.add_frame(frame := Frame(t, t, 0, 0, 0.05 * t, image, clock))
        writer.commit(frame, Update(t, t, 0, 0, 0.05 * t, 0, spots, states, events))
    writer.close(Stop(start.run, "complete"))
    for how, duration, length in (
        ({}, 0.05, 0.1),
        ({"frame_interval_s": 0.1, "pixel_size_um": 0.2}, 0.1, 0.2),
    ):
        segment_table(run, out, overwrite=True, **how)
        found = pd.read_csv(out)
        assert list(zip(found["particle"], found["points"], strict=True)) == [(0, 6), (1, 12)]
        assert found["duration_s"][1] == pytest.approx(11 * duration)
        assert found["net_um"][0] == pytest.approx(5 * length)
