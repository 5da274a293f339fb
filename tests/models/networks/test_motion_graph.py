"""The files of the motion networks: they answer as torch does, step by step or at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from livespt.models.motion import features
from livespt.models.networks import motion_graph
from livespt.models.networks.motion import LAG, MESSAGE, TAPS, Follow, Whole, tap_of

LENGTH, N = 45, 3


def temper(net: Follow | Whole) -> None:
    torch.manual_seed(1)
    net.temperature.copy_(torch.rand(net.temperature.shape) + 0.7)


def opened(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def some_traits(
    length: int = LENGTH, n: int = N, inputs: int = features.COUNT
) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(length, n, inputs)).astype(np.float32)


def probabilities(scores: torch.Tensor) -> NDArray[np.float32]:
    said = scores.softmax(-1) if scores.shape[-1] > 1 else scores.sigmoid()
    return said.numpy()


@torch.no_grad()
@pytest.mark.parametrize(("outputs", "inputs"), [(4, features.COUNT), (1, features.COUNT + 6)])
def test_step_by_step_is_as_the_whole_sequence_in_torch(
    tmp_path: Path, outputs: int, inputs: int
) -> None:
    torch.manual_seed(0)
    net = Follow(outputs, 24, inputs)
    temper(net)
    session = opened(motion_graph.save(net, tmp_path / "net.onnx"))
    x = some_traits(inputs=inputs)
    hidden = np.zeros((N, 24), np.float32)
    kept: list[NDArray[np.float32]] = []
    at_once = probabilities(net(torch.from_numpy(x), torch.zeros(LENGTH, N, dtype=torch.int64)))
    for t in range(LENGTH):
        some_taps = np.zeros((1, TAPS * MESSAGE), np.float32)
        feed = {"traits": x[t], "hidden": hidden, "taps": some_taps, "age": np.zeros(1, np.int64)}
        hidden, message, now = session.run(["carried", "message", "now"], feed)
        kept.append(message)
        np.testing.assert_allclose(now, at_once[t], atol=1e-5)
    for age in range(LAG + 1):
        ages = torch.arange(LENGTH)[:, None].expand(LENGTH, N).clamp(max=age)
        expected = probabilities(net(torch.from_numpy(x), ages))[LENGTH - 1]
        back = [int(tap_of(torch.tensor(age), k)) for k in range(TAPS)]
        taps = np.concatenate([kept[LENGTH - 1 - k] for k in back], axis=1)
        feed = {"traits": x[0], "hidden": hidden, "taps": taps, "age": np.full(N, age)}
        (then,) = session.run(["then"], feed)
        assert then.shape == (N, outputs)
        np.testing.assert_allclose(then, expected, atol=1e-5)
        if outputs > 1:
            np.testing.assert_allclose(then.sum(1), 1, atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize(("outputs", "inputs"), [(4, features.COUNT), (1, features.COUNT + 6)])
def test_whole_tracks_are_read_as_in_torch(tmp_path: Path, outputs: int, inputs: int) -> None:
    torch.manual_seed(0)
    net = Whole(outputs, 24, inputs)
    temper(net)
    session = opened(motion_graph.save(net, tmp_path / "net.onnx"))
    for length, n in ((1, 1), (LENGTH, N), (130, 2)):
        x = some_traits(length, n, inputs)
        back = x[::-1].copy()
        turn = np.random.default_rng(1).permutation(length)[:, None].repeat(n, 1)
        expected = probabilities(net(*map(torch.from_numpy, (x, back, turn))))
        (said,) = session.run(None, {"ahead": x, "back": back, "turn": turn})
        assert said.shape == (length, n, outputs)
        np.testing.assert_allclose(said, expected, atol=1e-5)
        if outputs > 1:
            np.testing.assert_allclose(said.sum(2), 1, atol=1e-6)


@pytest.mark.parametrize("kind", [Follow, Whole])
def test_a_file_is_whole_alone_and_the_same_again(tmp_path: Path, kind: type) -> None:
    torch.manual_seed(0)
    net = kind(4, hidden=8)
    first = motion_graph.save(net, tmp_path / "net.onnx").read_bytes()
    assert motion_graph.save(net, tmp_path / "net.onnx").read_bytes() == first
    assert [p.name for p in tmp_path.iterdir()] == ["net.onnx"], "weights lie inside the file"
    model = onnx.load_from_string(first)
    assert model.ir_version <= 8 and model.opset_import[0].version <= 17  # ONNX Runtime 1.13
    assert not model.doc_string and not model.producer_version
