"""Descriptions: every column is described, and tables of versions with other columns are used."""

from __future__ import annotations

import io
import json
import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from string import ascii_uppercase
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import zarr
import zmq
from numpy.typing import NDArray

from build import FREE, environment, make_start, make_update
from livespt.acquisition.recordings.open_movie import open_movie
from livespt.acquisition.simulated import Scenario, virus_entry
from livespt.stream import descriptions, pipeline
from livespt.stream.descriptions import COLUMNS, PUBLISHED, Column, described, fills, fitted
from livespt.stream.errors import InputError, WireError
from livespt.stream.store import columns
from livespt.stream.store.attributes import read_attributes
from livespt.stream.store.run import RunReader, RunWriter, create_run, open_run
from livespt.stream.store.verify import verify
from livespt.stream.types import SPOT, Frame, Start, Stop, Update
from livespt.stream.wire import codec, payloads
from livespt.stream.wire.publisher import Publisher
from livespt.stream.wire.subscriber import Subscriber
from livespt.tools.listen import listen
from livespt.tools.overlay.player import scene_at
from livespt.tools.runs.compose import compose
from livespt.tools.runs.options import Facts, Options
from livespt.tools.runs.resume import resume
from livespt.tools.tables.export import export_run

UNITS = {  # the end of a name -> unit
    "_um2_s": "um^2/s", "_um3": "um^3", "_um": "um", "_px": "pixel", "_ms": "ms", "_s": "s",
}  # fmt: skip
TABLES = [(table, name) for table, dtype in columns.TABLES.items() for name in dtype.names or ()]
OURS = dict(columns.TABLES)
MADE = ("spots", "states", "events")
N, CUT = 30, 17
START = make_start((32, 32))


# what is said of our own columns


@pytest.mark.parametrize("table", COLUMNS)
def test_every_column_is_described_and_no_other(table: str) -> None:
    assert COLUMNS.keys() == columns.TABLES.keys()
    assert tuple(COLUMNS[table]) == columns.TABLES[table].names
    for name, column in COLUMNS[table].items():
        assert column.meaning.endswith(".") and column.meaning[0] in f"`{ascii_uppercase}", name


@pytest.mark.parametrize(("table", "name"), TABLES)
def test_the_unit_is_the_one_in_the_name(table: str, name: str) -> None:
    unit = next((unit for end, unit in UNITS.items() if name.endswith(end)), None)
    assert unit is None or COLUMNS[table][name].unit == unit
    if name in ("z", "y", "x", "dz", "dy", "dx"):
        assert COLUMNS[table][name].unit == "pixel"


@pytest.mark.parametrize(("table", "name"), TABLES)
def test_fills_and_codes_are_values_of_the_column(table: str, name: str) -> None:
    column, dtype = COLUMNS[table][name], columns.TABLES[table][name]
    if column.fill is not None:
        filled = np.full(1, column.fill, dtype).item()
        assert filled == column.fill or (math.isnan(column.fill) and math.isnan(filled))
    for value in (*column.codes.values(), *column.bits.values()):
        assert np.array(value, dtype) == value
    assert not (column.codes and column.bits)
    assert all(value.bit_count() == 1 for value in column.bits.values())
    if column.codes and isinstance(column.fill, int):
        assert column.fill in column.codes.values()


def test_descriptions_stand_in_the_run_and_on_the_wire(tmp_path: Path) -> None:
    create_run(tmp_path / "a.zarr", START)
    for table in columns.TABLES:
        told = zarr.open_group(tmp_path / "a.zarr" / table, mode="r").attrs["columns"]
        assert told == described(table)
    header = json.loads(json.dumps(payloads.first_word(START), allow_nan=False))
    assert header["columns"] == {table: described(table) for table in PUBLISHED}
    assert header["columns"]["events"]["kind"]["codes"]["uncoating"] == 6
    assert header["columns"]["frames"]["quality"]["bits"]["saturated"] == 2
    assert header["columns"]["spots"]["dx"] == {
        "meaning": "Localization precision along x; NaN: unknown.", "unit": "pixel", "fill": None,
    }  # fmt: skip
    assert "fill" not in header["columns"]["spots"]["x"]


# versions with other columns


