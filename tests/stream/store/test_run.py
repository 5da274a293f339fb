"""Runs on disk: what was committed is read back exactly, at any moment, whatever was killed."""

from __future__ import annotations

import errno
import hashlib
import inspect
import json
import os
import random
import resource
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray

from livespt.stream.errors import InputError, StoreError
from livespt.stream.store.columns import TableColumns
from livespt.stream.store.movie import MovieWriter
from livespt.stream.store.run import RunReader, RunWriter, create_run, open_run
from livespt.stream.store.table_writer import TableWriter
from livespt.stream.types import EVENT, SPOT, STATE, Frame, Start, Stop, Timings, Update
from livespt.tools.overlay.player import Player

STOP = Stop("r", "complete")
TABLES = ("spots", "states", "events", "frames", "status")


def make_start(**changes: object) -> Start:
    start = Start("r", "replay", "movie.tif", "yx", (8, 12), "<u2", 0.1, 0.05)
    return replace(start, **changes)  # type: ignore[arg-type]


def make_frame(number: int, shape: tuple[int, ...] = (8, 12), dtype: str = "<u2") -> Frame:
    image = ((np.arange(np.prod(shape)) * 7 + number * 13) % 251).reshape(shape).astype(dtype)
    return Frame(number, number, 0, 0, number * 0.05, image, clock=1)


def make_update(number: int) -> Update:
    """Rows that differ for every frame; between none and six of a table."""
    spots = np.zeros(number * 5 % 7, SPOT)
    spots["frame"], spots["track"], spots["x"] = number, np.arange(len(spots)), number / 3
    states = np.zeros(number * 3 % 5, STATE)
    states["frame"], states["p_normal"] = number, number / 7
    events = np.zeros(number % 2, EVENT)
    events["seq"], events["frame"] = number // 2, number
    timings = Timings(1.0, 2.0, number, 4.0)
    tables, degraded = (spots, states, events), number % 3
    return Update(number, number, 0, 0, number * 0.05, 0, *tables, timings, degraded)


def expected(numbers: list[int], table: str) -> NDArray[np.void]:
    parts: list[NDArray[np.void]] = [getattr(make_update(n), table) for n in (0, *numbers)]
    return np.concatenate(parts)[len(parts[0]) :]


def check_tables(run: RunReader, analyzed: list[int]) -> None:
    """The tables hold exactly the updates of these frames, whole."""
    for table in ("spots", "states", "events"):
        assert np.array_equal(getattr(run, table), expected(analyzed, table)), table


def check_frames(run: RunReader) -> None:
    for i in range(run.n_frames):
        frame, true = run.frame(i), make_frame(int(run.log["number"][i]))
        assert np.array_equal(frame.image, true.image)
        assert frame[:5] == true[:5] and frame.clock == true.clock


def write(path: Path, n: int = 20, *, movie: bool = True, skip: tuple[int, ...] = ()) -> None:
    with_writer(RunWriter(path, make_start(), movie=movie), n, skip).close(STOP)


def with_writer(writer: RunWriter, n: int, skip: tuple[int, ...] = ()) -> RunWriter:
    for i in range(n):
        writer.add_frame(make_frame(i))
        if i not in skip:
            writer.commit(make_frame(i), make_update(i))
    return writer


def hashes(run: Path, *tables: str) -> dict[str, str]:
    return {
        str(file.relative_to(run)): hashlib.sha256(file.read_bytes()).hexdigest()
        for table in tables
        for file in sorted((run / table).rglob("*"))
        if file.is_file()
    }


# A closed run


def test_a_closed_run_reads_back_through_plain_zarr(tmp_path: Path) -> None:
    write(tmp_path / "a.zarr", skip=(3, 4))
    analyzed = [i for i in range(20) if i not in (3, 4)]
    run = open_run(tmp_path / "a.zarr")
    check_tables(run, analyzed)
    check_frames(run)
    assert run.n_frames == 20 and run.stop is not None and not (run.path / "journal").exists()
    group = zarr.open_group(run.path, mode="r")
    assert sorted(name for name, _ in group.members()) == sorted((*TABLES, "movie"))
    for table in TABLES:
        rows = getattr(run, table)
        assert sorted(name for name, _ in group[table].members()) == sorted(rows.dtype.names)
        for field in rows.dtype.names:
            column = zarr.open(run.path, mode="r")[f"{table}/{field}"][:]
            assert np.array_equal(column, rows[field], equal_nan=rows.dtype[field].kind == "f")
    assert np.array_equal(group["movie/0"][7], make_frame(7).image)
    assert group["movie/0"].shape == (20, 8, 12)
    assert group.attrs["livespt"]["stop"]["status"] == "complete"


