"""Check of the bytes of an ONNX file before the runtime loads them.

The runtime loads tensors from other files ("external data"), even from the current folder if it is
given bytes. Operators of other domains are code of other libraries. The SHA-256 of the file covers
neither, so both are refused. The check parses only the structure of the format, protocol buffers: a
sequence of fields, each with a number and a wire type. Field numbers are those of onnx.proto3.
"""

from __future__ import annotations

from collections.abc import Iterator

from livespt.stream.errors import ModelError

MAX_BYTES = 1 << 30  # size of a model file; the largest shipped one has 0.8 MB
OPSETS = range(7, 26)  # accepted versions of the operator set of ONNX
DEPTH = 32  # greatest depth of nested messages
VARINT, WIDE, LENGTH, NARROW = 0, 1, 2, 5  # wire types

# messages that may contain a tensor or a node: name -> {field: contained message}
INSIDE: dict[str, dict[int, str]] = {
    "model": {7: "graph", 8: "opset", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 9: "opset", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
DOMAINS = (b"", b"ai.onnx")


def check_file(content: bytes) -> None:
    """Refuse a model that needs other files, or operators that are not those of ONNX.

    Raises
    ------
    ModelError
        It is not an ONNX file, needs an unsupported operator set, uses operators of another domain
        or external data.
    """
    opsets: list[int] = []
    _check_message("model", memoryview(content), opsets, 0)
    if not opsets:
        raise ModelError("it is not an ONNX model: it names no operator set")
    for version in opsets:
        if version not in OPSETS:
            raise ModelError(
                f"it needs operator set {version}, livespt supports {OPSETS.start} to "
                f"{OPSETS.stop - 1}: export it again"
            )


def _check_message(kind: str, data: memoryview, opsets: list[int], depth: int) -> None:
    """Check a message and, recursively, the messages in it."""
    if depth > DEPTH:
        raise ModelError("its graphs are nested too deep")
    domain, version = b"", 0
    for field, value in _fields(data):
        inside = INSIDE.get(kind, {}).get(field)
        if inside is not None:
            if isinstance(value, int):
                raise ModelError("it is not an ONNX model: it has a number in place of a message")
            _check_message(inside, value, opsets, depth + 1)
        elif kind == "tensor" and (field == 13 or (field == 14 and value != 0)):
            raise ModelError("parts of it are in other files: export it as one file")
        elif kind == "opset" and field == 1 and not isinstance(value, int):
            domain = bytes(value)
        elif kind == "opset" and field == 2 and isinstance(value, int):
            version = value
        elif kind == "node" and field == 7 and not isinstance(value, int):
            _check_domain(bytes(value))
    if kind == "opset":
        _check_domain(domain)
        opsets.append(version)


def _check_domain(domain: bytes) -> None:
    if domain not in DOMAINS:
        raise ModelError(f"it uses operators of {domain[:40]!r}, which are not those of ONNX")


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of each field; the value is an int, or bytes if the field has a length."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        wire = key & 7
        if wire == VARINT:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if wire == LENGTH:
            size, at = _varint(data, at)
        elif wire in (WIDE, NARROW):
            size = 8 if wire == WIDE else 4
        else:
            raise ModelError("it is not an ONNX model: it has a field of an unknown wire type")
        if at + size > len(data):
            raise ModelError("it is not an ONNX model: it ends in the middle of a field")
        yield key >> 3, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """Decode a number in groups of seven bits, the lowest first; also return its end."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ModelError("it is not an ONNX model: a number in it does not end")
