"""Read the weights of a motion network from its `.onnx` file, so that its training can continue.

Importing this module imports torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from livespt.models.networks.motion import LAG, MESSAGE, TAPS, Follow, Round, Whole, age_facts
from livespt.models.runtime.card import read_card
from livespt.stream.errors import ModelError

Arrays = dict[str, Any]


def load(path: str | Path) -> Follow | Whole:
    """Load the network in the file `path`.

    Raises
    ------
    ModelError
        The file does not exist, or was not written by motion_graph.py.
    """
    import onnx
    from onnx import numpy_helper

    task = read_card(path)["task"]
    constants = onnx.load(str(path)).graph.initializer
    arrays = {one.name: numpy_helper.to_array(one) for one in constants}
    try:
        with torch.no_grad():
            return _whole(arrays) if task.endswith("_whole") else _follow(arrays)
    except (KeyError, RuntimeError) as error:
        raise ModelError(
            f"{path} is not a motion network whose training can continue: {error}"
        ) from error


def widened(net: Follow | Whole, inputs: int) -> Follow | Whole:
    """The same network with `inputs` features of a point; the weights of new features are 0."""
    more = inputs - net.inputs
    if more == 0:
        return net
    wide = type(net)(net.outputs, net.hidden, inputs)
    weights = {
        name: nn.functional.pad(value, (0, more)) if value.shape != own.shape else value
        for (name, value), own in zip(
            net.state_dict().items(), wide.state_dict().values(), strict=True
        )
    }
    wide.load_state_dict(weights)
    return wide


def _follow(arrays: Arrays) -> Follow:
    net = Follow(
        arrays["then_scores_b"].shape[0], arrays["stay_w"].shape[0], arrays["enter_w"].shape[0]
    )
    _linear(net.enter, arrays["enter_w"], arrays["enter_b"])
    _linear(net.to_message, arrays["message_w"], arrays["message_b"])
    _linear(net.leave, arrays["then_scores_w"], arrays["then_scores_b"])
    # the file holds the contribution of the age for each age; it is linear in the two age features
    facts = age_facts(torch.arange(LAG + 1)).numpy().astype(np.float64)
    facts = np.concatenate([facts, np.ones((LAG + 1, 1))], axis=1)
    plane = np.linalg.lstsq(facts, arrays["of_age"].astype(np.float64), rcond=None)[0]
    _linear(net.head, np.concatenate([arrays["then_w"], plane[:-1]]), plane[-1])
    # gates r and z are saved with what they take from the input before what they take of the past
    width = arrays["enter_b"].shape[0]
    gates = [arrays[f"{gate}_w"] for gate in ("r", "z")]
    into = [*(w[:width] for w in gates), arrays["come_w"]]
    past = [*(w[width:] for w in gates), arrays["stay_w"]]
    none = np.zeros(net.hidden, np.float32)  # the file holds the sum of the two biases of a gate
    _set(net.carry.weight_ih_l0, np.concatenate(into, axis=1).T)
    _set(net.carry.weight_hh_l0, np.concatenate(past, axis=1).T)
    _set(net.carry.bias_ih_l0, [*arrays["r_b"], *arrays["z_b"], *arrays["come_b"]])
    _set(net.carry.bias_hh_l0, [*none, *none, *arrays["stay_b"]])
    _set(net.temperature, 1 / arrays["cooling"][:, 0])
    assert net.head.in_features == TAPS * MESSAGE + 2
    return net


def _whole(arrays: Arrays) -> Whole:
    hidden = arrays["heard_ahead_carried_r"].shape[-1]
    net = Whole(arrays["scores_b"].shape[0], hidden, arrays["heard_ahead_in_w"].shape[0])
    _round(net.first, arrays, "heard")
    _round(net.second, arrays, "known")
    _linear(net.head, arrays["head_w"], arrays["head_b"])
    _linear(net.leave, arrays["scores_w"], arrays["scores_b"])
    _set(net.temperature, arrays["t"])
    return net


def _round(one: Round, arrays: Arrays, name: str) -> None:
    for way, enter, carry in (
        ("ahead", one.enter, one.carry),
        ("back", one.enter_back, one.carry_back),
    ):
        _linear(enter, arrays[f"{name}_{way}_in_w"], arrays[f"{name}_{way}_in_b"])
        h, source = carry.hidden_size, f"{name}_{way}_carried"
        order = np.concatenate([np.arange(h, 2 * h), np.arange(h), np.arange(2 * h, 3 * h)])
        _set(carry.weight_ih_l0, arrays[f"{source}_w"][0][order])  # saved as z r n
        _set(carry.weight_hh_l0, arrays[f"{source}_r"][0][order])
        biases = arrays[f"{source}_b"][0]
        _set(carry.bias_ih_l0, biases[: 3 * h][order])
        _set(carry.bias_hh_l0, biases[3 * h :][order])


def _linear(layer: nn.Linear, weight: Any, bias: Any) -> None:
    """Set a layer from its matrix (in, out) and bias."""
    _set(layer.weight, weight.T)
    _set(layer.bias, bias)


def _set(target: Any, values: Any) -> None:
    target.copy_(torch.from_numpy(np.array(values, np.float32)).reshape(target.shape))