def test_a_run_from_before_a_column_was_added_reads_as_if_it_had_it(tmp_path: Path) -> None:
    write(tmp_path / "a.zarr", n=5)
    assert open_run(tmp_path / "a.zarr").frames["degraded"].tolist() == [0, 1, 2, 0, 1]
    shutil.rmtree(tmp_path / "a.zarr" / "frames" / "degraded")
    attributes = tmp_path / "a.zarr" / "zarr.json"
    words = json.loads(attributes.read_text())
    words["attributes"]["livespt"]["format"] = 2  # an older livespt, which knew no sums
    del words["attributes"]["livespt"]["crc"]
    fields = words["attributes"]["livespt"]["tables"]["frames"]
    fields[:] = [field for field in fields if field[0] != "degraded"]
    attributes.write_text(json.dumps(words))
    frames = open_run(tmp_path / "a.zarr").frames
    assert frames["lost"].tolist() == [0] * 5 and frames["degraded"].tolist() == [0] * 5
    assert Player(open_run(tmp_path / "a.zarr")).scene.degraded == 0


def test_frames_has_a_row_for_every_stored_frame(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "a.zarr", make_start())
    for number in (0, 1, 2, 5, 6, 7):  # 3 and 4 were lost
        writer.add_frame(make_frame(number))
        if number not in (1, 7):
            writer.commit(make_frame(number), make_update(number))
    writer.close(STOP)
    rows = open_run(tmp_path / "a.zarr").frames
    assert rows["number"].tolist() == [0, 1, 2, 5, 6, 7]
    assert rows["lost"].tolist() == [0, 0, 0, 2, 0, 0]
    assert rows["analyzed"].tolist() == [1, 0, 1, 1, 1, 0]
    assert rows["spots"].tolist() == [0, 0, 3, 4, 2, 0]
    assert rows["clock"].tolist() == [1] * 6
    assert rows["analyze_ms"].tolist() == [0, 0, 2, 5, 6, 0]
    assert np.isnan(rows["latency_ms"]).tolist() == [False, True, False, False, False, True]
    np.testing.assert_allclose(rows["time_s"], rows["number"] * 0.05)


def test_start_and_stop_read_back_equal(tmp_path: Path) -> None:
    start = make_start(
        settings={"memory": np.int64(3), "path": Path("a/b"), "none": None, "range": 4.5},
        models={"localize": {"name": "x", "sha256": "é"}},
        camera={"offset": np.float32(100.0), "known": True},
    )
    writer = with_writer(RunWriter(tmp_path / "a.zarr", start), 3)
    written = writer.close(Stop("r", "aborted", "user", frames=99, lost=4))
    run = open_run(tmp_path / "a.zarr")
    assert run.stop == written == Stop("r", "aborted", "user", 3, 3, 0, 8, 4, 1)
    plain = {"memory": 3, "path": "a/b", "none": None, "range": 4.5}
    assert run.start == replace(start, settings=plain, camera={"offset": 100.0, "known": True})


def test_the_last_rows_belong_to_no_frame(tmp_path: Path) -> None:
    writer = with_writer(RunWriter(tmp_path / "a.zarr", make_start()), 4)
    writer.finish(make_update(4))
    check_tables(open_run(tmp_path / "a.zarr"), [0, 1, 2, 3, 4])
    writer.close(STOP)
    run = open_run(tmp_path / "a.zarr")
    check_tables(run, [0, 1, 2, 3, 4])
    assert len(run.frames) == run.n_frames == 4