@dataclass(frozen=True)
class Version:
    """How the tables of another version differ from ours."""

    more: dict[str, tuple[str, str, Column]] = field(default_factory=dict)  # the last of a table
    fewer: dict[str, tuple[str, ...]] = field(default_factory=dict)
    tables: dict[str, np.dtype[np.void]] = field(default_factory=dict)  # whole ones

    def dtype(self, table: str) -> np.dtype[np.void]:
        fields = [f for f in OURS[table].descr if f[0] not in self.fewer.get(table, ())]
        return np.dtype([*fields, *(self.more[table][:2] for _ in range(table in self.more))])


RADIUS = Column("Radius of the particle.", "um", math.nan)
VERSIONS = {
    "more": Version(
        more={
            "spots": ("radius_um", "<f4", RADIUS),
            "states": ("model", "i1", Column("The likeliest model.", fill=-1, codes={"fbm": 0})),
            "events": ("cause", "<i8", Column("`seq` of what caused it.", fill=-1)),
            "frames": ("temperature_c", "<f8", Column("Temperature.", "degC", 37.5)),
            "status": ("unit", "<U8", Column("Which process tells it.", fill="unknown")),
        },
        tables={"decisions": np.dtype([("seq", "<i8"), ("fired", "u1")])},
    ),
    "fewer": Version(
        fewer={
            "spots": ("score", "polarizability_um3"),
            "states": ("lag", "p_task"),
            "events": ("probability", "amends"),
            "frames": ("degraded", "latency_ms", "quality"),
        }
    ),
    "both": Version({"spots": ("radius_um", "<f4", RADIUS)}, {"spots": ("variance",)}),
}


@contextmanager
def running(version: Version) -> Iterator[None]:
    """Make the engine's tables those of another version."""
    with pytest.MonkeyPatch.context() as patch:
        dtypes = {table: version.dtype(table) for table in OURS}
        for table, dtype in dtypes.items():
            patch.setitem(columns.TABLES, table, dtype)
            kept = {name: COLUMNS[table][name] for name in dtype.names if name in COLUMNS[table]}
            if table in version.more:
                kept[version.more[table][0]] = version.more[table][2]
            patch.setitem(descriptions.COLUMNS, table, kept)
        for table, dtype in version.tables.items():
            patch.setitem(columns.TABLES, table, dtype)
            patch.setitem(descriptions.COLUMNS, table, {n: Column("A.") for n in dtype.names or ()})
        patch.setattr("livespt.stream.wire.event_history.EVENT", dtypes["events"])
        patch.setattr("livespt.stream.wire.event_history.STATE", dtypes["states"])
        yield


def theirs(version: Version, update: Update) -> Update:
    """An update as another version makes it; its own columns count the rows, to 99 and again."""
    tables = {}
    for table in MADE:
        rows, more = getattr(update, table), version.more.get(table)
        tables[table] = fitted(rows, version.dtype(table), {more[0]: 0} if more else {})
        if more and more[0] not in rows.dtype.names:
            tables[table][more[0]] = np.arange(len(rows)) % 100
    return update._replace(**tables)


class Scene(NamedTuple):
    """A movie, and what became of it."""

    folder: Path  # with source.zarr and whole.zarr
    frames: list[Frame]
    start: Start


class Stored:
    """Sink that stores as a version does."""

    def __init__(self, writer: RunWriter, version: Version) -> None:
        self.writer, self.version = writer, version

    def __call__(self, frame: Frame, update: Update) -> None:
        self.writer.add_frame(frame)
        self.writer.commit(frame, theirs(self.version, update))

    def finish(self, update: Update) -> None:
        self.writer.finish(theirs(self.version, update))

    def close(self, stop: Stop) -> None:
        self.writer.close(stop)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder = tmp_path_factory.mktemp("descriptions")
    frames = list(virus_entry(Scenario(5, N, (64, 64), viruses=4, uncoating=2, visitors=3)))
    image = frames[0].image
    facts = Facts("source.zarr", "yx", image.shape, image.dtype.str, 0.1, 0.05)
    chain = compose(facts, Options(), "replay")
    writer = RunWriter(folder / "source.zarr", chain.start)
    for frame in frames:
        writer.add_frame(frame)
        writer.commit(frame, make_update(frame))
    writer.close(Stop("r", "complete"))
    made = Scene(folder, list(open_movie(folder / "source.zarr")), chain.start)
    store(made, folder / "whole.zarr", Version())
    return made


