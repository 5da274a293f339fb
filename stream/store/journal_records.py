"""Records of a journal: what one commit is as bytes, and how torn or damaged ones are told.

Record, little endian: magic, kind, number, payload bytes, CRC of the payload, CRC of the header.
Payload: (checkpoint only: u64 rows in columns, a table each,) u32 rows that follow, a table each,
then the rows, table after table.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

MAGIC = b"LSJ1"
COMMIT, CHECKPOINT = 0, 1
HEAD = struct.Struct("<4sIQII")  # magic, kind, number, payload bytes, payload CRC
CRC = struct.Struct("<I")
HEADER_BYTES = HEAD.size + CRC.size

Rows = Sequence[NDArray[Any]]  # one structured array a table, in the order of the tables


class Record(NamedTuple):
    """One decoded record; `flushed` is empty in a commit."""

    kind: int
    number: int
    flushed: tuple[int, ...]
    rows: tuple[NDArray[Any], ...]
    end: int  # offset of the byte after it


def encode(number: int, rows: Rows, flushed: Sequence[int] | None = None) -> bytes:
    """The bytes of a commit, or with `flushed` (rows in columns, a table each) of a checkpoint."""
    counts = struct.pack(f"<{len(rows)}I", *(len(part) for part in rows))
    base = b"" if flushed is None else struct.pack(f"<{len(flushed)}Q", *flushed)
    payload = b"".join((base, counts, *(part.tobytes() for part in rows)))
    kind = COMMIT if flushed is None else CHECKPOINT
    head = HEAD.pack(MAGIC, kind, number, len(payload), zlib.crc32(payload))
    return b"".join((head, CRC.pack(zlib.crc32(head)), payload))


def _decode_payload(
    payload: memoryview, kind: int, dtypes: Sequence[np.dtype[Any]]
) -> tuple[tuple[int, ...], tuple[NDArray[Any], ...]] | None:
    n = len(dtypes)
    base = 8 * n if kind == CHECKPOINT else 0
    start = base + 4 * n
    if len(payload) < start:
        return None
    flushed = struct.unpack_from(f"<{n}Q", payload) if base else ()
    counts = struct.unpack_from(f"<{n}I", payload, base)
    if start + sum(c * d.itemsize for c, d in zip(counts, dtypes, strict=True)) != len(payload):
        return None
    rows = []
    for count, dtype in zip(counts, dtypes, strict=True):
        rows.append(np.frombuffer(payload, dtype, count, start))
        start += count * dtype.itemsize
    return flushed, tuple(rows)


def decode(
    data: bytes, dtypes: Sequence[np.dtype[Any]], number: int | None = None
) -> Iterator[Record]:
    """Records of `data` up to the first that is torn, damaged or out of turn.

    Parameters
    ----------
    data
        Bytes of a segment, from the start of a record on.
    dtypes
        Of the tables, in order.
    number
        Number the first record must have; None: any, each next one more.
    """
    view, start = memoryview(data), 0
    while start + HEADER_BYTES <= len(view):
        head = view[start : start + HEAD.size]
        magic, kind, found, size, crc = HEAD.unpack(head)
        body = start + HEADER_BYTES
        payload = view[body : body + size]
        good = (
            magic == MAGIC
            and kind in (COMMIT, CHECKPOINT)
            and number in (None, found)
            and CRC.unpack_from(view, start + HEAD.size)[0] == zlib.crc32(head)
            and len(payload) == size
            and zlib.crc32(payload) == crc
        )
        parts = _decode_payload(payload, kind, dtypes) if good else None
        if parts is None:
            return
        start, number = body + size, found + 1
        yield Record(kind, found, *parts, start)


def is_torn(tail: bytes) -> bool:
    """Whether what follows the last good record can be one cut short, rather than a damaged one."""
    if len(tail) < HEADER_BYTES:
        return True
    head = tail[: HEAD.size]
    magic, _, _, size, _ = HEAD.unpack(head)
    whole: bool = magic == MAGIC and CRC.unpack_from(tail, HEAD.size)[0] == zlib.crc32(head)
    return whole and len(tail) < HEADER_BYTES + size
