"""LodeSTAR in torch: the networks, the normalization, and the losses for training on one crop.

Midtvedt et al., Single-shot self-supervised object detection in microscopy, Nat. Commun. 13, 7492
(2022). The network is trained on shifted, rotated and mirrored copies of one particle. Its
predictions must be shifted, rotated and mirrored in the same way, so no label is needed. Positions
are (y, x) in pixels with pixel centres at integers; in a crop they are relative to its middle,
(S - 1) / 2.

One crop has one brightness and one focus. Therefore, in addition to the paper, copies vary in
amplitude, noise, offset and (a little) in size, and frames are normalized by their background and
noise, so that gain, offset and exposure do not matter.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, cast

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

STRIDE = 2  # pixels per cell of the output grid, in all networks
NETS = ("light", "wide", "paper")
DILATIONS = {"light": (1, 2, 1), "wide": (1, 2, 3, 1)}  # of the 3x3 layers
COARSE = 4  # pixels per cell of the background grid
EPSILON = 1e-3  # with 1e-6, as in the paper, the weight of a particle may have any value below 1
SQUASH_KNEE = 3.0  # noise units at which `squash` changes from linear to a square root
NOISE_CLIP = 2.5  # mean deviations, so that particles do not count as noise
ROUNDS = 3
SHOT_RANGE = 2.0  # factor by which the share of photon noise varies; see `vary`
VARIANCE_RATIO = 100.0  # wanted, of predictions on background and on the particle
NOISELESS, ROUNDING, LEAST = 2e-2, 1e-6, 1e-9  # floors of the noise; see `Normalize`
# clipped mean of |l| divided by its standard deviation, for Gaussian noise: ROUNDS iterations of
# a = sqrt(2/pi) (1 - exp(-c^2/2)) + c erfc(c/sqrt(2)), c = NOISE_CLIP a, from sqrt(2/pi)
CLIPPED_MEAN = 0.7779
LAPLACE = ((1.0, -2.0, 1.0), (-2.0, 4.0, -2.0), (1.0, -2.0, 1.0))  # gain 6 on white noise


class Normalize(nn.Module):
    """Subtracts the local background of a frame (h, w) and divides by its noise: (1, 1, h, w).

    Each channel of a frame (c, h, w) has its own background and noise, and gives (1, c, h, w). The
    background is a box mean over about `window` pixels, on a grid of COARSE pixels. The noise is
    that of Immerkaer (Comput. Vis. Image Underst. 64, 300, 1996): the mean absolute response to a
    mask that is insensitive to plane backgrounds, here clipped so that particles hardly contribute.
    """

    laplace: Tensor

    def __init__(self, window: int) -> None:
        super().__init__()
        self.window = window
        self.taps = max(3, round(window / COARSE) // 2 * 2 + 1)  # coarse cells, odd
        self.register_buffer("laplace", torch.tensor(LAPLACE)[None, None] / 6.0)

    def forward(self, frame: Tensor) -> Tensor:
        if frame.dim() == 3:
            return torch.cat([self(channel) for channel in frame], dim=1)
        x = frame[None, None]
        coarse = functional.avg_pool2d(x, COARSE, COARSE, ceil_mode=True, count_include_pad=False)
        flat = x - self.background(coarse, x.shape[-2:])
        level = functional.conv2d(x, self.laplace, stride=COARSE - 1).abs()
        first = noise = level.mean()
        for _ in range(ROUNDS):
            noise = torch.minimum(level, NOISE_CLIP * noise).mean()
        # floors for a frame without noise, and for rounding errors where all pixels are equal
        floor = NOISELESS * first + ROUNDING * coarse.abs().mean() + LEAST
        return flat / torch.maximum(noise / CLIPPED_MEAN, floor)

    def background(self, coarse: Tensor, size: torch.Size) -> Tensor:
        """(1, 1, *size): box mean of the frame, from its means over coarse cells."""
        n, half = self.taps, self.taps // 2
        m = functional.avg_pool2d(coarse, (n, 1), 1, (half, 0), count_include_pad=False)
        m = functional.avg_pool2d(m, (1, n), 1, (0, half), count_include_pad=False)
        return functional.interpolate(m, size=size, mode="bilinear", align_corners=False)


def squash(z: Tensor) -> Tensor:
    """Compress contrasts above KNEE by a square root, so that bright and dim particles look alike.

    Like the transform of Anscombe, it equalizes shot noise; unlike a logarithm, it is fast.
    """
    u = z / SQUASH_KNEE
    return u / torch.sqrt(1 + u.abs())


def build(net: str, channels: int = 1, extra: int = 0) -> nn.Sequential:
    """Convolutional network from (n, channels, h, w) to (n, 3 + extra, h/2, w/2).

    The first three outputs of a cell are dy, dx and rho; `extra` outputs follow, one for each
    further symmetry.

    "paper" is the network of the paper (Methods): three 3x3 layers of 32 channels, a 2x2 maximum,
    eight 3x3 layers of 32 channels, and a 1x1 layer to 3 channels. "light" costs a tenth and "wide"
    an eighth: one 6x6 layer of stride 2 and 3x3 layers with the dilations DILATIONS, all of 16
    channels, and a 1x1 layer to 3 channels. The receptive field of "light" is 22 pixels, which
    separates neighbours; that of "wide" is 34 pixels, which larger and asymmetric particles need.
    """
    layers: list[nn.Module] = []
    if net == "paper":
        for before in (channels, 32, 32):
            layers += [nn.Conv2d(before, 32, 3, padding=1), nn.ReLU()]
        layers.append(nn.MaxPool2d(2))
        for _ in range(8):
            layers += [nn.Conv2d(32, 32, 3, padding=1), nn.ReLU()]
        layers.append(nn.Conv2d(32, 3 + extra, 1))
    elif net in DILATIONS:
        layers += [nn.Conv2d(channels, 16, 6, stride=2, padding=2), nn.ReLU()]
        for apart in DILATIONS[net]:
            layers += [nn.Conv2d(16, 16, 3, padding=apart, dilation=apart), nn.ReLU()]
        layers.append(nn.Conv2d(16, 3 + extra, 1))
    else:
        raise ValueError(f"unknown net '{net}': one of {', '.join(NETS)}")
    return nn.Sequential(*layers)


def positions(out: Tensor) -> Tensor:
    """Positions (n, 2, h', w') that the cells predict, in pixels from the middle of the input.

    Cell i covers the pixels 2i and 2i + 1, so its centre is pixel 2i + 0.5; the middle of 2 h'
    pixels is pixel h' - 0.5.
    """
    height, width = out.shape[-2:]
    y = STRIDE * torch.arange(height, device=out.device, dtype=out.dtype) - (height - 1)
    x = STRIDE * torch.arange(width, device=out.device, dtype=out.dtype) - (width - 1)
    return torch.stack([out[:, 0] + y[:, None], out[:, 1] + x[None, :]], dim=1)


class Copies(NamedTuple):
    """Transforms of copies of a crop: a point p of the crop lies at `matrix` p + `shift`."""

    matrix: Tensor  # (n, 2, 2)
    shift: Tensor  # (n, 2) pixels

    def back(self, points: Tensor) -> Tensor:
        """Transform points (n, 2) of the copies back to the crop."""
        return cast(Tensor, torch.linalg.solve(self.matrix, points - self.shift))


def draw_copies(n: int, shift_px: float, zoom: float, generator: torch.Generator) -> Copies:
    """Draw rotations, reflections, shifts up to `shift_px` and scalings up to `zoom` (1: none)."""

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    angle = 2 * torch.pi * uniform(n)
    cos, sin = torch.cos(angle), torch.sin(angle)
    turn = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)
    mirror = torch.where(uniform(n) < 0.5, -1.0, 1.0)
    turn = torch.stack([turn[:, 0], turn[:, 1] * mirror[:, None]], 1)
    scale = torch.exp((2 * uniform(n) - 1) * torch.log(torch.tensor(zoom)))
    return Copies(turn * scale[:, None, None], (2 * uniform(n, 2) - 1) * shift_px)


def transform(crop: Tensor, copies: Copies, size: int, padding: str = "reflection") -> Tensor:
    """Copies (n, c, size, size) of `crop` (c, s, s) or (s, s), by bicubic interpolation.

    By default the crop is mirrored at its edges.
    """
    n = copies.shift.shape[0]
    # output pixel q (from the middle) shows p = inv(matrix) (q - shift); affine_grid expects x
    # before y, and lengths in half widths between the outermost pixel centres
    inverse = torch.linalg.inv(copies.matrix)
    offset = -(inverse @ copies.shift[:, :, None])
    half_in, half_out = (crop.shape[-1] - 1) / 2, (size - 1) / 2
    theta = torch.cat([inverse * (half_out / half_in), offset / half_in], dim=2)
    theta = theta[:, [1, 0]][:, :, [1, 0, 2]]
    grid = functional.affine_grid(theta, [n, 1, size, size], align_corners=True)
    source = crop.reshape(-1, *crop.shape[-2:]).expand(n, -1, -1, -1)
    return functional.grid_sample(
        source, grid, mode="bicubic", padding_mode=padding, align_corners=True
    )


def intrude(
    views: Tensor,
    crop: Tensor,
    copies: Copies,
    nearest_px: float,
    generator: torch.Generator,
    share: float = 0.5,
) -> tuple[Tensor, Tensor]:
    """Add a second particle to a `share` of the copies; also return the cells of the first one.

    The second particle is the crop in another orientation, brighter or dimmer, from `nearest_px` to
    half a view away from the first. A cell belongs to the nearer one. The network thus learns to
    predict one particle next to another, although the crop shows only one.
    """
    n, size = views.shape[0], views.shape[-1]

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    distance = nearest_px + (size / 2 - nearest_px) * uniform(n, 1)
    angle = 2 * torch.pi * uniform(n, 1)
    there = copies.shift + distance * torch.cat([torch.sin(angle), torch.cos(angle)], dim=1)
    turned = draw_copies(n, 0.0, 1.0, generator).matrix
    other = Copies(turned @ copies.matrix, there)
    half = (crop.shape[-1] - 1) / 2
    r = torch.linspace(-1, 1, crop.shape[-1])
    disc = torch.clamp(half * (1 - torch.sqrt(r[:, None] ** 2 + r**2)) / 2, 0, 1).to(crop)
    second = transform(crop * disc, other, size, padding="zeros")
    present = (uniform(n, 1, 1, 1) < share).to(views)
    ratio = torch.exp(0.5 * torch.randn(n, 1, 1, 1, generator=generator)).to(views)
    cells = positions(views.new_zeros(n, 3, size // STRIDE, size // STRIDE))  # (n, 2, h', w')
    to_first = ((cells - copies.shift.to(views)[:, :, None, None]) ** 2).sum(dim=1)
    to_second = ((cells - there.to(views)[:, :, None, None]) ** 2).sum(dim=1)
    own = torch.maximum((to_first <= to_second).to(views), 1 - present[:, 0])
    return views + present * ratio * second, own


def smooth(views: Tensor, sigma: float) -> Tensor:
    """Blur (n, c, h, w) by a Gaussian of `sigma` pixels, mirrored at the edges."""
    reach = min(int(3 * sigma) + 1, min(views.shape[-2:]) - 1)
    line = torch.arange(-reach, reach + 1, device=views.device)
    kernel = torch.exp(-(line**2) / (2 * sigma**2)).to(views)
    kernel = kernel / kernel.sum()
    flat = views.reshape(-1, 1, *views.shape[-2:])
    flat = functional.pad(flat, (reach, reach, reach, reach), mode="reflect")
    flat = functional.conv2d(flat, kernel[None, None, :, None])
    return functional.conv2d(flat, kernel[None, None, None, :]).reshape(views.shape)


class Varied(NamedTuple):
    """Copies with varied brightness, noise and offset."""

    views: Tensor  # (n, 1, h, w) in units of the noise
    trust: Tensor  # (n,) weight of a copy in the losses: amplitude over noise, with mean 1


def vary(
    views: Tensor,
    generator: torch.Generator,
    gain: tuple[float, float],
    noise: float,
    shot: float = 0.0,
) -> Varied:
    """Vary the amplitude of views without noise (log-uniform in `gain`); add noise and an offset.

    Frames are normalized by their noise, so a particle of any brightness has white noise of 1 unit,
    and here up to `noise` units in addition. `shot` is the variance of photon noise at a contrast
    of 1. The more other noise a frame has, the less is this share of it, so it varies, too.
    """
    n = views.shape[0]
    low, high = torch.log(torch.tensor(gain))
    times = torch.exp(low + (high - low) * torch.rand(n, 1, 1, 1, generator=generator))
    more = noise * torch.rand(n, 1, 1, 1, generator=generator)
    grain = torch.sqrt(1 + more**2) * torch.randn(views.shape, generator=generator)
    if shot > 0:
        each = shot * SHOT_RANGE ** (2 * torch.rand(n, 1, 1, 1, generator=generator) - 1)
        grain = grain * torch.sqrt(1 + each * times * views.cpu().abs())
    offset = 0.3 * torch.randn(n, 1, 1, 1, generator=generator)
    trust = (times / torch.sqrt(times**2 + 1 + more**2))[:, 0, 0, 0]
    varied = views * times.to(views) + (grain + offset).to(views)
    return Varied(varied, (trust / trust.mean()).to(views))


def losses(
    out: Tensor, copies: Copies, trust: Tensor, own: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Disagreement between copies, and between cells of a copy, pixels (the paper's two losses).

    The weights of a copy are normalized to a sum of 1, after 1 % of them were dropped and EPSILON
    was added (Methods, "Neural network training"). Dropping prevents that the weight shrinks to one
    cell; EPSILON makes the network use the whole range of the sigmoid. `trust` weights the copies.
    Cells outside `own` (n, h', w') belong to the second particle and are ignored.
    """
    kept = torch.rand(out[:, 2].shape, generator=generator) >= 0.01
    weight = (torch.sigmoid(out[:, 2]) * kept.to(out) + EPSILON) * own
    weight = (weight / weight.sum(dim=(1, 2), keepdim=True))[:, None]  # (n, 1, h', w')
    points = positions(out)
    middle = (points * weight).sum(dim=(2, 3))  # (n, 2)
    home = copies.back(middle)
    mean = (home * trust[:, None]).mean(dim=0)
    between = ((home - mean).abs().sum(dim=1) * trust).mean()
    spread = ((points - middle[:, :, None, None]).abs() * weight).sum(dim=(1, 2, 3))
    return between, (spread * trust).mean()


