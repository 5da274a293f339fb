"""Tables as other programs write them: recognised, told, converted, and written back untouched."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
import zarr

from livespt.stream.errors import InputError, SettingError
from livespt.stream.link.offline import link_points
from livespt.tools.labels import labelled_tracks
from livespt.tools.tables.analyze import analyze_table
from livespt.tools.tables.conventions import PRECISION, parse_columns
from livespt.tools.tables.export import WRITERS, spot_table
from livespt.tools.tables.link import link_table
from livespt.tools.tables.segments import segment_table
from livespt.tools.tables.track_times import interval_of_tracks
from livespt.tools.tables.trackmate_elements import TrackMateElements
from livespt.tools.tables.user_table import read_table

N = 12
FRAME = np.repeat(np.arange(N), 2)
PARTICLE = np.tile([0, 1], N)
RNG = np.random.default_rng(1)
WALK = np.cumsum(RNG.normal(0, 0.5, (N, 2, 2)), axis=0) + np.array([[10.0, 12], [40, 45]])
Y, X = WALK[:, :, 0].ravel(), WALK[:, :, 1].ravel()  # pixels
TRACK_ID = PARTICLE + 3  # numbers mean nothing
NEED = ("frame", "particle", "y", "x")


def text(header: str, *columns: Any, separator: str = ",", comma: bool = False) -> str:
    rows = []
    for row in zip(*columns, strict=True):
        cells = [f"{cell:.6f}" if isinstance(cell, float) else str(cell) for cell in row]
        rows.append(separator.join(cell.replace(".", ",") if comma else cell for cell in cells))
    return "\n".join([header, *rows]) + "\n"


TRACKMATE = (
    "LABEL,ID,TRACK_ID,QUALITY,POSITION_X,POSITION_Y,POSITION_Z,POSITION_T,FRAME\n"
    "Label,Spot ID,Track ID,Quality,X,Y,Z,T,Frame\n"
    "Label,Spot ID,Track ID,Quality,X,Y,Z,T,Frame\n"
    ",,,(quality),(micron),(micron),(micron),(sec),"
)
IDS = [f"ID{i}" for i in range(2 * N)]
NUMBER = np.arange(2 * N)
ZERO = np.zeros(2 * N)
PLAIN = [FRAME.tolist(), TRACK_ID.tolist(), Y.tolist(), X.tolist()]
CASES = {  # text, pixel size in um, what is said
    "TrackMate": (
        text(TRACKMATE, IDS, NUMBER, TRACK_ID, [9.5] * 2 * N, (X * 0.1).tolist(),
             (Y * 0.1).tolist(), ZERO.tolist(), (FRAME * 0.05).tolist(), FRAME.tolist()),
        0.1, "TrackMate spots table: positions in um, frames from 0",
    ),
    "TrackMate in pixels": (
        text(TRACKMATE.replace("(micron)", "(pixel)"), IDS, NUMBER, TRACK_ID, [9.5] * 2 * N,
             X.tolist(), Y.tolist(), ZERO.tolist(), FRAME.tolist(), FRAME.tolist()),
        None, "TrackMate spots table: positions in pixels, frames from 0",
    ),
    "ThunderSTORM": (
        text('"id","frame","x [nm]","y [nm]","intensity [photon]","track_id"', NUMBER,
             (FRAME + 1).tolist(), ((X + 0.5) * 100).tolist(), ((Y + 0.5) * 100).tolist(),
             [800.0] * 2 * N, TRACK_ID.tolist()),
        0.1, "ThunderSTORM table: positions in nm, frames from 1",
    ),
    "smappy": (
        text("frame,xnm,ynm,track_id", FRAME.tolist(), (X * 100).tolist(), (Y * 100).tolist(),
             TRACK_ID.tolist()),
        0.1, "smappy table: positions in nm, frames from 0",
    ),
    "quot": (
        text("frame,trajectory,y,x", *PLAIN), None,
        "quot or saspt table: positions in pixels, frames from 0",
    ),
    "FreeTrace": (
        text("traj_idx,frame,x,y", TRACK_ID.tolist(), (FRAME + 1).tolist(), X.tolist(), Y.tolist()),
        None, "FreeTrace table: positions in pixels, frames from 1",
    ),
    "gemspa": (
        text("track_id,frame,x,y", TRACK_ID.tolist(), FRAME.tolist(), X.tolist(), Y.tolist()),
        None, "table with track_id (gemspa, laptrack): positions in pixels, frames from 0",
    ),
    "laptrack": (
        text("frame,y,x,track_id,tree_id", FRAME.tolist(), Y.tolist(), X.tolist(),
             TRACK_ID.tolist(), TRACK_ID.tolist()),
        None, "table with track_id (gemspa, laptrack): positions in pixels, frames from 0",
    ),
    "btrack": (
        text("ID,t,x,y,z,parent,root", TRACK_ID.tolist(), FRAME.tolist(), X.tolist(), Y.tolist(),
             ZERO.tolist(), TRACK_ID.tolist(), TRACK_ID.tolist()),
        None, "btrack table: positions in pixels, frames from 0",
    ),
    "btrack, as it writes itself": (
        text("ID t x y z parent root state generation dummy", (TRACK_ID * 1.0).tolist(),
             (FRAME * 1.0).tolist(), X.tolist(), Y.tolist(), ZERO.tolist(),
             (TRACK_ID * 1.0).tolist(), (TRACK_ID * 1.0).tolist(), *[ZERO.tolist()] * 3,
             separator=" "),
        None, "btrack table: positions in pixels, frames from 0",
    ),
    "napari": (
        text("track_id,t,y,x", TRACK_ID.tolist(), FRAME.tolist(), Y.tolist(), X.tolist()),
        None, "napari tracks: positions in pixels, frames from 0",
    ),
    "upper case": (
        text("Frame,Particle,Y,X", *PLAIN), None,
        "table: positions in pixels, frames as they are",
    ),
    "positions in um": (
        text("frame,y_um,x_um,track_id", FRAME.tolist(), (Y * 0.1).tolist(), (X * 0.1).tolist(),
             TRACK_ID.tolist()),
        0.1, "table with y_um, x_um: positions in um, frames as they are",
    ),
    "semicolons": (text("frame;particle;y;x", *PLAIN, separator=";"), None, ""),
    "decimal commas": (text("frame;particle;y;x", *PLAIN, separator=";", comma=True), None, ""),
    "tabs": (text("frame\tparticle\ty\tx", *PLAIN, separator="\t"), None, ""),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_positions_frames_and_tracks_are_those_of_the_program(case: str, tmp_path: Path) -> None:
    written, pixel, said = CASES[case]
    (tmp_path / "a.csv").write_text(written)
    table = read_table(tmp_path / "a.csv", NEED, pixel_size_um=pixel)
    assert table.said == said and len(table) == 2 * N
    assert np.abs(table.values["y"] - Y).max() < 1e-3
    assert np.abs(table.values["x"] - X).max() < 1e-3
    assert (np.diff(table.values["frame"]) == np.diff(FRAME)).all()
    assert np.array_equal(table.values["particle"], TRACK_ID)


@pytest.mark.parametrize("case", CASES)
def test_the_columns_of_the_program_go_out_untouched(case: str, tmp_path: Path) -> None:
    written, pixel, said = CASES[case]
    told: list[str] = []
    if "particle" in written.partition("\n")[0].lower():
        written = written.replace("particle", "old", 1).replace("Particle", "Old", 1)
    (tmp_path / "a.csv").write_text(written)
    result = link_table(
        tmp_path / "a.csv", tmp_path / "b.csv", pixel_size_um=pixel, say=told.append
    )
    assert told == ([said] if said else []) and result["tracks"] == 2
    out = (tmp_path / "b.csv").read_text().splitlines()
    separator = next(one for one in (";", "\t", ",", " ") if one in written.partition("\n")[0])
    assert [line.rpartition(separator)[0] for line in out] == written.splitlines()
    heads = len(out) - 2 * N
    assert [line.rpartition(separator)[2] for line in out[heads:]] == ["0", "1"] * N
    assert out[0].endswith(f"{separator}particle")


def test_positions_that_are_not_in_pixels_need_a_pixel_size(tmp_path: Path) -> None:
    for case in ("TrackMate", "ThunderSTORM", "smappy"):
        (tmp_path / "a.csv").write_text(CASES[case][0])
        with pytest.raises(SettingError, match=r"are in (um|nm), .*--pixel-size-um"):
            link_table(tmp_path / "a.csv", tmp_path / "b.csv")
        assert not (tmp_path / "b.csv").exists()


def test_columns_that_the_user_states(tmp_path: Path) -> None:
    written = text("T,ID,Y_um,X_um", FRAME.tolist(), TRACK_ID.tolist(), (Y * 0.1).tolist(),
                   (X * 0.1).tolist())  # fmt: skip
    (tmp_path / "a.csv").write_text(written)
    with pytest.raises(InputError, match=r"has no column frame, y, x.*--columns"):
        link_table(tmp_path / "a.csv", tmp_path / "b.csv")
    how: dict[str, Any] = {"columns": "frame=T,y=Y_um,x=X_um", "say": lambda line: None}
    with pytest.raises(SettingError, match="are in um"):
        link_table(tmp_path / "a.csv", tmp_path / "b.csv", **how)
    found = link_table(tmp_path / "a.csv", tmp_path / "b.csv", pixel_size_um=0.1, **how)
    assert found["tracks"] == 2
    for wrong in ("frame=T,y", "frame=T,y=Yum", "", "frame=T,y=Y_um,x=X_um,zz=ID",
                  "frame=T,y=Y_um,x=ID", "frame=T,y=Y_um,x=X_um,unit=mile"):  # fmt: skip
        with pytest.raises((SettingError, InputError)):
            link_table(tmp_path / "a.csv", tmp_path / "c.csv", columns=wrong)


def test_a_unit_that_the_user_states(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("T,Down,Right\n0,1.0,2.0\n")
    stated = parse_columns("frame=T,y=Down,x=Right,unit=nm")
    table = read_table(tmp_path / "a.csv", NEED[:1] + NEED[2:], stated=stated, pixel_size_um=0.1)
    assert table.values["x"] == pytest.approx(0.02)


def test_names_that_cannot_be_believed_are_refused(tmp_path: Path) -> None:
    header = "X\tY\tChannel\tWidth\tBG\tLength\tArea\tFrame"
    one = [1] * 2 * N
    columns = [
        (X * 100).tolist(),
        (Y * 100).tolist(),
        one,
        one,
        one,
        (FRAME + 1).tolist(),
        one,
        one,
    ]
    (tmp_path / "a.txt").write_text(text(header, *columns, separator="\t"))
    with pytest.raises(InputError, match=r"under Length.*--columns frame=Length"):
        link_table(tmp_path / "a.txt", tmp_path / "b.csv", pixel_size_um=0.1)
    assert not (tmp_path / "b.csv").exists()
    stated = "frame=Length,y=Y,x=X,unit=nm"
    found = link_table(tmp_path / "a.txt", tmp_path / "b.csv", pixel_size_um=0.1, columns=stated)
    assert found["frames"] == N and found["tracks"] == 2


def test_linked_tracks_rule_over_those_that_the_table_had(tmp_path: Path) -> None:
    for case in ("TrackMate", "quot", "gemspa"):
        written, pixel, _ = CASES[case]
        (tmp_path / "a.csv").write_text(written)
        link_table(tmp_path / "a.csv", tmp_path / "b.csv", pixel_size_um=pixel, overwrite=True)
        table = read_table(tmp_path / "b.csv", NEED, pixel_size_um=pixel)
        assert table.values["particle"].tolist() == [0, 1] * N


def test_texts_keep_their_commas_and_numbers_have_one_decimal_sign(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("frame;y;x;name\n0;1,5;2;a,b\n")
    table = read_table(tmp_path / "a.csv", ("y", "name"), texts=("name",))
    assert table.values["name"].tolist() == ["a,b"] and table.values["y"].tolist() == [1.5]
    (tmp_path / "a.csv").write_text("frame;y;x\n0;1,5;2\n1;1.5;2\n")
    with pytest.raises(InputError, match="commas and points"):
        read_table(tmp_path / "a.csv", ("y",))


def test_units_that_no_line_tells_are_said_to_be_assumed(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("TRACK_ID,POSITION_X,POSITION_Y,FRAME\n0,1.0,2.0,0\n")
    assert "um is assumed" in read_table(tmp_path / "a.csv", NEED, pixel_size_um=0.1).said


def test_motion_of_tracks_in_um_is_that_of_the_same_tracks_in_pixels(tmp_path: Path) -> None:
    (tmp_path / "um.csv").write_text(CASES["TrackMate"][0])
    (tmp_path / "px.csv").write_text(text("frame,particle,y,x", *PLAIN))
    for name in ("um", "px"):
        analyze_table(
            tmp_path / f"{name}.csv", tmp_path / f"{name}2.csv", pixel_size_um=0.1,
            frame_interval_s=0.05, say=lambda line: None,
        )  # fmt: skip
    um = pd.read_csv(tmp_path / "um2.csv", skiprows=[1, 2, 3])
    px = pd.read_csv(tmp_path / "px2.csv")
    assert np.allclose(um["p_normal"], px["p_normal"], atol=1e-3)
    assert (um["state"] == px["state"]).all()


def test_the_interval_is_that_of_the_times_unless_it_is_stated(tmp_path: Path) -> None:
    pause = np.where(FRAME > 6, 8.0, 0.0)
    times = pd.DataFrame({"frame": FRAME, "particle": PARTICLE, "y": Y, "x": X,
                          "time_s": FRAME * 0.05 + pause})[FRAME != 3]  # fmt: skip
    told: list[str] = []
    for table, stated, found in (
        (times, None, 0.05),
        (times, 0.052, 0.052),
        (times, 0.01, 0.01),
        (times.drop(columns="time_s"), 0.02, 0.02),
    ):
        table.sample(frac=1, random_state=1).to_csv(tmp_path / "a.csv", index=False)
        held = read_table(tmp_path / "a.csv", NEED, optional=("time_s",))
        assert interval_of_tracks(held.values, stated, told.append) == pytest.approx(found)
    assert told == ["frame interval 0.01 s as you state it; the steps of time_s are 0.05 s"]
    times.drop(columns="time_s").to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(SettingError, match="no times in time_s: give --frame-interval-s"):
        analyze_table(tmp_path / "a.csv", tmp_path / "b.csv", pixel_size_um=0.1)
    assert not (tmp_path / "b.csv").exists()


def test_segments_and_labelled_tracks_are_read_and_told_alike(tmp_path: Path) -> None:
    names = ("normal", "directed", "confined", "subdiffusive")
    more = {f"p_{name}": float(name == "normal") for name in names}
    table = pd.DataFrame({"frame": FRAME, "track_id": TRACK_ID, "y_um": Y / 10, "x_um": X / 10})
    table.assign(label=np.where(PARTICLE, "a", "b"), **more).to_csv(tmp_path / "a.csv", index=False)
    told: list[str] = []
    segment_table(tmp_path / "a.csv", tmp_path / "b.csv", pixel_size_um=0.1, say=told.append)
    path = np.hypot(*np.diff(WALK[:, 0], axis=0).T).sum() * 0.1
    assert pd.read_csv(tmp_path / "b.csv")["path_um"][0] == pytest.approx(path)
    stated = "frame=frame,particle=track_id,y=y_um,x=x_um"
    for how in (None, stated):
        held = labelled_tracks.read(
            tmp_path / "a.csv", pixel_size_um=0.1, stated=how, say=told.append
        )
        assert held.point[:, 2] == pytest.approx(X) and set(held.label) == {"a", "b"}
    said = "table with y_um, x_um: positions in um, frames as they are"
    assert told == [said, said, said.replace("table with y_um, x_um", "columns as you state")]


def test_picasso(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    rows = np.zeros(2 * N, [("frame", "u4"), ("x", "f4"), ("y", "f4"), ("photons", "f4")])
    rows["frame"], rows["x"], rows["y"] = FRAME, X, Y
    with h5py.File(tmp_path / "locs.hdf5", "w") as file:
        file["locs"] = rows
    told: list[str] = []
    assert link_table(tmp_path / "locs.hdf5", tmp_path / "b.csv", say=told.append)["tracks"] == 2
    assert told == ["Picasso localizations: positions in pixels, frames from 0"]
    out = pd.read_csv(tmp_path / "b.csv")
    assert list(out) == ["frame", "x", "y", "photons", "particle"]
    assert np.array_equal(out["x"].astype("f4"), rows["x"])


def test_picks_of_picasso_are_no_tracks(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    rows = np.zeros(3, [("frame", "u4"), ("x", "f4"), ("y", "f4"), ("group", "i4")])
    rows["frame"] = range(3)
    with h5py.File(tmp_path / "locs.hdf5", "w") as file:
        file["locs"] = rows
    link_table(tmp_path / "locs.hdf5", tmp_path / "b.csv")
    with pytest.raises(InputError, match="no column particle"):
        read_table(tmp_path / "locs.hdf5", NEED)


def test_z_of_picasso_is_in_nm_and_its_precision_in_pixels(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    names = ("x", "y", "z", "photons", "lpx", "lpy", "lpz")
    rows = np.zeros(2 * N, [("frame", "u4"), *((name, "f8") for name in names)])
    rows["frame"], rows["x"], rows["y"], rows["z"] = FRAME, X, Y, 250.0
    rows["photons"], rows["lpx"], rows["lpy"], rows["lpz"] = 800, 0.1, 0.2, 50
    with h5py.File(tmp_path / "locs.hdf5", "w") as file:
        file["locs"] = rows
    with pytest.raises(SettingError, match="are in nm, and this works in pixels"):
        link_table(tmp_path / "locs.hdf5", tmp_path / "b.csv")
    table = read_table(
        tmp_path / "locs.hdf5", ("frame", "y", "x"), optional=("z", "intensity", *PRECISION),
        pixel_size_um=0.1,
    )  # fmt: skip
    assert table.said == "Picasso localizations: positions in pixels, frames from 0, z in nm"
    values = table.values
    assert np.allclose(values["x"], X) and np.allclose(values["z"], 2.5)
    assert np.allclose(
        [values[name][0] for name in ("intensity", *PRECISION)], [800, 0.5, 0.2, 0.1]
    )


MEASURED = {  # columns, their values, then what they are: intensity, dz, dy, dx in pixels of 100 nm
    "ThunderSTORM": ('frame,x [nm],y [nm],z [nm],intensity [photon],uncertainty [nm]',
                     (1000, 2000, 0, 700, 20), (700, None, 0.2, 0.2)),
    "ThunderSTORM, 3D": ('frame,x [nm],y [nm],z [nm],uncertainty_xy [nm],uncertainty_z [nm]',
                         (1000, 2000, 50, 20, 50), (None, 0.5, 0.2, 0.2)),
    "smappy": ("frame,xnm,ynm,znm,phot,locprecnm,locprecznm", (1000, 2000, 50, 700, 20, 50),
               (700, 0.5, 0.2, 0.2)),
    "Picasso as text": ("frame,x,y,photons,lpx,lpy", (10, 20, 700, 0.1, 0.2),
                        (700, None, 0.2, 0.1)),
    "livespt": ("frame,y,x,z,dy,dx,dz,lpx", (20, 10, 0, 0.2, 0.1, 0.5, 9), (None, 0.5, 0.2, 0.1)),
    "in um": ("frame,y_um,x_um,dy,dx", (2, 1, 0.02, 0.01), (None, None, 0.2, 0.1)),
    "TrackMate": ("frame,position_x,position_y,track_id,total_intensity_ch1", (1, 2, 0, 700),
                  (700, None, None, None)),
}  # fmt: skip


@pytest.mark.parametrize("case", MEASURED)
def test_precision_and_light_of_other_programs(case: str, tmp_path: Path) -> None:
    header, row, right = MEASURED[case]
    (tmp_path / "a.csv").write_text(text(header, [3], *([one] for one in row)))
    names = ("intensity", *PRECISION)
    table = read_table(tmp_path / "a.csv", ("frame", "y", "x"), optional=names, pixel_size_um=0.1)
    found = [table.values[name].tolist() if name in table.values else None for name in names]
    assert found == [None if one is None else [pytest.approx(one)] for one in right]


def test_what_is_no_precision_is_not_taken_for_one(tmp_path: Path) -> None:
    how: dict[str, Any] = {"optional": PRECISION, "blanks": PRECISION}
    (tmp_path / "a.csv").write_text("frame,y,x,dy,dx,dz\n0,1,2,-0.5,,\n1,1,2,0.5,0.1,inf\n")
    table = read_table(tmp_path / "a.csv", ("frame", "y", "x"), **how)
    assert table.said == "dy below 0 in places: not taken for localization precision"
    assert np.array_equal(table.values["dx"], [np.nan, 0.1], equal_nan=True)
    assert np.isnan(table.values["dz"]).all() and "dy" not in table.values
    (tmp_path / "a.csv").write_text("frame,y,x,uncertainty [nm]\n0,1,2,20\n")
    assert "dy" not in read_table(tmp_path / "a.csv", ("frame", "y", "x"), **how).values
    (tmp_path / "a.csv").write_text("frame,y,x,dy\n0,1,2,near\n")
    with pytest.raises(InputError, match="row 1: dy is 'near'; give a number"):
        read_table(tmp_path / "a.csv", ("frame", "y", "x"), **how)


def test_motion_models_read_times_and_precision(tmp_path: Path) -> None:
    """Linked as the linker does that is given them, and not as without them."""
    rng = np.random.default_rng(5)
    frame = np.repeat(np.arange(40), 30)
    point = np.tile(rng.uniform(0, 40, (30, 2)), (40, 1)) + np.cumsum(
        rng.normal(0, 0.8, (40, 30, 2)), axis=0
    ).reshape(-1, 2)
    sd = np.where(rng.random((len(frame), 2)) < 0.3, 1.5, 0.05)
    point = point + rng.normal(0, 1, point.shape) * sd
    time = np.cumsum(rng.uniform(0.01, 0.2, 40))[frame]
    table = pd.DataFrame({"frame": frame, "y": point[:, 0], "x": point[:, 1], "time_s": time,
                          "dy": sd[:, 0], "dx": sd[:, 1]})  # fmt: skip
    table.loc[5, ["time_s", "dy"]] = np.nan  # cells of an export may be empty
    table.to_csv(tmp_path / "a.csv", index=False)
    for motion in ("none", "brownian"):
        link_table(tmp_path / "a.csv", tmp_path / "b.csv", search_range=4.0, memory=1,
                   motion=motion, overwrite=True)  # fmt: skip
        found = pd.read_csv(tmp_path / "b.csv")["particle"].to_numpy()
        read = pd.read_csv(tmp_path / "a.csv")
        more = {"time_s": read["time_s"].to_numpy(), "precision": read[["dy", "dx"]].to_numpy()}
        plain = link_points(frame, point, 4.0, 1, motion=motion)
        assert np.array_equal(found, link_points(frame, point, 4.0, 1, motion=motion, **more))
        assert np.array_equal(found, plain) == (motion == "none")


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_graphs_without_track_ids_have_those_of_their_edges(
    zarr_format: Literal[2, 3], tmp_path: Path
) -> None:
    src, out = tmp_path / "a.geff", tmp_path / "b.csv"
    order = RNG.permutation(2 * N)  # of the nodes
    edges = np.stack([NUMBER[:-2], NUMBER[2:]], axis=1)
    graph(src, {"t": FRAME[order], "y": Y[order], "x": X[order]}, order, edges, zarr_format)
    table = read_table(src, NEED)
    assert np.array_equal(table.values["x"], X[order])
    pairs = set(zip(table.values["particle"].tolist(), PARTICLE[order].tolist(), strict=True))
    assert len(pairs) == 2
    assert link_table(src, out)["tracks"] == 2


def test_graphs_in_seconds_or_without_positions_are_refused(tmp_path: Path) -> None:
    edges = np.zeros((0, 2), np.int64)
    places = {"y": Y, "x": X}
    graph(tmp_path / "a.geff", {"t": FRAME * 0.05, **places}, NUMBER, edges)
    with pytest.raises(InputError, match=r"t is 0\.05 second; frames are whole"):
        link_table(tmp_path / "a.geff", tmp_path / "out.csv")
    graph(tmp_path / "b.geff", {"t": FRAME, **places}, NUMBER, edges, missing={"y": NUMBER == 3})
    with pytest.raises(InputError, match="row 4: y is ''"):
        link_table(tmp_path / "b.geff", tmp_path / "out.csv")
    graph(tmp_path / "c.geff", {"t": FRAME, "y": Y}, NUMBER, edges)
    with pytest.raises(InputError, match="has no property x of nodes"):
        link_table(tmp_path / "c.geff", tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


def graph(
    path: Path,
    props: dict[str, Any],
    ids: Any,
    edges: Any,
    zarr_format: Literal[2, 3] = 2,
    missing: dict[str, Any] | None = None,
) -> None:
    """Write a GEFF graph as geff does."""
    root = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    axes = [{"name": "t", "type": "time", "unit": "second"}, {"name": "y", "type": "space"},
            {"name": "x", "type": "space"}]  # fmt: skip
    root.attrs["geff"] = {"geff_version": "1.1.0", "directed": True, "axes": axes}
    for name, values in props.items():
        root.create_array(f"nodes/props/{name}/values", data=np.asarray(values))
    for name, values in (missing or {}).items():
        root.create_array(f"nodes/props/{name}/missing", data=values)
    root.create_array("nodes/ids", data=np.asarray(ids, np.uint64))
    root.create_array("edges/ids", data=np.asarray(edges, np.uint64))


def model(spots: str, edges: str, unit: str = "micron") -> bytes:
    """XML of TrackMate's model with one track, and a pixel of 0.1."""
    text = (
        f'<?xml version="1.0"?><TrackMate version="7.11"><Model spatialunits="{unit}">'
        f'<AllSpots>{spots}</AllSpots><AllTracks><Track TRACK_ID="4">{edges}</Track></AllTracks>'
        '</Model><Settings><ImageData pixelwidth="0.1"/></Settings></TrackMate>'
    )
    return text.encode()


