"""The ONNX graphs of the motion networks, written node by node: for one step, or whole tracks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from livespt.models.runtime.onnx_graph import IR, OPSET, Graph

if TYPE_CHECKING:
    from torch import nn

    from livespt.models.networks.motion import Follow, Round, Whole


FLOAT = 1  # onnx.TensorProto.FLOAT


def save(net: Follow | Whole, path: str | Path) -> Path:
    """Write `net` to the file `path` in one step, so that no partial file is left."""
    from livespt.models.networks.motion import Follow

    path = Path(path)
    content = follow(net) if isinstance(net, Follow) else whole(net)
    partial = path.with_suffix(".partial")
    partial.write_bytes(content)
    os.replace(partial, path)
    return path


def follow(net: Follow) -> bytes:
    """The `.onnx` file of a network that follows tracks.

    The inputs for one more point of n tracks are `traits` (n, inputs) and `hidden` (n, hidden). The
    inputs for k earlier points are `taps` (k, TAPS * MESSAGE) and `age` (k,), int64. The outputs
    are `carried` (n, hidden), the new hidden state; `message` (n, MESSAGE); `now` (n, outputs),
    probabilities of the new points; and `then` (k, outputs), probabilities of the earlier ones.
    """
    import torch

    from livespt.models.networks.motion import LAG, MESSAGE, TAPS, age_facts

    g = Graph()
    g.add("Relu", [_linear(g, net.enter, "traits", "enter")], "entered")
    _step(g, net.carry)
    _linear(g, net.to_message, "carried", "message")

    # at age 0 all taps are the newest message
    weight, bias = _numbers(net.head)
    width = TAPS * MESSAGE
    g.constant("now_w", weight[:, :width].reshape(-1, TAPS, MESSAGE).sum(1).T.copy())
    with torch.no_grad():
        first = age_facts(torch.zeros(1, dtype=torch.int64)).numpy() @ weight[:, width:].T + bias
    g.constant("now_b", first[0].astype(np.float32))
    g.add("Gemm", ["message", "now_w", "now_b"], "now_head")
    g.add("Relu", ["now_head"], "now_relu")
    temperature = net.temperature.detach().cpu().numpy()
    scores = _linear(g, net.leave, "now_relu", "now_scores")
    g.add("Mul", [scores, g.constant("now_t", 1 / temperature[0])], "now_cool")
    _probabilities(g, net.outputs, "now_cool", "now")

    # what the head adds at each age is known beforehand
    ages = torch.arange(LAG + 1)
    with torch.no_grad():
        facts = age_facts(ages).numpy() @ weight[:, width:].T + bias
    g.add("Gather", [g.constant("of_age", facts.astype(np.float32)), "age"], "then_b")
    g.constant("then_w", weight[:, :width].T.copy())
    g.add("Relu", [g.add("Gemm", ["taps", "then_w", "then_b"], "then_head")], "then_relu")
    scores = _linear(g, net.leave, "then_relu", "then_scores")
    g.add("Gather", [g.constant("cooling", 1 / temperature[:, None]), "age"], "then_t")
    g.add("Mul", [scores, "then_t"], "then_cool")
    _probabilities(g, net.outputs, "then_cool", "then")

    inputs = {
        "traits": ["n", net.inputs],
        "hidden": ["n", net.hidden],
        "taps": ["k", width],
        "age": ["k"],
    }
    outputs = {
        "carried": ["n", net.hidden],
        "message": ["n", MESSAGE],
        "now": ["n", net.outputs],
        "then": ["k", net.outputs],
    }
    return _file(g, "follow", inputs, outputs)


def whole(net: Whole) -> bytes:
    """The `.onnx` file of a network for finished tracks.

    The inputs are those of `Whole.forward`: `ahead` and `back` (T, n, inputs), and `turn` (T, n),
    int64. The output is `probabilities` (T, n, outputs).
    """

    g = Graph()
    g.add("Unsqueeze", ["turn", g.constant("last", np.array([2]))], "turn_1")
    _round(g, net.first, "ahead", "back", "heard")
    _turned(g, "heard", 2 * net.hidden, "heard_turned")
    _round(g, net.second, "heard", "heard_turned", "known")
    g.add("Relu", [_product(g, net.head, "known", "head")], "relu")
    scores = _product(g, net.leave, "relu", "scores")
    g.add("Div", [scores, g.constant("t", net.temperature.detach().cpu().numpy())], "cool")
    _probabilities(g, net.outputs, "cool", "probabilities")
    inputs: dict[str, list[Any]] = {name: ["T", "n", net.inputs] for name in ("ahead", "back")}
    inputs["turn"] = ["T", "n"]
    return _file(g, "whole", inputs, {"probabilities": ["T", "n", net.outputs]})


def _round(g: Graph, one: Round, ahead: str, back: str, name: str) -> str:
    """A bidirectional layer, like `Round`: from twice (T, n, in) to (T, n, 2 hidden)."""
    for way, source, enter, carry in (
        ("ahead", ahead, one.enter, one.carry),
        ("back", back, one.enter_back, one.carry_back),
    ):
        entered = g.add("Relu", [_product(g, enter, source, f"{name}_{way}_in")], f"{name}_{way}")
        _recurrent(g, carry, entered, f"{name}_{way}_carried")
    behind = _turned(g, f"{name}_back_carried", one.carry.hidden_size, f"{name}_behind")
    return g.add("Concat", [f"{name}_ahead_carried", behind], name, axis=2)


def _turned(g: Graph, source: str, width: int, output: str) -> str:
    """Reverse each track of (T, n, width)."""
    shape = g.constant(f"{output}_shape", np.array([1, 1, width]))
    turn = g.add("Expand", ["turn_1", shape], f"{output}_turn")
    return g.add("GatherElements", [source, turn], output, axis=0)


def _numbers(layer: nn.Linear) -> tuple[Any, Any]:
    return layer.weight.detach().cpu().numpy(), layer.bias.detach().cpu().numpy()


def _matrices(carry: nn.GRU) -> list[Any]:
    """Weights and biases of the recurrent layer, for its input and for its hidden state."""
    weights = carry.state_dict()
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    return [weights[name].cpu().numpy() for name in names]


def _linear(g: Graph, layer: nn.Linear, source: str, output: str) -> str:
    """A linear layer on rows: (n, in) to (n, out)."""
    weight, bias = _numbers(layer)
    names = [
        source,
        g.constant(f"{output}_w", weight.T.copy()),
        g.constant(f"{output}_b", bias),
    ]
    return g.add("Gemm", names, output)


def _product(g: Graph, layer: nn.Linear, source: str, output: str) -> str:
    """A linear layer: (T, n, in) to (T, n, out)."""
    weight, bias = _numbers(layer)
    g.add("MatMul", [source, g.constant(f"{output}_w", weight.T.copy())], f"{output}_xw")
    return g.add("Add", [f"{output}_xw", g.constant(f"{output}_b", bias)], output)


def _step(g: Graph, carry: nn.GRU) -> None:
    """One step of the recurrent layer, from "entered" and "hidden" to "carried".

    r, z = sigmoid(W [x, h] + b); n = tanh(W x + b + r (U h + c)); h' = n + z (h - n), as in torch
    (Cho et al. 2014, arXiv:1406.1078).
    """
    wi, wh, bi, bh = _matrices(carry)
    h = carry.hidden_size
    g.add("Concat", ["entered", "hidden"], "known", axis=1)
    for gate, rows in (("r", slice(0, h)), ("z", slice(h, 2 * h))):
        g.constant(f"{gate}_w", np.concatenate([wi[rows], wh[rows]], 1).T.copy())
        g.constant(f"{gate}_b", bi[rows] + bh[rows])
        g.add("Sigmoid", [g.add("Gemm", ["known", f"{gate}_w", f"{gate}_b"], f"{gate}_sum")], gate)
    for name, source, w, b in (("come", "entered", wi, bi), ("stay", "hidden", wh, bh)):
        g.constant(f"{name}_w", w[2 * h :].T.copy())
        g.constant(f"{name}_b", b[2 * h :])
        g.add("Gemm", [source, f"{name}_w", f"{name}_b"], name)
    g.add("Mul", ["r", "stay"], "held")
    g.add("Tanh", [g.add("Add", ["come", "held"], "new_sum")], "new")
    g.add("Mul", ["z", g.add("Sub", ["hidden", "new"], "old")], "kept")
    g.add("Add", ["new", "kept"], "carried")


def _recurrent(g: Graph, carry: nn.GRU, source: str, output: str) -> str:
    """All steps of the recurrent layer: (T, n, in) to (T, n, hidden)."""
    h = carry.hidden_size
    order = np.concatenate([np.arange(h, 2 * h), np.arange(h), np.arange(2 * h, 3 * h)])  # z r n
    w, r, *biases = (x[order] for x in _matrices(carry))
    names = [
        source,
        g.constant(f"{output}_w", w[None]),
        g.constant(f"{output}_r", r[None]),
        g.constant(f"{output}_b", np.concatenate(biases)[None]),
    ]
    g.add("GRU", names, f"{output}_d", hidden_size=h, linear_before_reset=1)
    axis = g.constant(f"{output}_axis", np.array([1]))
    return g.add("Squeeze", [f"{output}_d", axis], output)


def _probabilities(g: Graph, outputs: int, source: str, output: str) -> str:
    if outputs == 1:
        return g.add("Sigmoid", [source], output)
    return g.add("Softmax", [source], output, axis=-1)


def _file(g: Graph, name: str, inputs: dict[str, Any], outputs: dict[str, Any]) -> bytes:
    from onnx import TensorProto, checker, helper

    def value_infos(of: dict[str, Any]) -> list[Any]:
        whole_numbers = ("age", "turn")
        return [
            helper.make_tensor_value_info(
                key, TensorProto.INT64 if key in whole_numbers else TensorProto.FLOAT, shape
            )
            for key, shape in of.items()
        ]

    graph = helper.make_graph(g.nodes, name, value_infos(inputs), value_infos(outputs), g.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = IR
    model.producer_name, model.producer_version = "livespt", ""
    checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))
