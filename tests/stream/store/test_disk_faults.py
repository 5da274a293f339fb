"""Damaged files and disks that take nothing more: what was committed stays readable."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray

from build import make_frame, make_start, varied_update
from livespt.stream.errors import InputError, StoreError
from livespt.stream.store.columns import TableColumns
from livespt.stream.store.movie import MovieWriter
from livespt.stream.store.run import RunWriter, create_run, open_run
from livespt.stream.store.table_writer import TableWriter
from stored_runs import STOP, check_frames, check_tables, expected, with_writer, write

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
            writer.commit(make_frame(20), varied_update(20))
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
            tables.commit(make_frame(i), varied_update(i))
        except StoreError as error:
            assert "disk is full" in str(error)
            check_tables(open_run(path), list(range(i + 1)))
            errors += 1
            if repeat:
                tables.commit(make_frame(i), varied_update(i))
    assert errors == len(failed) == 1
    tables.finish(varied_update(60))
    if recorder is not None:
        recorder.close()
    stop, run = tables.close(STOP), open_run(path)
    check_tables(run, list(range(61)))
    assert run.frames["number"].tolist() == list(range(60)) and run.frames["analyzed"].all()
    assert (stop.recorded, stop.analyzed, stop.lost) == (60, 60, 0)


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
            tables.commit(make_frame(n), varied_update(n))
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
    assert "closing the movie failed" in run.stop.reason and run.stop.recorded == 3
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