def store(scene: Scene, path: Path, version: Version, cut: int = N) -> Path:
    """The run that a version makes of a scene, cut short after so many frames."""
    facts = Facts(*(getattr(scene.start, name) for name in Facts._fields))
    chain = compose(facts, Options(), "replay")
    with running(version):
        writer = RunWriter(path, scene.start)
        sink = Stored(writer, version)
        writer.status("begun", -1, "by another version")
        if cut == N:
            pipeline.run(scene.frames, chain.analyzer, [sink], scene.start, chain.stages)
        else:
            for frame in scene.frames[:cut]:
                sink(frame, chain.analyzer(frame))
            writer.leave()
    return path


def same(rows: NDArray[np.void], expected: NDArray[np.void], without: tuple[str, ...] = ()) -> None:
    """The columns of `expected` are those of `rows`."""
    assert len(rows) == len(expected)
    for name in expected.dtype.names or ():
        if name not in without:
            floats = rows.dtype[name].kind == "f"
            assert np.array_equal(rows[name], expected[name], equal_nan=floats), name


@pytest.mark.parametrize("name", VERSIONS)
@pytest.mark.parametrize("cut", [N, CUT], ids=["closed", "journal"])
def test_a_run_of_another_version_is_read(
    scene: Scene, name: str, cut: int, tmp_path: Path
) -> None:
    version, whole = VERSIONS[name], open_run(scene.folder / "whole.zarr")
    run = open_run(store(scene, tmp_path / "a.zarr", version, cut))
    assert not list(verify(run.path))
    for table in MADE:
        rows, expected = getattr(run, table), getattr(whole, table)
        received(version, table, rows, expected[: len(rows)], numbered=False)
        if table in version.more:
            assert rows[version.more[table][0]].max() > 0
    assert ("temperature_c" in run.frames.dtype.names) == (name == "more")
    assert run.status["text"].tolist() == ["by another version"]


@pytest.mark.parametrize("name", VERSIONS)
def test_a_run_of_another_version_is_exported_and_drawn(
    scene: Scene, name: str, tmp_path: Path
) -> None:
    path, version = store(scene, tmp_path / "a.zarr", VERSIONS[name]), VERSIONS[name]
    for ending in ("csv", "parquet", "xml", "geff"):
        export_run(path, tmp_path / f"a.{ending}")
    export_run(scene.folder / "whole.zarr", tmp_path / "whole.csv")
    table, whole = pd.read_csv(tmp_path / "a.csv"), pd.read_csv(tmp_path / "whole.csv")
    assert ("radius_um" in table) == ("spots" in version.more)
    assert ("model" in table) == ("states" in version.more)
    fewer = [column for names in version.fewer.values() for column in names]
    shared = [column for column in whole if column not in fewer]
    assert table[shared].equals(whole[shared])
    if "radius_um" in table:
        assert np.array_equal(table["radius_um"], open_run(path).spots["radius_um"])
    drawn, expected = (scene_at(open_run(p), 20) for p in (path, scene.folder / "whole.zarr"))
    assert drawn.heads["track"].tolist() == expected.heads["track"].tolist() != []
    written = io.StringIO()
    listen(str(path), out=written)
    events = [json.loads(line) for line in written.getvalue().splitlines()]
    assert len(events) == len(open_run(path).events)
    assert all(("cause" in event) == ("events" in version.more) for event in events)


@pytest.mark.parametrize("name", VERSIONS)
def test_a_run_of_another_version_is_gone_on_with(scene: Scene, name: str, tmp_path: Path) -> None:
    """It keeps its columns; those that are not known here have their fill from there on."""
    version, path = VERSIONS[name], tmp_path / "a.zarr"
    store(scene, path, version, CUT)
    before, held = read_attributes(path), open_run(path)
    notes: list[str] = []
    resume(path, movie=scene.folder / "source.zarr", say=notes.append)
    run, whole = open_run(path), open_run(scene.folder / "whole.zarr")
    after = read_attributes(path)
    assert after.tables == before.tables and not list(verify(path))
    assert after.stop is not None and after.stop.status == "complete"
    for table in MADE:
        rows, n = getattr(run, table), len(getattr(held, table))
        same(rows, getattr(whole, table), version.fewer.get(table, ()))
        if table in version.more:
            field, _, column = version.more[table]
            assert np.array_equal(rows[field][:n], getattr(held, table)[field])
            filled = np.full(len(rows) - n, column.fill, rows.dtype[field])
            assert np.array_equal(rows[field][n:], filled, equal_nan=filled.dtype.kind == "f")
    if name == "more":
        assert run.frames["temperature_c"].tolist() == [37.5] * N
    told = zarr.open_group(path / "spots", mode="r").attrs["columns"]
    assert ("radius_um" in told) == ("spots" in version.more)


