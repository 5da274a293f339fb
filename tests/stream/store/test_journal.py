"""The journal: whatever is cut, flipped or read in the middle, a reader sees whole commits only."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray

from livespt.stream.errors import InputError, StoreError
from livespt.stream.store.journal import JournalWriter
from livespt.stream.store.journal_reader import JournalReader
from livespt.stream.store.journal_records import CHECKPOINT, COMMIT, decode, encode

DTYPES = [np.dtype([("a", "<i8"), ("b", "<f4")]), np.dtype([("name", "<U3"), ("n", "u1")])]
Rows = list[NDArray[np.void]]


def make_rows(seed: int, counts: tuple[int, int]) -> Rows:
    """Rows that differ for every seed."""
    first, second = (np.zeros(n, d) for n, d in zip(counts, DTYPES, strict=True))
    first["a"], first["b"] = seed, np.arange(counts[0])
    second["name"], second["n"] = chr(97 + seed % 26), np.arange(counts[1])
    return [first, second]


commits = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), min_size=1, max_size=8)


def segment(counts: list[tuple[int, int]]) -> tuple[list[Rows], list[int], bytes]:
    """Rows of each commit, the byte where each record ends, all bytes."""
    rows = [make_rows(i, c) for i, c in enumerate(counts)]
    records = [encode(10 + i, r) for i, r in enumerate(rows)]
    return rows, list(np.cumsum([len(r) for r in records])), b"".join(records)


def same(a: Rows | tuple[NDArray[np.void], ...], b: Rows) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


@given(commits, st.data())
def test_a_cut_segment_holds_the_whole_records_before_the_cut(
    counts: list[tuple[int, int]], data: st.DataObject
) -> None:
    rows, ends, whole = segment(counts)
    cut = data.draw(st.integers(0, len(whole)))
    found = list(decode(whole[:cut], DTYPES))
    assert len(found) == sum(end <= cut for end in ends)
    assert all(same(record.rows, r) for record, r in zip(found, rows, strict=False))
    assert [record.end for record in found] == ends[: len(found)]


@given(commits, st.data())
def test_a_flipped_bit_ends_the_segment_before_its_record(
    counts: list[tuple[int, int]], data: st.DataObject
) -> None:
    rows, ends, whole = segment(counts)
    place = data.draw(st.integers(0, len(whole) - 1))
    changed = bytearray(whole)
    changed[place] ^= 1 << data.draw(st.integers(0, 7))
    found = list(decode(bytes(changed), DTYPES))
    assert len(found) == sum(end <= place for end in ends)
    assert all(same(record.rows, r) for record, r in zip(found, rows, strict=False))


@given(st.binary(max_size=300))
def test_noise_is_no_record(noise: bytes) -> None:
    assert list(decode(noise, DTYPES)) == []


def test_a_record_out_of_turn_ends_the_segment() -> None:
    a, b, c = (encode(n, make_rows(n, (1, 1))) for n in (4, 5, 7))
    assert [r.number for r in decode(a + b + c, DTYPES)] == [4, 5]
    assert [r.number for r in decode(a + a, DTYPES)] == [4]
    assert list(decode(a, DTYPES, number=3)) == []


def test_a_checkpoint_tells_what_is_in_columns() -> None:
    rows = make_rows(3, (2, 0))
    (record,) = decode(encode(9, rows, [2**40, 7]), DTYPES)
    assert (record.kind, record.flushed) == (CHECKPOINT, (2**40, 7))
    assert same(record.rows, rows)
    assert next(decode(encode(9, rows), DTYPES)).kind == COMMIT


@settings(max_examples=25, deadline=None)
@given(
    actions=st.lists(
        st.one_of(
            st.tuples(st.integers(0, 4), st.integers(0, 2)), st.just("rotate"), st.just("look")
        ),
        max_size=25,
    )
)
def test_readers_see_every_commit_through_rotations(
    actions: list[tuple[int, int] | str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("journal")
    early, lazy = JournalReader(folder, DTYPES), JournalReader(folder, DTYPES)
    assert not early.poll()
    writer = JournalWriter(folder, DTYPES)
    columns: Rows = [np.empty(0, d) for d in DTYPES]  # rows that a rotation moved there
    tail: Rows = [np.empty(0, d) for d in DTYPES]

    def check(reader: JournalReader) -> None:
        assert reader.poll()
        for name, flushed, held, moved, rest in zip(
            ("a", "n"), reader.flushed, reader.rows, columns, tail, strict=True
        ):
            seen = np.concatenate([moved[:flushed], *held])
            assert np.array_equal(seen[name], np.concatenate([moved, rest])[name])

    for i, action in enumerate(actions):
        if action == "look":
            check(early)
        elif action == "rotate":  # half of the rows go to columns
            for k in range(2):
                n = len(tail[k]) // 2
                columns[k] = np.concatenate([columns[k], tail[k][:n]])
                tail[k] = tail[k][n:]
            writer.rotate([len(c) for c in columns], tail)
            assert writer.grown == 0
        elif isinstance(action, tuple):
            rows = make_rows(i, action)
            writer.append(rows)
            tail = [np.concatenate([t, r]) for t, r in zip(tail, rows, strict=True)]
    check(early)
    check(lazy)
    check(JournalReader(folder, DTYPES))
    writer.close()
    assert len(list(folder.glob("*.log"))) == 1  # older segments are gone


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    JournalWriter(tmp_path, DTYPES).close()
    with pytest.raises(StoreError, match="another process"):
        JournalWriter(tmp_path, DTYPES)


def test_a_second_writer_does_not_resume_what_another_writes(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, DTYPES)
    with pytest.raises(StoreError, match="being written"):
        JournalWriter(tmp_path, DTYPES, resume=True)
    writer.close()
    JournalWriter(tmp_path, DTYPES, resume=True).close()


@pytest.mark.parametrize("cut", [0, 1, 17, -1])
@pytest.mark.parametrize("rotated", [False, True])
def test_a_writer_goes_on_after_the_last_whole_commit(
    rotated: bool, cut: int, tmp_path: Path
) -> None:
    writer = JournalWriter(tmp_path, DTYPES)
    writer.append(make_rows(1, (3, 1)))
    if rotated:
        writer.rotate([0, 0], make_rows(1, (3, 1)))
    writer.append(make_rows(2, (2, 2)))
    writer.close()
    (segment,) = tmp_path.glob("*.log")
    torn = encode(writer.held.next + 3, make_rows(3, (4, 4)))[:cut]
    segment.write_bytes(segment.read_bytes() + torn)
    (tmp_path / "00000007.log").write_bytes(b"")  # as a power cut may leave it
    (tmp_path / "00000007.partial").write_bytes(b"LS")
    early = JournalReader(tmp_path, DTYPES)
    early.poll()
    again = JournalWriter(tmp_path, DTYPES, resume=True)
    assert [len(np.concatenate(held)) for held in again.held.rows] == [5, 3]
    again.append(make_rows(4, (1, 0)))
    again.rotate([0, 0], make_rows(5, (6, 3)))
    again.append(make_rows(6, (1, 1)))
    again.close()
    late = JournalReader(tmp_path, DTYPES)
    for reader in (early, late):
        assert reader.poll()
        assert [len(np.concatenate(held)) for held in reader.rows] == [7, 4]
    assert [path.name for path in tmp_path.glob("0*")] == [late.segment.name]


def test_a_damaged_newest_segment_falls_back_to_the_one_before(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, DTYPES)
    rows = make_rows(1, (3, 1))
    writer.append(rows)
    writer.close()
    (tmp_path / "00000001.log").write_bytes(b"")  # as a power cut may leave it
    reader = JournalReader(tmp_path, DTYPES)
    assert reader.poll()
    assert [len(np.concatenate(held)) for held in reader.rows] == [3, 1]
    (tmp_path / "00000000.log").write_bytes(b"LSJ1")
    with pytest.raises(InputError, match="damaged"):
        JournalReader(tmp_path, DTYPES).poll()


@contextmanager
def small_files() -> Iterator[None]:
    """At most 4096 bytes a file: writes beyond are cut short and fail, as on a full disk.

    It ends within the test: the runner's own output may be a file, too.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_refused_write_leaves_the_journal_as_it_was(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, DTYPES)
    writer.append(make_rows(1, (5, 0)))
    size = (tmp_path / "00000000.log").stat().st_size
    with small_files():
        with pytest.raises(StoreError, match="failed"):
            writer.append(make_rows(2, (500, 0)))
        with pytest.raises(StoreError, match="failed"):
            writer.rotate([0, 0], make_rows(2, (500, 0)))
    assert (tmp_path / "00000000.log").stat().st_size == size
    assert list(tmp_path.glob("0*")) == [tmp_path / "00000000.log"]
    writer.append(make_rows(3, (1, 0)))  # what fits goes on
    writer.close()
    reader = JournalReader(tmp_path, DTYPES)
    reader.poll()
    assert np.concatenate(reader.rows[0])["a"].tolist() == [1, 1, 1, 1, 1, 3]