def scatter(out: Tensor, own: Tensor | None = None) -> Tensor:
    """Weighted variance (n,) of the positions that the cells predict, sum of both axes, pixels^2.

    In the paper it measures whether a particle is of the trained kind (Table 1). Here the weights
    sum to 1, and only cells in `own` (n, h', w') count.
    """
    weight = torch.sigmoid(out[:, 2])
    if own is not None:
        weight = weight * own
    weight = (weight / (weight.sum(dim=(1, 2), keepdim=True) + 1e-12))[:, None]
    points = positions(out)
    middle = (points * weight).sum(dim=(2, 3), keepdim=True)
    return ((points - middle) ** 2 * weight).sum(dim=(1, 2, 3))


def confusion(out: Tensor, own: Tensor, strange: Tensor) -> Tensor:
    """Loss for predictions on images without the particle, `strange`, compared with copies, `out`.

    It is 0 if the variance of the positions is VARIANCE_RATIO times as large as on copies. A ratio
    is used because a network that always predicts far positions with some weight has a large
    variance on all images, and distinguishes nothing.
    """
    mine = torch.log(scatter(out, own) + 1e-3).mean()
    theirs = torch.log(scatter(strange) + 1e-3)
    return functional.relu(math.log(VARIANCE_RATIO) + mine - theirs).mean()


def normalized(normalize: Normalize, frame: NDArray[Any]) -> Tensor:
    """Normalize a frame (h, w) or (c, h, w): background subtracted, in units of the noise."""
    with torch.no_grad():
        flat = cast(Tensor, normalize(torch.from_numpy(frame.astype("float32"))))
    return flat.reshape(frame.shape)
