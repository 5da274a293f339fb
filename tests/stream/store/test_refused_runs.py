"""Runs that cannot be created, frames that do not belong there, what is not a run."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from build import make_frame, make_start, varied_update
from livespt.stream.errors import InputError, StoreError
from livespt.stream.store import limits
from livespt.stream.store.run import RunWriter, open_run
from stored_runs import STOP, with_writer, write

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
        writer.commit(make_frame(3), varied_update(3))


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


def test_a_file_that_its_writer_removes_meanwhile_is_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = with_writer(RunWriter(tmp_path / "a.zarr", make_start()), 3)
    rolled = tmp_path / "a.zarr" / "journal" / "99999999.log"  # in the columns a moment later
    rolled.write_bytes(b"")
    list_folder = limits._entries

    def removed_when_listed(folder: Path) -> list[os.DirEntry[str]]:
        found = list_folder(folder)
        if Path(folder) == rolled.parent:
            rolled.unlink(missing_ok=True)
        return found

    monkeypatch.setattr(limits, "_entries", removed_when_listed)
    limits.check_files(tmp_path / "a.zarr")
    assert not rolled.exists()
    writer.close(STOP)
