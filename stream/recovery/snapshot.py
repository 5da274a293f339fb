"""Snapshot: all that an analyzer remembers between frames (`object_state`), as bytes, and back.

    data = take(analyzer)                   # after any frame
    restore(compose(...).analyzer, data)    # in another process, with the same settings and models
    frame_of(data)                          # the last frame it has seen

Restoring fills a graph of objects that is there already: the bytes name no class and no dtype to
make, only entries that must exist, with this dtype and shape. What the objects were made with
(settings, SHA-256 of models) is stored too and must be the same.

    magic (8), bytes of the head (4), head (JSON), tables as they lie in memory, CRC-32 (4)
"""

from __future__ import annotations

import json
import math
import struct
import types
import zlib
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.stream.analyzer import Analyzer
from livespt.stream.errors import InputError
from livespt.stream.link.linker import Linker
from livespt.stream.recovery.object_state import NUMBERS, StateEntry, constants, plain, walk_state
from livespt.stream.types import SPOT, Frame

MAGIC = b"livesnp1"  # counts up when what is remembered comes to mean something else
MAX_BYTES = 1 << 32
_START = struct.Struct("<8sI")
_HEAD: dict[str, Any] = {
    "last": (list, types.NoneType),  # number, t, channel, position, time_s of the last frame
    "lanes": list,  # channel, position, ndim of each
    "given": dict,  # value by path
    "numbers": dict,  # value by path
    "tables": list,  # path, dtype and shape of each, in the order of the body
}
_MIN_LANE_BYTES = 1024
_MAX_INT = 1 << 62  # no integer of a state is as large


class Copy(NamedTuple):
    """Memory as it was after a frame; no other changes it."""

    head: dict[str, Any]
    body: NDArray[np.uint8]  # at least `size` bytes
    size: int

    def parts(self) -> tuple[bytes, memoryview, bytes]:
        """What to write to a file, in this order. Any thread may ask; it takes time, as `copy`."""
        head = json.dumps(self.head, separators=(",", ":")).encode()
        head = _START.pack(MAGIC, len(head)) + head
        body = self.body[: self.size].data
        return head, body, struct.pack("<I", zlib.crc32(body, zlib.crc32(head)))


def take(analyzer: Analyzer) -> bytes:
    """Everything that `analyzer` remembers."""
    return b"".join(copy(analyzer).parts())


