"""The movie: shards that every Zarr reader reads, grown by appending, continued where cut."""

from __future__ import annotations

import json
import resource
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec

from build import make_frame, make_start
from livespt.acquisition.recordings.ome_zarr import open_zarr
from livespt.stream.errors import InputError, StoreError
from livespt.stream.host.atomic_files import DURABILITIES, Durability
from livespt.stream.store import movie
from livespt.stream.store.attributes import Attributes
from livespt.stream.store.frame_log import LOG, sealed
from livespt.stream.store.movie import MovieWriter
from livespt.stream.store.movie_reader import MovieReader
from livespt.stream.store.ome_image import create_movie
from livespt.stream.store.shards import FRAMES, MAX_BYTES, decode, encode, frames_a_shard
from livespt.stream.store.verify import _movie as check

START = make_start()
SHARD = 4


def made(path: Path, frames: int = 0, *, close: bool = False) -> Path:
    """A movie of so many frames; not closed, it is a copy of what a killed writer leaves."""
    writing = path.with_suffix(".writing")
    writing.mkdir()
    create_movie(writing, START, SHARD)
    writer = MovieWriter(writing, START)
    for i in range(frames):
        writer.add_frame(make_frame(i))
    if close:
        writer.close()
    shutil.copytree(writing, path)
    if not close:
        writer.close()
    shutil.rmtree(writing)
    return path


def check_frames(path: Path, count: int) -> None:
    reader = MovieReader(path, START)
    reader.poll()
    assert len(reader.log) == count
    for i in range(count):
        assert np.array_equal(reader.frame(i).image, make_frame(i).image)
        assert reader.frame(i)[:5] == make_frame(i)[:5]


