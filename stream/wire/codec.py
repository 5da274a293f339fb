"""Codec: messages as bytes, and how to read them safely from anyone.

A message is ZeroMQ multipart `[topic, JSON header, raw little-endian arrays...]`. Every header
holds `format`, `run` (id), `epoch` (restarts of the publisher within the run), `seq`, `head`
(the next event's `seq`) and `arrays`, a list of `{"name", "dtype" (numpy's dtype.descr),
"shape"}`. JSON has no NaN: unknown numbers are null. `docs/protocol.md` says what each topic and
request means, and has clients that need ZeroMQ, JSON and NumPy, and nothing of ours.
"""

from __future__ import annotations

import ipaddress
import json
import math
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache as cache
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from livespt.stream.errors import WireError
from livespt.stream.types import FORMAT

ENDPOINT = "tcp://127.0.0.1:5570"
TOPICS = ("start", "update", "event", "image", "status", "heartbeat", "stop", "snapshot", "since")
REQUESTS = ("snapshot", "since", "bye")
MAX_HEADER = 1 << 20  # bytes
MAX_BYTES = 1 << 28  # of all arrays of a message
MAX_ARRAYS = 8
MAX_FIELDS = 64
MAX_SEQ = 1 << 62

_JSON = json.JSONEncoder(allow_nan=False)
_NAME = re.compile(r"\w{1,64}")
_SCALAR = re.compile(r"\|[biu]1|<[iuf][248]", re.ASCII)  # never object, never big-endian


class Message(NamedTuple):
    """One message, checked; arrays are read-only views of the bytes received."""

    topic: str
    header: dict[str, Any]
    arrays: dict[str, NDArray[Any]]


class Request(NamedTuple):
    """What a subscriber asks the ROUTER for."""

    topic: str
    seq: int = 0
    to: int = MAX_SEQ


