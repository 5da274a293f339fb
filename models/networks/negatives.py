"""Negative examples: images of other particles, made from the crop of one particle.

The losses of the LodeSTAR paper require only that predictions agree on copies of the particle. Its
authors propose negative examples, so that the network rejects other particles ("Discussion").
Rotations, reflections and small scalings do not change a particle. Here, other particles are made
by strong scaling, stretching, smearing, cutting in two, or superposing it with a rotated copy.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from livespt.models.networks.lodestar import Copies, draw_copies, smooth, transform

STRETCH = (1.5, 2.5)  # ratio of the scalings along two axes
SCALE = (1.5, 3.0)  # scaling, or its inverse
MAX_ROUND_RATIO = 1.25  # of long and short axis of a round particle
BLURS = (0.25, 0.4, 0.6)  # width of the blur, in diameters
KINDS = ("stretched", "stretched", "scaled", "smeared", "halved", "piled")


def axes(crop: Tensor) -> tuple[float, float]:
    """Ratio of long and short axis of the particle (s, s), and the direction of the short axis.

    They come from the second moments of its brighter part. The direction is the angle from y to x.
    """
    size = crop.shape[-1]
    bright = smooth(crop[None, None], 1.0)[0, 0].abs()
    line = torch.arange(size) - (size - 1) / 2
    near = torch.hypot(line[:, None], line) < size / 3
    bright = torch.where(near & (bright > 0.35 * (bright * near).max()), bright, 0)
    total = bright.sum().clamp(min=1e-9)
    y = (line - (bright.sum(dim=1) * line).sum() / total)[:, None]
    x = (line - (bright.sum(dim=0) * line).sum() / total)[None]
    moments = [(bright * a).sum() / total for a in (y * y, y * x, y * x, x * x)]
    lengths, vectors = torch.linalg.eigh(torch.stack(moments).reshape(2, 2) + 0.1 * torch.eye(2))
    return float(torch.sqrt(lengths[1] / lengths[0])), math.atan2(vectors[1, 0], vectors[0, 0])


def draw_negatives(
    crop: Tensor, n: int, fwhm_px: float, shift_px: float, size: int, generator: torch.Generator
) -> Tensor:
    """Draw images (n, c, size, size) of other particles with the peak brightness of the crop.

    Parameters
    ----------
    crop : (s, s) or (c, s, s)
        The particle alone, in the middle, in noise units.
    fwhm_px, shift_px : float
        Diameter of the particle; greatest distance of other particles from the middle.
    """
    long, short_way = axes(crop.reshape(-1, *crop.shape[-2:])[0])
    kinds = (
        KINDS if long > MAX_ROUND_RATIO else KINDS[:-1]
    )  # superposing a round particle does not change it
    which = torch.randint(0, len(kinds), (n,), generator=generator).tolist()
    is_kind = {kind: torch.tensor([kinds[k] == kind for k in which]) for kind in kinds}
    copies = draw_copies(n, shift_px, 1.0, generator)
    matrix = copies.matrix @ _distortions(n, long, short_way, is_kind, generator)
    views = transform(crop, Copies(matrix, copies.shift), size, padding="zeros")
    views = _smeared(views, is_kind["smeared"], fwhm_px, generator)
    views = _halved(views, is_kind["halved"], copies.shift, fwhm_px, generator)
    if "piled" in is_kind:
        turned = draw_copies(n, 0.3 * fwhm_px, 1.0, generator)
        other = Copies(turned.matrix @ copies.matrix, copies.shift + turned.shift)
        second = transform(crop, other, size, padding="zeros")
        views = views + is_kind["piled"][:, None, None, None] * second
    peak = smooth(crop.reshape(1, -1, *crop.shape[-2:]), 1.0).abs().amax()
    own = smooth(views, 1.0).abs().amax(dim=(1, 2, 3), keepdim=True).clamp(min=0.05 * float(peak))
    return views * (peak / own)


def _uniform(low: float, high: float, n: int, generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(n, generator=generator)


def _turns(angle: Tensor) -> Tensor:
    cos, sin = torch.cos(angle), torch.sin(angle)
    return torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)


def _distortions(
    n: int, long: float, short_way: float, is_kind: dict[str, Tensor], generator: torch.Generator
) -> Tensor:
    """Draw stretches and scalings (n, 2, 2); the other kinds keep their size."""
    ratio = torch.exp(_uniform(math.log(STRETCH[0]), math.log(STRETCH[1]), n, generator))
    angle = _uniform(0, 2 * math.pi, n, generator)
    if long > MAX_ROUND_RATIO:  # often stretched so that the particle becomes round
        aimed = _uniform(0, 1, n, generator) < 0.6
        angle = torch.where(aimed, short_way, angle)
        ratio = torch.where(aimed, long ** _uniform(0.7, 1.2, n, generator), ratio)
    size = torch.exp(_uniform(-0.26, 0.26, n, generator))
    scale = torch.exp(_uniform(math.log(SCALE[0]), math.log(SCALE[1]), n, generator))
    scale = torch.where(_uniform(0, 1, n, generator) < 0.5, scale, 1 / scale)
    one = torch.ones(n)
    along = torch.where(is_kind["stretched"], size * ratio.sqrt(), one)
    across = torch.where(is_kind["stretched"], size / ratio.sqrt(), one)
    along = torch.where(is_kind["scaled"], scale, along)
    across = torch.where(is_kind["scaled"], scale, across)
    turn = _turns(angle)
    return turn @ torch.diag_embed(torch.stack([along, across], 1)) @ turn.transpose(1, 2)


def _smeared(views: Tensor, which: Tensor, fwhm_px: float, generator: torch.Generator) -> Tensor:
    step = torch.randint(0, len(BLURS), (len(views),), generator=generator)
    for k, share in enumerate(BLURS):
        these = which & (step == k)
        if these.any():
            views = views.clone()
            views[these] = smooth(views[these], share * fwhm_px)
    return views


def _halved(
    views: Tensor, which: Tensor, centre: Tensor, fwhm_px: float, generator: torch.Generator
) -> Tensor:
    """Views from which one side of a line near the middle of the particle is removed."""
    n, size = len(views), views.shape[-1]
    angle = _uniform(0, 2 * math.pi, n, generator)[:, None, None]
    edge = _uniform(-0.15, 0.15, n, generator)[:, None, None] * fwhm_px
    line = torch.arange(size) - (size - 1) / 2
    y = line[:, None] - centre[:, 0, None, None]
    x = line[None, :] - centre[:, 1, None, None]
    left = torch.sigmoid(y * torch.sin(angle) + x * torch.cos(angle) + edge)
    return views * torch.where(which[:, None, None], left, 1.0)[:, None]
