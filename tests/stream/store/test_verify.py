"""Verify: every fault that is put into a run is found, and none where there is none."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from build import make_frame, make_start, make_update
from livespt.stream.errors import InputError
from livespt.stream.store.attributes import read_attributes
from livespt.stream.store.movie import MovieWriter
from livespt.stream.store.run import create_run, open_run
from livespt.stream.store.table_writer import TableWriter
from livespt.stream.store.verify import verify
from livespt.stream.types import EVENT, SPOT, STATE, Stop
from livespt.tools.cli.main import run as command

FRAMES = 12
START = make_start((6, 5), mode="live")


def json_of(data: bytes) -> object:
    try:
        return json.loads(data)
    except ValueError:
        return data


def write(path: Path, frames: int = FRAMES, *, close: bool = True) -> Path:
    """A run of a few frames whose tables take several chunks."""
    rng = np.random.default_rng(0)
    create_run(path, START, chunk_rows=16, shard_frames=5)
    # synced at once: when columns are on disk does not depend on another thread
    tables = TableWriter(path, segment_bytes=2000, durability="frame")
    movie = MovieWriter(path, START)
    for number in range(frames):
        image = rng.integers(0, 4000, START.shape).astype("<u2")
        frame = make_frame(number, image=image)
        rows = []
        for dtype in (SPOT, STATE, EVENT):
            some = np.zeros(5, dtype)
            for name in dtype.names or ():
                some[name] = rng.integers(0, 100, 5)
            rows.append(some)
        movie.add_frame(frame)
        tables.commit(frame, make_update(frame, *rows))
    if close:
        tables.status("note", 3, "something to say")
        movie.close()
        tables.close(Stop("r", "complete"))
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("runs") / "run.zarr")


def faults(run: Path) -> list[str]:
    return [f"{fault.where}: {fault.what}" for fault in verify(run)]


@contextmanager
def changed(path: Path, data: bytes | None) -> Iterator[None]:
    """The file with other bytes, or without the file, for a while."""
    before = path.read_bytes()
    if data is None:
        path.unlink()
    else:
        path.write_bytes(data)
    try:
        yield
    finally:
        path.write_bytes(before)


def harmed(path: Path, chance: random.Random) -> bytes | None:
    """What a fault leaves of a file: flipped, cut, gone, of zeros, or of another file."""
    data = bytearray(path.read_bytes())
    kind = chance.choice(["flip", "cut", "gone", "zeros", "swap"])
    if kind == "gone":
        return None
    if kind == "flip":
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    elif kind == "cut":
        del data[chance.randrange(len(data)) :]
    elif kind == "zeros":
        first = chance.randrange(len(data))
        data[first : first + 64] = bytes(len(data[first : first + 64]))
    else:
        near = path.parents[2] if path.match("movie/0/c/*/0/0") else path.parent  # another shard
        others = [p for p in near.rglob("*") if p.is_file()]
        data = bytearray(chance.choice(others).read_bytes())
    return bytes(data)


def every_fault_is_found(run: Path, count: int, seed: int) -> None:
    chance = random.Random(seed)
    files = sorted(path for path in run.rglob("*") if path.is_file())
    done = 0
    while done < count:
        path = chance.choice(files)
        data = harmed(path, chance)
        if data == path.read_bytes():
            continue  # the same bytes are no fault
        with changed(path, data):
            found = faults(run)
        assert found, f"{path.relative_to(run)} {data!r:.60}"
        where = path.relative_to(run).as_posix()
        assert any(where in line for line in found), (where, found)
        done += 1
    assert faults(run) == []


def test_a_whole_run_has_no_faults(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert faults(run) == []
    assert len(open_run(run).spots) == 5 * FRAMES
    assert command(["verify", str(run)]) == 0
    assert "faults  0" in capsys.readouterr().out


def test_every_fault_is_found_and_named(run: Path) -> None:
    every_fault_is_found(run, 100, seed=1)


@pytest.mark.slow
def test_a_thousand_faults_are_found_and_named(run: Path) -> None:
    every_fault_is_found(run, 1000, seed=2)


def test_edited_words_and_exchanged_chunks_are_found(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = run / "zarr.json"
    document = json.loads(root.read_text())
    document["attributes"]["livespt"]["start"]["pixel_size_um"] = 0.2
    with changed(root, json.dumps(document).encode()):
        assert "zarr.json is not what was written" in faults(run)[0]
        with pytest.raises(InputError, match=r"zarr\.json"):
            open_run(run)
    one, two = (run / "spots/x/c" / name for name in "01")
    with changed(one, two.read_bytes()), changed(two, one.read_bytes()):
        assert faults(run) == ["spots/x/c/0: is not what was written"]
    shard = run / "movie/0/c/1/0/0"
    with changed(shard, (run / "movie/0/c/0/0/0").read_bytes()):
        assert any("frame 5" in line for line in faults(run))
    data = bytearray(shard.read_bytes())
    data[open_run(run).log["offset"][8] + 20] ^= 1
    with changed(shard, bytes(data)):
        assert "frame 8" in faults(run)[0] and len(faults(run)) == 1
        assert command(["verify", str(run)]) == 1
    told = capsys.readouterr()
    assert "fault       movie, frame 8" in told.out and "damaged in 1 places" in told.err
    for harm in (lambda d: d[:-1], lambda d: d + b"\0", lambda d: d[:-30] + bytes(30)):
        with changed(shard, harm(shard.read_bytes())):
            assert faults(run) == ["movie/0/c/1/0/0: its index is not what was written"]
    beyond = run / "movie/0/c/3/0/0"
    beyond.parent.mkdir(parents=True)
    beyond.write_bytes(shard.read_bytes())
    assert faults(run) == ["movie/0/c/3/0/0: was not written by this run"]
    beyond.unlink()


def test_a_run_still_written_is_checked_as_far_as_it_is_committed(tmp_path: Path) -> None:
    path = write(tmp_path / "cut.zarr", 160, close=False)
    assert faults(path) == []
    chunk = path / "spots/x/c/0"
    data = bytearray(chunk.read_bytes())
    data[3] ^= 16
    with changed(chunk, bytes(data)):
        assert "spots" in faults(path)[0]
    with changed(path / "movie/0/c/2/0/0", None):
        assert "frame 10" in faults(path)[0] and "movie/0/c/2/0/0: is missing" in faults(path)[-1]
    assert (path / "movie/0/c/31/0/0.open").exists(), "the last shard is full but has no name yet"
    log, journal = path / "movie/0/commit.log", max((path / "journal").glob("*.log"))
    for file, where in ((log, "commit.log: record 3"), (journal, "journal: a commit")):
        data = bytearray(file.read_bytes())
        with changed(file, bytes(data[:-9])):
            assert faults(path) == [], "torn by a crash: it was never committed"
        data[3 * 64 + 40 if file == log else -20] ^= 4
        with changed(file, bytes(data)):
            assert any(where in line for line in faults(path)), faults(path)
    create_run(tmp_path / "new.zarr", replace(START, run="new"))
    assert faults(tmp_path / "new.zarr") == []


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        list(verify(tmp_path / "none.zarr"))
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(InputError, match="is not a run"):
        list(verify(tmp_path / "empty.zarr"))


def test_not_one_bit_of_the_first_word_can_change_unnoticed(run: Path) -> None:
    root = run / "zarr.json"
    data = root.read_bytes()
    spaces = 0
    for i in range(0, len(data), 211):  # all bits of some bytes: a look at each takes milliseconds
        for bit in range(8):
            harm = bytearray(data)
            harm[i] ^= 1 << bit
            if json_of(bytes(harm)) == json_of(data):
                spaces += 1
                continue  # JSON does not see it
            with changed(root, bytes(harm)):
                with pytest.raises(InputError):
                    read_attributes(run)
    assert spaces < 0.05 * len(data)
