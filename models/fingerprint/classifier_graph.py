"""Classifier graph: what a classifier computes, in NumPy for training and as the nodes of its file.

Features that hold a length go through asinh (a logarithm above their scale, a line below, odd, so
that signs stay), all are standardized and cut at LIMIT deviations; then come linear layers with
ReLU between, the temperature, and softmax.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.models.fingerprint.definitions import COUNT, FEATURES
from livespt.models.runtime.onnx_graph import IR, OPSET, Graph

Floats = NDArray[np.float64]
Layer = tuple[Floats, Floats]  # weight (in, out), bias (out,)

LIMIT = 6.0  # standard deviations: nothing farther out was learned from
LENGTHS = np.array(["um" in feature.unit for feature in FEATURES])


class Scaling(NamedTuple):
    """What turns features into numbers of size one."""

    scale: Floats  # (COUNT,) of asinh, in the unit of the feature; 1 where there is no length
    mean: Floats  # (COUNT,) of what comes out
    deviation: Floats  # (COUNT,); 1 where all are equal


def fit_scaling(features: NDArray[np.float32]) -> Scaling:
    """Scaling of features (n, COUNT).

    The scale of lengths is low among those seen, so that asinh is their logarithm; of signed ones
    their median size, lest small values of either sign lie apart.
    """
    scale = np.ones(COUNT)
    for j in np.flatnonzero(LENGTHS):
        size = np.abs(features[:, j].astype(np.float64))
        some = size[size > 0]
        if len(some):
            scale[j] = np.quantile(some, 0.5 if (features[:, j] < 0).any() else 0.05)
    even = _even(features, scale)
    deviation = even.std(axis=0)
    deviation[deviation < 1e-9 * (1 + np.abs(even).max(axis=0, initial=0.0))] = 1.0
    return Scaling(scale, even.mean(axis=0), deviation)


def scaled(features: NDArray[np.float32], by: Scaling) -> Floats:
    """What the first layer sees (n, COUNT) of features (n, COUNT)."""
    even = (_even(features, by.scale) - by.mean) / by.deviation
    return np.asarray(np.clip(even, -LIMIT, LIMIT))


def _even(features: NDArray[np.float32], scale: Floats) -> Floats:
    value = features.astype(np.float64)
    return np.where(LENGTHS, np.arcsinh(value / scale), value)


def scores(seen: Floats, layers: Sequence[Layer]) -> Floats:
    """Scores (n, K), before temperature and softmax, of scaled features (n, COUNT)."""
    for weight, bias in layers[:-1]:
        seen = np.maximum(seen @ weight + bias, 0)
    weight, bias = layers[-1]
    return np.asarray(seen @ weight + bias)


def save(path: str | Path, by: Scaling, layers: Sequence[Layer], temperature: float) -> Path:
    """Write the classifier as the file `path`, whole or not at all."""
    path = Path(path)
    partial = path.with_suffix(".partial")
    partial.write_bytes(graph(by, layers, temperature))
    os.replace(partial, path)
    return path


def graph(by: Scaling, layers: Sequence[Layer], temperature: float) -> bytes:
    """The `.onnx` file: `features` (n, COUNT) to `probabilities` (n, K), both float32."""
    g = Graph()

    def number(name: str, value: Any) -> str:
        return g.constant(name, np.asarray(value, np.float32))

    g.add("Div", ["features", number("scale", by.scale)], "relative")
    g.add("Asinh", ["relative"], "bent")
    g.add("Where", [g.constant("lengths", LENGTHS), "bent", "relative"], "even")
    g.add("Sub", ["even", number("mean", by.mean)], "centred")
    g.add("Div", ["centred", number("deviation", by.deviation)], "standard")
    seen = g.add("Clip", ["standard", number("least", -LIMIT), number("most", LIMIT)], "seen")
    for i, (weight, bias) in enumerate(layers):
        if i:
            seen = g.add("Relu", [seen], f"relu_{i}")
        names = [seen, number(f"weight_{i}", weight), number(f"bias_{i}", bias)]
        seen = g.add("Gemm", names, f"layer_{i}")
    g.add("Div", [seen, number("temperature", temperature)], "cool")
    g.add("Softmax", ["cool"], "probabilities", axis=1)
    return _file(g, layers[-1][1].shape[0])


def _file(g: Graph, classes: int) -> bytes:
    from onnx import TensorProto, checker, helper

    given = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", COUNT])
    told = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", classes])
    body = helper.make_graph(g.nodes, "classifier", [given], [told], g.constants)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = IR
    model.producer_name, model.producer_version = "livespt", ""
    checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))
