"""The ONNX graph of a student network: from a raw uint16 frame to the outputs of all cells.

It is written node by node, like lodestar_graph.py, and computes the same as `normalize` and the
layers of `build` in student.py, which a test compares with it. Every pixel is scaled in one pass by
a dequantization, which subtracts a level and divides by a scale.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from livespt.models.networks import student
from livespt.models.networks.lodestar import (
    CLIPPED_MEAN,
    LAPLACE,
    LEAST,
    NOISE_CLIP,
    NOISELESS,
    ROUNDING,
    ROUNDS,
)
from livespt.models.runtime.onnx_graph import Graph

if TYPE_CHECKING:
    from torch import nn


OPSET, IR = 21, 10  # ONNX Runtime 1.18 and later: the first to dequantize 16 bits
FLOAT, UINT16 = 1, 4  # of onnx.TensorProto


def serialize(net: nn.Sequential) -> bytes:
    """The `.onnx` file's content.

    The input is `frame`, uint16 (y, x), counts. The outputs are `field` (1, 3 split^2, h', w'),
    which holds dy, dx (pixels from the centre of the cell) and the logit, each for all parts of
    a cell (`interleave` of student_peaks.py rearranges them), and `noise` (), counts.
    """
    from onnx import TensorProto, checker, helper

    g = Graph()
    _normalize(g)
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


def _normalize(g: Graph) -> None:
    """`normalize` with the padding of `Contrast`: gives "scaled" and "noise"."""
    g.add("Unsqueeze", ["frame", g.constant("front", np.array([0, 1]))], "counts")
    g.add("Cast", ["counts"], "x", to=FLOAT)
    g.add("ReduceMean", ["x"], "mean", keepdims=0)
    g.constant("laplace", np.array(LAPLACE, np.float32)[None, None] / 6)
    g.add(
        "Conv",
        ["x", "laplace"],
        "response",
        kernel_shape=[3, 3],
        strides=[student.NOISE_STEP_PX] * 2,
    )
    g.add("Abs", ["response"], "level")
    clip = g.constant("clip", np.float32(NOISE_CLIP))
    level = g.add("ReduceMean", ["level"], "level_0", keepdims=0)
    for k in range(ROUNDS):
        limit = g.add("Mul", [level, clip], f"limit_{k}")
        clipped = g.add("Min", ["level", limit], f"clipped_{k}")
        level = g.add("ReduceMean", [clipped], f"level_{k + 1}", keepdims=0)
    g.add("Div", [level, g.constant("clipped_mean", np.float32(CLIPPED_MEAN))], "gauss")
    g.add("Mul", ["level_0", g.constant("noiseless", np.float32(NOISELESS))], "sharp")
    g.add("Mul", ["mean", g.constant("rounding", np.float32(ROUNDING))], "rounded")
    g.add("Sum", ["sharp", "rounded", g.constant("least", np.float32(LEAST))], "floor")
    g.add("Max", ["gauss", "floor"], "noise")
    g.add("Mul", ["noise", g.constant("unit", np.float32(student.INPUT_UNIT))], "whole")
    g.add("Reciprocal", ["whole"], "step")
    g.add("Cast", ["mean"], "zero", to=UINT16)
    g.add("DequantizeLinear", ["counts", "step", "zero"], "contrast")
    # a frame that ends within a cell is padded with the values at its edge
    pads = [0, 0, student.PADDING, student.PADDING]
    pads += [0, 0, student.PADDING + student.STRIDE - 1, student.PADDING + student.STRIDE - 1]
    g.add("Pad", ["contrast", g.constant("pads", np.array(pads))], "scaled", mode="edge")


def _layers(g: Graph, net: nn.Sequential) -> None:
    """The network, from "scaled" to "field"."""
    first = net[0]
    assert isinstance(first, student.Contrast)
    trunk = [layer for layer in list(net)[1:] if hasattr(layer, "weight")]
    names = [g.constant("weight_0", _array(first.filters())),
             g.constant("bias_0", _array(first.bias))]  # fmt: skip
    g.add("Conv", ["scaled", *names], "seen", kernel_shape=[student.KERNEL] * 2,
          strides=[student.STRIDE] * 2)  # fmt: skip
    bounds = [
        g.constant("none", np.float32(0)),
        g.constant("top", np.float32(student.MAX_ACTIVATION)),
    ]
    source = g.add("Clip", ["seen", *bounds], "bounded")
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
        )
        return made.read_bytes()
