"""LodeSTAR in torch: the networks, the normalization, and what one crop teaches them.

Midtvedt et al., Single-shot self-supervised object detection in microscopy, Nat. Commun. 13, 7492
(2022). A network that sees shifted, turned and mirrored copies of one particle must answer with
positions shifted, turned and mirrored alike; no label is needed. Positions are (y, x) in pixels
with pixel centres at integers; inside a crop they count from its middle, (S - 1) / 2.

Beyond the paper, because one crop has one brightness and one focus: copies vary in amplitude, in
added noise, in offset and (a little) in size, and the network sees frames normalized by their own
background and noise, so that gain, offset and exposure do not matter.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, cast

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

STRIDE = 2  # pixels a cell of the output grid, in both networks
NETS = ("light", "wide", "paper")
DILATIONS = {"light": (1, 2, 1), "wide": (1, 2, 3, 1)}  # of their 3x3 layers
COARSE = 4  # pixels a cell of the background grid
EPSILON = 1e-3  # the paper has 1e-6, which leaves the weight of a particle anywhere below 1
KNEE = 3.0  # noise units at which the squashing turns from linear to a root
CLIP = 2.5  # mean deviations at which the noise estimate clips: particles are no noise
ROUNDS = 3
APART = 100.0  # variance of answers to what is not the particle over that of answers to it
NOISELESS, ROUNDING, LEAST = 2e-2, 1e-6, 1e-9  # floors of the noise; see `Normalize`
# mean of |l| clipped so, over its standard deviation, for Gaussian noise: the fixed point of
# a = sqrt(2/pi) (1 - exp(-c^2/2)) + c erfc(c/sqrt(2)), c = CLIP a, from sqrt(2/pi), 3 rounds
CLIPPED_MEAN = 0.7779
LAPLACE = ((1.0, -2.0, 1.0), (-2.0, 4.0, -2.0), (1.0, -2.0, 1.0))  # gain 6 on white noise


class Normalize(nn.Module):
    """Frame (h, w) in counts to (1, 1, h, w) above the local background, in units of the noise.

    Of a frame with channels (c, h, w) each has its own background and noise: (1, c, h, w).
    The background is a box mean over about `window` pixels, on a grid of COARSE pixels. The noise
    is Immerkaer's (Comput. Vis. Image Underst. 64, 300, 1996): the mean absolute response to a
    mask that plane backgrounds do not excite, here clipped so that particles hardly count.
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
            noise = torch.minimum(level, CLIP * noise).mean()
        # floors: a frame without noise, and rounding where all pixels are equal
        floor = NOISELESS * first + ROUNDING * coarse.abs().mean() + LEAST
        return flat / torch.maximum(noise / CLIPPED_MEAN, floor)

    def background(self, coarse: Tensor, size: torch.Size) -> Tensor:
        """(1, 1, *size): box mean of the frame, from its means over coarse cells."""
        n, half = self.taps, self.taps // 2
        m = functional.avg_pool2d(coarse, (n, 1), 1, (half, 0), count_include_pad=False)
        m = functional.avg_pool2d(m, (1, n), 1, (0, half), count_include_pad=False)
        return functional.interpolate(m, size=size, mode="bilinear", align_corners=False)


def squash(z: Tensor) -> Tensor:
    """Root of the contrast beyond KNEE, sign kept: bright and dim ones of a kind look more alike.

    Like Anscombe's transform it evens out shot noise, and unlike a logarithm it is cheap.
    """
    u = z / KNEE
    return u / torch.sqrt(1 + u.abs())


def build(net: str, channels: int = 1, extra: int = 0) -> nn.Sequential:
    """Convolutions from (n, channels, h, w) to (n, 3 + extra, h/2, w/2) of each cell.

    The first three outputs are dy, dx and rho; `extra` ones follow, one a further symmetry.

    "paper" is the network of the paper's Methods: three 3x3 layers of 32 channels, 2x2 maximum,
    eight 3x3 of 32, 1x1 to 3. "light" costs a tenth, "wide" an eighth: one 6x6 layer of stride 2,
    3x3 layers dilated by DILATIONS, all of 16 channels, 1x1 to 3. A cell of "light" sees 22 pixels,
    which keeps neighbours apart; one of "wide" 34, as larger and lopsided particles need.
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
    """(n, 2, h', w'): where each cell sees the particle, pixels from the middle of the input.

    Cell i covers the pixels 2i and 2i + 1, so its centre is pixel 2i + 0.5; the middle of 2 h'
    pixels is pixel h' - 0.5.
    """
    height, width = out.shape[-2:]
    y = STRIDE * torch.arange(height, device=out.device, dtype=out.dtype) - (height - 1)
    x = STRIDE * torch.arange(width, device=out.device, dtype=out.dtype) - (width - 1)
    return torch.stack([out[:, 0] + y[:, None], out[:, 1] + x[None, :]], dim=1)


class Copies(NamedTuple):
    """How copies of a crop were made: a point p of the crop lies at `matrix` p + `shift`."""

    matrix: Tensor  # (n, 2, 2)
    shift: Tensor  # (n, 2) pixels

    def back(self, points: Tensor) -> Tensor:
        """(n, 2) points of the copies where they lie in the crop."""
        return cast(Tensor, torch.linalg.solve(self.matrix, points - self.shift))


def draw_copies(n: int, shift_px: float, zoom: float, generator: torch.Generator) -> Copies:
    """Random turns, mirrorings, shifts up to `shift_px` and scalings up to `zoom` (1: none)."""

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
    """(n, c, size, size): copies of `crop` (c, s, s) or (s, s), bicubic.

    By default mirrored at its edges.
    """
    n = copies.shift.shape[0]
    # output pixel q (from the middle) shows p = inv(matrix) (q - shift); affine_grid wants x
    # before y and lengths in half widths between the outermost pixel centres
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
    """Copies with a second particle in a `share` of them, and the cells (n, h', w') of the first.

    The second is the crop again, otherwise turned, from `nearest_px` to half a view away from the
    first, brighter or dimmer. A cell belongs to the nearer one. So the network learns to
    answer for one particle beside another without ever seeing two.
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
    """(n, c, h, w) blurred by a Gaussian of `sigma` pixels, mirrored at the edges."""
    reach = min(int(3 * sigma) + 1, min(views.shape[-2:]) - 1)
    line = torch.arange(-reach, reach + 1, device=views.device)
    kernel = torch.exp(-(line**2) / (2 * sigma**2)).to(views)
    kernel = kernel / kernel.sum()
    flat = views.reshape(-1, 1, *views.shape[-2:])
    flat = functional.pad(flat, (reach, reach, reach, reach), mode="reflect")
    flat = functional.conv2d(flat, kernel[None, None, :, None])
    return functional.conv2d(flat, kernel[None, None, None, :]).reshape(views.shape)


