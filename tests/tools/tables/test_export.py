"""Exported runs, read back by the libraries and parsers of those who use them."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import geff
import numpy as np
import pandas as pd
import pytest
import trackpy
from geff.convert import from_trackmate_xml_to_geff
from geff.validate.data import ValidationConfig, validate_data
from numpy.typing import NDArray

from build import make_start
from livespt.stream.errors import InputError, SettingError, StoreError
from livespt.stream.link.linker import Linker
from livespt.stream.store.run import RunWriter
from livespt.stream.types import ABSTAIN, EVENT, MOTIONS, SPOT, STATE, Frame, Start, Stop, Update
from livespt.tools.tables.export import consecutive, export_run, spot_table

START = make_start((64, 80), source='a "movie" & more.tif')
VOLUME = replace(START, axes="zyx", shape=(9, 64, 80), z_step_um=0.3)
UNKNOWN = replace(START, pixel_size_um=None, frame_interval_s=None)
EXTENSIONS = (".csv", ".parquet", ".xml", ".geff")
COLUMNS = [
    "frame", "particle", "y", "x", "intensity", "background", "score", "dy", "dx", "sigma",
    "channel", "position", "p_normal", "p_directed", "p_confined", "p_subdiffusive", "state",
    "p_uncoated", "lag",
]  # fmt: skip


def tables(
    start: Start, frames: int = 12, n: int = 8, seed: int = 0, unsettled: int = 0
) -> tuple[NDArray[np.void], NDArray[np.void]]:
    """Spots of linked walks with gaps, and their states in shuffled order, provisional ones too."""
    rng = np.random.default_rng(seed)
    linker, spots = Linker(4.0, 1, ndim=3), []
    places = rng.uniform(5, 50, (n, 3)) * (len(start.axes) == 3, 1, 1)
    for frame in range(3, 3 + frames):
        seen = places[rng.random(n) < 0.8]
        rows = np.zeros(len(seen), SPOT)
        rows["frame"], rows["track"] = frame, linker.link(frame, seen).track
        rows["z"], rows["y"], rows["x"] = seen.T
        rows["intensity"], rows["score"] = rng.uniform(100, 900, (2, len(seen)))
        rows["dz"], rows["dy"], rows["dx"] = np.nan, 0.1, 0.2
        rows["sigma"], rows["variance"], rows["polarizability_um3"] = 1.3, np.nan, np.nan
        spots.append(rows)
        places = places + rng.normal(0, 0.5, places.shape) * (len(start.axes) == 3, 1, 1)
    spot = np.concatenate(spots)
    states = np.zeros(len(spot), STATE)
    for name in ("frame", "channel", "position", "track"):
        states[name] = spot[name]
    for motion, share in zip(MOTIONS, rng.dirichlet(np.ones(4), len(spot)).T, strict=True):
        states[f"p_{motion}"] = share
    states["p_uncoated"], states["p_task"] = rng.random(len(spot)), np.nan
    states["state"] = rng.integers(ABSTAIN, 4, len(spot))
    states["lag"], states["made"] = 5, spot["frame"] + 5
    states["settled"] = spot["frame"] < 3 + frames - unsettled
    early = states.copy()
    early["settled"], early["p_normal"], early["lag"] = 0, 9, 0
    both = np.empty(2 * len(states), STATE)
    both[: len(states)], both[len(states) :] = early, states
    return spot, rng.permutation(both)


def store(
    path: Path,
    start: Start,
    spots: NDArray[np.void],
    states: NDArray[np.void],
    *,
    stop: bool = True,
) -> Path:
    """The tables as a run without a movie: states of a frame are committed with its spots."""
    writer = RunWriter(path, start, movie=False)
    image = np.zeros(start.shape, start.dtype)
    for number, t in enumerate(np.unique(spots["frame"]).tolist()):
        frame = Frame(number, t, 0, 0, t * 0.05, image)
        rows, about = spots[spots["frame"] == t], states[states["frame"] == t]
        writer.add_frame(frame)
        writer.commit(frame, Update(number, t, 0, 0, t * 0.05, 0, rows, about, np.zeros(0, EVENT)))
    if stop:
        writer.close(Stop(start.run, "complete"))
    return path


def test_what_a_users_classifier_said_is_a_column_of_its_own(tmp_path: Path) -> None:
    spots, states = tables(START)
    states["p_task"] = states["p_uncoated"] / 2
    export_run(store(tmp_path / "run.zarr", START, spots, states), tmp_path / "out.csv")
    table = pd.read_csv(tmp_path / "out.csv")
    assert table.columns.tolist()[-3:] == ["p_uncoated", "p_task", "lag"]
    np.testing.assert_allclose(table["p_task"], table["p_uncoated"] / 2, rtol=1e-6)


@pytest.mark.parametrize("start", [START, VOLUME], ids=["plane", "volume"])
def test_csv_and_parquet_hold_every_spot_with_its_settled_state(
    start: Start, tmp_path: Path
) -> None:
    spots, states = tables(start)
    run = store(tmp_path / "run.zarr", start, spots, states)
    result = export_run(run, tmp_path / "out.csv")
    export_run(run, tmp_path / "out.parquet")
    table = pd.read_csv(tmp_path / "out.csv", dtype={name: "f4" for name in "yxz"})
    volume = start is VOLUME
    expected = [*COLUMNS[:4], *["z"] * volume, *COLUMNS[4:9], *["dz"] * volume, *COLUMNS[9:]]
    assert table.columns.tolist() == expected
    assert pd.read_parquet(tmp_path / "out.parquet").columns.tolist() == expected
    assert result["spots"] == len(table) == len(spots) and result["unsettled"] == 0
    assert result["tracks"] == len(np.unique(spots["track"]))
    for name in expected[: 4 + volume]:
        field = {"particle": "track"}.get(name, name)
        np.testing.assert_array_equal(table[name], spots[field])
    final = {(int(row["track"]), int(row["frame"])): row for row in states[states["settled"] == 1]}
    for row in table.itertuples():
        state = final[row.particle, row.frame]  # type: ignore[index]
        assert (
            row.state
            == ["normal", "directed", "confined", "subdiffusive", "unsure"][state["state"]]
        )
        assert row.p_directed == pytest.approx(state["p_directed"], rel=1e-6)
        assert row.lag == 5
    total = table[[f"p_{motion}" for motion in MOTIONS]].sum(axis=1)
    np.testing.assert_allclose(total, 1, atol=1e-5)
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "out.parquet"), table, check_dtype=False, rtol=1e-5
    )


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # trackpy 0.7 with pandas 3
def test_trackpy_reads_the_csv(tmp_path: Path) -> None:
    spots, states = tables(START, frames=30, n=5)
    export_run(store(tmp_path / "run.zarr", START, spots, states), tmp_path / "out.csv")
    table = pd.read_csv(tmp_path / "out.csv")
    msd = trackpy.emsd(table, mpp=0.1, fps=20, max_lagtime=3)
    assert msd.iloc[0] == pytest.approx(2 * 0.5**2 * 0.1**2, rel=0.5)  # um^2: steps of 0.5 px


def test_what_is_not_settled_is_empty(tmp_path: Path) -> None:
    spots, states = tables(START, unsettled=2)
    run = store(tmp_path / "run.zarr", START, spots, states, stop=False)
    open_ = spots["frame"] >= 13
    for extension in EXTENSIONS:
        result = export_run(run, tmp_path / f"out{extension}")
        assert result["unsettled"] == open_.sum() > 0
    text = (tmp_path / "out.csv").read_text().splitlines()[1:]
    for line, empty in zip(text, open_, strict=True):
        assert line.endswith(",,,,,,,") == empty
        assert empty or line.endswith(",5")
    table = pd.read_parquet(tmp_path / "out.parquet")
    np.testing.assert_array_equal(table["state"].isna(), open_)
    np.testing.assert_array_equal(table["lag"].isna(), open_)
    spot = ET.parse(tmp_path / "out.xml").findall(".//Spot")
    names = {tuple(s.attrib) for s in spot}
    assert len(names) == 1, "readers refuse a spot that lacks a feature"
    assert sum(s.attrib["MOTION_STATE"] == "-2" for s in spot) == open_.sum()
    assert sum(s.attrib["P_NORMAL"] == "NaN" for s in spot) == open_.sum()
    memory = geff.read(tmp_path / "out.geff", backend="networkx")[0]
    without = [node for node, found in memory.nodes(data=True) if "state" not in found]
    assert len(without) == open_.sum()


def test_spots_of_channels_and_positions_keep_their_own_states() -> None:
    spots, states = np.zeros(3, SPOT), np.zeros(3, STATE)
    for rows in (spots, states):
        rows["channel"], rows["position"], rows["track"] = [0, 1, 0], [0, 0, 1], [4, 5, 6]
    states["settled"], states["p_uncoated"], states["state"] = 1, [0.1, 0.2, 0.3], [0, 1, ABSTAIN]
    table = spot_table(START, spots, states[[2, 0, 1]])
    assert table["p_uncoated"].tolist() == states["p_uncoated"].tolist()
    assert table["state"].tolist() == ["normal", "directed", "unsure"]


def test_links_join_consecutive_points_of_a_track() -> None:
    table = pd.DataFrame({"frame": [0, 0, 1, 3, 3, 4], "particle": [7, 2, 7, 2, 9, 7]})
    assert consecutive(table).tolist() == [[1, 3], [0, 2], [2, 5]]
    assert consecutive(table[:0]).shape == (0, 2)


@pytest.mark.parametrize(
    ("start", "units"),
    [(START, ("micron", "sec")), (VOLUME, ("micron", "sec")), (UNKNOWN, ("pixel", "frame"))],
    ids=["plane", "volume", "sizes unknown"],
)
def test_trackmate_file(start: Start, units: tuple[str, str], tmp_path: Path) -> None:
    spots, states = tables(start)
    export_run(store(tmp_path / "run.zarr", start, spots, states), tmp_path / "out.xml")
    root = ET.parse(tmp_path / "out.xml").getroot()
    model = root.find("Model")
    assert root.tag == "TrackMate" and model is not None
    assert (model.get("spatialunits"), model.get("timeunits")) == units
    frames = model.findall("AllSpots/SpotsInFrame")
    assert [int(f.attrib["frame"]) for f in frames] == np.unique(spots["frame"]).tolist()
    assert int(model.find("AllSpots").get("nspots")) == len(spots)  # type: ignore[union-attr, arg-type]
    declared = {f.attrib["feature"] for f in model.findall("FeatureDeclarations/SpotFeatures/*")}
    pixel = start.pixel_size_um or 1.0
    for group in frames:
        for spot in group:
            row = spots[int(spot.attrib["ID"])]
            assert spot.attrib.keys() - {"ID", "name"} <= declared
            assert spot.get("FRAME") == group.get("frame") == str(row["frame"])
            for axis, size in (("x", pixel), ("y", pixel), ("z", start.z_step_um or pixel)):
                found = float(spot.attrib[f"POSITION_{axis.upper()}"])
                assert found == pytest.approx(float(row[axis]) * size)
            assert float(spot.attrib["PRECISION_Y"]) == pytest.approx(0.1 * pixel)
            assert float(spot.attrib["PRECISION_X"]) == pytest.approx(0.2 * pixel)
            assert float(spot.attrib["SIGMA"]) == pytest.approx(1.3 * pixel)
            time = float(spot.attrib["POSITION_T"])
            assert time == pytest.approx(int(row["frame"]) * (start.frame_interval_s or 1))
    assert not declared & {"PRECISION_Z", "VARIANCE", "P_TASK", "TIME_S"}, "not known of any spot"
    edges = set()
    for track in model.findall("AllTracks/Track"):
        ends = [(int(e.attrib["SPOT_SOURCE_ID"]), int(e.attrib["SPOT_TARGET_ID"])) for e in track]
        members = {i for pair in ends for i in pair}
        assert {int(spots[i]["track"]) for i in members} == {int(track.attrib["TRACK_ID"])}
        assert int(track.attrib["NUMBER_SPOTS"]) == len(members) == len(ends) + 1
        edges |= set(ends)
    assert edges == set(map(tuple, consecutive(spot_table(start, spots, states)).tolist()))
    assert len(model.findall("FilteredTracks/TrackID")) == len(model.findall("AllTracks/Track"))
    image = root.find("Settings/ImageData")
    assert image is not None and image.get("filename") == start.source
    assert float(image.attrib["pixelwidth"]) == pixel
    for tag in ("BasicSettings", "DetectorSettings", "TrackerSettings", "InitialSpotFilter"):
        assert root.find(f"Settings/{tag}") is not None


def test_a_trackmate_file_has_what_a_classifier_said(tmp_path: Path) -> None:
    spots, states = tables(VOLUME, unsettled=3)
    states["p_task"], spots["dz"] = 0.25, 0.5
    export_run(store(tmp_path / "run.zarr", VOLUME, spots, states), tmp_path / "out.xml")
    root = ET.parse(tmp_path / "out.xml").getroot()
    declared = {one.get("feature") for one in root.iter("Feature")}
    assert {"P_TASK", "PRECISION_Z"} <= declared
    settled = spots["frame"] < 3 + 12 - 3
    for spot in root.iter("Spot"):
        known = settled[int(spot.attrib["ID"])]
        assert spot.attrib["P_TASK"] == ("0.25" if known else "NaN")
        step = VOLUME.z_step_um or 0.0
        assert float(spot.attrib["PRECISION_Z"]) == pytest.approx(0.5 * step)


@pytest.mark.filterwarnings("ignore:.*DisplaySettings")  # without: TrackMate takes the user's
@pytest.mark.filterwarnings("ignore:No image folder")  # that of the file itself
@pytest.mark.filterwarnings("ignore:.* unit .* not in valid OME-Zarr")  # ImageJ's names
def test_another_reader_takes_the_trackmate_file(tmp_path: Path) -> None:
    spots, states = tables(START)
    export_run(store(tmp_path / "run.zarr", START, spots, states), tmp_path / "out.xml")
    from_trackmate_xml_to_geff(tmp_path / "out.xml", tmp_path / "made.geff")
    graph, metadata = geff.read(tmp_path / "made.geff", backend="networkx")
    assert graph.number_of_nodes() == len(spots)
    assert graph.number_of_edges() == len(consecutive(spot_table(START, spots, states)))
    for node, found in graph.nodes(data=True):
        assert found["POSITION_X"] == pytest.approx(float(spots[node]["x"]) * 0.1)
        assert found["FRAME"] == spots[node]["frame"]
        if graph.degree(node):
            assert found["TRACK_ID"] == spots[node]["track"]
    assert {axis.unit for axis in metadata.axes} >= {"sec"}


@pytest.mark.parametrize("start", [START, VOLUME, UNKNOWN], ids=["plane", "volume", "unknown"])
def test_geff_passes_its_own_validation(start: Start, tmp_path: Path) -> None:
    spots, states = tables(start, unsettled=1)
    out = tmp_path / "out.geff"
    export_run(store(tmp_path / "run.zarr", start, spots, states), out)
    geff.validate_structure(out)
    memory = geff.GeffReader(out)
    memory.read_node_props()
    built = memory.build()
    validate_data(built, ValidationConfig(graph=True, lineage=True, tracklet=True))
    axes = {axis.name: axis for axis in built["metadata"].axes}
    assert list(axes) == ["t", *start.axes]
    assert axes["y"].unit == "pixel" and axes["y"].scale == start.pixel_size_um
    assert axes["t"].scale == start.frame_interval_s
    if start is VOLUME:
        assert axes["z"].scale == 0.3
    values = {name: prop["values"] for name, prop in built["node_props"].items()}
    np.testing.assert_array_equal(values["t"], spots["frame"])
    np.testing.assert_array_equal(values["x"], spots["x"])
    np.testing.assert_array_equal(values["particle"], spots["track"])
    links = consecutive(spot_table(start, spots, states))
    np.testing.assert_array_equal(built["edge_ids"], links)


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_a_run_without_spots(extension: str, tmp_path: Path) -> None:
    run = tmp_path / "run.zarr"
    RunWriter(run, START, movie=False).close(Stop(START.run, "complete"))
    out = tmp_path / f"out{extension}"
    assert export_run(run, out)["spots"] == 0
    always = [name for name in COLUMNS if name != "sigma"]  # nothing measured it
    if extension == ".csv":
        assert out.read_text() == ",".join(always) + "\n"
    if extension == ".parquet":
        assert pd.read_parquet(out).columns.tolist() == always
    if extension == ".xml":
        assert ET.parse(out).findall(".//SpotsInFrame") == []
    if extension == ".geff":
        geff.validate_structure(out)


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_an_existing_file_is_kept_unless_told(extension: str, tmp_path: Path) -> None:
    run = store(tmp_path / "run.zarr", START, *tables(START, frames=2, n=2))
    out = tmp_path / f"OUT{extension.upper()}"  # the case of an extension does not matter
    export_run(run, out)
    with pytest.raises(StoreError, match="exists"):
        export_run(run, out)
    export_run(run, out, overwrite=True)
    beside = [f"{out.name}.json"] if extension == ".csv" else []
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([out.name, "run.zarr", *beside])


def test_refusals_are_one_line_each(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"\.csv, \.parquet, \.xml, \.geff"):
        export_run(tmp_path / "none.zarr", tmp_path / "out.xlsx")
    with pytest.raises(InputError):
        export_run(tmp_path / "none.zarr", tmp_path / "out.csv")
    with pytest.raises(StoreError, match="no folder"):
        export_run(tmp_path / "none.zarr", tmp_path / "no" / "out.csv")
    (tmp_path / "out.geff").write_text("a file")
    with pytest.raises(StoreError, match="is a file"):
        export_run(tmp_path / "none.zarr", tmp_path / "out.geff", overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["out.geff"]
