"""What leaves with a table: units and meanings, times, lineage, names of programs, lanes."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import geff
import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
from numpy.typing import NDArray

from build import make_start
from livespt.stream.errors import SettingError, StoreError
from livespt.stream.store.run import RunWriter
from livespt.stream.types import CLOCKS, EVENT, KINDS, SPOT, STATE, Frame, Stop, Update
from livespt.tools.tables.export import export_run, spot_table
from livespt.tools.tables.trackmate import write_trackmate

START = make_start((32, 40), pixel_size_um=0.1, frame_interval_s=0.01)
TIMES = [0.0, 0.05, 0.1, 0.4, 0.45, 0.5, 0.55, 0.6]  # seconds, not those of the interval
# track: frames in which it is; 1 ends in 0, 2 comes from 0, 3 lacks a frame
TRACKS = {0: range(8), 1: range(3), 2: range(5, 8), 3: (0, 1, 3, 4)}


def store(path: Path, lanes: int = 1) -> Path:
    writer = RunWriter(path, START, movie=False)
    number = 0
    for t, time_s in enumerate(TIMES):
        for channel in range(lanes):
            mine = [track for track, frames in TRACKS.items() if t in frames]
            spots = np.zeros(len(mine), SPOT)
            for name in SPOT.names or ():
                if SPOT[name].kind == "f":
                    spots[name] = np.nan
            spots["frame"], spots["channel"] = t, channel
            spots["track"] = [track + 10 * channel for track in mine]
            spots["y"], spots["x"] = 5.0 + 6 * np.array(mine), 20.0 + t
            events = kin(t, channel)
            update = Update(number, t, channel, 0, time_s, 0, spots, np.zeros(0, STATE), events)
            clock = CLOCKS.index("camera")
            image = np.zeros((32, 40), START.dtype)
            writer.add_frame(frame := Frame(number, t, channel, 0, time_s, image, clock))
            writer.commit(frame, update)
            number += 1
    writer.close(Stop(START.run, "complete"))
    return path


def kin(t: int, channel: int) -> NDArray[np.void]:
    """The merge and the split, which one channel has."""
    events = np.zeros(int(channel == 0 and t in (3, 5)), EVENT)
    if len(events):
        events["seq"], events["amends"] = int(t == 5), -1
        events["kind"] = KINDS.index("merged" if t == 3 else "split")
        events["frame"], events["track"], events["other"] = t, 1 if t == 3 else 2, 0
    return events


def test_units_and_meanings_leave_with_the_columns(tmp_path: Path) -> None:
    run = store(tmp_path / "run.zarr")
    export_run(run, tmp_path / "a.csv")
    export_run(run, tmp_path / "a.parquet")
    export_run(run, tmp_path / "a.geff")
    beside = json.loads((tmp_path / "a.csv.json").read_text())
    assert beside["scale"]["pixel_size_um"] == 0.1
    assert beside["scale"]["frame_interval_s"] == pytest.approx(0.05), "the median, not 10 ms"
    assert beside["columns"]["y"]["unit"] == "pixel" and beside["columns"]["time_s"]["unit"] == "s"
    schema = pyarrow.parquet.read_schema(tmp_path / "a.parquet")
    assert json.loads(schema.metadata[b"livespt"]) == beside
    assert schema.field("x").metadata[b"unit"] == b"pixel"
    assert set(beside["columns"]) == set(pd.read_csv(tmp_path / "a.csv").columns)
    _, metadata = geff.read(tmp_path / "a.geff", backend="networkx")
    assert metadata.node_props_metadata["time_s"].unit == "s"
    assert metadata.display_hints is not None
    assert metadata.display_hints.display_horizontal == "x"
    assert metadata.display_hints.display_vertical == "y"


def test_times_are_those_of_the_frames(tmp_path: Path) -> None:
    run = store(tmp_path / "run.zarr")
    for name in ("a.csv", "a.parquet", "a.xml", "a.geff"):
        export_run(run, tmp_path / name)
    tables = pd.read_csv(tmp_path / "a.csv"), pd.read_parquet(tmp_path / "a.parquet")
    for table in tables:
        assert np.allclose(table["time_s"], np.array(TIMES)[table["frame"]])
    for spot in ET.parse(tmp_path / "a.xml").iter("Spot"):
        assert float(spot.attrib["TIME_S"]) == TIMES[int(spot.attrib["FRAME"])]
        # as TrackMate has it, and as its readers need it
        assert float(spot.attrib["POSITION_T"]) == pytest.approx(0.05 * int(spot.attrib["FRAME"]))
    graph, _ = geff.read(tmp_path / "a.geff", backend="networkx")
    assert all(node["time_s"] == TIMES[int(node["t"])] for _, node in graph.nodes(data=True))


def test_merges_and_splits_are_edges(tmp_path: Path) -> None:
    run = store(tmp_path / "run.zarr")
    export_run(run, tmp_path / "a.xml")
    export_run(run, tmp_path / "a.geff")
    root = ET.parse(tmp_path / "a.xml").getroot()
    spots = {one.attrib["ID"]: one.attrib for one in root.iter("Spot")}
    row = {track: f"{5.0 + 6 * track:g}" for track in TRACKS}

    def of(end: str) -> tuple[int, str]:
        y = float(spots[end]["POSITION_Y"]) / 0.1
        return int(spots[end]["FRAME"]), f"{y:g}"

    edges = {
        (of(edge.attrib["SPOT_SOURCE_ID"]), of(edge.attrib["SPOT_TARGET_ID"]))
        for edge in root.iter("Edge")
    }
    assert ((2, row[1]), (3, row[0])) in edges, "1 goes on in 0"
    assert ((4, row[0]), (5, row[2])) in edges, "2 comes from 0"
    assert len(edges) == 7 + 2 + 2 + 3 + 2
    tracks = {track.attrib["TRACK_ID"]: track for track in root.iter("Track")}
    assert set(tracks) == {"0", "3"} and tracks["0"].attrib["NUMBER_SPOTS"] == "14"
    graph, metadata = geff.read(tmp_path / "a.geff", backend="networkx")
    assert graph.number_of_edges() == len(edges)
    assert sorted(degree for _, degree in graph.in_degree() if degree > 1) == [2]
    assert sorted(degree for _, degree in graph.out_degree() if degree > 1) == [2]
    assert "tracklet" not in (metadata.track_node_props or {})
    lineage = {int(node["particle"]): int(node["lineage"]) for _, node in graph.nodes(data=True)}
    assert lineage == {0: 0, 1: 0, 2: 0, 3: 3}


def test_tracks_are_cut_at_gaps_on_request(tmp_path: Path) -> None:
    export_run(store(tmp_path / "run.zarr"), tmp_path / "a.csv", cut_gaps=True)
    table = pd.read_csv(tmp_path / "a.csv")
    assert sorted(table[table["track"] == 3].groupby("particle").size()) == [2, 2]
    assert table["particle"].nunique() == 5
    for _, piece in table.groupby("particle"):
        assert (np.diff(piece["frame"]) == 1).all()


def test_cut_tracks_keep_merges_and_splits_and_say_what_they_are(tmp_path: Path) -> None:
    run = store(tmp_path / "run.zarr")
    told = export_run(run, tmp_path / "a.geff", cut_gaps=True)
    assert told["lineage"] == 2 and told["undone"] == 0
    graph, metadata = geff.read(tmp_path / "a.geff", backend="networkx")
    at = {(node["track"], node["t"]): n for n, node in graph.nodes(data=True)}
    assert graph.has_edge(at[1, 2], at[0, 3]) and graph.has_edge(at[0, 4], at[2, 5])
    assert not graph.has_edge(at[3, 1], at[3, 3]), "a frame is missing between them"
    assert graph.number_of_edges() == 16 - 1
    meaning = metadata.node_props_metadata["particle"].description
    assert meaning is not None and meaning.startswith("Piece of a track")
    track = metadata.node_props_metadata["track"].description
    assert track is not None and track.startswith("Track")


@pytest.mark.parametrize("score", [np.nan, 0.0, -3.5, 0.75])
def test_the_filter_of_a_trackmate_file_keeps_every_spot(score: float, tmp_path: Path) -> None:
    """Readers apply it, and drop a spot whose quality is no number above its value."""
    start = make_start((32, 40), pixel_size_um=0.1)
    spots = np.zeros(2, SPOT)
    spots["frame"], spots["score"] = (0, 1), (score, 0.5)
    table = spot_table(start, spots, np.zeros(0, STATE))
    write_trackmate(tmp_path / "a.xml", start, table, np.array([[0, 1]]))
    root = ET.parse(tmp_path / "a.xml").getroot()
    (initial,) = root.iter("InitialSpotFilter")
    assert initial.attrib["feature"] == "QUALITY" and initial.attrib["isabove"] == "true"
    quality = [float(spot.attrib["QUALITY"]) for spot in root.iter("Spot")]
    assert len(quality) == 2 and all(value > float(initial.attrib["value"]) for value in quality)
    assert quality == [-1.0 if np.isnan(score) else score, 0.5]


@pytest.mark.parametrize("name", ["a.csv", "a.xml", "a.geff"])
def test_what_stays_in_the_way_leaves_everything_as_it_was(name: str, tmp_path: Path) -> None:
    """Of several files none is written if one cannot be, and a stranger's file is not replaced."""
    run = store(tmp_path / "run.zarr", lanes=2 if name == "a.xml" else 1)
    if name == "a.geff":  # a Zarr, but no graph
        (tmp_path / name).mkdir()
        (tmp_path / name / ".zgroup").write_text('{"zarr_format": 2}')
    else:
        second = {"a.csv": "a.csv.json", "a.xml": "a_p0_c1.xml"}[name]
        (tmp_path / second).mkdir() if name == "a.xml" else (tmp_path / second).write_text("[1]")
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(StoreError, match="choose another name"):
        export_run(run, tmp_path / name, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize("name", ["a.csv", "a.xml", "a.geff"])
def test_exports_are_replaced_on_request(name: str, tmp_path: Path) -> None:
    lanes = 2 if name == "a.xml" else 1
    run = store(tmp_path / "run.zarr", lanes=lanes)
    export_run(run, tmp_path / name)
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(StoreError, match="--overwrite"):
        export_run(run, tmp_path / name)
    export_run(run, tmp_path / name, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("program", "first"),
    [
        ("trackpy", ["frame", "particle", "y", "x"]),
        ("saspt", ["frame", "trajectory", "y", "x"]),
        ("gemspa", ["track_id", "frame", "x", "y"]),
        ("locan", ["frame", "position_x", "position_y"]),
        ("napari", ["track_id", "t", "y", "x"]),
    ],
)
def test_columns_have_the_names_of_a_program(
    program: str, first: list[str], tmp_path: Path
) -> None:
    run = store(tmp_path / "run.zarr")
    export_run(run, tmp_path / "a.csv", program=program)
    table = pd.read_csv(tmp_path / "a.csv")
    assert list(table)[: len(first)] == first
    assert set(json.loads((tmp_path / "a.csv.json").read_text())["columns"]) == set(table)
    with pytest.raises(SettingError, match=r"not of \.geff"):
        export_run(run, tmp_path / "a.geff", program=program)


def test_a_file_of_trackmate_belongs_to_one_image(tmp_path: Path) -> None:
    run = store(tmp_path / "run.zarr", lanes=2)
    told = export_run(run, tmp_path / "a.xml")
    names = ["a_p0_c0.xml", "a_p0_c1.xml"]
    assert told["out"] == ", ".join(str(tmp_path / name) for name in names)
    edges = [len(list(ET.parse(tmp_path / name).iter("Edge"))) for name in names]
    assert edges == [16, 14]  # the merge and the split are in one of them
    for name in names:
        groups = ET.parse(tmp_path / name).findall(".//SpotsInFrame")
        assert [int(group.attrib["frame"]) for group in groups] == list(range(8))
