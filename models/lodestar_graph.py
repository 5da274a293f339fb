"""The ONNX graph of a LodeSTAR network: raw frame in, every cell's answer and the noise out.

Written node by node with the `onnx` helpers: the torch exporters need one more package, warn, and
give other bytes with every release. Mirrors `lodestar.Normalize`, `lodestar.squash` and the layers
of `lodestar.build`; `tests/test_lodestar.py` holds both to the same numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from livespt.models import lodestar

if TYPE_CHECKING:
    from torch import nn

OPSET, IR = 17, 8  # ONNX Runtime 1.14 and later


class _Graph:
    """Nodes and constants as they come."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, name: str, value: Any) -> str:
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output


def serialize(net: nn.Sequential, normalize: lodestar.Normalize) -> bytes:
    """The `.onnx` file's content.

    Input `frame` float32 (y, x) counts; outputs `field` (3, h', w') = dy, dx (pixels from the
    cell's centre) and weight (0 to 1) of each cell, and `noise` (), counts.
    """
    from onnx import TensorProto, checker, helper

    g = _Graph()
    _normalize(g, normalize)
    last = _layers(g, net, _squash(g))
    g.add("Split", [last, g.constant("parts", np.array([2, 1]))], "offsets", axis=1)
    g.nodes[-1].output.append("rho")
    g.add("Sigmoid", ["rho"], "weight")
    g.add("Concat", ["offsets", "weight"], "answer", axis=1)
    g.add("Squeeze", ["answer", g.constant("first", np.array([0]))], "field")
    kinds = TensorProto.FLOAT
    graph = helper.make_graph(
        g.nodes,
        "lodestar",
        [helper.make_tensor_value_info("frame", kinds, ["y", "x"])],
        [
            helper.make_tensor_value_info("field", kinds, [3, "cells_y", "cells_x"]),
            helper.make_tensor_value_info("noise", kinds, []),
        ],
        g.constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = IR
    model.producer_name, model.producer_version = "livespt", ""
    checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def _normalize(g: _Graph, normalize: lodestar.Normalize) -> None:
    """`lodestar.Normalize`: "frame" to "z" and "noise"."""
    n, half, coarse = normalize.taps, normalize.taps // 2, lodestar.COARSE
    g.add("Unsqueeze", ["frame", g.constant("front", np.array([0, 1]))], "x")
    pool: dict[str, Any] = {"kernel_shape": [coarse, coarse], "strides": [coarse, coarse]}
    g.add("AveragePool", ["x"], "coarse", ceil_mode=1, count_include_pad=0, **pool)
    for axis, name, source in ((0, "tall", "coarse"), (1, "box", "tall")):
        kernel, pads = [1, 1], [0, 0, 0, 0]
        kernel[axis], pads[axis], pads[axis + 2] = n, half, half
        g.add("AveragePool", [source], name, kernel_shape=kernel, pads=pads, count_include_pad=0)
    g.add("Shape", ["x"], "sizes")
    g.add("Resize", ["box", "", "", "sizes"], "background", mode="linear")
    g.add("Sub", ["x", "background"], "flat")

    g.constant("laplace", normalize.laplace.numpy())
    g.add("Conv", ["x", "laplace"], "response", kernel_shape=[3, 3], strides=[2, 2])
    g.add("Abs", ["response"], "level")
    clip = g.constant("clip", np.float32(lodestar.CLIP))
    mean = g.add("ReduceMean", ["level"], "mean_0", keepdims=0)
    for k in range(lodestar.ROUNDS):
        limit = g.add("Mul", [mean, clip], f"limit_{k}")
        clipped = g.add("Min", ["level", limit], f"clipped_{k}")
        mean = g.add("ReduceMean", [clipped], f"mean_{k + 1}", keepdims=0)
    g.add("Div", [mean, g.constant("clipped_mean", np.float32(lodestar.CLIPPED_MEAN))], "gauss")
    parts = []
    for name, source, share in (("flat_floor", "flat", 1e-3), ("level_floor", "x", 1e-6)):
        g.add("Abs", [source], f"{name}_abs")
        g.add("ReduceMean", [f"{name}_abs"], f"{name}_mean", keepdims=0)
        parts.append(
            g.add("Mul", [f"{name}_mean", g.constant(f"{name}_share", np.float32(share))], name)
        )
    g.add("Sum", [*parts, g.constant("least", np.float32(1e-9))], "floor")
    g.add("Max", ["gauss", "floor"], "noise")
    g.add("Div", ["flat", "noise"], "z")


def _squash(g: _Graph) -> str:
    """`lodestar.squash` of "z"."""
    g.add("Abs", ["z"], "z_abs")
    g.add("Div", ["z_abs", g.constant("knee", np.float32(lodestar.KNEE))], "z_knees")
    g.add("Add", ["z_knees", g.constant("one", np.float32(1))], "z_more")
    g.add("Log", ["z_more"], "z_log")
    g.add("Sign", ["z"], "z_sign")
    return g.add("Mul", ["z_sign", "z_log"], "squashed")


def _layers(g: _Graph, net: nn.Sequential, source: str) -> str:
    from torch import nn

    for k, layer in enumerate(net):
        if isinstance(layer, nn.Conv2d):
            pads = [*map(int, layer.padding)] * 2
            weight = g.constant(f"weight_{k}", layer.weight.detach().cpu().numpy())
            assert layer.bias is not None
            bias = g.constant(f"bias_{k}", layer.bias.detach().cpu().numpy())
            source = g.add(
                "Conv", [source, weight, bias], f"conv_{k}",
                kernel_shape=list(layer.kernel_size), strides=list(layer.stride), pads=pads,
            )  # fmt: skip
        elif isinstance(layer, nn.ReLU):
            source = g.add("Relu", [source], f"relu_{k}")
        elif isinstance(layer, nn.MaxPool2d):
            source = g.add("MaxPool", [source], f"pool_{k}", kernel_shape=[2, 2], strides=[2, 2])
        else:
            raise TypeError(f"no ONNX node for {type(layer).__name__}")
    return source
