"""Payloads: the vocabulary's values as header fields and tables, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.stream.descriptions import COLUMNS, PUBLISHED, completed, described, fills, fitted
from livespt.stream.errors import WireError
from livespt.stream.types import (
    EVENT,
    FORMAT,
    KINDS,
    SPOT,
    STATE,
    Frame,
    Start,
    Stop,
    Timings,
    Update,
)
from livespt.stream.wire.codec import MAX_SEQ, Message, integer, seen


class Status(NamedTuple):
    """An operational notice: disk full, restart, losses."""

    seq: int
    kind: str
    frame: int
    text: str


def finite(value: float) -> float | None:
    """A number as JSON says it; None where it is not finite."""
    return float(value) if math.isfinite(value) else None


def event_fields(row: np.void) -> dict[str, Any]:
    """One `EVENT` as JSON says it: kind by name, shortest decimals of a float32, None for NaN."""
    values: dict[str, Any] = dict(zip(row.dtype.names or (), row.item(), strict=True))
    values["kind"] = KINDS[values["kind"]]
    for name, value in values.items():
        if isinstance(value, float):
            values[name] = float(str(row[name])) if math.isfinite(value) else None
    return values


def update_fields(update: Update) -> dict[str, Any]:
    """Header fields of an update."""
    return {
        "number": update.number,
        "frame": update.t,
        "channel": update.channel,
        "position": update.position,
        "time_s": finite(update.time_s),
        "lost": update.lost,
        "degraded": update.degraded,
        "level": update.level,
        "quality": update.quality,
        "drift": None if update.drift is None else list(update.drift),
        "timings": {name: finite(value) for name, value in update.timings._asdict().items()},
    }


def image_fields(frame: Frame) -> dict[str, Any]:
    """Header fields of an image."""
    return {
        "number": frame.number,
        "frame": frame.t,
        "channel": frame.channel,
        "position": frame.position,
        "time_s": finite(frame.time_s),
        "clock": frame.clock,
    }


def read_update(message: Message) -> Update:
    """The update of an `update` message, or the last one in a `snapshot` (which has no events)."""
    header = message.header
    timings = header.get("timings")
    if not isinstance(timings, dict):
        raise WireError("update: no timings")
    return Update(
        **_place(header),
        lost=integer(header, "lost", 0, MAX_SEQ),
        spots=table(message, "spots", SPOT),
        states=table(message, "states", STATE),
        events=(
            np.empty(0, EVENT) if message.topic == "snapshot" else table(message, "events", EVENT)
        ),
        timings=Timings(*(_real(timings, name) for name in Timings._fields)),
        degraded=integer(header, "degraded", 0, MAX_SEQ) if "degraded" in header else 0,
        level=integer(header, "level", 0, 255) if "level" in header else 0,
        quality=integer(header, "quality", 0, 255) if "quality" in header else 0,
        drift=_drift(header),
    )


def read_image(message: Message) -> Frame:
    """The frame of an `image` message."""
    image = message.arrays.get("image")
    if image is None or image.ndim not in (2, 3) or image.dtype.str not in ("|u1", "<u2", "<f4"):
        raise WireError("image: no (y, x) or (z, y, x) array of uint8, uint16 or float32")
    clock = integer(message.header, "clock", 0, 255)
    return Frame(**_place(message.header), image=image, clock=clock)


def read_status(message: Message) -> Status:
    """The notice of a `status` message."""
    header = message.header
    kind, text = header.get("kind"), header.get("text")
    if not isinstance(kind, str) or not isinstance(text, str):
        raise WireError("status: kind and text expected")
    return Status(header["seq"], kind, integer(header, "frame", -1, MAX_SEQ), text)


def first_word(start: Start) -> dict[str, Any]:
    """Header fields of a `start`: the first word, and what the columns of the tables hold."""
    return {"start": plain(start), "columns": {name: described(name) for name in PUBLISHED}}


def table(message: Message, name: str, ours: np.dtype[np.void]) -> NDArray[np.void]:
    """Array `name` of a message as a table with the fields `ours`, then those unknown here.

    Fields that a publisher of another version does not send are filled (descriptions.py).

    Raises
    ------
    WireError
        There is no such table, or it lacks a field that every such table has.
    """
    array = message.arrays.get(name)
    reason = f"{message.topic}: no table of {name} as format {FORMAT} has it"
    if array is None or array.ndim != 1 or array.dtype.names is None:
        raise WireError(reason)
    if array.dtype == ours:
        return array
    known = set(ours.names or ()) & set(array.dtype.names)
    if any(array.dtype[field] != ours[field] for field in known):
        raise WireError(reason)
    try:
        full = completed(array.dtype, ours, name)
    except ValueError as error:
        raise WireError(f"{message.topic}: {error}") from error
    return fitted(array, full, fills(COLUMNS[name]))


def plain(record: Start | Stop) -> dict[str, Any]:
    """A `Start` or `Stop` as JSON says it; NumPy scalars become numbers, paths text."""
    simple = _simple(asdict(record))
    assert isinstance(simple, dict)
    return simple


def read_start(value: object) -> Start:
    """The `Start` that `plain` wrote."""
    return Start(**_record(Start, value))


def read_stop(value: object) -> Stop:
    """The `Stop` that `plain` wrote."""
    return Stop(**_record(Stop, value))


def read_sent(message: Message) -> tuple[int, ...]:
    """How many updates, images and notices there were when a heartbeat or stop was sent."""
    sent = message.header.get("sent")
    if not isinstance(sent, dict):
        raise WireError(f"{message.topic} does not say how much was sent")
    return tuple(integer(sent, topic, 0, MAX_SEQ) for topic in ("update", "image", "status"))


def _real(header: Mapping[str, Any], key: str) -> float:
    value = header.get(key)
    if value is None:
        return math.nan
    if type(value) not in (int, float) or abs(value) > 1e300:
        raise WireError(f"header field {key!r} is {seen(value)}: a number or null expected")
    return float(value)


def _drift(header: Mapping[str, Any]) -> tuple[float, float] | None:
    """Drift y, x of an update; None where a publisher does not tell it."""
    given = header.get("drift")
    if given is None:
        return None
    if not isinstance(given, list) or len(given) != 2 or None in given:
        raise WireError(f"header field 'drift' is {seen(given)}: two numbers or null expected")
    pair = dict(zip("yx", given, strict=True))
    return _real(pair, "y"), _real(pair, "x")


def _place(header: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "number": integer(header, "number", 0, MAX_SEQ),
        "t": integer(header, "frame", 0, MAX_SEQ),
        "channel": integer(header, "channel", 0, 1 << 15),
        "position": integer(header, "position", 0, 1 << 15),
        "time_s": _real(header, "time_s"),
    }


def _simple(value: object) -> object:
    if isinstance(value, dict):
        return {str(key): _simple(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_simple(item) for item in value]
    if isinstance(value, np.generic | np.ndarray):
        return _simple(value.tolist())
    if isinstance(value, float):
        return finite(value)
    return value if isinstance(value, str | int | None) else str(value)


def _record(kind: type[Start] | type[Stop], value: object) -> dict[str, Any]:
    """Checked constructor arguments; keys that this version does not know are left out."""
    if not isinstance(value, dict):
        raise WireError(f"{kind.__name__} is no JSON object")
    arguments: dict[str, Any] = {}
    for item in fields(kind):
        if item.name not in value:
            if item.default is MISSING and item.default_factory is MISSING:
                raise WireError(f"{kind.__name__} has no {item.name!r}")
            continue
        given, wanted, name = value[item.name], str(item.type), f"{kind.__name__}.{item.name}"
        if wanted.startswith("tuple"):
            if not isinstance(given, list) or any(type(n) is not int for n in given):
                raise WireError(f"{name} is {seen(given)}: whole numbers expected")
            given = tuple(given)
        elif not _fits(given, wanted):
            raise WireError(f"{name} is {seen(given)}: {wanted} expected")
        arguments[item.name] = given
    return arguments


def _fits(value: object, wanted: str) -> bool:
    if wanted == "float | None":
        return value is None or type(value) in (int, float)
    if wanted.startswith("dict"):
        return isinstance(value, dict)
    return type(value).__name__ == wanted
