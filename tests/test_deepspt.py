"""The motion network: what its answer may depend on, and what not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch.nn import functional

from livespt.models.deepspt import LAGS, Motion, first_filters
from livespt.models.export import export_motion


def network(outputs: int = 4, dilations: tuple[int, ...] = (1, 4, 16)) -> Motion:
    """A network whose every layer does something."""
    torch.manual_seed(0)
    net = Motion(outputs, channels=16, dilations=dilations).eval()
    for name, weight in net.named_parameters():
        if "mix" in name:
            torch.nn.init.normal_(weight, std=0.1)
    return net


def walk(n: int = 3, length: int = 50, ndim: int = 3, seed: int = 0) -> torch.Tensor:
    """Random walks as windows (n, length, 5)."""
    windows = torch.zeros(n, length, 5)
    steps = torch.randn(n, length, ndim, generator=torch.Generator().manual_seed(seed))
    windows[:, :, 4 - ndim : 4] = steps.cumsum(1)
    windows[:, 1:, 0] = 1
    windows[:, :, 4] = 1
    return windows


@torch.no_grad()
def differs(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).abs().max())


@torch.no_grad()
def test_place_size_and_orientation_do_not_matter() -> None:
    net, windows = network(), walk()
    turn, _ = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1)))
    moved = windows.clone()
    moved[:, :, 1:4] = 30 * windows[:, :, 1:4] @ turn + torch.tensor([5.0, -8.0, 2.0])
    assert differs(net(moved), net(windows)) < 1e-4


@torch.no_grad()
@pytest.mark.parametrize("padding", [1, 2, 13, 64])
def test_padding_does_not_matter(padding: int) -> None:
    net, windows = network(), walk()
    padded = functional.pad(windows, (0, 0, padding, 0))
    assert differs(net(padded)[:, padding:], net(windows)) < 1e-5


@torch.no_grad()
def test_neighbours_in_the_batch_do_not_matter() -> None:
    net, windows = network(), walk(5)
    assert differs(net(windows)[2:3], net(windows[2:3])) < 1e-5


@torch.no_grad()
def test_gaps_and_flatness_do_matter() -> None:
    net, windows = network(), walk(ndim=2)
    gap = windows.clone()
    gap[:, 20, 0] = 4
    assert differs(net(gap), net(windows)) > 1e-4
    tilted = walk(ndim=3)
    assert differs(net(tilted), net(windows)) > 1e-4


@torch.no_grad()
def test_first_filters_measure_displacements_and_turning_angles() -> None:
    net, windows = network(), walk(1, 60)
    features, silence = net.features(windows)
    assert not silence.any()
    point = windows[0, :, 1:4].double()
    scale = (point[1:] - point[:-1]).norm(dim=1).sqrt().mean() ** 2
    k = 2 + LAGS[1:].index(4)  # two of lag 1 come first
    for cell in (8, 15, 20):
        t = 2 * cell + 1
        before, after = point[t] - point[t - 4], point[t + 4] - point[t]
        length = 0.5 * torch.log((before / scale).square().sum() / 4 + 0.01)
        assert float(features[0, k, 0, cell]) == pytest.approx(float(length), abs=1e-4)
        cosine = functional.cosine_similarity(before, after, dim=0)
        seen = float(features[0, 2 * net.pairs + k, 0, cell])
        assert seen == pytest.approx(float(cosine), abs=0.05)  # QUIET damps it a little


def test_first_filters_have_unit_length() -> None:
    for some in first_filters(LAGS):
        assert torch.allclose(some.norm(dim=1), torch.ones(len(some)))


@torch.no_grad()
@pytest.mark.parametrize("outputs", [4, 1])
def test_the_file_answers_as_the_network_does(tmp_path: Path, outputs: int) -> None:
    net = network(outputs, (2,))
    net.temperature.fill_(1.7)
    path = export_motion(net, tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [p.name for p in tmp_path.iterdir()] == ["net.onnx"], "weights lie inside the file"
    for n, length in ((1, 1), (2, 33), (5, 64), (1, 300)):
        windows = walk(n, length)
        scores = net(windows)
        expected = scores.softmax(2) if outputs > 1 else scores.sigmoid()
        (seen,) = session.run(None, {"windows": windows.numpy()})
        assert seen.shape == (n, length, outputs)
        assert np.abs(seen - expected.numpy()).max() < 1e-5
