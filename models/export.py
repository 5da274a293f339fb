"""Export: a motion network from torch into one ONNX file that answers with probabilities."""

from __future__ import annotations

import logging
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from livespt.models.deepspt import Motion


def export_motion(net: Motion, path: str | Path) -> Path:
    """Write `net` as `path`: input `windows` (n, N, 5), output `probabilities` (n, N, outputs).

    Both n and N are free; weights lie inside the file. Four scores become probabilities that sum
    to 1, a single one the probability of yes. The file appears whole or not at all.
    """
    import torch
    from torch import nn

    class Probabilities(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, windows: torch.Tensor) -> torch.Tensor:
            scores: torch.Tensor = self.net(windows)
            return torch.softmax(scores, 2) if net.outputs > 1 else torch.sigmoid(scores)

    path = Path(path)
    example = torch.zeros(3, 64, 5)
    example[:, :, 4] = 1
    partial = path.with_suffix(".partial")
    log = logging.getLogger("torch.onnx")  # it tells that torchvision is not installed
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():  # torch's exporter uses what torch deprecates
            warnings.simplefilter("ignore")
            torch.onnx.export(
                Probabilities().cpu().eval(),
                (example,),
                partial,
                input_names=["windows"],
                output_names=["probabilities"],
                dynamic_shapes=({0: torch.export.Dim("n"), 1: torch.export.Dim("N", min=2)},),
                external_data=False,
                dynamo=True,
                verbose=False,
            )
    finally:
        log.setLevel(level)
    _bare(partial)
    os.replace(partial, path)
    return path


def _bare(path: Path) -> None:
    """Take out what the exporter tells of the machine that it ran on: paths, stack traces."""
    import onnx

    model = onnx.load(path)
    del model.metadata_props[:], model.graph.metadata_props[:], model.graph.value_info[:]
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    onnx.save(model, path)
