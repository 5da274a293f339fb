"""A new run in the place of an old one: exchanged at the end, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from build import make_start
from livespt.stream.errors import StoreError
from livespt.stream.store.run import RunWriter, open_run
from livespt.tools.runs.overwrite import replacing
from stored_runs import write


def test_the_old_run_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    run = tmp_path / "a.zarr"
    write(run, 3)
    with replacing(run, True) as path:
        write(path, 5)
        assert open_run(run).n_frames == 3 and path != run
    assert open_run(run).n_frames == 5
    assert [one.name for one in tmp_path.iterdir()] == ["a.zarr"]


def test_a_failure_leaves_the_old_run(tmp_path: Path) -> None:
    run = tmp_path / "a.zarr"
    write(run, 3)
    with pytest.raises(KeyboardInterrupt), replacing(run, True) as path:
        write(path, 5)
        raise KeyboardInterrupt
    assert open_run(run).n_frames == 3
    assert [one.name for one in tmp_path.iterdir()] == ["a.zarr"]


def test_without_asking_nothing_is_replaced(tmp_path: Path) -> None:
    run = tmp_path / "a.zarr"
    with replacing(run, True) as path:
        assert path == run
    write(run, 3)
    with replacing(run, False) as path:
        assert path == run


def test_what_is_no_run_or_has_not_ended_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "thesis.txt").write_text("years of work")
    with pytest.raises(StoreError, match="is no run of livespt"):
        with replacing(tmp_path / "data", True):
            pass
    writer = RunWriter(tmp_path / "b.zarr", make_start())
    with pytest.raises(StoreError, match="has not ended"), replacing(tmp_path / "b.zarr", True):
        pass
    writer.leave()
    write(tmp_path / "c.zarr", 2)
    (tmp_path / "c.zarr.new").mkdir()
    with pytest.raises(StoreError, match="left from an interrupted"):
        with replacing(tmp_path / "c.zarr", True):
            pass
