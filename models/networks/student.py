"""Student: small supervised networks that find particles in one or two milliseconds a frame.

Where LodeSTAR learns from symmetry alone, a student learns from frames whose particles are known:
simulated spots, or copies of a user's own particle that a LodeSTAR teacher has centred. It answers
for every cell of 2 x 2 or 4 x 4 pixels with where the particle is (dy, dx in pixels from the
cell's centre) and the logit of the probability that a particle's centre lies in that cell.

No background is estimated: the weights of each filter of the first layer sum to zero over its
8 x 8 pixels, so it sees what stands out from its surroundings and nothing else.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from livespt.models.networks.lodestar import (
    CLIP,
    CLIPPED_MEAN,
    LAPLACE,
    LEAST,
    NOISELESS,
    ROUNDING,
    ROUNDS,
)

STRIDE = 4  # pixels a cell of the layers
KERNEL, PADDING = 8, 2  # of the first layer: a cell and two pixels around it
APART = 4  # pixels between the places where the noise is measured
UNIT = 5.0  # noise units that the network sees as 1
TOP = 12.0  # the first layer's answers end here: no brightness runs out of what was trained
POSITIVE = 2.0  # weight of cells that hold a particle
PROBABILITY = 4.0  # weight of the loss on logits


class Shape(NamedTuple):
    """A network's size."""

    channels: int  # multiples of 16: ONNX Runtime computes in blocks of 16
    depth: int  # 3x3 layers after the first
    split: int  # answers per axis of a layer's cell: 1 or 2

    @property
    def stride(self) -> int:
        """Pixels a cell of the answer."""
        return STRIDE // self.split


class Contrast(nn.Conv2d):
    """The first layer: filters of zero sum; beyond its edges a frame goes on as it ends."""

    def __init__(self, channels: int) -> None:
        super().__init__(1, channels, KERNEL, STRIDE, PADDING, padding_mode="replicate")

    def filters(self) -> Tensor:
        """(channels, 1, KERNEL, KERNEL), each of zero sum."""
        return self.weight - self.weight.mean(dim=(2, 3), keepdim=True)

    def forward(self, flat: Tensor) -> Tensor:
        seen: Tensor = self._conv_forward(flat, self.filters(), self.bias)
        return seen


def build(shape: Shape) -> nn.Sequential:
    """Layers from (n, 1, h, w) to (n, 3, h / stride, w / stride), h and w multiples of 4.

    One 8x8 layer of stride 4, `depth` 3x3 layers, one 1x1 layer whose 3 split^2 answers spread
    over the cell. The first layer's answers are clipped.
    """
    width = shape.channels
    layers: list[nn.Module] = [Contrast(width), nn.Hardtanh(0.0, TOP)]
    for _ in range(shape.depth):
        layers += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU()]
    layers.append(nn.Conv2d(width, 3 * shape.split**2, 1))
    if shape.split > 1:
        layers.append(nn.PixelShuffle(shape.split))
    return nn.Sequential(*layers)


def normalize(frames: Tensor) -> tuple[Tensor, Tensor]:
    """Frames (n, 1, h, w) less their mean in UNIT noise, and the noise (n,), counts.

    The noise is that of `lodestar.Normalize`, measured every APART pixels, frame by frame.
    """
    laplace = torch.tensor(LAPLACE, device=frames.device)[None, None] / 6.0
    level = functional.conv2d(frames, laplace, stride=APART).abs()
    first = noise = level.mean(dim=(1, 2, 3), keepdim=True)
    for _ in range(ROUNDS):
        noise = torch.minimum(level, CLIP * noise).mean(dim=(1, 2, 3), keepdim=True)
    mean = torch.floor(frames.mean(dim=(1, 2, 3), keepdim=True))
    noise = torch.maximum(noise / CLIPPED_MEAN, NOISELESS * first + ROUNDING * mean + LEAST)
    return (frames - mean) / (UNIT * noise), noise[:, 0, 0, 0]


def loss(out: Tensor, truth: Tensor) -> Tensor:
    """Weighted mean cross-entropy of the probabilities and smooth L1 of the offsets.

    Parameters
    ----------
    out : (n, 3, h', w')
    truth : (n, 5, h', w')
        As `training_frames.truth` gives it: dy, dx, weight of these, holds, weight of that.
    """
    offset, trust, holds, counts = truth[:, :2], truth[:, 2], truth[:, 3], truth[:, 4]
    weight = counts * (1 + (POSITIVE - 1) * holds)
    wrong = functional.binary_cross_entropy_with_logits(out[:, 2], holds, weight)
    miss = functional.smooth_l1_loss(out[:, :2], offset, beta=0.5, reduction="none").sum(1)
    return PROBABILITY * wrong + (miss * trust).sum() / trust.sum().clamp(min=1.0)