def files(path: Path) -> dict[str, bytes]:
    folder = path / "movie"
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 8, 11])
def test_a_closed_movie_is_whole_for_every_zarr_reader(count: int, tmp_path: Path) -> None:
    path = made(tmp_path / "a", count, close=True)
    check_frames(path, count)
    array = zarr.open_group(path / "movie", mode="r")["0"]
    assert isinstance(array, zarr.Array)
    assert array.shape == (count, 8, 12) and array.chunks == (1, 8, 12)
    for i in range(count):
        assert np.array_equal(array[i], make_frame(i).image)
    stored = [name for name in files(path) if name.startswith("0/c/")]
    assert sorted(stored) == [f"0/c/{k}/0/0" for k in range(-(-count // SHARD))]
    if count > 1:
        assert np.array_equal(open_zarr(path / "movie").frame(count - 1).image, array[count - 1])


def test_full_shards_are_read_by_others_while_the_movie_grows(tmp_path: Path) -> None:
    create_movie(tmp_path, START, SHARD)
    writer = MovieWriter(tmp_path, START, durability="frame")  # shows them at once, not in passing
    for i in range(11):
        writer.add_frame(make_frame(i))
        array = zarr.open_array(tmp_path / "movie/0", mode="r")
        assert array.shape[0] == i // SHARD * SHARD
        assert all(np.array_equal(array[k], make_frame(k).image) for k in range(array.shape[0]))
        check_frames(tmp_path, i + 1)
    writer.close()
    check_frames(tmp_path, 11)


def test_a_million_frames_are_a_few_thousand_files() -> None:
    cases = {(256, 256): FRAMES, (2048, 2048): 128, (40000, 40000): 1, (3, 8, 12): FRAMES}
    for shape, frames in cases.items():
        assert frames_a_shard(shape, np.dtype("<u2")) == frames
    assert MAX_BYTES // (2048 * 2048 * 2) == 128 and 10**6 / FRAMES < 4000


def as_format_3(path: Path) -> None:
    """Store the movie as livespt did before it had shards: a chunk file a frame."""
    reader = MovieReader(path, START)
    reader.poll()
    shutil.rmtree(path / "movie/0/c")
    (path / "movie/0/zarr.json").unlink()
    array = zarr.create_array(
        path / "movie",
        name="0",
        shape=(64, 8, 12),
        chunks=(1, 8, 12),
        dtype="<u2",
        compressors=(
            BloscCodec(cname="lz4", clevel=1, shuffle="bitshuffle", typesize=2),
            Crc32cCodec(),
        ),
        fill_value=0,
        config={"write_empty_chunks": True},
    )
    log = b""
    for i, record in enumerate(reader.log):
        array[i] = make_frame(i).image
        old = np.array([record], LOG)
        old["offset"] = old["length"] = old["shard"] = 0
        log += sealed(old)
    (path / "movie/0/commit.log").write_bytes(log)


def test_a_movie_of_a_file_a_frame_is_read(tmp_path: Path) -> None:
    path = made(tmp_path / "a", 6)
    as_format_3(path)
    check_frames(path, 6)
    with pytest.raises(StoreError, match="older livespt"):
        MovieWriter(path, START, resume=True)
    (path / "movie/0/c/3/0/0").unlink()
    reader = MovieReader(path, START)
    reader.poll()
    with pytest.raises(InputError, match=r"frame 3 .*damaged.*movie/0/c/3/0/0"):
        reader.frame(3)


# Frames


@pytest.mark.parametrize("dtype", ["u1", "<u2", "<f4"])
@pytest.mark.parametrize("shape", [(1, 1), (8, 12), (3, 8, 12)])
def test_a_frame_is_its_bytes_again(shape: tuple[int, ...], dtype: str) -> None:
    rng = np.random.default_rng(1)
    for image in (rng.integers(0, 200, shape).astype(dtype), np.zeros(shape, dtype)):
        data = encode(image)
        assert np.array_equal(decode(data, shape, image.dtype), image)
        with pytest.raises(ValueError, match="size of a frame"):
            decode(data, (2, *shape), image.dtype)


def test_no_bit_of_a_frame_changes_unnoticed(tmp_path: Path) -> None:
    path = made(tmp_path / "a", 3)
    shard = path / "movie/0/c/0/0/0.open"
    whole, reader = shard.read_bytes(), MovieReader(path, START)
    reader.poll()
    for place in range(0, len(whole), 3):
        harmed = bytearray(whole)
        harmed[place] ^= 1 << place % 8
        shard.write_bytes(harmed)
        bad = int(np.searchsorted(reader.log["offset"], place, "right")) - 1
        with pytest.raises(InputError, match=rf"frame {bad} .*damaged.*movie/0/c/0/0/0"):
            reader.frame(bad)
        for good in {0, 1, 2} - {bad}:
            assert np.array_equal(reader.frame(good).image, make_frame(good).image)


# Going on with a movie that was cut


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 8, 11])
@pytest.mark.parametrize("close", [False, True])
def test_a_continued_movie_is_the_movie(count: int, close: bool, tmp_path: Path) -> None:
    path, whole = made(tmp_path / "a", count, close=close), made(tmp_path / "b", 13, close=True)
    (path / "movie/0/zarr.json.77.partial").write_text("{")
    writer = MovieWriter(path, START, resume=True)
    assert len(writer) == count and writer.dropped == 0
    check_frames(path, count)
    assert (
        zarr.open_array(path / "movie/0", mode="r").shape[0] == max(count - 1, 0) // SHARD * SHARD
    )
    for i in range(count, 13):
        writer.add_frame(make_frame(i))
    writer.close()
    check_frames(path, 13)
    assert files(path) == files(whole)


@pytest.mark.parametrize("frames", [3, 4, 6, 9])
def test_a_movie_torn_anywhere_is_continued(frames: int, tmp_path: Path) -> None:
    """Log and last shard end where they like, as after a power cut; files come and go."""
    path, rng = made(tmp_path / "a", frames), np.random.default_rng(frames)
    whole = files(made(tmp_path / "b", 11, close=True))
    cut = tmp_path / "c"
    for _ in range(5):
        shutil.copytree(path, cut)
        shards = sorted((cut / "movie/0/c").rglob("0*"))
        for file in (cut / "movie/0/commit.log", [p for p in shards if p.is_file()][-1]):
            data = file.read_bytes()
            keep = rng.integers(0, len(data) + 1)
            zeros = rng.integers(0, 2) * rng.integers(0, len(data) - keep + 1)
            file.write_bytes(data[:keep] + bytes(int(zeros)))
        reader = MovieReader(cut, START)
        reader.poll()
        told = len(reader.log)
        writer = MovieWriter(cut, START, resume=True)
        count = len(writer)
        assert count == told - writer.dropped >= min(told, (frames - 1) // SHARD * SHARD)
        check_frames(cut, count)
        for i in range(count, 11):
            writer.add_frame(make_frame(i))
        writer.close()
        assert files(cut) == whole
        shutil.rmtree(cut)


def test_a_frame_lost_long_ago_is_not_the_end(tmp_path: Path) -> None:
    path = made(tmp_path / "a", 11)
    shutil.rmtree(path / "movie/0/c/1")
    writer = MovieWriter(path, START, resume=True)
    assert len(writer) == 11 and writer.dropped == 0
    writer.close()
    stop = Attributes(START, None, {}, {}, None, {})
    assert [fault.where for fault in check(path, stop)] == [
        *(f"movie, frame {i}" for i in (4, 5, 6, 7)),
        "movie/0/c/1/0/0",
    ]


def test_a_damaged_log_is_not_cut_where_it_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = made(tmp_path / "a", 11)
    log = path / "movie/0/commit.log"
    data = bytearray(log.read_bytes())
    data[2 * 64 + 9] ^= 1
    log.write_bytes(data)
    before = files(path)
    monkeypatch.setattr(movie, "MAX_DISORDER", 7)
    with pytest.raises(StoreError, match="damaged at record 2, 8 good ones follow"):
        MovieWriter(path, START, resume=True)
    assert files(path) == before
    monkeypatch.setattr(movie, "MAX_DISORDER", 8)
    writer = MovieWriter(path, START, resume=True)
    assert len(writer) == 2
    writer.close()


def test_two_writers_never_continue_the_same_movie(tmp_path: Path) -> None:
    path = made(tmp_path / "a", 3)
    with pytest.raises(StoreError, match="is or was written"):
        MovieWriter(path, START)
    writer = MovieWriter(path, START, resume=True)
    with pytest.raises(StoreError, match="is being written by another process"):
        MovieWriter(path, START, resume=True)
    writer.close()
    MovieWriter(path, START, resume=True).close()
    check_frames(path, 3)


@pytest.mark.parametrize("text", ["", "{}", "[]", json.dumps({"codecs": [{"name": "bytes"}]})])
def test_a_movie_without_metadata_is_refused(text: str, tmp_path: Path) -> None:
    path = made(tmp_path / "a", 3)
    (path / "movie/0/zarr.json").write_text(text)
    with pytest.raises(StoreError, match=r"damaged|older livespt"):
        MovieWriter(path, START, resume=True)
    check_frames(path, 3)


# Disks


@pytest.mark.parametrize("durability", DURABILITIES)
def test_a_movie_is_the_same_at_every_durability(durability: Durability, tmp_path: Path) -> None:
    create_movie(tmp_path, START, SHARD)
    writer = MovieWriter(tmp_path, START, durability=durability)
    for i in range(11):
        writer.add_frame(make_frame(i))
    writer.close()
    assert files(tmp_path) == files(made(tmp_path / "b", 11, close=True))


def test_a_record_that_cannot_be_written_leaves_no_trace(tmp_path: Path) -> None:
    """A frame of one pixel is shorter than its record: the log meets the limit, not the shard."""
    start = replace(START, shape=(1, 1))
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    for name in ("whole", "torn"):
        create_movie(tmp_path / name, start, SHARD)
        writer = MovieWriter(tmp_path / name, start, durability="end")
        for i in range(20):
            frame = make_frame(i)._replace(image=np.full((1, 1), i, "<u2"))
            if name == "torn" and i == 17:
                resource.setrlimit(resource.RLIMIT_FSIZE, (17 * 64 + 20, limit[1]))
                for _ in range(3):
                    with pytest.raises(StoreError, match=r"storing frame 17 failed"):
                        writer.add_frame(frame)
                resource.setrlimit(resource.RLIMIT_FSIZE, limit)
            writer.add_frame(frame)
        writer.close()
    signal.signal(signal.SIGXFSZ, handler)
    assert files(tmp_path / "torn") == files(tmp_path / "whole")