def test_a_column_that_is_called_like_another_table_s_is_left_out(
    scene: Scene, tmp_path: Path
) -> None:
    for name in ("lag", "particle"):
        other = Version({"spots": (name, "<f4", Column("Another.", fill=0))})
        path = store(scene, tmp_path / f"{name}.zarr", other)
        export_run(path, tmp_path / f"{name}.csv")
        export_run(scene.folder / "whole.zarr", tmp_path / "whole.csv", overwrite=True)
        assert (tmp_path / f"{name}.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def edited(path: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    """Change what the table of spots says of its columns."""
    document = json.loads((path / "spots" / "zarr.json").read_text())
    edit(document["attributes"])
    (path / "spots" / "zarr.json").write_text(json.dumps(document))


UNFIT = {
    "no fill": lambda told: told["columns"]["radius_um"].pop("fill"),
    "no number": lambda told: told["columns"]["radius_um"].update(fill="large"),
    "a list": lambda told: told["columns"]["radius_um"].update(fill=[1]),
    "no description": lambda told: told.pop("columns"),
    "descriptions that are none": lambda told: told.update(columns=[1, 2]),
}


@pytest.mark.parametrize("case", UNFIT)
def test_a_column_that_cannot_be_filled_is_not_gone_on_with(
    scene: Scene, case: str, tmp_path: Path
) -> None:
    path = store(scene, tmp_path / "a.zarr", VERSIONS["both"], CUT)
    edited(path, UNFIT[case])
    before = {p: p.read_bytes() for p in path.rglob("*") if p.is_file()}
    with pytest.raises(InputError, match=r"radius_um|does not describe its columns"):
        resume(path, movie=scene.folder / "source.zarr", say=str)
    assert before == {p: p.read_bytes() for p in path.rglob("*") if p.is_file()}
    assert len(open_run(path).spots)


def test_a_column_of_another_type_is_not_gone_on_with(scene: Scene, tmp_path: Path) -> None:
    other = Version({"spots": ("score", "<f8", COLUMNS["spots"]["score"])}, {"spots": ("score",)})
    path = store(scene, tmp_path / "a.zarr", other, CUT)
    assert open_run(path).spots["score"].dtype == "<f8"
    with pytest.raises(InputError, match="spots has a column score"):
        resume(path, movie=scene.folder / "source.zarr", say=str)


def test_a_table_without_what_all_have_is_refused(scene: Scene, tmp_path: Path) -> None:
    path = store(scene, tmp_path / "a.zarr", Version(fewer={"spots": ("track",)}))
    with pytest.raises(InputError, match="spots has no column 'track'"):
        open_run(path)


# the wire


def updates_of(run: RunReader) -> list[Update]:
    """What its analysis made, frame by frame."""
    return [
        Update(
            int(row["number"]), t := int(row["frame"]), 0, 0, float(row["time_s"]), 0,
            run.spots[run.spots["frame"] == t], run.states[run.states["made"] == t],
            run.events[run.events["frame"] + run.events["delay"] == t],
        )
        for row in run.frames
    ]  # fmt: skip


def publish_as(name: str, run: Path) -> None:
    """Publish what a run holds as a version does, a frame for each line that is read."""
    version, updates = VERSIONS[name], updates_of(open_run(run))
    with running(version):
        publisher = Publisher(FREE, START)
        print(publisher.endpoint, flush=True)
        for update in updates:
            sys.stdin.readline()
            publisher(Frame(*update[:5], np.zeros((32, 32), "<u2")), theirs(version, update))
            print(update.t, flush=True)
        publisher.close(Stop(START.run, "complete"))


@pytest.mark.parametrize("name", VERSIONS)
def test_what_another_version_publishes_is_received(scene: Scene, name: str) -> None:
    version, path = VERSIONS[name], scene.folder / "whole.zarr"
    updates = updates_of(open_run(path))
    words, pipe = [sys.executable, __file__, name, str(path)], subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True, env=environment()) as child:
        assert child.stdin is not None and child.stdout is not None
        endpoint = child.stdout.readline().strip()

        def go_on(n: int) -> None:
            assert child.stdin is not None and child.stdout is not None
            for _ in range(n):
                child.stdin.write("\n")
                child.stdin.flush()
                child.stdout.readline()

        go_on(N // 2)
        topics = ("event", "update")
        with Subscriber(endpoint, topics=topics, since=0) as subscriber:
            assert subscriber.joined is not None  # by a snapshot
            received(version, "spots", subscriber.joined.spots, updates[N // 2 - 1].spots)
            go_on(N - N // 2)
            events = list(subscriber.events(20))  # those of before by `since`
            newest = list(subscriber.updates(20))[-1]
            assert subscriber.stop is not None and subscriber.malformed == 0
    received(version, "spots", newest.spots, updates[-1].spots)
    received(version, "states", newest.states, updates[-1].states)
    assert subscriber.refetched > 0
    expected = np.concatenate([update.events for update in updates])
    received(version, "events", np.array(events, events[0].dtype), expected, numbered=False)


def received(
    version: Version,
    table: str,
    rows: NDArray[np.void],
    sent: NDArray[np.void],
    numbered: bool = True,
) -> None:
    """Rows are what a version sent: its own columns last, what it lacks filled."""
    fewer, names = version.fewer.get(table, ()), OURS[table].names or ()
    assert len(rows) and rows.dtype.names is not None and rows.dtype.names[: len(names)] == names
    same(rows, sent, fewer)
    for column in fewer:
        filled = np.full(len(rows), fills(COLUMNS[table])[column], rows.dtype[column])
        assert np.array_equal(rows[column], filled, equal_nan=filled.dtype.kind == "f")
    assert rows.dtype.names[len(names) :] == version.more.get(table, ())[:1]
    if table in version.more and numbered:
        assert rows[version.more[table][0]].tolist() == [i % 100 for i in range(len(rows))]


def test_the_snapshot_and_every_start_describe_the_tables() -> None:
    publisher = Publisher(FREE, START)
    context = zmq.Context()
    sub, ask = context.socket(zmq.SUB), context.socket(zmq.DEALER)
    try:
        sub.connect(publisher.endpoint)
        sub.subscribe(b"start")
        ask.connect(publisher.router_endpoint)
        ask.send_multipart(codec.encode_request(codec.Request("snapshot")))
        for socket in (sub, ask):
            assert socket.poll(10000)
            header = codec.decode(socket.recv_multipart()).header
            assert header["columns"] == {table: described(table) for table in PUBLISHED}
    finally:
        context.destroy(linger=0)
        publisher.close(Stop(START.run, "complete"), 0)


def table_message(rows: NDArray[np.void]) -> codec.Message:
    header = {"run": "r", "epoch": 0, "seq": 0, "head": 0}
    return codec.decode(codec.encode("update", header, {"spots": rows}))


def test_tables_that_no_version_publishes_are_refused() -> None:
    without = np.zeros(2, [field for field in SPOT.descr if field[0] != "track"])
    with pytest.raises(WireError, match="no column 'track'"):
        payloads.table(table_message(without), "spots", SPOT)
    wider = [(name, "<f8" if name == "x" else kind) for name, kind in SPOT.descr]
    with pytest.raises(WireError, match="no table of spots"):
        payloads.table(table_message(np.zeros(2, wider)), "spots", SPOT)
    for plain in (np.zeros(3, "<f4"), np.zeros((2, 2), SPOT)):
        with pytest.raises(WireError, match="no table of spots"):
            payloads.table(table_message(plain), "spots", SPOT)
    mixed = np.zeros(2, [("new", "<f4"), *SPOT.descr[::-1]])
    mixed["x"], mixed["new"] = 3, 7
    rows = payloads.table(table_message(mixed), "spots", SPOT)
    assert rows.dtype.names == (*SPOT.names, "new")
    assert rows["x"].tolist() == [3, 3] and rows["new"].tolist() == [7, 7]


if __name__ == "__main__":
    publish_as(sys.argv[1], Path(sys.argv[2]))
