"""Tables of users: numbers are read, text comes back to the letter, bad input is one clear line."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import trackpy
from hypothesis import given, settings as examples, strategies as st

from livespt.stream.errors import InputError, LiveSptError, SettingError, StoreError
from livespt.tools.tables.analyze import analyze_table
from livespt.tools.tables.link import link_table
from livespt.tools.tables.out_file import whole_file
from livespt.tools.tables.segments import segment_table
from livespt.tools.tables.user_table import read_table, write_table

trackpy.quiet()
NEED = ("frame", "y", "x")

KEPT = {
    "plain": b"frame,y,x\n0,1.50,2\n1,1.5e0,+2.0\n",
    "no line end at the end": b"frame,y,x\n0,1,2",
    "windows line ends": b"frame,y,x\r\n0,1,2\r\n1,1,2\r\n",
    "byte order mark": b"\xef\xbb\xbfframe,y,x\n0,1,2\n",
    "columns in another order, spaces, an index": b",x,n, y ,frame\n0, 2 ,NA, 1,0\n1,3,, 1,3.0\n",
    "quotes, commas and lines in cells": b'frame,"y",x,n\n0,1,2,"a, ""b""\nc"\n0,"5",6,"plain"\n',
    "utf-8 and latin-1 text": "frame,y,x,x [µm]\n0,1,2,0.2\n".encode() + b"1,1,2,0\xb5\n",
    "two columns of one name": b"frame,y,x,a,a\n0,1,2,3,4\n",
    "blank lines": b"frame,y,x\n\n0,1,2\n   \n\n",
    "header only": b"frame,y,x\n",
    "long digits": b"frame,y,x\n0,0.1000000000000000055511151231257827,1e-3\n",
}


def lines_of(data: bytes) -> list[bytes]:
    data = data.removeprefix(b"\xef\xbb\xbf")
    return [line for line in data.splitlines() if line.strip()]


@pytest.mark.parametrize("name", KEPT)
def test_rows_keep_their_text(name: str, tmp_path: Path) -> None:
    src, out = tmp_path / "in.csv", tmp_path / "out.csv"
    src.write_bytes(KEPT[name])
    table = read_table(src, NEED)
    n = len(table)
    write_table(out, table, {"track": np.arange(n), "p": np.full(n, 0.1, "f4")})
    written = out.read_bytes()
    assert src.read_bytes() == KEPT[name]
    if b'\nc"' not in KEPT[name]:
        ends = [b",track,p"] + [f",{i},0.1".encode() for i in range(len(table))]
        assert lines_of(written) == [a + b for a, b in zip(lines_of(KEPT[name]), ends, strict=True)]
    assert (b"\r\n" in written) == (b"\r\n" in KEPT[name])
    before = pd.read_csv(src, dtype=str, keep_default_na=False, encoding="latin-1", header=None)
    after = pd.read_csv(out, dtype=str, keep_default_na=False, encoding="latin-1", header=None)
    before.iloc[0, 0] = str(before.iloc[0, 0]).removeprefix("ï»¿")
    pd.testing.assert_frame_equal(after.iloc[:, :-2], before)


def test_numbers_are_those_of_the_text(tmp_path: Path) -> None:
    src = tmp_path / "in.csv"
    src.write_bytes(KEPT["columns in another order, spaces, an index"])
    table = read_table(src, NEED, optional=("z",))
    assert set(table.values) == set(NEED)
    assert table.values["frame"].tolist() == [0, 3]
    assert table.values["frame"].dtype == np.int64
    assert table.values["x"].tolist() == [2.0, 3.0]


BAD = {
    "empty": (b"", "empty"),
    "blank": (b"\n \n", "empty"),
    "no header": (b"0,1.5,2\n1,1.5,2\n", "no column frame, y, x; it has: 0, 1.5, 2"),
    "missing column": (b"frame,Z,x\n0,1,2\n", "no column y; it has: frame, Z, x"),
    "colons": (b"frame:y:x\n0:1:2\n", "commas"),
    "column twice": (b"frame,y,x,y\n0,1,2,3\n", "2 columns named y"),
    "column to be added": (b"frame,y,x,track\n0,1,2,3\n", "already has a column track"),
    "text in a number": (b"frame,y,x\n0,1,2\n0,abc,2\n", "row 2: y is 'abc'"),
    "empty number": (b"frame,y,x\n0,1,\n", "row 1: x is ''"),
    "not a number": (b"frame,y,x\n0,1,2\n1,nan,2\n", "row 2: y is 'nan'"),
    "infinite": (b"frame,y,x\n0,1,-inf\n", "row 1: x is '-inf'"),
    "broken frame": (b"frame,y,x\n0,1,2\n0.5,1,2\n", "row 2: frame is '0.5'; give a whole number"),
    "huge frame": (b"frame,y,x\n1e300,1,2\n", "row 1: frame is '1e300'"),
    "row too short": (b"frame,y,x\n0,1,2\n1,2\n", "row 2 has 2 values for 3 columns"),
    "row too long": (b"frame,y,x\n0,1,2\n1,2,3,4\n", "row 2 has 4 values"),
    "quote left open": (b'frame,y,x\n0,1,"2\n', "not a CSV table"),
    "an image": (b"II*\0\x08\0\0\0", "zero bytes"),
    "particle below zero": (b"frame,y,x,particle\n0,1,2,0\n0,1,2,-1\n", "row 2: particle is -1"),
    "particle twice": (
        b"frame,y,x,particle\n3,1,2,7\n2,1,2,7\n3,5,6,7\n",
        "rows 1 and 3 both put particle 7 in frame 3",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_tables_are_refused_in_one_line(name: str, tmp_path: Path) -> None:
    data, words = BAD[name]
    src = tmp_path / "in.csv"
    src.write_bytes(data)
    with pytest.raises(InputError) as caught:
        read_table(src, NEED, optional=("particle",), adds=("track",))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "in.csv" in str(caught.value)


def test_files_that_cannot_be_read_or_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_table(tmp_path / "none.csv", NEED)
    with pytest.raises(InputError, match="cannot read"):
        read_table(tmp_path, NEED)
    src = tmp_path / "in.csv"
    src.write_bytes(KEPT["plain"])
    table = read_table(src, NEED)
    for out, words in ((src, "exists"), (tmp_path, "folder"), (tmp_path / "no" / "o", "no folder")):
        with pytest.raises(StoreError, match=words):
            write_table(out, table, {})
    with pytest.raises(InputError, match="already has a column x"):
        write_table(tmp_path / "o.csv", table, {"x": np.zeros(2)})
    write_table(src, table, {"n": np.zeros(2, int)}, overwrite=True)
    assert src.read_text().splitlines()[0] == "frame,y,x,n"


def test_a_file_that_failed_leaves_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    out.write_text("before")
    with pytest.raises(StoreError, match="disk is full"):
        with whole_file(out, overwrite=True) as partial:
            partial.write_text("half")
            raise OSError(28, os.strerror(28))
    assert out.read_text() == "before"
    assert os.listdir(tmp_path) == ["out.csv"]


def test_not_a_number_is_written_as_an_empty_cell(tmp_path: Path) -> None:
    src, out = tmp_path / "in.csv", tmp_path / "out.csv"
    src.write_bytes(KEPT["plain"])
    write_table(out, read_table(src, NEED), {"p": np.array([np.nan, 1 / 3])})
    assert [line.split(",")[-1] for line in out.read_text().split()[1:]] == ["", str(1 / 3)]


def localizations(seed: int, n: int, frames: int, ndim: int = 2) -> pd.DataFrame:
    """Brownian particles in rows of no order, with a column of text."""
    rng = np.random.default_rng(seed)
    walks = rng.uniform(0, 60, (1, n, ndim)) + rng.normal(0, 1, (frames, n, ndim)).cumsum(0)
    axes = ["z", "y", "x"][-ndim:]
    table = pd.DataFrame(walks.reshape(-1, ndim).round(4), columns=axes)
    table["frame"] = np.repeat(np.arange(frames), n)
    table["note"] = rng.choice(["NA", "", "a b", "007"], len(table))
    return table.sample(frac=0.85, random_state=seed)


@pytest.mark.parametrize(("ndim", "memory"), [(2, 0), (2, 2), (3, 1)])
def test_link_adds_the_particles_of_trackpy(ndim: int, memory: int, tmp_path: Path) -> None:
    src, out = tmp_path / "spots.csv", tmp_path / "linked.csv"
    table = localizations(ndim + memory, 40, 12, ndim)
    table = table[table["frame"] != 5]  # a frame without a row
    table.to_csv(src, index=False)
    result = link_table(src, out, search_range=4.0, memory=memory)
    linked = pd.read_csv(out, keep_default_na=False)
    assert linked.columns.tolist() == [*table.columns, "particle"]
    before, after = src.read_text().splitlines(), out.read_text().splitlines()
    assert [line.rpartition(",")[0] for line in after] == before
    axes = ["z", "y", "x"][-ndim:]
    movie = [table[table["frame"] == frame] for frame in range(12)]
    found = trackpy.link_iter(
        (rows[axes].to_numpy() for rows in movie), 4.0, memory=memory, link_strategy="recursive"
    )
    theirs = np.concatenate([ids for _, ids in found])
    mine = np.concatenate([linked["particle"][linked["frame"] == frame] for frame in range(12)])
    pairs = set(zip(mine, theirs, strict=True))
    assert len(pairs) == len(set(mine)) == len(set(theirs)) == result["tracks"]
    assert result["rows"] == len(table) and result["frames"] == 11
    assert sorted(linked["particle"].unique()) == list(range(result["tracks"]))


def test_ids_count_by_frame_then_row(tmp_path: Path) -> None:
    src, out = tmp_path / "spots.csv", tmp_path / "linked.csv"
    src.write_text("frame,y,x\n7,0,0\n2.0,50,50\n-3,9,9\n7,50,90\n2,20,20\n")
    link_table(src, out)
    assert [line.split(",")[-1] for line in out.read_text().split()] == (
        "particle 3 1 0 4 2".split()
    )


@given(
    rows=st.lists(st.tuples(st.integers(-3, 6), st.integers(0, 9), st.integers(0, 9)), max_size=30),
    memory=st.integers(0, 2),
)
@examples(max_examples=60)
def test_the_order_of_rows_in_a_frame_changes_names_only(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int, int]], memory: int
) -> None:
    folder = tmp_path_factory.mktemp("order")
    src, out = folder / "a.csv", folder / "b.csv"
    src.write_text("frame,y,x\n" + "".join(f"{f},{y}.25,{x}\n" for f, y, x in rows))
    link_table(src, out, search_range=3.0, memory=memory)
    particles = [int(line.split(",")[-1]) for line in out.read_text().split()[1:]]
    assert len(particles) == len(rows)
    assert sorted(set(particles)) == list(range(len(set(particles))))
    frames = [row[0] for row in rows]
    assert len(set(zip(frames, particles, strict=True))) == len(rows)
    for particle in set(particles):
        seen = sorted(f for f, p in zip(frames, particles, strict=True) if p == particle)
        assert all(gap <= memory + 1 for gap in np.diff(seen))


@pytest.mark.parametrize(
    ("values", "error"),
    [({"search_range": 0.0}, SettingError), ({"memory": -1}, SettingError), ({}, InputError)],
)
def test_link_refuses(values: dict[str, float], error: type[LiveSptError], tmp_path: Path) -> None:
    src = tmp_path / "spots.csv"
    src.write_text("frame,y,x,particle\n0,1,1,0\n")
    with pytest.raises(error):
        link_table(src, tmp_path / "o.csv", **values)  # type: ignore[arg-type]
    assert not (tmp_path / "o.csv").exists()


@pytest.mark.parametrize("name", ["o.parquet", "o.XML", "o.geff", "o.hdf5"])
def test_a_text_table_gets_no_name_of_another_kind_of_file(name: str, tmp_path: Path) -> None:
    src = tmp_path / "spots.csv"
    src.write_text("frame,y,x\n0,1,1\n")
    for write in (link_table, partial(analyze_table, pixel_size_um=0.1), segment_table):
        with pytest.raises(StoreError, match=r"end its name in \.csv"):
            write(src, tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["spots.csv"]
