"""Student networks: small supervised networks that find particles in one or two ms per frame.

LodeSTAR is trained by symmetry alone. A student is trained on frames with known particles, which
are simulated spots, or copies of a user's particle whose centre a LodeSTAR network (the teacher)
has found. For every cell of 2 x 2 or 4 x 4 pixels, it predicts the position of a particle (dy, dx
in pixels from the centre of the cell), and the logit of the probability that the centre of a
particle lies in the cell.

The background need not be estimated: the weights of each filter of the first layer sum to zero over
its 8 x 8 pixels, so the network responds only to contrast with the surroundings. The responses are
divided by the noise of their own neighbourhood, since shot noise differs within a frame (cells,
haze, vignetting), and by more if neighbouring pixels share their noise, which is then stronger in
such a filter than in single pixels.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from livespt.models.networks.lodestar import LAPLACE, LEAST, NOISELESS, ROUNDING

CROSS = ((1.0, 0.0, -1.0), (0.0, 0.0, 0.0), (-1.0, 0.0, 1.0))  # gain 2 on white noise
STRIDE = 4  # pixels per cell of the layers
KERNEL, PADDING = 8, 2  # of the first layer: a cell and two pixels around it
NOISE_STEP_PX = 4  # distance of the pixels at which the noise is measured
NOISE_POOL, NOISE_BOX = 4, 3  # measured pixels of a tile, and tiles of a neighbourhood, per axis
# (mean of the square root of |z|)^2 of a normal z: a mean that single bright pixels hardly change
ROOT_MEAN = (2**0.25 * math.gamma(0.75) / math.sqrt(math.pi)) ** 2
ROUNDING_VARIANCE = 0.12  # counts^2, of whole counts: below a grey level, half the pixels are equal
QUIETEST = 0.1  # least noise of a neighbourhood, times that of the frame
# slope and offset by which a measured ratio of noise goes from 1 (up to 1.15) to itself (at 1.35):
# it is known to 7 %, and what does not clearly differ from 1 is taken for 1; below 1 inversely
ABOVE, BELOW = (1.75, -1.0125), (2.012, -0.7496)
# noise of next but one pixels over that of next ones, to this power, is about that of a filter as
# wide as a spot over that of pixels: 1.2 to 1.9 for correlations of .2 to .5
SHARED_POWER = 0.7
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
        super().__init__(1, channels, KERNEL, STRIDE, PADDING, bias=False, padding_mode="replicate")

    def filters(self) -> Tensor:
        """Filters (channels, 1, KERNEL, KERNEL), each with zero sum."""
        return self.weight - self.weight.mean(dim=(2, 3), keepdim=True)

    def forward(self, frames: Tensor) -> Tensor:
        seen: Tensor = self._conv_forward(frames, self.filters(), None)
        return seen


class Student(nn.Module):
    """Network from frames (n, 1, h, w), counts, to (n, 3, h / stride, w / stride).

    h and w are multiples of 4. It has one 8x8 layer of stride 4, whose outputs are positive and in
    units of the local noise, `depth` 3x3 layers, and one 1x1 layer whose 3 split^2 outputs are
    distributed over the cell.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width = shape.channels
        layers: list[nn.Module] = []
        for _ in range(shape.depth):
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU()]
        layers.append(nn.Conv2d(width, 3 * shape.split**2, 1))
        if shape.split > 1:
            layers.append(nn.PixelShuffle(shape.split))
        self.first = Contrast(width)
        self.bias = nn.Parameter(torch.zeros(1, width, 1, 1))  # of the first layer, after scaling
        self.trunk = nn.Sequential(*layers)

    def forward(self, frames: Tensor) -> Tensor:
        seen = self.first(frames)
        scale = quiet(frames, seen.shape[-2:])
        out: Tensor = self.trunk(torch.clamp(seen * scale + self.bias, 0.0, MAX_ACTIVATION))
        return out


class Noise(NamedTuple):
    """Noise of frames, counts."""

    frame: Tensor  # (n,) of a pixel, in the whole frame
    local: Tensor  # (n, 1, h / 16, w / 16) of a pixel, in each neighbourhood
    shared: Tensor  # (n, 1, 1, 1) factor by which it is greater in a filter as wide as a spot


@torch.no_grad()
def measure_noise(frames: Tensor) -> Noise:
    """Measure the noise of frames (n, 1, h, w) at one pixel in NOISE_STEP_PX^2.

    The noise of pixels is that of the mask CROSS, which planes do not excite, and spots and noise
    that next neighbours share hardly; it is measured in neighbourhoods of NOISE_BOX^2 tiles of
    NOISE_POOL^2 places, and that of a frame is their mean. The mask LAPLACE answers less the more
    neighbours share their noise.
    """
    step = NOISE_STEP_PX
    masks = torch.tensor([LAPLACE, CROSS], device=frames.device)[:, None]
    masks = masks / torch.tensor([6.0, 2.0], device=frames.device)[:, None, None, None]
    levels = functional.conv2d(frames, masks, stride=step).abs()
    roots = functional.avg_pool2d(
        levels.sqrt(), NOISE_POOL, ceil_mode=True, count_include_pad=False
    )
    means = (roots * roots / ROOT_MEAN).mean(dim=(2, 3), keepdim=True)
    next_px, cross = means[:, :1], means[:, 1:]
    roots = functional.avg_pool2d(
        roots[:, 1:], NOISE_BOX, 1, NOISE_BOX // 2, count_include_pad=False
    )
    around = torch.sqrt((roots * roots / ROOT_MEAN) ** 2 + ROUNDING_VARIANCE)
    average = functional.avg_pool2d(frames, 3, step)
    floor = NOISELESS * levels[:, 1:].mean(dim=(2, 3), keepdim=True) + LEAST
    floor = floor + ROUNDING * average.mean(dim=(2, 3), keepdim=True).abs()
    noise = torch.maximum(around.mean(dim=(2, 3), keepdim=True), floor)
    local = noise * torch.clamp(clearly(around / noise), min=QUIETEST)
    shared = torch.clamp((cross + floor) / (next_px + floor), min=1.0) ** SHARED_POWER
    return Noise(noise[:, 0, 0, 0], local, shared)


def clearly(ratio: Tensor) -> Tensor:
    """Ratios of noise, or 1 where they do not clearly differ from it."""
    above = torch.minimum(ratio, ABOVE[0] * ratio + ABOVE[1])
    below = torch.maximum(ratio, BELOW[0] * ratio + BELOW[1])
    return torch.maximum(torch.clamp(below, max=1.0), above)


@torch.no_grad()
def quiet(frames: Tensor, cells: torch.Size) -> Tensor:
    """Factors (n, 1, *cells) of the responses: 1 over INPUT_UNIT and the noise of the filter."""
    noise = measure_noise(frames)
    scale = 1 / (INPUT_UNIT * noise.shared * noise.local)
    return functional.interpolate(scale, size=cells, mode="bilinear", align_corners=False)


def build(shape: Shape) -> Student:
    """Make a network with random weights."""
    return Student(shape)


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
