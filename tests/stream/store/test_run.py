"""Closed runs: what was committed is read back exactly, by us and by plain Zarr."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr

from build import make_frame, make_start, varied_update
from livespt.stream.errors import InputError
from livespt.stream.store.run import RunWriter, create_run, open_run
from livespt.stream.store.table_writer import TableWriter
from livespt.stream.types import SPOT, Stop
from livespt.tools.overlay.player import Player
from stored_runs import STOP, TABLES, check_frames, check_tables, hashes, with_writer, write

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
            writer.commit(make_frame(number), varied_update(number))
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
    written = writer.close(Stop("r", "aborted", "user", recorded=99, lost=4))
    run = open_run(tmp_path / "a.zarr")
    assert run.stop == written
    assert written == Stop("r", "aborted", "user", 3, 3, 0, 0, 8, 4, 1, written.frame_interval_s)
    plain = {"memory": 3, "path": "a/b", "none": None, "range": 4.5}
    assert run.start == replace(start, settings=plain, camera={"offset": 100.0, "known": True})


def test_the_last_rows_belong_to_no_frame(tmp_path: Path) -> None:
    writer = with_writer(RunWriter(tmp_path / "a.zarr", make_start()), 4)
    writer.finish(varied_update(4))
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
    writer.commit(frame, varied_update(0)._replace(spots=spots))
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
            tables.commit(make_frame(i), varied_update(i))
        tables.close(STOP)
        check_tables(open_run(path), list(range(60)))
    first, second = (hashes(p, *TABLES) for p in paths)
    assert first == second and len(first) > 200