@pytest.mark.parametrize(
    ("axes", "shape", "dtype"),
    [
        ("yx", (8, 12), "uint8"),
        ("yx", (8, 12), "<u2"),
        ("yx", (1, 1), "<f4"),
        ("zyx", (3, 8, 12), "uint16"),
    ],
)
def test_the_movie_is_ome_zarr(
    axes: str, shape: tuple[int, ...], dtype: str, tmp_path: Path
) -> None:
    import yaozarrs
    from ome_zarr_models.v05.image import Image

    path = tmp_path / "a.zarr"
    start = make_start(axes=axes, shape=shape, dtype=dtype, z_step_um=0.3)
    writer = RunWriter(path, start)
    for i in range(3):
        writer.add_frame(make_frame(i, shape, dtype))
    writer.close(STOP)
    yaozarrs.validate_zarr_store(str(path / "movie"))
    image = Image.from_zarr(zarr.open_group(path / "movie", mode="r"))
    (scales,) = image.ome_attributes.multiscales
    assert [axis.name for axis in scales.axes] == ["t", *axes]
    assert [axis.unit for axis in scales.axes] == ["second"] + ["micrometer"] * len(axes)
    scale = scales.datasets[0].coordinateTransformations[0].scale
    assert list(scale) == [0.05, *([0.3] if "z" in axes else []), 0.1, 0.1]
    run = open_run(path)
    for i in range(3):
        image = run.frame(i).image
        assert image.dtype == np.dtype(dtype) and image.flags.c_contiguous
        assert np.array_equal(image, make_frame(i, shape, dtype).image)


def test_unknown_scales_have_no_unit(tmp_path: Path) -> None:
    import yaozarrs

    path = tmp_path / "a.zarr"
    RunWriter(path, make_start(pixel_size_um=None, frame_interval_s=None)).close(STOP)
    yaozarrs.validate_zarr_store(str(path / "movie"))
    (scales,) = zarr.open_group(path / "movie", mode="r").attrs["ome"]["multiscales"]
    assert scales["axes"][0] == {"name": "t", "type": "time"}


def test_a_run_without_its_movie(tmp_path: Path) -> None:
    write(tmp_path / "a.zarr", movie=False, skip=(0, 7))
    write(tmp_path / "b.zarr", skip=(0, 7))
    run, full = open_run(tmp_path / "a.zarr"), open_run(tmp_path / "b.zarr")
    assert not run.has_movie and run.n_frames == 0 and full.has_movie
    for table in TABLES:
        names = getattr(run, table).dtype.names
        for name in names:
            a, b = getattr(run, table)[name], getattr(full, table)[name]
            assert np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    with pytest.raises(InputError, match="without its movie"):
        run.frame(0)