SPOT = '<Spot ID="{}" FRAME="{}" POSITION_X="{}" POSITION_Y="2" POSITION_Z="0" QUALITY="3"/>'
EDGE = '<Edge SPOT_SOURCE_ID="{}" SPOT_TARGET_ID="{}"/>'
SPLIT = [(11, 0, 1.0), (12, 1, 1.0), (13, 2, 0.9), (14, 2, 1.1), (15, 5, 9.0)]
SPOTS = "".join(SPOT.format(*spot) for spot in SPLIT)
EDGES = "".join(EDGE.format(*ends) for ends in ((11, 12), (13, 12), (12, 14)))


def test_tracks_of_trackmate_are_cut_where_they_split(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_bytes(model(SPOTS, EDGES))
    table = read_table(tmp_path / "a.xml", NEED)  # the file knows its pixel size
    assert table.values["x"] == pytest.approx([10, 10, 9, 11, 90])
    assert table.values["particle"].tolist() == [4, 4, 5, 6, 7]
    assert table.said.endswith("frames from 0; tracks are cut at merges and splits (2 links)")
    assert (
        "0.2 um is taken, the file says 0.1"
        in read_table(tmp_path / "a.xml", NEED, pixel_size_um=0.2).said
    )


def test_a_file_of_trackmate_is_never_held_whole(tmp_path: Path) -> None:
    more = " ".join(f'FEATURE_{i}="{i}.123456789"' for i in range(30))
    spots = "".join(SPOT.format(i, i, i * 0.001).replace("/>", f" {more}/>") for i in range(20_000))
    (tmp_path / "a.xml").write_bytes(model(spots, EDGE.format(0, 1)))
    tracemalloc.start()
    held = TrackMateElements(tmp_path / "a.xml")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(held.spot_ids) == 20_000 and list(held.edges) == [0, 1]
    assert peak < (tmp_path / "a.xml").stat().st_size / 5


@pytest.mark.parametrize("light", ["TOTAL_INTENSITY_CH1", "TOTAL_INTENSITY", "INTENSITY"])
def test_the_light_of_trackmate(light: str, tmp_path: Path) -> None:
    spots = SPOTS.replace("QUALITY", f'{light}="700" QUALITY')
    (tmp_path / "a.xml").write_bytes(model(spots, EDGES))
    table = read_table(tmp_path / "a.xml", NEED, optional=("intensity",))
    assert table.values["intensity"].tolist() == [700] * 5
    (tmp_path / "a.xml").write_bytes(model(spots.replace(f'{light}="700"', "", 1), EDGES))
    table = read_table(tmp_path / "a.xml", NEED, optional=("intensity",))
    assert "intensity" not in table.values, "not of every spot"
    spots = SPOTS.replace("QUALITY", 'PRECISION_X="0.02" PRECISION_Y="NaN" QUALITY')
    (tmp_path / "a.xml").write_bytes(model(spots, EDGES))
    table = read_table(tmp_path / "a.xml", NEED, optional=PRECISION)
    assert table.values["dx"] == pytest.approx([0.2] * 5) and set(table.values) == {*NEED, "dx"}
    (tmp_path / "a.xml").write_bytes(model("", ""))
    assert len(read_table(tmp_path / "a.xml", NEED)) == 0


def test_what_is_written_of_a_file_in_um_is_read_in_um(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_bytes(model(SPOTS, EDGES))
    link_table(tmp_path / "a.xml", tmp_path / "b.csv")
    with pytest.raises(SettingError, match="are in um"):
        read_table(tmp_path / "b.csv", NEED)
    table = read_table(tmp_path / "b.csv", NEED, pixel_size_um=0.1)
    assert table.values["x"] == pytest.approx([10, 10, 9, 11, 90])
    assert list(pd.read_csv(tmp_path / "b.csv")) == [
        "ID", "frame", "track_id", "y_um", "x_um", "QUALITY", "particle",
    ]  # fmt: skip


def test_columns_that_pandas_holds_as_index(tmp_path: Path) -> None:
    frame = pd.DataFrame({"y": Y, "x": X}, index=pd.Index(FRAME, name="frame"))
    frame.to_parquet(tmp_path / "a.parquet")
    link_table(tmp_path / "a.parquet", tmp_path / "b.csv")
    assert list(pd.read_csv(tmp_path / "b.csv")) == ["frame", "y", "x", "particle"]


def test_parquet(tmp_path: Path) -> None:
    frame = pd.DataFrame({"frame": FRAME, "y": Y, "x": X, "name": ["a, b"] * 2 * N})
    frame.to_parquet(tmp_path / "a.parquet")
    link_table(tmp_path / "a.parquet", tmp_path / "b.csv")
    out = pd.read_csv(tmp_path / "b.csv")
    assert np.array_equal(out["y"], Y) and set(out["name"]) == {"a, b"}
    assert out["particle"].tolist() == [0, 1] * N


@pytest.mark.parametrize("suffix", [".xml", ".geff"])
def test_what_we_export_can_be_read_again(suffix: str, tmp_path: Path) -> None:
    from build import make_start
    from livespt.stream.types import SPOT, STATE

    start = make_start((64, 64), pixel_size_um=0.1)
    spots = np.zeros(2 * N, SPOT)
    spots["frame"], spots["track"], spots["y"], spots["x"] = FRAME, PARTICLE, Y, X
    for name in ("sigma", "variance", "polarizability_um3"):
        spots[name] = np.nan
    table = spot_table(start, spots, np.zeros(0, STATE))
    WRITERS[suffix](tmp_path / f"a{suffix}", start, table, np.zeros((0, 2), np.int64), None)
    held = read_table(tmp_path / f"a{suffix}", NEED, pixel_size_um=0.1)
    assert np.abs(held.values["y"] - spots["y"]).max() < 1e-3
    assert np.abs(held.values["x"] - spots["x"]).max() < 1e-3
    assert np.array_equal(held.values["frame"], FRAME)
    assert np.array_equal(held.values["particle"], PARTICLE)


def test_tracks_exported_by_trackmate_and_by_mtrackj(tmp_path: Path) -> None:
    particles = "".join(
        '<particle nSpots="12">'
        + "".join(
            f'<detection t="{t}" x="{x * 0.1:.6f}" y="{y * 0.1:.6f}" z="0"/>'
            for t, (y, x) in enumerate(WALK[:, k])
        )
        + "</particle>"
        for k in range(2)
    )
    (tmp_path / "a.xml").write_text(
        '<?xml version="1.0" encoding="UTF-8"?><Tracks nTracks="2" spaceUnits="micron" '
        f'frameInterval="0.05" timeUnits="s">{particles}</Tracks>'
    )
    table = read_table(tmp_path / "a.xml", NEED, pixel_size_um=0.1)
    assert np.abs(table.values["y"] - WALK[:, :, 0].T.ravel()).max() < 1e-3
    points = "".join(
        f"Track {k + 1}\n"
        + "".join(
            f"Point {t + 1} {WALK[t, k, 1]:.4f} {WALK[t, k, 0]:.4f} 1.0 {t + 1}.0 1.0\n"
            for t in range(N)
        )
        for k in range(2)
    )
    (tmp_path / "a.mdf").write_text(
        f"MTrackJ 1.5.1 Data File\nAssembly 1\nCluster 1\n{points}End of MTrackJ Data File\n"
    )
    table = read_table(tmp_path / "a.mdf", NEED)
    assert np.abs(table.values["x"] - WALK[:, :, 1].T.ravel()).max() < 1e-3


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.xml", b"<?xml version='1.0'?><TrackMate><Model", "cannot be read as xml"),
        ("a.xml", b"<?xml version='1.0'?><!DOCTYPE a><a/>", "declares a document type"),
        ("a.xml", b"<?xml version='1.0'?><other/>", "is no file of TrackMate"),
        ("a.xml", model(SPOTS, EDGE.format(11, 99)), "links spot 99, which it does not hold"),
        ("a.xml", model(SPOTS, EDGE.format(13, 14)), "links two spots of frame 2"),
        ("a.xml", model(SPOTS.replace('FRAME="1"', ""), EDGES), "FRAME is nan; frames are whole"),
        ("a.xml", model(SPOTS, EDGES, "mile"), "positions in 'mile'"),
        (
            "a.xml",
            b"<?xml version='1.0'?><Tracks><particle><detection t='.5' x='1' y='1' z='0'/>"
            b"</particle></Tracks>",
            "t is 0.5; frames are whole",
        ),
        ("a.parquet", b"PAR1nothing", "cannot be read as parquet"),
        ("a.csv", b"frame;y;x\n0;1\n", "row 1 has 2 values for 3 columns"),
        ("a.csv", b"\n", "is empty"),
    ],
)
def test_what_is_no_table_is_one_line(name: str, content: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=says) as caught:
        link_table(tmp_path / name, tmp_path / "out.csv")
    assert "\n" not in str(caught.value) and not (tmp_path / "out.csv").exists()