def address(endpoint: str) -> tuple[str, int]:
    """Host and port of `tcp://HOST:PORT`; the ROUTER listens one port higher."""
    found = re.fullmatch(r"tcp://([\w.-]+):(\d{1,5})", endpoint, re.ASCII)
    if not found or int(found[2]) > 65534:
        raise WireError(f"{endpoint!r} is no endpoint: write it like {ENDPOINT}")
    return ("127.0.0.1" if found[1] == "localhost" else found[1]), int(found[2])


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`; a name other than localhost counts as not."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def encode(
    topic: str, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]] | None = None
) -> list[bytes]:
    """Parts of a message; `header` needs all keys but `format` and `arrays`.

    Raises
    ------
    WireError
        Something that JSON cannot say, an array of objects, or too large for one message.
    """
    described, parts = [], []
    for name, array in (arrays or {}).items():
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        if little.nbytes > MAX_BYTES:
            raise WireError(f"{name} has {little.nbytes} bytes: {MAX_BYTES} at most")
        described.append({"name": name, "dtype": _descr(little.dtype), "shape": little.shape})
        parts.append(little.tobytes())
    try:
        text = _JSON.encode({"format": FORMAT, **header, "arrays": described})
    except (TypeError, ValueError) as error:
        raise WireError(f"the header of {topic} cannot be written as JSON: {error}") from error
    if len(text) > MAX_HEADER:
        raise WireError(f"the header of {topic} has {len(text)} bytes: {MAX_HEADER} at most")
    return [topic.encode(), text.encode(), *parts]


def decode(parts: Sequence[bytes]) -> Message:
    """Read a message from anyone: what comes back is checked, everything else is a WireError."""
    if not 2 <= len(parts) <= 2 + MAX_ARRAYS:
        raise WireError(f"a message of {len(parts)} parts: topic, header and arrays expected")
    topic = _topic(parts[0], TOPICS)
    header = _header(parts[1])
    described = header.get("arrays")
    if not isinstance(described, list) or len(described) != len(parts) - 2:
        raise WireError(f"{topic}: the header does not describe the {len(parts) - 2} arrays sent")
    if not isinstance(header.get("run"), str):
        raise WireError(f"{topic}: the header names no run")
    for key in ("epoch", "seq", "head"):
        integer(header, key, 0, MAX_SEQ)
    arrays: dict[str, NDArray[Any]] = {}
    for described_one, raw in zip(described, parts[2:], strict=True):
        name, array = _array(described_one, raw)
        if name in arrays:
            raise WireError(f"{topic}: two arrays are called {name!r}")
        arrays[name] = array
    return Message(topic, header, arrays)


def encode_request(request: Request) -> list[bytes]:
    """Parts of a request to the ROUTER."""
    header = {"format": FORMAT, "seq": request.seq, "to": request.to}
    return [request.topic.encode(), json.dumps(header).encode()]


def decode_request(parts: Sequence[bytes]) -> Request:
    """Read a request from anyone; everything but a proper one is a WireError."""
    if len(parts) != 2:
        raise WireError(f"a request of {len(parts)} parts: topic and header expected")
    header = {"seq": 0, "to": MAX_SEQ, **_header(parts[1])}
    return Request(
        _topic(parts[0], REQUESTS), *(integer(header, key, 0, MAX_SEQ) for key in ("seq", "to"))
    )


def integer(header: Mapping[str, Any], key: str, low: int, high: int) -> int:
    """Header field `key`, a whole number in [low, high]."""
    value = header.get(key)
    if type(value) is not int or not low <= value <= high:
        raise WireError(f"header field {key!r} is {seen(value)}: a whole number expected")
    return value


def seen(value: object) -> str:
    """A received value for an error line: short, and safe to print however deeply it nests."""
    return type(value).__name__ if isinstance(value, dict | list) else f"{value!r:.40}"


def _topic(part: bytes, known: Sequence[str]) -> str:
    for topic in known:
        if part == topic.encode():
            return topic
    raise WireError(f"topic {bytes(part[:20])!r} is none of {', '.join(known)}")


def _no_constant(text: str) -> NoReturn:
    raise WireError(f"{text} is not JSON: null stands for an unknown number")


def _header(part: bytes) -> dict[str, Any]:
    if len(part) > MAX_HEADER:
        raise WireError(f"a header of {len(part)} bytes: {MAX_HEADER} at most")
    try:
        header = json.loads(part, parse_constant=_no_constant)
    except WireError:
        raise
    except (ValueError, RecursionError) as error:
        raise WireError(f"the header is not JSON: {error}") from error
    if not isinstance(header, dict):
        raise WireError("the header is no JSON object")
    if type(header.get("format")) is not int or header["format"] != FORMAT:
        other = seen(header.get("format"))
        raise WireError(f"wire format {other}, this livespt speaks {FORMAT}: use one version")
    return header


def _dtype(descr: object) -> np.dtype[Any]:
    """dtype.descr that came through JSON."""
    if not isinstance(descr, list) or not 1 <= len(descr) <= MAX_FIELDS:
        raise WireError("an array's dtype is no list of fields")
    try:
        return _checked(tuple((name, kind) for name, kind in descr))
    except (TypeError, ValueError) as error:
        raise WireError(f"an array's dtype cannot be used: {error}") from error


@cache(maxsize=64)
def _checked(fields: tuple[tuple[str, str], ...]) -> np.dtype[Any]:
    """A packed dtype of little-endian numbers; never objects."""
    for name, kind in fields:
        if not isinstance(name, str) or not isinstance(kind, str) or not _SCALAR.fullmatch(kind):
            raise WireError(f"field {seen(name)} of type {seen(kind)}: little-endian numbers only")
    if len(fields) == 1 and fields[0][0] == "":
        return np.dtype(fields[0][1])
    names = {name for name, _ in fields if _NAME.fullmatch(name)}
    if len(names) != len(fields):
        raise WireError("an array's fields need names, each its own")
    return np.dtype(list(fields))


@cache(maxsize=64)
def _descr(dtype: np.dtype[Any]) -> list[Any]:
    """dtype.descr, checked; computing it takes longer than sending a message."""
    descr: list[Any] = dtype.descr
    if any(len(entry) != 2 for entry in descr):
        raise WireError(f"{dtype} has fields within fields, which the wire does not carry")
    _checked(tuple(descr))
    return descr


def _array(described: object, raw: bytes) -> tuple[str, NDArray[Any]]:
    if not isinstance(described, dict) or not isinstance(described.get("name"), str):
        raise WireError("an array is not described by name, dtype and shape")
    name, shape = described["name"], described.get("shape")
    dtype = _dtype(described.get("dtype"))
    if not isinstance(shape, list) or not 1 <= len(shape) <= 4:
        raise WireError(f"{seen(name)}: 1 to 4 axes expected")
    if any(type(n) is not int or not 0 <= n <= MAX_BYTES for n in shape):
        raise WireError(f"{seen(name)}: a shape of {len(shape)} axes is impossible")
    if math.prod(max(n, 1) for n in shape) * dtype.itemsize > MAX_BYTES:
        raise WireError(f"{seen(name)}: shape {shape} exceeds {MAX_BYTES} bytes")
    if math.prod(shape) * dtype.itemsize != len(raw):
        raise WireError(f"{seen(name)}: {len(raw)} bytes do not fit shape {shape}")
    return name, np.frombuffer(raw, dtype).reshape(shape)