def test_black_frames_and_zero_columns_are_stored(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    writer = RunWriter(path, make_start())
    frame = make_frame(0)._replace(image=np.zeros((8, 12), "<u2"))
    writer.add_frame(frame)
    spots = np.zeros(2, SPOT)
    writer.commit(frame, make_update(0)._replace(spots=spots))
    writer.close(STOP)
    assert (path / "spots/z/c/0").exists()
    assert not open_run(path).frame(0).image.any()


def test_what_frames_come_as_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    writer = RunWriter(path, make_start())
    wide = np.repeat(make_frame(0).image, 2, axis=1).astype(">u2")
    writer.add_frame(make_frame(0)._replace(image=wide[:, ::2]))
    writer.close(STOP)
    assert np.array_equal(open_run(path).frame(0).image, make_frame(0).image)


def test_equal_runs_are_equal_bytes_whenever_columns_are_written(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.zarr" for i in range(2)]
    for path, segment_bytes in zip(paths, (10000, 1 << 20), strict=True):
        create_run(path, make_start(), movie=False, chunk_rows=32)
        tables = TableWriter(path, segment_bytes=segment_bytes)
        for i in range(60):
            tables.commit(make_frame(i), make_update(i))
        tables.close(STOP)
        check_tables(open_run(path), list(range(60)))
    first, second = (hashes(p, *TABLES) for p in paths)
    assert first == second and len(first) > 200


# While it is written


def test_a_reader_sees_every_commit_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    create_run(path, make_start(), chunk_rows=32)
    follower = open_run(path)
    movie, tables = MovieWriter(path, make_start()), TableWriter(path, segment_bytes=10000)
    for i in range(120):
        movie.add_frame(make_frame(i))
        tables.commit(make_frame(i), make_update(i))
        if i % 10 == 0:
            tables.status("test", i, f"ü {i}")
        if i % 30 == 4:
            follower.refresh()
            for run in (follower, open_run(path)):
                check_tables(run, list(range(i + 1)))
                assert run.n_frames == len(run.frames) == i + 1
                assert run.stop is None
    held = follower.spots.copy()
    movie.close()
    tables.close(STOP)
    assert np.array_equal(held, follower.spots)  # as of the last refresh
    follower.refresh()
    for run in (follower, open_run(path)):
        check_tables(run, list(range(120)))
        check_frames(run)
        assert run.stop is not None
        assert run.status["text"].tolist() == [f"ü {i}" for i in range(0, 120, 10)]
        assert run.status["seq"].tolist() == list(range(12))


def test_other_programs_can_list_a_run_while_it_is_written(tmp_path: Path) -> None:
    with_writer(RunWriter(tmp_path / "a.zarr", make_start()), 5)
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    assert sorted(n for n, _ in group.members()) == sorted((*TABLES, "movie", "journal"))
    assert dict(group["movie"].members()).keys() == {"0"}


def live(path: Path) -> tuple[MovieWriter, TableWriter]:
    create_run(path, make_start())
    return MovieWriter(path, make_start()), TableWriter(path)


def test_tables_wait_for_the_recorder(tmp_path: Path) -> None:
    movie, tables = live(tmp_path / "a.zarr")
    for i in range(3):
        tables.commit(make_frame(i), make_update(i))
    run = open_run(tmp_path / "a.zarr")
    assert len(run.spots) == len(run.frames) == 0
    movie.add_frame(make_frame(0))
    movie.add_frame(make_frame(1))
    tables.commit(make_frame(3), make_update(3))
    run.refresh()
    check_tables(run, [0, 1])
    assert len(run.frames) == 2
    movie.add_frame(make_frame(2))
    movie.add_frame(make_frame(3))
    movie.close()
    tables.close(STOP)
    run.refresh()
    check_tables(run, [0, 1, 2, 3])
    assert run.frames["analyzed"].tolist() == [1] * 4 and len(run.status) == 0


def test_frames_the_analyzer_skipped_have_rows(tmp_path: Path) -> None:
    movie, tables = live(tmp_path / "a.zarr")
    for i in range(12):
        movie.add_frame(make_frame(i))
        if i % 4 == 2:
            tables.commit(make_frame(i), make_update(i))
    movie.close()
    stop = tables.close(STOP)
    run = open_run(tmp_path / "a.zarr")
    assert run.frames["number"].tolist() == list(range(12))
    assert np.flatnonzero(run.frames["analyzed"]).tolist() == [2, 6, 10]
    assert (stop.frames, stop.analyzed) == (12, 3)
    check_tables(run, [2, 6, 10])


@pytest.mark.parametrize(
    ("stored", "analyzed", "lost"),
    [
        (range(6), range(6), 0),
        (range(6), (2, 3), 4),  # skipped at the very start and the very end
        ((3, 4, 7), (3, 7), 6),  # missing at the start and between; 4 skipped
        (range(6), (), 6),
        ((), (), 0),
        ((0, 1, 4, 5), (0, 2, 4), 3),  # 2 analyzed but not stored
        ((0, 1), (0, 1, 4), 2),  # the recorder died
    ],
)
@pytest.mark.parametrize("one_process", [False, True])
def test_the_last_word_counts_every_exposure_not_analyzed(
    stored: Iterable[int], analyzed: Iterable[int], lost: int, one_process: bool, tmp_path: Path
) -> None:
    path = tmp_path / "a.zarr"
    whole = set(analyzed) <= set(stored)
    create_run(path, make_start(), movie=not one_process)
    movie = None if one_process else MovieWriter(path, make_start())
    tables = TableWriter(path)
    for i in range(8):
        if i in stored:
            add = tables.note_frame if movie is None else movie.add_frame
            add(make_frame(i))
        if i in analyzed:
            tables.commit(make_frame(i), make_update(i))
    if movie is not None:
        movie.close()
    stop, frames = tables.close(replace(STOP, lost=99)), open_run(path).frames
    assert open_run(path).stop == stop
    assert (stop.analyzed, stop.lost) == (len(tuple(analyzed)), lost)
    if whole:
        assert stop.lost == frames["lost"].sum() + (frames["analyzed"] == 0).sum()


def test_updates_of_frames_the_recorder_lost_are_kept_with_a_notice(tmp_path: Path) -> None:
    movie, tables = live(tmp_path / "a.zarr")
    for i in range(10):
        if i not in (4, 5):
            movie.add_frame(make_frame(i))
        tables.commit(make_frame(i), make_update(i))
    movie.close()
    tables.close(STOP)
    run = open_run(tmp_path / "a.zarr")
    check_tables(run, list(range(10)))
    assert run.frames["number"].tolist() == [0, 1, 2, 3, 6, 7, 8, 9]
    assert run.frames["lost"].tolist() == [0, 0, 0, 0, 2, 0, 0, 0]
    assert run.status[["kind", "frame"]].tolist() == [("unrecorded", 4)]


def test_a_recorder_that_is_far_behind_does_not_stop_the_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("livespt.stream.store.table_writer.MAX_PENDING", 5)
    movie, tables = live(tmp_path / "a.zarr")
    for i in range(8):
        tables.commit(make_frame(i), make_update(i))
    run = open_run(tmp_path / "a.zarr")
    check_tables(run, [0, 1, 2])
    for i in range(8):
        movie.add_frame(make_frame(i))
    movie.close()
    tables.close(STOP)
    run.refresh()
    check_tables(run, list(range(8)))
    assert run.frames["number"].tolist() == list(range(8))
    assert run.frames["analyzed"].tolist() == [1] * 8
    assert run.frames["spots"].tolist() == [len(make_update(i).spots) for i in range(8)]


def test_what_waits_for_a_dead_recorder_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("livespt.stream.store.table_writer.MAX_PENDING", 5)
    monkeypatch.setattr("livespt.stream.store.frame_ledger.MAX_EARLY", 20)
    movie, tables = live(tmp_path / "a.zarr")
    movie.add_frame(make_frame(0))
    for i in range(60):
        tables.commit(make_frame(i), make_update(i))
        assert len(tables._pending) <= 5 and len(tables._roll.early) <= 20
    for i in (44, 55):  # it lives after all
        movie.add_frame(make_frame(i))
    movie.close()
    tables.close(STOP)
    run = open_run(tmp_path / "a.zarr")
    check_tables(run, list(range(60)))
    assert run.frames["number"].tolist() == [0, 44, 55] and run.frames["analyzed"].all()
    assert run.frames["spots"].tolist() == [len(make_update(i).spots) for i in (0, 44, 55)]
    assert run.status["frame"].tolist() == [1, 56]
    assert not tables._roll.early.keys() & set(range(56))


def test_a_recorder_that_died_does_not_hold_the_end(tmp_path: Path) -> None:
    movie, tables = live(tmp_path / "a.zarr")
    movie.add_frame(make_frame(0))
    for i in range(3):
        tables.commit(make_frame(i), make_update(i))
    tables.close(STOP, wait_s=0.05)
    run = open_run(tmp_path / "a.zarr")
    check_tables(run, [0, 1, 2])
    assert run.frames["number"].tolist() == [0]
    assert run.status["kind"].tolist() == ["recorder", "unrecorded"]


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    live(tmp_path / "a.zarr")
    with pytest.raises(StoreError, match="another process"):
        TableWriter(tmp_path / "a.zarr")
    with pytest.raises(StoreError, match="another process"):
        MovieWriter(tmp_path / "a.zarr", make_start())


# What is refused


def bad_path(tmp_path: Path, case: str) -> Path:
    if case == "exists":
        (tmp_path / "a.zarr").mkdir()
    elif case == "file":
        (tmp_path / "a.zarr").write_text("")
    elif case == "no parent":
        return tmp_path / "b" / "a.zarr"
    elif case == "parent is a file":
        (tmp_path / "b").write_text("")
        return tmp_path / "b" / "a.zarr"
    return tmp_path / "a.zarr"


@pytest.mark.parametrize(
    ("case", "says"),
    [
        ("exists", "exists already: choose another --out"),
        ("file", "exists already: choose another --out"),
        ("no parent", "does not exist: create it"),
        ("parent is a file", "does not exist: create it"),
    ],
)
def test_a_run_is_not_created(case: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=says):
        RunWriter(bad_path(tmp_path, case), make_start())


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere"
)
def test_a_run_is_not_created_where_writing_is_forbidden(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StoreError, match="no permission"):
            RunWriter(tmp_path / "a.zarr", make_start())
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (np.zeros((8, 13), "<u2"), r"frame 0 is uint16 \(8, 13\) but this run's frames are"),
        (np.zeros((8, 12), "<f4"), "frame 0 is float32"),
        (np.zeros((1, 8, 12), "<u2"), "frame 0 is uint16"),
    ],
)
def test_a_frame_unlike_the_others_is_refused(
    image: NDArray[np.generic], says: str, tmp_path: Path
) -> None:
    writer = RunWriter(tmp_path / "a.zarr", make_start())
    with pytest.raises(StoreError, match=says):
        writer.add_frame(make_frame(0)._replace(image=image))
    with_writer(writer, 2).close(STOP)
    assert open_run(tmp_path / "a.zarr").n_frames == 2


