"""Motion analysis of tables: the contract of rows, the lag, and the live path itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from livespt.models.motion import simulate_tracks
from livespt.stream.analyzer import Analyzer, Settings
from livespt.stream.errors import InputError, SettingError
from livespt.stream.types import MOTIONS, SPOT, Frame, joined
from livespt.tools.analyze import analyze_table, point_by_point
from livespt.tools.compose import Options, load_infer

ADDED = [*(f"p_{name}" for name in MOTIONS), "state", "p_uncoated", "lag"]
UNITS = {"pixel_size_um": 0.1, "frame_interval_s": 1.0}


def tracks(n: int, seed: int, ndim: int = 2) -> pd.DataFrame:
    """Simulated tracks as a table, rows shuffled."""
    made = simulate_tracks(n, seed, ndim=ndim, lengths=(5, 80), gaps=0.05)
    table = pd.DataFrame(
        {
            "note": [f"r{i:04d}" for i in range(len(made.frame))],
            "frame": made.frame,
            "particle": np.repeat(np.arange(n) * 7, np.diff(made.offset)),
            "y": made.point[:, 1] * 10,
            "x": made.point[:, 2] * 10,
        }
    )
    if ndim == 3:
        table["z"] = made.point[:, 0] * 10
    return table.sample(frac=1, random_state=seed)


def analyzed(table: pd.DataFrame, folder: Path, **how: object) -> pd.DataFrame:
    src, out = folder / "tracks.csv", folder / "states.csv"
    table.to_csv(src, index=False)
    analyze_table(src, out, overwrite=True, **UNITS, **how)  # type: ignore[arg-type]
    before, after = src.read_text().splitlines(), out.read_text().splitlines()
    assert [a.startswith(b) for a, b in zip(after, before, strict=True)] == [True] * len(before)
    return pd.read_csv(out)


@pytest.mark.parametrize("how", [{}, {"lag": 0}, {"lag": 7}, {"lag": 999}, {"offline": True}])
@pytest.mark.parametrize("ndim", [2, 3])
def test_every_row_gets_its_state(how: dict[str, object], ndim: int, tmp_path: Path) -> None:
    table = tracks(12, seed=3, ndim=ndim)
    states = analyzed(table, tmp_path, **how)
    assert list(states.columns) == [*table.columns, *ADDED]
    total = sum(states[f"p_{name}"] for name in MOTIONS)
    np.testing.assert_allclose(total, 1, atol=1e-4)
    assert set(states["state"]) <= {*MOTIONS, "unsure"}
    last = states.groupby("particle")["frame"].transform("max")
    ahead = last - states["frame"]
    assert (states["lag"] <= ahead).all() and (states["lag"] >= 0).all()
    if how.get("lag") == 0:
        assert (states["lag"] == 0).all()
    if how.get("offline"):
        assert (states["lag"] == ahead).all()
    if how.get("lag") == 999:
        pd.testing.assert_frame_equal(states, analyzed(table, tmp_path))


def test_the_live_path_gives_the_same_bytes() -> None:
    """Rows as a run would have stored them: one settled row a spot."""
    made = simulate_tracks(6, 5, lengths=(5, 60), heterogeneous=0.8)
    infer = load_infer(Options())
    particle = np.repeat(np.arange(6), np.diff(made.offset))
    points = made.point * 10 + np.array([0.0, 0.0, 1000.0]) * particle[:, None]
    table = point_by_point(infer, made.frame, particle, points)

    now = 0

    def localize(_: NDArray[np.generic]) -> NDArray[np.void]:
        rows = np.flatnonzero(made.frame == now)
        spots = np.zeros(len(rows), SPOT)
        spots["y"], spots["x"] = points[rows, 1], points[rows, 2]
        return spots

    settings = Settings(search_range=400, memory=0, window=infer.window, lag=infer.lag)
    analyzer = Analyzer(localize, infer, settings)
    spots, states = [], []
    for now in range(int(made.frame.max()) + 1):
        update = analyzer(Frame(now, now, 0, 0, 0.0, np.zeros((1, 1), np.uint8)))
        spots.append(update.spots)
        states.append(update.states)
    last = analyzer.finish()
    assert last is not None
    live = joined(states[0].dtype, [*states, last.states])
    live = live[live["settled"] == 1]
    rows = joined(SPOT, spots)
    who = dict(zip(rows["track"].tolist(), np.round(rows["x"] / 1000).tolist(), strict=True))
    assert len(live) == len(table)
    at = {(int(t["track"]), int(t["frame"])): t for t in table}
    for row in live:
        same = at[(int(who[int(row["track"])]), int(row["frame"]))]
        for name in ("p_normal", "p_directed", "p_confined", "p_subdiffusive", "p_uncoated"):
            # the spots of a run are float32, the table's points float64
            assert row[name] == pytest.approx(same[name], abs=2e-3)
        assert row["lag"] == same["lag"]


BAD = {
    "a column is missing": ("frame,y,x\n0,1,1\n", "particle"),
    "two rows at one time": ("frame,particle,y,x\n0,1,1,1\n0,1,2,2\n", "particle 1"),
    "no number": ("frame,particle,y,x\n0,1,one,1\n", "one"),
    "not finite": ("frame,particle,y,x\n0,1,nan,1\n", "nan"),
    "added already": ("frame,particle,y,x,state\n0,1,1,1,normal\n", "state"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_table_that_cannot_be_used(name: str, tmp_path: Path) -> None:
    text, word = BAD[name]
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError, match=word):
        analyze_table(tmp_path / "t.csv", tmp_path / "o.csv", **UNITS)
    assert not (tmp_path / "o.csv").exists()


@pytest.mark.parametrize(
    "how", [{"lag": -1}, {"lag": 3, "offline": True}, {"pixel_size_um": 0.0}, {"z_step_um": -1.0}]
)
def test_a_setting_that_cannot_be_used(how: dict[str, float], tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("frame,particle,y,x\n0,1,1,1\n")
    with pytest.raises(SettingError):
        analyze_table(tmp_path / "t.csv", tmp_path / "o.csv", **(UNITS | how))  # type: ignore[arg-type]


def test_a_header_alone_and_one_point(tmp_path: Path) -> None:
    none = analyzed(pd.DataFrame(columns=["frame", "particle", "y", "x"]), tmp_path)
    assert len(none) == 0 and list(none.columns)[4:] == ADDED
    one = analyzed(pd.DataFrame({"frame": [5], "particle": [2], "y": [1.5], "x": [2]}), tmp_path)
    assert one["lag"].tolist() == [0]
