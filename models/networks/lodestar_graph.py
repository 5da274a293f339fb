"""The ONNX graph of a LodeSTAR network: from a raw frame to the outputs of all cells and the noise.

It is written node by node with the `onnx` helpers, because the exporters of torch need another
package, print warnings, and give other bytes with every release. It computes the same as
`Normalize`, `squash` and the layers of `build` in lodestar.py, which a test compares with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from livespt.models.networks import lodestar
from livespt.models.runtime.onnx_graph import IR, OPSET, Graph

if TYPE_CHECKING:
    from torch import nn


def serialize(net: nn.Sequential, normalize: lodestar.Normalize) -> bytes:
    """The `.onnx` file's content.

    The input is `frame`, float32 (y, x), counts. The outputs are `field` (1, 3, h', w'), which
    holds dy, dx (pixels from the centre of the cell) and rho (logit of its weight), and `noise` (),
    counts.
    """
    from onnx import TensorProto, checker, helper

    g = Graph()
    _normalize(g, normalize)
    layers(g, net, _squash(g))
    kinds = TensorProto.FLOAT
    graph = helper.make_graph(
        g.nodes,
        "lodestar",
        [helper.make_tensor_value_info("frame", kinds, ["y", "x"])],
        [
            helper.make_tensor_value_info("field", kinds, [1, 3, "cells_y", "cells_x"]),
            helper.make_tensor_value_info("noise", kinds, []),
        ],
        g.constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = IR
    model.producer_name, model.producer_version = "livespt", ""
    checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def _normalize(g: Graph, normalize: lodestar.Normalize) -> None:
    """`lodestar.Normalize`: "frame" to "flat" and "noise"."""
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
    g.add("Conv", ["x", "laplace"], "response", kernel_shape=[3, 3],
          strides=[coarse - 1] * 2)  # fmt: skip
    g.add("Abs", ["response"], "level")
    clip = g.constant("clip", np.float32(lodestar.NOISE_CLIP))
    mean = g.add("ReduceMean", ["level"], "mean_0", keepdims=0)
    for k in range(lodestar.ROUNDS):
        limit = g.add("Mul", [mean, clip], f"limit_{k}")
        clipped = g.add("Min", ["level", limit], f"clipped_{k}")
        mean = g.add("ReduceMean", [clipped], f"mean_{k + 1}", keepdims=0)
    g.add("Div", [mean, g.constant("clipped_mean", np.float32(lodestar.CLIPPED_MEAN))], "gauss")
    g.add("Mul", ["mean_0", g.constant("noiseless", np.float32(lodestar.NOISELESS))], "sharp")
    g.add("Abs", ["coarse"], "counts")
    g.add("ReduceMean", ["counts"], "count", keepdims=0)
    g.add("Mul", ["count", g.constant("rounding", np.float32(lodestar.ROUNDING))], "rounded")
    g.add("Sum", ["sharp", "rounded", g.constant("least", np.float32(lodestar.LEAST))], "floor")
    g.add("Max", ["gauss", "floor"], "noise")


def _squash(g: Graph) -> str:
    """`lodestar.squash` of "flat" in units of "noise"."""
    g.add("Mul", ["noise", g.constant("knee", np.float32(lodestar.SQUASH_KNEE))], "unit")
    g.add("Div", ["flat", "unit"], "u")
    g.add("Abs", ["u"], "u_abs")
    g.add("Add", ["u_abs", g.constant("one", np.float32(1))], "u_more")
    g.add("Sqrt", ["u_more"], "u_root")
    return g.add("Div", ["u", "u_root"], "squashed")


def layers(g: Graph, net: nn.Sequential, source: str, output: str = "field") -> None:
    """The network, from `source` to `output`."""
    from torch import nn

    last = len(net) - 1
    for k, layer in enumerate(net):
        if isinstance(layer, nn.Conv2d):
            pads = [*map(int, layer.padding)] * 2
            weight = g.constant(f"weight_{k}", layer.weight.detach().cpu().numpy())
            assert layer.bias is not None
            bias = g.constant(f"bias_{k}", layer.bias.detach().cpu().numpy())
            source = g.add(
                "Conv", [source, weight, bias], output if k == last else f"conv_{k}",
                kernel_shape=list(layer.kernel_size), strides=list(layer.stride), pads=pads,
                dilations=list(layer.dilation),
            )  # fmt: skip
        elif isinstance(layer, nn.ReLU):
            source = g.add("Relu", [source], f"relu_{k}")
        elif isinstance(layer, nn.MaxPool2d):
            source = g.add("MaxPool", [source], f"pool_{k}", kernel_shape=[2, 2], strides=[2, 2])
        else:
            raise TypeError(f"no ONNX node for {type(layer).__name__}")