def test_frames_out_of_order_are_refused(tmp_path: Path) -> None:
    writer = with_writer(RunWriter(tmp_path / "a.zarr", make_start()), 3)
    with pytest.raises(StoreError, match="out of order"):
        writer.add_frame(make_frame(2))
    with pytest.raises(StoreError, match="must be added"):
        writer.commit(make_frame(3), make_update(3))


def edit(path: Path, **changes: object) -> None:
    document = json.loads((path / "zarr.json").read_text())
    words = document["attributes"]["livespt"]
    words.update({"format": 2} | changes)
    del words["crc"]  # as an older livespt wrote it
    (path / "zarr.json").write_text(json.dumps(document))


def not_a_run(tmp_path: Path, case: str) -> Path:
    path = tmp_path / "a.zarr"
    if case == "empty folder":
        path.mkdir()
    elif case == "file":
        path.write_bytes(b"II*\0")
    elif case == "other zarr":
        zarr.create_group(path, attributes={"ome": {}})
    elif case != "missing":
        write(path, 2)
    if case == "garbage":
        (path / "zarr.json").write_bytes(b"\xff\0{")
    elif case == "list":
        (path / "zarr.json").write_text("[]")
    elif case == "newer":
        edit(path, format=99)
    elif case == "start":
        edit(path, start={"run": 3})
    elif case == "tables":
        edit(path, tables={"spots": [["x", "<q9"]]})
    return path


