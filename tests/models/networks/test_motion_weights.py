"""Weights read back: the same network, to the last digits that the file keeps."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from livespt.models.motion import features
from livespt.models.networks.motion import LAG, Follow
from livespt.models.networks.motion_graph import save
from livespt.models.networks.motion_weights import load, widened
from livespt.models.runtime.session import open_session, shipped
from livespt.stream.errors import ModelError


@torch.no_grad()
@pytest.mark.parametrize("name", ["uncoating", "segmenter", "uncoating_whole", "segmenter_whole"])
def test_a_network_comes_back(name: str, networks: Path, tmp_path: Path) -> None:
    source = networks / f"{name}.onnx"
    net = load(source)
    path = save(net, tmp_path / "again.onnx")
    shutil.copy(source.with_suffix(".json"), path.with_suffix(".json"))
    again = load(path)
    for key, value in net.state_dict().items():
        torch.testing.assert_close(again.state_dict()[key], value, rtol=1e-4, atol=1e-5)

    x = torch.randn(40, 3, net.inputs, generator=torch.Generator().manual_seed(0))
    session = open_session(source, "cpu")
    if isinstance(net, Follow):
        age = torch.zeros(40, 3, dtype=torch.int64)
        said = probabilities(net(x, age))[-1]
        hidden = torch.zeros(3, net.hidden).numpy()
        taps, no_age = torch.zeros(0, net.head.in_features - 2).numpy(), age[:0, 0].numpy()
        for row in x:
            hidden, _, now, _ = session.run(row.numpy(), hidden, taps, no_age)
        assert len(net.temperature) == LAG + 1
    else:
        turn = torch.arange(40).flip(0)[:, None].repeat(1, 3)
        said = probabilities(net(x, x.flip(0), turn))
        now = session.run(x.numpy(), x.flip(0).numpy(), turn.numpy())[0]
    torch.testing.assert_close(said, torch.from_numpy(now), rtol=1e-3, atol=1e-4)


def probabilities(scores: torch.Tensor) -> torch.Tensor:
    return scores.sigmoid() if scores.shape[-1] == 1 else scores.softmax(-1)


@torch.no_grad()
@pytest.mark.parametrize("name", ["segmenter", "segmenter_whole"])
def test_what_is_told_beside_means_nothing_at_first(name: str, networks: Path) -> None:
    net = load(networks / f"{name}.onnx")
    wide = widened(net, features.COUNT + 5)
    assert wide.inputs == features.COUNT + 5 and widened(net, net.inputs) is net
    x = torch.randn(30, 2, wide.inputs, generator=torch.Generator().manual_seed(0))
    old, more = x[..., : net.inputs], (torch.zeros(30, 2, dtype=torch.int64),)
    if name.endswith("_whole"):
        turn = torch.arange(30).flip(0)[:, None].repeat(1, 2)
        said, again = wide(x, x.flip(0), turn), net(old, old.flip(0), turn)
    else:
        said, again = wide(x, *more), net(old, *more)
    torch.testing.assert_close(said, again)


def test_the_shipped_one_comes_back() -> None:
    assert load(shipped("uncoating")).outputs == 1


def test_another_model_is_refused() -> None:
    with pytest.raises(ModelError, match="not a motion network"):
        load(shipped("fast"))
