"""Floor: what a frame must cost on this machine at least, by bytes and arithmetic alone.

The bytes that a job must read and write, at the speed of a memory copy, and the floating-point
operations of its networks, at the speed of the runtime's own float32 matrix product on one thread.
How many times the floor a job costs says how much there is to win. A network of 8-bit integers may
cost less.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.models.runtime.session import shipped
from livespt.stream.types import SPOT, STATE
from livespt.tools.bench.rows import Row

COPY_BYTES = 64 << 20  # more than processors keep near
SIDE = 1024  # of the matrices
TRIES = 12
PICTURE = (760, 1280, 3)  # of the overlay
TRACK_ROWS = 16  # tracks that the networks are tried with


class Machine(NamedTuple):
    """What this machine does at best, one thread."""

    copy_bytes_per_s: float
    flops: float  # floating-point operations a second


class Work(NamedTuple):
    """What a frame takes at least."""

    read_write: float  # bytes copied
    flop: float

    def ms(self, machine: Machine) -> float:
        """Milliseconds on this machine."""
        return 1e3 * (self.read_write / machine.copy_bytes_per_s + self.flop / machine.flops)


def machine() -> Machine:
    """Measure the copy and the matrix product; takes about a second."""
    source = np.ones(COPY_BYTES, np.uint8)
    target = np.empty_like(source)
    copied_s = _best(lambda: np.copyto(target, source))
    session = _session(matrix_product(SIDE))
    square = np.ones((SIDE, SIDE), np.float32)
    product_s = _best(lambda: session.run(None, {"a": square, "b": square}))
    return Machine(COPY_BYTES / copied_s, 2 * SIDE**3 / product_s)


def work(row: Row) -> Work:
    """What a frame of a row takes at least, with the shipped networks."""
    image = 2.0 * row.side**2
    if row.job == "linker":
        return Work(row.n * (2 * 8 + 8), 0.0)  # two coordinates in, an id out
    if row.job == "overlay":
        return Work(image + prod(PICTURE), 0.0)
    if row.job == "localizer":
        return Work(image + row.n * SPOT.itemsize, _localizer_flop(row.side))
    tracks = _track_work(row.n)
    if row.job == "states":
        return tracks
    stored = 2 * image + row.n * SPOT.itemsize  # read, and stored
    return Work(stored + tracks.read_write, _localizer_flop(row.side) + tracks.flop)


def _localizer_flop(side: int) -> float:
    return _profiled(shipped("fast"), {"frame": np.zeros((side, side), np.uint16)})[0]


def _track_work(n: int) -> Work:
    """Both networks read each track once as it is and once as it was, and its rows are written."""
    flop = moved = 0.0
    for name in ("segmenter", "uncoating"):
        path = shipped(name)
        feed = {
            node.name: np.zeros(
                [TRACK_ROWS, *node.shape[1:]], np.int64 if "int" in node.type else np.float32
            )
            for node in _session(path.read_bytes()).get_inputs()
        }
        counted, crossed = _profiled(path, feed)
        flop, moved = flop + counted / TRACK_ROWS, moved + crossed / TRACK_ROWS
    return Work(n * (moved + 2 * STATE.itemsize), n * flop)


def _profiled(path: Path, feed: dict[str, NDArray[Any]]) -> tuple[float, float]:
    """Operations of convolutions and matrix products in one run, and bytes in and out of it.

    The runtime's own record of each node's shapes is read, with its optimizer off: nodes then are
    those of the file.
    """
    import onnxruntime

    options = _options()
    options.enable_profiling = True
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.disable_prepacking", "1")  # weights keep their shapes
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = _session(path.read_bytes(), options)
        answers = session.run(None, feed)
        events = json.loads(Path(session.end_profiling()).read_text())
    moved = sum(array.nbytes for array in [*feed.values(), *answers])
    nodes = [event["args"] for event in events if "op_name" in event.get("args", {})]
    return float(sum(map(node_flop, nodes))), float(moved)


def node_flop(node: dict[str, Any]) -> int:
    """Operations of one node, a multiplication and an addition being two."""
    kind = node["op_name"]
    if kind not in ("Conv", "MatMul", "Gemm"):
        return 0
    shapes = [next(iter(shape.values())) for shape in node["input_type_shape"]]
    out = next(iter(node["output_type_shape"][0].values()))
    # a convolution sums over the weights of one output channel, a product over a row
    terms = prod(shapes[1][1:]) if kind == "Conv" else shapes[0][-1]
    return int(2 * prod(out) * terms)


def _session(content: bytes, options: Any = None) -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(
        content, options or _options(), providers=["CPUExecutionProvider"]
    )


def _options() -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return options


def _best(call: Callable[[], Any]) -> float:
    """Least seconds of a call, of this thread's own time."""
    took = []
    for _ in range(TRIES):
        begin = time.thread_time()
        call()
        took.append(time.thread_time() - begin)
    return min(took)


def matrix_product(side: int) -> bytes:
    """An ONNX file of one node, `c = a b`, of square float32 matrices."""
    node = _field(1, b"a") + _field(1, b"b") + _field(2, b"c") + _field(4, b"MatMul")
    dim = _field(1, _number(1, side))
    tensor = _number(1, 1) + _field(2, dim + dim)  # 1: float32
    values = [_field(1, name) + _field(2, _field(1, tensor)) for name in (b"a", b"b", b"c")]
    graph = _field(1, node) + _field(2, b"product")
    graph += _field(11, values[0]) + _field(11, values[1]) + _field(12, values[2])
    return _number(1, 8) + _field(8, _number(2, 17)) + _field(7, graph)  # versions, then the graph


def _field(number: int, content: bytes) -> bytes:
    """A protocol buffer's field that has a length (numbers as in onnx.proto3)."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    low = value & 0x7F
    return bytes([low]) if value < 128 else bytes([low | 0x80]) + _varint(value >> 7)
