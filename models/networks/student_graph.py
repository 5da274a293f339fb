"""The ONNX graph of a student network: from a raw uint16 frame to the outputs of all cells.

It is written node by node, like lodestar_graph.py, and computes the same as `Student` in
student.py, which a test compares with it. Pixels are not normalized: the responses of the first
layer, whose filters have zero sum, are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.models.networks import student
from livespt.models.networks.lodestar import LAPLACE, LEAST, NOISELESS, ROUNDING
from livespt.models.runtime.onnx_graph import Graph

OPSET, IR = 21, 10  # ONNX Runtime 1.18 and later: the first to dequantize 16 bits
FLOAT, UINT16 = 1, 4  # of onnx.TensorProto


def serialize(net: student.Student) -> bytes:
    """The `.onnx` file's content.

    The input is `frame`, uint16 (y, x), counts. The outputs are `field` (1, 3 split^2, h', w'),
    which holds dy, dx (pixels from the centre of the cell) and the logit, each for all parts of
    a cell (`interleave` of student_peaks.py rearranges them), and `noise` (), counts.
    """
    from onnx import TensorProto, checker, helper

    g = Graph()
    _noise(g)
    _layers(g, net)
    graph = helper.make_graph(
        g.nodes,
        "student",
        [helper.make_tensor_value_info("frame", TensorProto.UINT16, ["y", "x"])],
        [
            helper.make_tensor_value_info(
                "field", TensorProto.FLOAT, [1, "parts", "cells_y", "cells_x"]
            ),
            helper.make_tensor_value_info("noise", TensorProto.FLOAT, []),
        ],
        g.constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = IR
    model.producer_name, model.producer_version = "livespt", ""
    checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def _noise(g: Graph) -> None:
    """`measure_noise`: gives "noise", "local", "shared", and "scaled", the padded frame."""
    g.add("Unsqueeze", ["frame", g.constant("front", np.array([0, 1]))], "counts")
    g.add("Cast", ["counts"], "x", to=FLOAT)
    masks = np.stack([np.array(LAPLACE) / 6, np.array(student.CROSS) / 2, np.full((3, 3), 1 / 9)])
    step = [student.NOISE_STEP_PX] * 2
    g.add("Conv", ["x", g.constant("masks", masks[:, None].astype(np.float32))], "responses",
          kernel_shape=[3, 3], strides=step)  # fmt: skip
    g.add("Abs", ["responses"], "levels")
    parts = g.constant("two_and_one", np.array([2, 1]))
    g.nodes.append(_split(["levels", parts], ["both", "average"]))
    pool, box = student.NOISE_POOL, student.NOISE_BOX
    g.add("Sqrt", ["both"], "roots")
    g.add("AveragePool", ["roots"], "tiles", ceil_mode=1, count_include_pad=0,
          kernel_shape=[pool, pool], strides=[pool, pool])  # fmt: skip
    root_mean = g.constant("root_mean", np.float32(student.ROOT_MEAN))
    g.add("Mul", ["tiles", "tiles"], "tile_squares")
    g.add("Div", ["tile_squares", root_mean], "tile_levels")
    g.add("ReduceMean", ["tile_levels", g.constant("image_axes", np.array([2, 3]))], "levels_mean")
    one_each = g.constant("one_each", np.array([1, 1]))
    g.nodes.append(_split(["levels_mean", one_each], ["next_px", "cross"]))
    g.nodes.append(_split(["tiles", one_each], ["tiles_next", "tiles_cross"]))
    g.add("AveragePool", ["tiles_cross"], "wide", count_include_pad=0,
          kernel_shape=[box, box], pads=[box // 2] * 4)  # fmt: skip
    g.add("Mul", ["wide", "wide"], "squares")
    g.add("Div", ["squares", root_mean], "exact")
    g.add("Mul", ["exact", "exact"], "variance")
    rounding = g.constant("rounding_variance", np.float32(student.ROUNDING_VARIANCE))
    g.add("Add", ["variance", rounding], "whole_counts")
    g.add("Sqrt", ["whole_counts"], "around")
    g.add("ReduceMean", ["around"], "gauss", keepdims=0)
    g.nodes.append(_split(["both", one_each], ["next_levels", "cross_levels"]))
    g.add("ReduceMean", ["cross_levels"], "first", keepdims=0)
    g.add("ReduceMean", ["average"], "mean", keepdims=0)
    g.add("Mul", ["first", g.constant("noiseless", np.float32(NOISELESS))], "sharp")
    g.add("Mul", ["mean", g.constant("rounding", np.float32(ROUNDING))], "rounded")
    g.add("Sum", ["sharp", "rounded", g.constant("least", np.float32(LEAST))], "floor")
    g.add("Max", ["gauss", "floor"], "noise")
    g.constant("one", np.float32(1))
    g.add("Div", ["around", "noise"], "ratio")
    quietest = g.constant("quietest", np.float32(student.QUIETEST))
    g.add("Max", [_clearly(g, "ratio"), quietest], "heard")
    g.add("Mul", ["heard", "noise"], "local")
    g.add("Add", ["cross", "floor"], "cross_floor")
    g.add("Add", ["next_px", "floor"], "next_floor")
    g.add("Div", ["cross_floor", "next_floor"], "sharing")
    g.add("Max", ["sharing", "one"], "sharing_1")
    g.add("Pow", ["sharing_1", g.constant("power", np.float32(student.SHARED_POWER))], "shared")
    # a frame that ends within a cell is padded with the values at its edge
    pads = [0, 0, student.PADDING, student.PADDING]
    pads += [0, 0, student.PADDING + student.STRIDE - 1, student.PADDING + student.STRIDE - 1]
    g.add("Pad", ["x", g.constant("pads", np.array(pads))], "scaled", mode="edge")


def _clearly(g: Graph, source: str) -> str:
    """`clearly` of student.py."""
    lines = {}
    for side, line in (("above", student.ABOVE), ("below", student.BELOW)):
        slope, offset = (
            g.constant(f"{source}_{side}_{k}", np.float32(v)) for k, v in enumerate(line)
        )
        steep = g.add("Mul", [source, slope], f"{source}_{side}_steep")
        lines[side] = g.add("Add", [steep, offset], f"{source}_{side}")
    g.add("Min", [source, lines["above"]], f"{source}_more")
    g.add("Max", [source, lines["below"]], f"{source}_less")
    g.add("Min", [f"{source}_less", "one"], f"{source}_at_most_1")
    return g.add("Max", [f"{source}_at_most_1", f"{source}_more"], f"{source}_clear")


def _split(inputs: list[str], outputs: list[str]) -> Any:
    from onnx import helper

    return helper.make_node("Split", inputs, outputs, name=f"split_{inputs[0]}", axis=1)


def _quiet(g: Graph) -> str:
    """`quiet` of student.py for the responses "seen"."""
    g.add("Shape", ["seen"], "cells", start=2)
    g.add("Concat", [g.constant("one_map", np.array([1, 1])), "cells"], "map_size", axis=0)
    g.add("Mul", ["local", "shared"], "filtered")
    g.add("Mul", ["filtered", g.constant("unit", np.float32(student.INPUT_UNIT))], "whole")
    g.add("Reciprocal", ["whole"], "silent")
    return g.add("Resize", ["silent", "", "", "map_size"], "quiet", mode="linear")


def _layers(g: Graph, net: student.Student) -> None:
    """The network, from "scaled" to "field"."""
    trunk = [layer for layer in net.trunk if hasattr(layer, "weight")]
    g.add("Conv", ["scaled", g.constant("weight_0", _array(net.first.filters()))], "seen",
          kernel_shape=[student.KERNEL] * 2, strides=[student.STRIDE] * 2)  # fmt: skip
    g.add("Mul", ["seen", _quiet(g)], "weighed")
    g.add("Add", ["weighed", g.constant("bias_0", _array(net.bias))], "biased")
    bounds = [
        g.constant("none", np.float32(0)),
        g.constant("top", np.float32(student.MAX_ACTIVATION)),
    ]
    source = g.add("Clip", ["biased", *bounds], "bounded")
    for k, layer in enumerate(trunk[:-1], 1):
        names = [g.constant(f"weight_{k}", _array(layer.weight)),
                 g.constant(f"bias_{k}", _array(layer.bias))]  # fmt: skip
        g.add("Conv", [source, *names], f"conv_{k}", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        source = g.add("Relu", [f"conv_{k}"], f"relu_{k}")
    names = [g.constant("weight_head", _array(trunk[-1].weight)),
             g.constant("bias_head", _array(trunk[-1].bias))]  # fmt: skip
    g.add("Conv", [source, *names], "field", kernel_shape=[1, 1])


def _array(tensor: Any) -> NDArray[np.float32]:
    return np.asarray(tensor.detach().cpu().numpy(), np.float32)


def quantize(content: bytes, frames: list[NDArray[np.uint16]]) -> bytes:
    """The same graph with its 3x3 layers in 8-bit integers, with scales calibrated on `frames`.

    The first and the last layer stay in floating point, because quantizing them reduces precision.
    """
    import tempfile
    from pathlib import Path

    import onnx
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter(frames)

        def get_next(self) -> dict[str, Any] | None:
            frame = next(self.left, None)
            return None if frame is None else {"frame": frame}

    model = onnx.load_from_string(content)
    trunk = [n.name for n in model.graph.node if n.name.startswith(("conv_", "relu_"))]
    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder) / "float.onnx", Path(folder) / "int.onnx"
        source.write_bytes(content)
        quantization.quantize_static(
            source,
            made,
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "Relu"],
            nodes_to_quantize=trunk,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            reduce_range=True,  # 7 bits: 8 overflow on processors without VNNI
        )
        return made.read_bytes()
