"""Computation of a user's classifier, in NumPy for training and as an ONNX graph for its file.

Features with a unit of length are transformed by asinh (logarithmic above their scale, linear
below, and odd, so that the sign is kept). All features are standardized and clipped at LIMIT
standard deviations. Linear layers with ReLU, the temperature and softmax follow.
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

CLIP_SDS = 6.0  # standard deviations; in training as well
LENGTHS = np.array(["um" in feature.unit for feature in FEATURES])


class Scaling(NamedTuple):
    """Parameters that standardize the features."""

    scale: Floats  # (COUNT,) scale of asinh, in the unit of the feature; 1 without a length
    mean: Floats  # (COUNT,) mean after asinh
    deviation: Floats  # (COUNT,) standard deviation after asinh; 1 if all values are equal


def fit_scaling(features: NDArray[np.float32]) -> Scaling:
    """Determine the scaling from features (n, COUNT).

    The scale of a positive length is a low quantile, so that asinh is close to its logarithm. The
    scale of a signed feature is its median magnitude, so that small values of either sign stay
    close together.
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
    """Input of the first layer (n, COUNT), from features (n, COUNT)."""
    even = (_even(features, by.scale) - by.mean) / by.deviation
    return np.asarray(np.clip(even, -CLIP_SDS, CLIP_SDS))


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
    """Write the classifier to the file `path` in one step, so that no partial file is left."""
    path = Path(path)
    partial = path.with_suffix(".partial")
    partial.write_bytes(graph(by, layers, temperature))
    os.replace(partial, path)
    return path


def graph(by: Scaling, layers: Sequence[Layer], temperature: float) -> bytes:
    """The `.onnx` file, from `features` (n, COUNT) to `probabilities` (n, K), both float32."""
    g = Graph()

    def number(name: str, value: Any) -> str:
        return g.constant(name, np.asarray(value, np.float32))

    g.add("Div", ["features", number("scale", by.scale)], "relative")
    g.add("Asinh", ["relative"], "bent")
    g.add("Where", [g.constant("lengths", LENGTHS), "bent", "relative"], "even")
    g.add("Sub", ["even", number("mean", by.mean)], "centred")
    g.add("Div", ["centred", number("deviation", by.deviation)], "standard")
    seen = g.add("Clip", ["standard", number("least", -CLIP_SDS), number("most", CLIP_SDS)], "seen")
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

    features = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", COUNT])
    result = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", classes])
    body = helper.make_graph(g.nodes, "classifier", [features], [result], g.constants)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = IR
    model.producer_name, model.producer_version = "livespt", ""
    checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))