def copy(analyzer: Analyzer, spent: Copy | None = None) -> Copy:
    """The half of `take` that must happen between two frames.

    Parameters
    ----------
    analyzer
    spent
        An earlier copy that nobody needs any more: its memory is used again, which takes half the
        time that new memory takes.
    """
    found = list(walk_state(analyzer))
    remembered = [entry for entry in found if not entry.is_constant]
    tables = [
        (entry.path, _table(entry.value))
        for entry in remembered
        if not isinstance(entry.value, NUMBERS)
    ]
    last = analyzer._last
    head = {
        "last": None if last is None else [*map(int, last[:4]), float(last.time_s)],
        "lanes": [[*map(int, key), lane.linker.ndim] for key, lane in analyzer._lanes.items()],
        "given": constants(found),
        "numbers": {
            entry.path: plain(entry.value)
            for entry in remembered
            if isinstance(entry.value, NUMBERS)
        },
        "tables": [[path, _code(table), list(table.shape)] for path, table in tables],
    }
    size = sum(table.nbytes for _, table in tables)
    reuse = spent is not None and len(spent.body) >= size
    body = spent.body if spent is not None and reuse else np.empty(size + size // 8, np.uint8)
    at = 0
    for _, table in tables:
        flat = np.ascontiguousarray(table).reshape(-1).view(np.uint8)
        body[at : at + len(flat)] = flat
        at += len(flat)
    return Copy(head, body, size)


def frame_of(data: bytes) -> int:
    """Number of the last frame that the snapshot's analyzer had seen; -1: none.

    Raises
    ------
    InputError
        Bytes that are not a whole snapshot.
    """
    last = _parsed(data)[0]["last"]
    return -1 if last is None else int(last[0])


def restore(analyzer: Analyzer, data: bytes) -> None:
    """Give an analyzer that has seen nothing the memory of the one of which `data` was taken.

    It goes on as that one would. Where refused, it is as it was.

    Raises
    ------
    InputError
        Bytes that are not a whole snapshot; one of other settings or models, or of a version that
        remembers other things; an analyzer that has seen frames.
    """
    if analyzer._lanes or analyzer._last is not None:
        raise InputError("this analyzer has seen frames: restore the memory into a new one")
    head, body = _parsed(data)
    try:
        if head["last"] is not None:
            number, t, channel, position, time_s = head["last"]
            analyzer._last = Frame(number, t, channel, position, time_s, np.empty((0, 0), np.uint8))
        for channel, position, ndim in head["lanes"]:
            analyzer._lane(channel, position, ndim)
        found = list(walk_state(analyzer))
        _compare(head["given"], constants(found))
        remembered = [entry for entry in found if not entry.is_constant]
        values = _values(head, body, remembered)
        _check_tables(values)
    except InputError:
        analyzer._last = None
        analyzer._lanes.clear()
        raise
    for entry in remembered:
        entry.holder[entry.key] = values[entry.path]


def _table(value: NDArray[Any] | Linker) -> NDArray[Any]:
    return np.frombuffer(value.snapshot(), np.uint8) if isinstance(value, Linker) else value


def _code(table: NDArray[Any]) -> str:
    """A dtype in words, fields included."""
    return str(table.dtype.descr) if table.dtype.names else table.dtype.str


def _refused(why: str) -> InputError:
    return InputError(
        f"the snapshot of the analyzer's memory {why}; analyze from the first frame instead"
    )


def _parsed(data: bytes) -> tuple[dict[str, Any], memoryview]:
    """Head and body of bytes that are a whole snapshot; whether it fits is left to see."""
    if not _START.size + 4 <= len(data) <= MAX_BYTES or data[:8] != MAGIC:
        raise _refused("is none, or of another version of livespt")
    view = memoryview(data)
    if struct.pack("<I", zlib.crc32(view[:-4])) != view[-4:]:
        raise _refused("is damaged: its sum is not that of its bytes")
    end = _START.size + _START.unpack_from(data)[1]
    body = view[end:-4]
    try:
        head = json.loads(bytes(view[_START.size : end]))
    except (ValueError, RecursionError) as error:
        raise _refused("is damaged: its head cannot be read") from error
    is_sound = type(head) is dict and _sound(head)
    if not is_sound or len(body) < _MIN_LANE_BYTES * len(head["lanes"]):
        raise _refused("is damaged: its head makes no sense")
    return head, body


def _sound(head: dict[str, Any]) -> bool:
    """Whether all words of a head have their types, and whole numbers their range."""
    if head.keys() != _HEAD.keys() or not all(isinstance(head[k], t) for k, t in _HEAD.items()):
        return False
    most = np.iinfo(SPOT["channel"]).max
    last = head["last"] or [0, 0, 0, 0, 0.0]
    if not _kinds(last, [int] * 4 + [float]) or not all(abs(n) < _MAX_INT for n in last[:4]):
        return False
    lanes, tables = head["lanes"], head["tables"]
    if not all(_kinds(lane, [int] * 3) and lane[2] in (2, 3) for lane in lanes):
        return False
    if not all(0 <= n <= most for lane in lanes for n in lane[:2]):
        return False
    if len({tuple(lane[:2]) for lane in lanes}) < len(lanes):
        return False
    if not all(_kinds(table, [str, str, list]) for table in tables):
        return False
    return all(type(n) is int and 0 <= n <= MAX_BYTES for _, _, shape in tables for n in shape)


def _kinds(row: Any, kinds: list[type]) -> bool:
    return type(row) is list and [type(value) for value in row] == kinds


def _compare(theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    """Refuse the state of objects that were made with something else."""
    for path in (*ours, *theirs):
        here, there = ours.get(path, "nothing"), theirs.get(path, "nothing")
        if here != there:
            raise _refused(f"is of an analyzer with {path} = {there}, this one has {here}")


def _values(head: dict[str, Any], body: memoryview, found: list[StateEntry]) -> dict[str, Any]:
    """The value of each entry, by path."""
    numbers = {entry.path: entry.value for entry in found if isinstance(entry.value, NUMBERS)}
    tables = [entry for entry in found if entry.path not in numbers]
    expected, stored = [*numbers, *(entry.path for entry in tables)], [*head["numbers"]]
    stored += [path for path, _, _ in head["tables"]]
    if expected != stored:
        other = sorted(set(expected) ^ set(stored))[:1] or ["another order"]
        raise _refused(f"is of another version of livespt: {other[0]} is not in both")
    values = dict(head["numbers"])
    for path, value in values.items():
        whole = type(value) is not int or abs(value) < _MAX_INT
        if type(value) is not type(plain(numbers[path])) or not whole:
            raise _refused(f"is damaged: it has {value!r} for {path}")
    rows: dict[tuple[object, ...], list[int]] = {}
    at = 0
    for entry, (path, code, shape) in zip(tables, head["tables"], strict=True):
        fresh = entry.value
        if isinstance(fresh, Linker):
            values[path] = _linker(fresh, bytes(body[at : at + sum(shape)]))
            at += sum(shape)
            continue
        # tables of one object that begin with as many rows have as many for ever
        alike = shape[:1] == rows.setdefault((entry.owner, fresh.shape[:1]), shape[:1])
        fits = len(shape) == fresh.ndim and shape[1:] == list(fresh.shape[1:])
        if code != _code(fresh) or not fits or shape[:1] < list(fresh.shape[:1]):
            raise _refused(
                f"is of other models or another version: {path} is {code} {shape}, not "
                f"{_code(fresh)} {list(fresh.shape)}"
            )
        size = math.prod(shape) * fresh.dtype.itemsize
        if at + size > len(body) or not (alike or fresh.shape[:1] == (0,)):
            raise _refused(f"is damaged: {path} cannot have {shape[0]} rows")
        values[path] = np.frombuffer(body[at : at + size], fresh.dtype).reshape(shape).copy()
        at += size
    if at != len(body):
        raise _refused("is damaged: it goes on behind its last table")
    return values


def _linker(fresh: Linker, data: bytes) -> Linker:
    linker = Linker.restore(data)
    for name in Linker.CONSTANTS:
        if getattr(linker, name) != getattr(fresh, name):
            raise _refused(f"is damaged: its linker has another {name}")
    return linker


def _check_tables(values: dict[str, Any]) -> None:
    """Refuse tables of a lane that do not fit each other: compiled loops would trust them."""
    for path, linker in values.items():
        if isinstance(linker, Linker):
            states = f"{path.removesuffix('linker')}states."
            count, unsettled = values[f"{states}windows.count"], values[f"{states}_open"]
            depth = values[f"{states}windows.frame"].shape[1]
            good = linker.slots <= len(count) == len(unsettled) == len(values[f"{states}_track"])
            if not good or (count < 0).any() or (unsettled < 0).any() or (unsettled > depth).any():
                raise _refused(f"is damaged: {states} does not fit the linker's tracks")