class Varied(NamedTuple):
    """Copies of other brightness, noise and offset."""

    views: Tensor  # (n, 1, h, w) noise units
    trust: Tensor  # (n,) amplitude over noise, mean 1: how well the copy tells its position


def vary(
    views: Tensor,
    generator: torch.Generator,
    gain: tuple[float, float],
    noise: float,
    shot: float = 0.0,
    kept: Tensor | None = None,
) -> Varied:
    """Amplitude log-uniform in `gain`, white noise, an offset.

    Frames are normalized by their noise, so a dimmer particle stands in as much noise as the
    crop: what the gain takes from the crop's own noise (1 unit) is put back, and up to `noise`
    units more. `shot` is the variance that a contrast of 1 adds to the noise's 1 (photon noise);
    `kept` (n, 1, h, w) the share of the frame's noise that the views still hold.
    """
    n = views.shape[0]
    low, high = torch.log(torch.tensor(gain))
    times = torch.exp(low + (high - low) * torch.rand(n, 1, 1, 1, generator=generator))
    more = noise * torch.rand(n, 1, 1, 1, generator=generator)
    added = torch.sqrt((1 - times**2).clamp(min=0) + more**2)
    lack = (1 - (times if kept is None else times * kept) ** 2).clamp(min=0)
    grain = torch.sqrt(lack + more**2) * torch.randn(views.shape, generator=generator)
    if shot > 0:
        grain = grain * torch.sqrt(1 + shot * smooth(views, 0.7).cpu().abs())
    offset = 0.3 * torch.randn(n, 1, 1, 1, generator=generator)
    trust = (times / torch.sqrt(times**2 + added**2))[:, 0, 0, 0]
    varied = views * times.to(views) + (grain + offset).to(views)
    return Varied(varied, (trust / trust.mean()).to(views))


def losses(
    out: Tensor, copies: Copies, trust: Tensor, own: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Disagreement between copies, and of cells within a copy, pixels (the paper's two losses).

    The weights are normalized to a sum of 1 a copy, after dropping 1 % of them and adding EPSILON
    (Methods, "Neural network training"): dropping keeps the weight from shrinking to one cell, the
    addend makes the network use the whole range of the sigmoid. `trust` weighs the copies; cells
    outside `own` (n, h', w') belong to an intruder and do not count.
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
    """(n,) weighted variance of the positions that the cells predict, both axes, pixels^2.

    The paper's measure of "is this my particle" (Table 1), with weights that sum to 1; of cells
    in `own` (n, h', w') only.
    """
    weight = torch.sigmoid(out[:, 2])
    if own is not None:
        weight = weight * own
    weight = (weight / (weight.sum(dim=(1, 2), keepdim=True) + 1e-12))[:, None]
    points = positions(out)
    middle = (points * weight).sum(dim=(2, 3), keepdim=True)
    return ((points - middle) ** 2 * weight).sum(dim=(1, 2, 3))


def confusion(out: Tensor, own: Tensor, strange: Tensor) -> Tensor:
    """Loss of answers to what is not the particle, `strange`, beside those to copies of it, `out`.

    0 where they vary APART times as much; cells may disagree on the place, or share the weight.
    A ratio, as a network that puts some weight far away always would vary much and tell nothing.
    """
    mine = torch.log(scatter(out, own) + 1e-3).mean()
    return functional.relu(math.log(APART) + mine - torch.log(scatter(strange) + 1e-3)).mean()


def normalized(normalize: Normalize, frame: NDArray[Any]) -> Tensor:
    """A frame (h, w) or (c, h, w) in noise units above its background."""
    with torch.no_grad():
        flat = cast(Tensor, normalize(torch.from_numpy(frame.astype("float32"))))
    return flat.reshape(frame.shape)
