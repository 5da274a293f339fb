"""Runs that are being written: readers see whole commits, tables wait for the recorder."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr

from build import make_frame, make_start, varied_update
from livespt.stream.errors import StoreError
from livespt.stream.store.movie import MovieWriter
from livespt.stream.store.run import RunWriter, create_run, open_run
from livespt.stream.store.table_writer import TableWriter
from stored_runs import STOP, TABLES, check_frames, check_tables, with_writer

# While it is written


def test_a_reader_sees_every_commit_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    create_run(path, make_start(), chunk_rows=32)
    follower = open_run(path)
    movie, tables = MovieWriter(path, make_start()), TableWriter(path, segment_bytes=10000)
    for i in range(120):
        movie.add_frame(make_frame(i))
        tables.commit(make_frame(i), varied_update(i))
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
        tables.commit(make_frame(i), varied_update(i))
    run = open_run(tmp_path / "a.zarr")
    assert len(run.spots) == len(run.frames) == 0
    movie.add_frame(make_frame(0))
    movie.add_frame(make_frame(1))
    tables.commit(make_frame(3), varied_update(3))
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
            tables.commit(make_frame(i), varied_update(i))
    movie.close()
    stop = tables.close(STOP)
    run = open_run(tmp_path / "a.zarr")
    assert run.frames["number"].tolist() == list(range(12))
    assert np.flatnonzero(run.frames["analyzed"]).tolist() == [2, 6, 10]
    assert (stop.recorded, stop.analyzed) == (12, 3)
    check_tables(run, [2, 6, 10])


@pytest.mark.parametrize(
    ("stored", "analyzed", "skipped", "lost"),
    [
        (range(6), range(6), 0, 0),
        (range(6), (2, 3), 4, 0),  # at the very start and the very end
        ((3, 4, 7), (3, 7), 1, 5),  # missing at the start and between; 4 skipped
        (range(6), (), 6, 0),
        ((), (), 0, 0),
        ((0, 1, 4, 5), (0, 2, 4), 2, 2),  # 2 analyzed but not stored
        ((0, 1), (0, 1, 4), 0, 3),  # the recorder died
    ],
)
@pytest.mark.parametrize("one_process", [False, True])
def test_the_last_word_counts_what_became_of_every_exposure(
    stored: Iterable[int],
    analyzed: Iterable[int],
    skipped: int,
    lost: int,
    one_process: bool,
    tmp_path: Path,
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
            tables.commit(make_frame(i), varied_update(i))
    if movie is not None:
        movie.close()
    stop, frames = tables.close(replace(STOP, lost=99)), open_run(path).frames
    assert open_run(path).stop == stop
    # without a movie, a frame is recorded when it is analyzed
    recorded = {*stored, *(analyzed if one_process else ())}
    assert (stop.recorded, stop.analyzed) == (len(recorded), len(tuple(analyzed)))
    assert (stop.skipped, stop.lost) == (skipped, lost + len(tuple(stored)) - len(recorded))
    if whole:
        assert stop.lost == frames["lost"].sum() and skipped == (frames["analyzed"] == 0).sum()


def test_updates_of_frames_the_recorder_lost_are_kept_with_a_notice(tmp_path: Path) -> None:
    movie, tables = live(tmp_path / "a.zarr")
    for i in range(10):
        if i not in (4, 5):
            movie.add_frame(make_frame(i))
        tables.commit(make_frame(i), varied_update(i))
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
        tables.commit(make_frame(i), varied_update(i))
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
    assert run.frames["spots"].tolist() == [len(varied_update(i).spots) for i in range(8)]


def test_what_waits_for_a_dead_recorder_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("livespt.stream.store.table_writer.MAX_PENDING", 5)
    monkeypatch.setattr("livespt.stream.store.frame_ledger.MAX_EARLY", 20)
    movie, tables = live(tmp_path / "a.zarr")
    movie.add_frame(make_frame(0))
    for i in range(60):
        tables.commit(make_frame(i), varied_update(i))
        assert len(tables._pending) <= 5 and len(tables._roll.early) <= 20
    for i in (44, 55):  # it lives after all
        movie.add_frame(make_frame(i))
    movie.close()
    tables.close(STOP)
    run = open_run(tmp_path / "a.zarr")
    check_tables(run, list(range(60)))
    assert run.frames["number"].tolist() == [0, 44, 55] and run.frames["analyzed"].all()
    assert run.frames["spots"].tolist() == [len(varied_update(i).spots) for i in (0, 44, 55)]
    assert run.status["frame"].tolist() == [1, 56]
    assert not tables._roll.early.keys() & set(range(56))


def test_a_recorder_that_died_does_not_hold_the_end(tmp_path: Path) -> None:
    movie, tables = live(tmp_path / "a.zarr")
    movie.add_frame(make_frame(0))
    for i in range(3):
        tables.commit(make_frame(i), varied_update(i))
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
