"""Student networks: small supervised networks that find particles in one or two ms per frame.

LodeSTAR is trained by symmetry alone. A student is trained on frames with known particles, which
are simulated spots, or copies of a user's particle whose centre a LodeSTAR network (the teacher)
has found. For every cell of 2 x 2 or 4 x 4 pixels, it predicts the position of a particle (dy, dx
in pixels from the centre of the cell), and the logit of the probability that the centre of a
particle lies in the cell.

The background need not be estimated: the weights of each filter of the first layer sum to zero over
its 8 x 8 pixels, so the network responds only to contrast with the surroundings.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from livespt.models.networks.lodestar import (
    CLIPPED_MEAN,
    LAPLACE,
    LEAST,
    NOISE_CLIP,
    NOISELESS,
    ROUNDING,
    ROUNDS,
)

STRIDE = 4  # pixels per cell of the layers
KERNEL, PADDING = 8, 2  # of the first layer: a cell and two pixels around it
NOISE_STEP_PX = 4  # distance of the pixels at which the noise is measured
INPUT_UNIT = 5.0  # noise units
MAX_ACTIVATION = 12.0  # of the first layer, so that bright spots stay in range
POSITIVE_WEIGHT = 2.0  # of cells that contain a particle
LOGIT_WEIGHT = 4.0  # of the loss on logits


class Shape(NamedTuple):
    """Size of a network."""

    channels: int  # a multiple of 16, because ONNX Runtime computes in blocks of 16
    depth: int  # number of 3x3 layers after the first layer
    split: int  # outputs per axis of a cell of the layers: 1 or 2

    @property
    def stride(self) -> int:
        """Pixels per cell of the output."""
        return STRIDE // self.split


class Contrast(nn.Conv2d):
    """The first layer: filters with zero sum; frames are padded with the values at their edges."""

    def __init__(self, channels: int) -> None:
        super().__init__(1, channels, KERNEL, STRIDE, PADDING, padding_mode="replicate")

    def filters(self) -> Tensor:
        """Filters (channels, 1, KERNEL, KERNEL), each with zero sum."""
        return self.weight - self.weight.mean(dim=(2, 3), keepdim=True)

    def forward(self, flat: Tensor) -> Tensor:
        seen: Tensor = self._conv_forward(flat, self.filters(), self.bias)
        return seen


def build(shape: Shape) -> nn.Sequential:
    """Network from (n, 1, h, w) to (n, 3, h / stride, w / stride), for h and w multiples of 4.

    It has one 8x8 layer of stride 4 with clipped output, `depth` 3x3 layers, and one 1x1 layer
    whose 3 split^2 outputs are distributed over the cell.
    """
    width = shape.channels
    layers: list[nn.Module] = [Contrast(width), nn.Hardtanh(0.0, MAX_ACTIVATION)]
    for _ in range(shape.depth):
        layers += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU()]
    layers.append(nn.Conv2d(width, 3 * shape.split**2, 1))
    if shape.split > 1:
        layers.append(nn.PixelShuffle(shape.split))
    return nn.Sequential(*layers)


def normalize(frames: Tensor) -> tuple[Tensor, Tensor]:
    """Normalize frames (n, 1, h, w): mean subtracted, divided by UNIT noise. Also the noise (n,).

    The noise, in counts, is measured as in LodeSTAR's normalization, every APART pixels.
    """
    laplace = torch.tensor(LAPLACE, device=frames.device)[None, None] / 6.0
    level = functional.conv2d(frames, laplace, stride=NOISE_STEP_PX).abs()
    first = noise = level.mean(dim=(1, 2, 3), keepdim=True)
    for _ in range(ROUNDS):
        noise = torch.minimum(level, NOISE_CLIP * noise).mean(dim=(1, 2, 3), keepdim=True)
    mean = torch.floor(frames.mean(dim=(1, 2, 3), keepdim=True))
    noise = torch.maximum(noise / CLIPPED_MEAN, NOISELESS * first + ROUNDING * mean + LEAST)
    return (frames - mean) / (INPUT_UNIT * noise), noise[:, 0, 0, 0]


def loss(out: Tensor, truth: Tensor) -> Tensor:
    """Weighted mean cross-entropy of the probabilities and smooth L1 of the offsets.

    Parameters
    ----------
    out : (n, 3, h', w')
    truth : (n, 5, h', w')
        From `truth` of training_frames.py: dy, dx, their weight, 1 if a particle is in the cell,
        and the weight of this.
    """
    offset, trust, holds, counts = truth[:, :2], truth[:, 2], truth[:, 3], truth[:, 4]
    weight = counts * (1 + (POSITIVE_WEIGHT - 1) * holds)
    wrong = functional.binary_cross_entropy_with_logits(out[:, 2], holds, weight)
    miss = functional.smooth_l1_loss(out[:, :2], offset, beta=0.5, reduction="none").sum(1)
    return LOGIT_WEIGHT * wrong + (miss * trust).sum() / trust.sum().clamp(min=1.0)
