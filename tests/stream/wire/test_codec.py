"""The wire: what is sent comes back, and nothing that anyone sends does harm."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from build import make_start
from livespt.stream.errors import WireError
from livespt.stream.types import EVENT, KINDS, SPOT, STATE, Frame, Stop, Timings, Update
from livespt.stream.wire import codec, payloads

COMMON: dict[str, Any] = {"run": "r", "epoch": 0, "seq": 3, "head": 7}
START = make_start((4, 6), mode="live", frame_interval_s=None)
STOP = Stop("r", "failed", "the disk is full", 10, 9, 1, 1, 50, 60, 7, 0.05)


def numbered(dtype: np.dtype[Any], n: int) -> np.ndarray:
    """A table whose every field differs, from row to row and from field to field."""
    table = np.zeros(n, dtype)
    for index, name in enumerate(dtype.names or ()):
        table[name] = (np.arange(n) + index) % 7
    return table


def an_update(n: int = 3) -> Update:
    tables = (numbered(SPOT, n), numbered(STATE, n), numbered(EVENT, n))
    return Update(12, 11, 1, 2, 0.55, 4, *tables, Timings(1.5, 2.5, 5.0), degraded=6)


def update_parts(update: Update) -> list[bytes]:
    tables = {"spots": update.spots, "states": update.states, "events": update.events}
    return codec.encode("update", COMMON | payloads.update_fields(update), tables)


@pytest.mark.parametrize(
    "array",
    [
        pytest.param(np.arange(24, dtype="<u2").reshape(4, 6), id="image"),
        pytest.param(np.arange(24, dtype="<f4").reshape(2, 3, 4)[:, ::2, ::-1], id="strided stack"),
        pytest.param(np.arange(5, dtype=">i8"), id="big-endian"),
        pytest.param(np.array([True, False]), id="bool"),
        pytest.param(np.zeros((0, 7), "u1"), id="empty"),
        pytest.param(numbered(SPOT, 4), id="spots"),
        pytest.param(numbered(EVENT, 4)[::2], id="strided events"),
        pytest.param(np.zeros(0, STATE), id="no states"),
    ],
)
def test_arrays_come_back_as_they_were(array: np.ndarray) -> None:
    got = codec.decode(codec.encode("image", COMMON, {"a": array, "b": array}))
    assert got.topic == "image"
    assert {key: got.header[key] for key in COMMON} == COMMON
    for name in ("a", "b"):
        np.testing.assert_array_equal(got.arrays[name], array)
        assert got.arrays[name].dtype == array.dtype.newbyteorder("<")
        assert got.arrays[name].shape == array.shape


@pytest.mark.parametrize("n", [0, 1, 3])
def test_an_update_comes_back(n: int) -> None:
    sent = an_update(n)
    got = payloads.read_update(codec.decode(update_parts(sent)))
    for name, value in sent._asdict().items():
        if isinstance(value, np.ndarray):
            assert getattr(got, name).tobytes() == value.tobytes(), name
        elif name != "timings":
            assert getattr(got, name) == value, name
    assert got.timings[:3] == sent.timings[:3]
    assert math.isnan(got.timings.latency_ms)


def test_a_drift_comes_back_and_may_be_unknown() -> None:
    for drift in ((0.25, -3.5), None):
        got = payloads.read_update(codec.decode(update_parts(an_update()._replace(drift=drift))))
        assert got.drift == drift
    parts = update_parts(an_update())
    header = {name: value for name, value in json.loads(parts[1]).items() if name != "drift"}
    old = [parts[0], json.dumps(header).encode(), *parts[2:]]  # of a version that knew of none
    assert payloads.read_update(codec.decode(old)).drift is None


def test_an_unknown_time_is_null_on_the_wire_and_nan_again_after() -> None:
    parts = update_parts(an_update()._replace(time_s=math.nan))
    assert json.loads(parts[1])["time_s"] is None
    assert math.isnan(payloads.read_update(codec.decode(parts)).time_s)


def test_an_image_comes_back() -> None:
    frame = Frame(5, 4, 0, 1, 0.2, np.arange(6, dtype="u1").reshape(2, 3), clock=2)
    fields = COMMON | payloads.image_fields(frame)
    got = payloads.read_image(codec.decode(codec.encode("image", fields, {"image": frame.image})))
    np.testing.assert_array_equal(got.image, frame.image)
    assert got._replace(image=None) == frame._replace(image=None)


def test_the_first_and_the_last_word_come_back() -> None:
    odd = replace(
        START,
        camera={"gain_e_per_count": np.float32(0.5), "offset": math.nan, "model": "B"},
        settings={"memory": np.int64(3), "path": PurePosixPath("a/b"), "range": (1, 2)},
    )
    plain = json.loads(json.dumps(payloads.plain(odd), allow_nan=False))
    assert payloads.read_start(plain) == replace(
        START,
        camera={"gain_e_per_count": 0.5, "offset": None, "model": "B"},
        settings={"memory": 3, "path": "a/b", "range": [1, 2]},
    )
    assert payloads.read_stop(json.loads(json.dumps(payloads.plain(STOP)))) == STOP
    assert payloads.read_stop(payloads.plain(STOP) | {"from the future": 1}) == STOP


def test_an_event_says_everything_in_its_header() -> None:
    row = np.zeros(1, EVENT)[0]
    row["seq"], row["kind"], row["x"], row["probability"] = 9, KINDS.index("uncoating"), 0.1, np.nan
    fields = payloads.event_fields(row)
    assert list(fields) == list(EVENT.names or ())
    assert fields["kind"] == "uncoating"
    assert fields["seq"] == 9 and type(fields["seq"]) is int
    assert fields["x"] == 0.1  # the shortest decimal that is this float32, not 0.10000000149
    assert fields["probability"] is None
    json.dumps(fields, allow_nan=False)


def described(**changes: object) -> list[bytes]:
    """A message with one array of two float32, described with `changes`."""
    about = {"name": "a", "dtype": [["", "<f4"]], "shape": [2]} | changes
    header = {"format": codec.FORMAT, **COMMON, "arrays": [about]}
    return [b"image", json.dumps(header).encode(), bytes(8)]


def headed(**changes: object) -> list[bytes]:
    return [
        b"stop",
        json.dumps({"format": codec.FORMAT, **COMMON, "arrays": [], **changes}).encode(),
    ]


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        pytest.param([], "0 parts", id="nothing"),
        pytest.param([b"stop"], "1 parts", id="no header"),
        pytest.param([b"stop", b"{}", *[b""] * 9], "11 parts", id="many parts"),
        pytest.param([b"rumour", b"{}"], "topic", id="unknown topic"),
        pytest.param([b"\xff\xfe", b"{}"], "topic", id="topic not text"),
        pytest.param([b"stop", b"\xff"], "not JSON", id="header not text"),
        pytest.param([b"stop", b"[" * 100_000], "not JSON", id="endless nesting"),
        pytest.param([b"stop", b"1" * 5000], "not JSON", id="endless number"),
        pytest.param([b"stop", b"[]"], "no JSON object", id="header a list"),
        pytest.param([b"stop", b'{"format": NaN}'], "NaN is not JSON", id="NaN"),
        pytest.param([b"stop", b" " * (codec.MAX_HEADER + 1)], "at most", id="large header"),
        pytest.param(headed(format=99), "wire format 99", id="other format"),
        pytest.param(headed(format=True), "wire format True", id="format not a number"),
        pytest.param(headed(run=1), "names no run", id="run not text"),
        pytest.param(headed(seq=-1), "'seq' is -1", id="negative seq"),
        pytest.param(headed(seq=1.5), "'seq' is 1.5", id="half a seq"),
        pytest.param(headed(head=10**30), "'head'", id="huge head"),
        pytest.param(headed(arrays=[{}]), "does not describe", id="array announced, not sent"),
        pytest.param(headed(arrays=None), "does not describe", id="no arrays key"),
        pytest.param(described(dtype="<f4"), "no list", id="dtype a text"),
        pytest.param(described(dtype=[["", "|O"]]), "numbers only", id="objects"),
        pytest.param(described(dtype=[["", ">f4"]]), "numbers only", id="big-endian"),
        pytest.param(described(dtype=[["", "<f4\n"]]), "numbers only", id="trailing newline"),
        pytest.param(described(dtype=[["a", "<i4"], ["a", "<i4"]]), "own", id="fields alike"),
        pytest.param(described(dtype=[["a", "<i4", [2]]]), "dtype", id="field with a shape"),
        pytest.param(described(dtype=[[["a"], "<i4"]]), "dtype", id="field name a list"),
        pytest.param(described(dtype=[["a", "<i4"]] * 65), "no list", id="many fields"),
        pytest.param(described(shape=[3]), "do not fit", id="too short"),
        pytest.param(described(shape=[1]), "do not fit", id="too long"),
        pytest.param(described(shape=[-1]), "impossible", id="negative size"),
        pytest.param(described(shape=[2.0]), "impossible", id="size not whole"),
        pytest.param(described(shape=[0, 1 << 28, 1 << 28]), "exceeds", id="huge but empty"),
        pytest.param(described(shape=[1 << 27]), "exceeds", id="huge"),
        pytest.param(described(shape=[]), "axes", id="no axes"),
        pytest.param(described(name=None), "name", id="array without a name"),
    ],
)
def test_what_is_not_a_message_is_refused(parts: list[bytes], why: str) -> None:
    with pytest.raises(WireError, match=why):
        codec.decode(parts)


@pytest.mark.parametrize(
    ("topic", "header", "arrays"),
    [
        ("image", COMMON, {"a": np.array([object()])}),
        ("image", COMMON, {"a": np.array(["text"])}),
        ("image", COMMON, {"a": np.zeros(2, [("a", "<f4", 3)])}),
        ("image", COMMON, {"a": np.broadcast_to(np.uint8(0), (codec.MAX_BYTES + 1,))}),
        ("stop", COMMON | {"x": math.nan}, {}),
        ("stop", COMMON | {"x": {1, 2}}, {}),
        ("stop", COMMON | {"x": "x" * codec.MAX_HEADER}, {}),
    ],
    ids=["objects", "text", "nested fields", "too large", "NaN", "a set", "large header"],
)
def test_what_the_wire_cannot_carry_is_not_sent(
    topic: str, header: dict[str, Any], arrays: dict[str, np.ndarray]
) -> None:
    with pytest.raises(WireError):
        codec.encode(topic, header, arrays)


@pytest.mark.parametrize(
    "change",
    [
        {"number": None},
        {"frame": -1},
        {"channel": 1 << 20},
        {"time_s": "now"},
        {"lost": 0.5},
        {"timings": None},
        {"timings": {"localize_ms": []}},
        {"drift": 1.0},
        {"drift": [0.5]},
        {"drift": [0.5, None]},
        {"drift": [0.5, "1"]},
    ],
    ids=str,
)
def test_an_update_whose_header_makes_no_sense_is_refused(change: dict[str, Any]) -> None:
    got = codec.decode(update_parts(an_update()))
    with pytest.raises(WireError):
        payloads.read_update(got._replace(header=got.header | change))


@pytest.mark.parametrize(
    "change",
    [
        {"run": None},
        {"shape": [1, "2"]},
        {"shape": 3},
        {"format": "1"},
        {"pixel_size_um": "0.1"},
        {"camera": []},
    ],
    ids=str,
)
def test_a_start_that_makes_no_sense_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(WireError):
        payloads.read_start(payloads.plain(START) | change)
    with pytest.raises(WireError, match="has no 'run'"):
        payloads.read_start({"mode": "live"})


@pytest.mark.parametrize(
    ("endpoint", "host", "port"),
    [
        ("tcp://127.0.0.1:5570", "127.0.0.1", 5570),
        ("tcp://localhost:1", "127.0.0.1", 1),
        ("tcp://scope.lab:65534", "scope.lab", 65534),
    ],
)
def test_endpoints(endpoint: str, host: str, port: int) -> None:
    assert codec.address(endpoint) == (host, port)
    assert codec.is_loopback(host) == (host == "127.0.0.1")


@pytest.mark.parametrize(
    "endpoint",
    ["127.0.0.1:5570", "tcp://127.0.0.1", "tcp://127.0.0.1:65535", "ipc://x", "tcp://a b:1", ""],
)
def test_no_endpoints(endpoint: str) -> None:
    with pytest.raises(WireError, match="no endpoint"):
        codec.address(endpoint)


# Anything may arrive: bytes, JSON of any shape, and proper messages with a few bytes changed.
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["<f4", "|O", "<u2", "a", "spots", "image"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(max_size=4) | st.sampled_from(["name", "dtype", "shape"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)
HEADERS = st.fixed_dictionaries(
    {"format": st.just(codec.FORMAT) | JSON},
    optional={
        key: JSON | st.integers(0, 9) | st.just("r")
        for key in ("run", "epoch", "seq", "head", "arrays", "frame", "number", "timings", "start")
    },
).map(lambda header: json.dumps(header).encode())
TOPIC = st.sampled_from([t.encode() for t in (*codec.TOPICS, *codec.REQUESTS)]) | st.binary(
    max_size=9
)
ANYTHING = st.lists(st.binary(max_size=40), max_size=12) | st.builds(
    lambda topic, header, rest: [topic, header, *rest],
    TOPIC,
    HEADERS | st.binary(max_size=60),
    st.lists(st.binary(max_size=16), max_size=4),
)


@st.composite
def changed(draw: st.DrawFn) -> list[bytes]:
    parts = [bytearray(part) for part in update_parts(an_update(1))]
    for _ in range(draw(st.integers(1, 4))):
        part = draw(st.sampled_from([part for part in parts if part]))
        at = draw(st.integers(0, len(part) - 1))
        part[at : at + draw(st.integers(0, 2))] = draw(st.binary(max_size=3))
        if not part:
            part += b"x"
    return [bytes(part) for part in parts]


def read_all(parts: list[bytes]) -> None:
    """Read a message in every way there is; nothing but WireError may be raised."""
    for read in (codec.decode_request, codec.decode):
        try:
            got: Any = read(parts)
        except WireError:
            continue
        if isinstance(got, codec.Message):
            for understand in (payloads.read_update, payloads.read_image, payloads.read_status):
                try:
                    understand(got)
                except WireError:
                    pass
            for word in (payloads.read_start, payloads.read_stop):
                try:
                    word(got.header.get("start"))
                except WireError:
                    pass


@settings(max_examples=400, deadline=None)
@given(ANYTHING)
def test_anything_is_read_or_refused(parts: list[bytes]) -> None:
    read_all(parts)


@settings(max_examples=400, deadline=None)
@given(changed())
def test_a_damaged_message_is_read_or_refused(parts: list[bytes]) -> None:
    read_all(parts)


@settings(max_examples=100, deadline=None)
@given(JSON)
def test_any_first_word_is_read_or_refused(value: object) -> None:
    for start in (value, payloads.plain(START) | (value if isinstance(value, dict) else {})):
        try:
            payloads.read_start(start)
        except WireError:
            pass


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_table_comes_back(data: st.DataObject) -> None:
    n = data.draw(st.integers(0, 20))
    raw = data.draw(st.binary(min_size=n * SPOT.itemsize, max_size=n * SPOT.itemsize))
    table = np.frombuffer(raw, SPOT)
    got = codec.decode(codec.encode("update", COMMON, {"spots": table}))
    assert got.arrays["spots"].tobytes() == raw
    assert got.arrays["spots"].dtype == SPOT