@pytest.mark.parametrize(
    ("case", "says"),
    [
        ("missing", "does not exist"),
        ("empty folder", "not a run of livespt"),
        ("file", "not a run of livespt"),
        ("other zarr", "not a run of livespt"),
        ("garbage", "not a run of livespt"),
        ("list", "not a run of livespt"),
        ("start", "not a run of livespt"),
        ("tables", "not a run of livespt"),
        ("newer", "format 99, this livespt reads up to"),
    ],
)
def test_what_is_not_a_run_is_refused(case: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=says) as raised:
        open_run(not_a_run(tmp_path, case))
    assert "\n" not in str(raised.value)


# What breaks


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 16
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


@pytest.mark.parametrize("damage", [flip, cut, Path.unlink])
def test_a_damaged_column_is_named(damage: Callable[[Path], None], tmp_path: Path) -> None:
    write(tmp_path / "a.zarr", 6)
    damage(tmp_path / "a.zarr/spots/intensity/c/0")
    with pytest.raises(InputError, match="spots/intensity cannot be read"):
        open_run(tmp_path / "a.zarr").spots  # noqa: B018
    assert len(open_run(tmp_path / "a.zarr").states) == len(expected(list(range(6)), "states"))


@given(keep=st.integers(0, 64 * 6))
@settings(max_examples=30, deadline=None)
def test_a_torn_commit_log_holds_the_whole_records(
    keep: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "torn.zarr"
    log = path / "movie/0/commit.log"
    if not path.exists():
        write(path, 6)
        log.with_name("whole").write_bytes(log.read_bytes())
    log.write_bytes(log.with_name("whole").read_bytes()[:keep])
    assert open_run(path).n_frames == min(keep // 64, 6)


@given(place=st.integers(0, 64 * 6 - 1), bit=st.integers(0, 7))
@settings(max_examples=30, deadline=None)
def test_a_flipped_bit_ends_the_commit_log(
    place: int, bit: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "flipped.zarr"
    log = path / "movie/0/commit.log"
    if not path.exists():
        write(path, 6)
        log.with_name("whole").write_bytes(log.read_bytes())
    data = bytearray(log.with_name("whole").read_bytes())
    data[place] ^= 1 << bit
    log.write_bytes(data)
    assert open_run(path).n_frames == place // 64


@pytest.fixture
def small_files() -> Iterator[Callable[[int], None]]:
    """Limits the size of files: writes beyond it are cut short and fail, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_keeps_what_was_committed(
    tmp_path: Path, small_files: Callable[[int], None]
) -> None:
    path = tmp_path / "a.zarr"
    writer = with_writer(RunWriter(path, make_start()), 20)
    small_files(20)
    with pytest.raises(StoreError, match="storing frame 20 failed"):
        writer.add_frame(make_frame(20))
    small_files(1 << 30)
    check_tables(open_run(path), list(range(20)))
    assert open_run(path).n_frames == 20
    writer.add_frame(make_frame(20))
    small_files(100)
    for _ in range(2):
        with pytest.raises(StoreError, match="failed"):
            writer.commit(make_frame(20), make_update(20))
    check_tables(open_run(path), list(range(20)))
    small_files(1 << 30)
    writer.close(STOP)  # space is back: the update that waited is stored
    run = open_run(path)
    check_frames(run)
    check_tables(run, list(range(21)))
    assert run.n_frames == 21 and len(list(path.rglob("*.partial"))) == 0


@pytest.mark.parametrize(
    ("movie", "repeat"),
    [
        (False, True),
        (True, False),
        pytest.param(False, False, marks=pytest.mark.slow),
        pytest.param(True, True, marks=pytest.mark.slow),
    ],
)
def test_a_column_that_cannot_be_written_repeats_and_loses_nothing(
    movie: bool, repeat: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, failed = tmp_path / "a.zarr", []
    write_column = TableColumns._write

    def full_once(self: TableColumns, field: str, values: NDArray[np.generic]) -> list[Path]:
        if not failed:
            failed.append(field)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write_column(self, field, values)

    monkeypatch.setattr(TableColumns, "_write", full_once)
    create_run(path, make_start(), movie=movie, chunk_rows=32)
    recorder = MovieWriter(path, make_start()) if movie else None
    tables, errors = TableWriter(path, segment_bytes=4000), 0
    for i in range(60):
        if recorder is not None:
            recorder.add_frame(make_frame(i))
        try:
            tables.commit(make_frame(i), make_update(i))
        except StoreError as error:
            assert "disk is full" in str(error)
            check_tables(open_run(path), list(range(i + 1)))
            errors += 1
            if repeat:
                tables.commit(make_frame(i), make_update(i))
    assert errors == len(failed) == 1
    tables.finish(make_update(60))
    if recorder is not None:
        recorder.close()
    stop, run = tables.close(STOP), open_run(path)
    check_tables(run, list(range(61)))
    assert run.frames["number"].tolist() == list(range(60)) and run.frames["analyzed"].all()
    assert (stop.frames, stop.analyzed, stop.lost) == (60, 60, 0)


def test_a_column_that_fails_last_is_written_by_close(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, write_column = tmp_path / "a.zarr", TableColumns._write

    def full(self: TableColumns, field: str, values: NDArray[np.generic]) -> list[Path]:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    create_run(path, make_start(), movie=False, chunk_rows=32)
    tables, n = TableWriter(path, segment_bytes=4000), 0
    monkeypatch.setattr(TableColumns, "_write", full)
    with pytest.raises(StoreError, match=r"writing columns .* disk is full"):
        for n in range(60):
            tables.commit(make_frame(n), make_update(n))
    monkeypatch.setattr(TableColumns, "_write", write_column)
    tables.close(replace(STOP, status="failed"))
    check_tables(open_run(path), list(range(n + 1)))


def test_a_movie_that_cannot_be_closed_leaves_the_tables_their_last_word(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    writer = with_writer(RunWriter(path, make_start()), 3)
    (path / "movie/0/zarr.json").rename(path / "moved")  # so that it cannot be trimmed
    with pytest.raises(StoreError, match="closing the movie failed"):
        writer.close(STOP)
    (path / "moved").rename(path / "movie/0/zarr.json")
    run = open_run(path)
    check_tables(run, [0, 1, 2])
    check_frames(run)
    assert run.stop is not None and run.stop.status == "failed"
    assert "closing the movie failed" in run.stop.reason and run.stop.frames == 3
    assert not (path / "journal").exists()


def test_a_run_that_cannot_be_closed_stays_readable(
    tmp_path: Path, small_files: Callable[[int], None]
) -> None:
    path = tmp_path / "a.zarr"
    writer = with_writer(RunWriter(path, make_start(), movie=False), 20)
    small_files(50)
    with pytest.raises(StoreError, match="failed"):
        writer.close(STOP)
    small_files(1 << 30)
    run = open_run(path)
    assert run.stop is None
    check_tables(run, list(range(20)))


# kill -9

CHILD = """
import sys
import numpy as np
from pathlib import Path
from livespt.stream.store.run import MovieWriter, TableWriter, create_run
from livespt.stream.types import *
path = Path(sys.argv[1])
start = Start("r", "replay", "movie.tif", "yx", (8, 12), "<u2", 0.1, 0.05)
create_run(path, start, chunk_rows=32)
movie, tables = MovieWriter(path, start), TableWriter(path, segment_bytes=4000)
print("ready", flush=True)
for i in range(100000):
    movie.add_frame(make_frame(i))
    print(f"f{i}", flush=True)
    tables.commit(make_frame(i), make_update(i))
    print(f"c{i}", flush=True)
"""


def kill_once(path: Path, after_s: float) -> tuple[int, int]:
    """Write a run in another process, look at it meanwhile, kill; returns frames, commits acked."""
    source = "from __future__ import annotations\n" + CHILD.replace(
        "create_run(path",
        inspect.getsource(make_frame) + inspect.getsource(make_update) + "create_run(path",
        1,
    )
    child = subprocess.Popen([sys.executable, "-c", source, path], stdout=subprocess.PIPE)
    assert child.stdout is not None
    try:
        assert child.stdout.readline() == b"ready\n"
        run, seen, end, text = open_run(path), 0, time.monotonic() + after_s, b""
        while time.monotonic() < end or b"\nc" not in text:
            if select.select([child.stdout], [], [], 0.002)[0]:
                text += os.read(child.stdout.fileno(), 1 << 16)
            run.refresh()
            assert seen <= len(run.frames) <= run.n_frames
            if run.n_frames:  # the newest frame is whole as soon as it is there
                newest = run.n_frames - 1
                assert np.array_equal(run.frame(newest).image, make_frame(newest).image)
            seen = len(run.frames)
            check_tables(run, list(range(seen)))
    finally:
        child.kill()
    text += child.stdout.read()
    child.stdout.close()
    assert child.wait() == -9, "the writer failed by itself"
    acked = text.split(b"\n")[:-1]
    frames = sum(line.startswith(b"f") for line in acked)
    return frames, len(acked) - frames


def check_kills(tmp_path: Path, kills: int, seed: int) -> None:
    rng, total = random.Random(seed), 0
    for k in range(kills):
        shutil.rmtree(tmp_path / f"{k - 10}.zarr", ignore_errors=True)
        path = tmp_path / f"{k}.zarr"
        frames, commits = kill_once(path, rng.uniform(0.0, 0.6))
        run = open_run(path)
        assert frames <= run.n_frames <= frames + 1
        assert commits <= len(run.frames) <= commits + 1
        check_tables(run, list(range(len(run.frames))))
        check_frames(run)
        assert run.stop is None
        total += commits
    assert total > 0


def test_a_killed_writer_loses_nothing_it_acknowledged(tmp_path: Path) -> None:
    check_kills(tmp_path, 2, seed=1)


@pytest.mark.slow
def test_a_hundred_killed_writers_lose_nothing(tmp_path: Path) -> None:
    check_kills(tmp_path, 100, seed=2)


# Cost


@pytest.mark.slow
def test_a_commit_costs_the_same_at_any_length(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "a.zarr", make_start(), movie=False)
    cost = []
    for i in range(3000):
        frame, update = make_frame(i), make_update(i)
        begin = time.process_time()
        writer.add_frame(frame)
        writer.commit(frame, update)
        cost.append(time.process_time() - begin)
    writer.close(STOP)
    assert np.median(cost[-500:]) < 2 * np.median(cost[10:510])


@pytest.mark.slow
def test_a_frame_costs_the_same_at_any_length(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "a.zarr", make_start())
    cost = []
    for i in range(6000):
        frame, update = make_frame(i), make_update(i)
        begin = time.process_time()
        writer.add_frame(frame)
        writer.commit(frame, update)
        cost.append(time.process_time() - begin)
    writer.close(STOP)
    assert np.median(cost[-500:]) < 1.5 * np.median(cost[10:510])
