"""Motion analysis of tables: the contract of rows, the lag, and the live path itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from livespt.models.infer import Infer
from livespt.models.motion.whole_tracks import WholeReader
from livespt.models.simulate.tracks import Tracks, simulate_tracks
from livespt.stream.analyzer import Analyzer
from livespt.stream.errors import InputError, ModelError, SettingError
from livespt.stream.settings import Settings
from livespt.stream.types import ABSTAIN, MOTIONS, SPOT, Frame, joined
from livespt.tools.runs.compose import load_infer
from livespt.tools.runs.options import Options
from livespt.tools.score.readings import as_known
from livespt.tools.tables import analyze
from livespt.tools.tables.analyze import analyze_table, point_by_point

PROBABILITIES = [*(f"p_{name}" for name in MOTIONS), "p_uncoated"]
ADDED = [*(f"p_{name}" for name in MOTIONS), "state", "p_uncoated", "lag"]
UNITS: dict[str, Any] = {"pixel_size_um": 0.1, "frame_interval_s": 1.0}


@pytest.fixture
def models(networks: Path) -> dict[str, Any]:
    return {
        "segmenter": networks / "segmenter.onnx",
        "uncoating": networks / "uncoating.onnx",
    }


@pytest.fixture
def infer(models: dict[str, Any]) -> Infer:
    made = load_infer(Options(**models))
    made.pixel_size_um = UNITS["pixel_size_um"]
    return made


def tracks(n: int, seed: int, ndim: int = 2) -> pd.DataFrame:
    """Simulated tracks as a table, rows shuffled."""
    made = simulate_tracks(n, seed, ndim=ndim, lengths=(5, 80), gaps=0.05)
    table = pd.DataFrame(
        {
            "note": [f"r{i:04d}" for i in range(len(made.frame))],
            "frame": made.frame + np.repeat(np.arange(n) * 3 - 9, np.diff(made.offset)),
            "particle": np.repeat(np.arange(n) * 7, np.diff(made.offset)),
            "y": made.point[:, 1] * 10,
            "x": made.point[:, 2] * 10,
        }
    )
    if ndim == 3:
        table["z"] = made.point[:, 0] * 10
    return table.sample(frac=1, random_state=seed)


def analyzed(table: pd.DataFrame, folder: Path, **how: Any) -> pd.DataFrame:
    src, out = folder / "tracks.csv", folder / "states.csv"
    table.to_csv(src, index=False)
    analyze_table(src, out, overwrite=True, **(UNITS | how))
    before, after = src.read_text().splitlines(), out.read_text().splitlines()
    assert [a.startswith(b) for a, b in zip(after, before, strict=True)] == [True] * len(before)
    return pd.read_csv(out)


@pytest.mark.parametrize("how", [{}, {"lag": 0}, {"lag": 10}, {"lag": 30}, {"offline": True}])
@pytest.mark.parametrize("ndim", [2, 3])
def test_every_row_gets_its_state(
    how: dict[str, Any], ndim: int, models: dict[str, Any], tmp_path: Path
) -> None:
    table = tracks(12, seed=3, ndim=ndim)
    states = analyzed(table, tmp_path, **models, **how)
    assert list(states.columns) == [*table.columns, *ADDED]
    total = sum(states[f"p_{name}"] for name in MOTIONS)
    np.testing.assert_allclose(total, 1, atol=1e-4)
    assert set(states["state"]) <= {*MOTIONS, "unsure"}
    ahead = states.groupby("particle")["frame"].transform("max") - states["frame"]
    most = ahead if how.get("offline") else np.minimum(ahead, how.get("lag", 20))
    assert (states["lag"] <= most).all() and (states["lag"] >= 0).all()
    ends = (ahead <= how.get("lag", 20)) | bool(how.get("offline"))  # the last point seen decides
    assert (states["lag"][ends] == ahead[ends]).all()


def test_the_lag_is_that_of_the_last_point_seen_by_then(
    models: dict[str, Any], tmp_path: Path
) -> None:
    frame = np.array([0, 1, 2, 4, 8, 9, 20, 21])
    table = pd.DataFrame({"frame": frame, "particle": 0, "y": 1.0 * frame, "x": frame % 3})
    for lag in (0, 1, 4, 10):
        states = analyzed(table, tmp_path, lag=lag, **models)
        expected = [max(f for f in frame if f <= at + lag) - at for at in frame]
        assert states["lag"].tolist() == expected


def test_beyond_the_farthest_the_farthest_answers(models: dict[str, Any], tmp_path: Path) -> None:
    table = tracks(8, seed=4)
    farthest = analyzed(table, tmp_path, lag=30, **models)
    pd.testing.assert_frame_equal(analyzed(table, tmp_path, lag=999, **models), farthest)
    plain = analyzed(table, tmp_path, **models)
    pd.testing.assert_frame_equal(analyzed(table, tmp_path, lag=20, **models), plain)
    assert not plain["p_normal"].equals(farthest["p_normal"])


@pytest.mark.parametrize(
    ("how", "notices"),
    [
        ({"lag": 0}, []),
        ({"lag": 30}, []),
        ({}, []),
        ({"offline": True}, []),
        ({"lag": 40}, ["lag 40: the models look at most 30 frames ahead, so lag 30 answers"]),
    ],
)
def test_a_lag_that_no_model_has_is_said_in_one_line(
    how: dict[str, Any], notices: list[str], models: dict[str, Any], tmp_path: Path
) -> None:
    said: list[str] = []
    states = analyzed(tracks(4, seed=5), tmp_path, say=said.append, **models, **how)
    assert [line.partition(" (")[0] for line in said] == notices
    if "lag" in how:
        assert states["lag"].max() <= min(how["lag"], 30)


def rows_of(made: Tracks) -> tuple[Any, Any, Any]:
    """Frames, particles and points in pixels, as of rows of a table."""
    particle = np.repeat(np.arange(len(made.offset) - 1), np.diff(made.offset))
    return made.frame, particle, made.point * 10


@pytest.mark.parametrize("lag", [0, 10, 30])
def test_a_state_is_the_reading_of_that_moment(infer: Infer, lag: int) -> None:
    made = simulate_tracks(10, 6, lengths=(5, 60))
    states = point_by_point(infer, *rows_of(made), lag)
    told = as_known(infer.segmenter.network, made._replace(point=made.point * 10), (lag,), 0.1)
    motion = np.stack([states[f"p_{name}"] for name in MOTIONS], axis=1)
    np.testing.assert_allclose(motion, told[lag], atol=1e-6)
    likeliest = np.where(motion.max(1) < infer.abstain_below, ABSTAIN, motion.argmax(1))
    assert np.array_equal(states["state"], likeliest)


def test_neither_order_nor_number_of_rows_changes_a_bit(
    infer: Infer, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame, particle, point = rows_of(simulate_tracks(11, 7, lengths=(5, 60), gaps=0.2))
    frame = frame + 100 * particle
    plain = point_by_point(infer, frame, particle, point)
    order = np.random.default_rng(0).permutation(len(frame))
    shuffled = point_by_point(infer, frame[order], particle[order], point[order])
    assert shuffled.tobytes() == plain[order].tobytes()
    one = particle == 4
    alone = point_by_point(infer, frame[one], particle[one], point[one])
    assert alone.tobytes() == plain[one].tobytes()
    assert (plain["made"] - plain["frame"] >= plain["lag"]).all()
    monkeypatch.setattr(analyze, "AT_ONCE", 3)
    assert point_by_point(infer, frame, particle, point).tobytes() == plain.tobytes()


def test_offline_reads_whole_tracks(models: dict[str, Any], networks: Path, tmp_path: Path) -> None:
    table = tracks(6, seed=8, ndim=3)
    states = analyzed(table, tmp_path, offline=True, z_step_um=0.2, **models)
    whole = WholeReader(networks / "segmenter_whole.onnx", "segment_whole", provider="cpu")
    for _, mine in states.groupby("particle"):
        rows = mine.sort_values("frame")
        point = np.array(rows[["z", "y", "x"]]) * (2, 1, 1)
        offset = np.array([0, len(rows)])
        told = whole(offset, rows["frame"].to_numpy(), point, UNITS["pixel_size_um"])
        np.testing.assert_allclose(rows[PROBABILITIES[:4]], told, atol=1e-6)


def test_intensities_are_read_where_asked_for(
    models: dict[str, Any], networks: Path, tmp_path: Path
) -> None:
    table = tracks(5, seed=10).assign(intensity=lambda t: 50 + t.index % 17)
    for how in ({}, {"offline": True}):
        plain = analyzed(table, tmp_path, **models, **how)
        lit = analyzed(table, tmp_path, **models, **how, read_intensity=True)
        assert lit["p_normal"].equals(plain["p_normal"])
        assert not lit["p_uncoated"].equals(plain["p_uncoated"])
        with pytest.raises(InputError, match="intensity"):
            analyzed(table.drop(columns="intensity"), tmp_path, **how, read_intensity=True)


def test_the_pixel_size_and_the_z_step_are_used(models: dict[str, Any], tmp_path: Path) -> None:
    table = tracks(4, seed=9, ndim=3)
    for how in ({}, {"offline": True}):
        plain = analyzed(table, tmp_path, **models, **how)
        larger = analyzed(table, tmp_path, **models, **how, pixel_size_um=0.2)
        assert not plain["p_normal"].equals(larger["p_normal"])
        steep = analyzed(table, tmp_path, **models, **how, z_step_um=0.3)
        assert not plain["p_normal"].equals(steep["p_normal"])
        same = analyzed(table.assign(z=table["z"] / 2), tmp_path, **models, **how, z_step_um=0.2)
        np.testing.assert_allclose(same[PROBABILITIES], plain[PROBABILITIES], atol=1e-6)


def live(
    infer: Infer,
    frame: NDArray[np.int64],
    points: NDArray[np.float64],
    z_scale: float,
    intensity: NDArray[np.float64] | None,
) -> Any:
    """Settled states and spots of a run that sees these points."""
    now = 0

    def localize(_: NDArray[np.generic]) -> NDArray[np.void]:
        rows = np.flatnonzero(frame == now)
        spots = np.zeros(len(rows), SPOT)
        spots["z"], spots["y"], spots["x"] = points[rows].T
        spots["intensity"] = 1.0 if intensity is None else intensity[rows]
        return spots

    settings = Settings(
        search_range=400,
        memory=9,
        lag=infer.lag,
        abstain_below=infer.abstain_below,
        z_scale=z_scale,
        read_intensity=intensity is not None,
    )
    analyzer = Analyzer(localize, infer, settings)
    spots, states = [], []
    shape = (1,) * (3 if points[:, 0].any() else 2)
    for now in range(int(frame.max()) + 1):
        update = analyzer(Frame(now, now, 0, 0, 0.0, np.zeros(shape, np.uint8)))
        spots.append(update.spots)
        states.append(update.states)
    last = analyzer.finish()
    assert last is not None
    told = joined(states[0].dtype, [*states, last.states])
    return told[told["settled"] == 1], joined(SPOT, spots)


@pytest.mark.parametrize(("ndim", "z_scale", "light"), [(2, 1.0, False), (3, 2.5, True)])
def test_the_live_path_gives_the_same_bytes(
    infer: Infer, ndim: int, z_scale: float, light: bool
) -> None:
    """Rows as a run would have stored them: one settled row a spot."""
    made = simulate_tracks(6, 5, ndim=ndim, lengths=(5, 60), heterogeneous=0.8, gaps=0.1)
    particle = np.repeat(np.arange(6), np.diff(made.offset))
    apart = made.point * 10 + np.array([0.0, 0.0, 2000.0]) * particle[:, None]
    points = apart.astype(np.float32).astype(np.float64)  # the spots of a run are float32
    seen = None
    if light:
        seen = np.exp(np.random.default_rng(0).normal(size=len(points)).astype(np.float32))
        seen = seen.astype(np.float64)
    rows = made.frame, particle, points * (z_scale, 1, 1)
    table = point_by_point(infer, *rows, intensity=seen)
    dark = point_by_point(infer, *rows)
    assert np.array_equal(table["p_normal"], dark["p_normal"])
    assert np.array_equal(table["p_uncoated"], dark["p_uncoated"]) != light
    states, spots = live(infer, made.frame, points, z_scale, seen)
    who = dict(zip(spots["track"].tolist(), np.round(spots["x"] / 2000).tolist(), strict=True))
    assert len(states) == len(table) and sorted(who.values()) == list(range(6))
    states["track"] = [who[track] for track in states["track"].tolist()]
    order = np.lexsort((states["frame"], states["track"]))
    for name in ("track", "frame", *PROBABILITIES, "state", "lag", "settled"):
        assert np.array_equal(states[name][order], table[name]), name


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
def test_a_setting_that_cannot_be_used(how: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("frame,particle,y,x\n0,1,1,1\n")
    with pytest.raises(SettingError):
        analyze_table(tmp_path / "t.csv", tmp_path / "o.csv", **(UNITS | how))


def test_offline_needs_the_network_beside_the_one_named(
    models: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "t.csv").write_text("frame,particle,y,x\n0,1,1,1\n")
    mine = tmp_path / "mine.onnx"
    for suffix in (".onnx", ".json"):
        mine.with_suffix(suffix).write_bytes(models["segmenter"].with_suffix(suffix).read_bytes())
    how = models | {"segmenter": mine, "offline": True}
    with pytest.raises(ModelError, match=r"mine_whole\.onnx"):
        analyze_table(tmp_path / "t.csv", tmp_path / "o.csv", **UNITS, **how)
    assert not (tmp_path / "o.csv").exists()


@pytest.mark.parametrize("how", [{}, {"offline": True}])
def test_a_header_alone_and_one_point(
    how: dict[str, Any], models: dict[str, Any], tmp_path: Path
) -> None:
    header = pd.DataFrame(columns=["frame", "particle", "y", "x"])
    none = analyzed(header, tmp_path, **models, **how)
    assert len(none) == 0 and list(none.columns)[4:] == ADDED
    point = pd.DataFrame({"frame": [5], "particle": [2], "y": [1.5], "x": [2]})
    assert analyzed(point, tmp_path, **models, **how)["lag"].tolist() == [0]
