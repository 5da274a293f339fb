"""Fit a localizer's network to copies of one particle, or of several."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from livespt.tools.progress import steps
from livespt.tools.train_localizer import measure

if TYPE_CHECKING:
    import torch
    from torch import nn

BATCH, NEGATIVES = 8, 4  # copies of the particle, and negative examples, in a step
RATES = {"light": 1e-3, "wide": 3e-3, "paper": 1e-3}


class LocalizerRecipe(NamedTuple):
    """How a network is trained; all of it stands on the card."""

    net: str
    steps: int
    gain: tuple[float, float]  # amplitudes, times that of the crop
    zoom: float  # sizes, times and over that of the crop
    noise: float  # most white noise added, noise units
    device: str
    neighbours: float = 0.5  # share of copies with another particle beside the first
    others: float = 0.0  # weight of the loss of answers to what is not the particle; 0: none


def train_network(
    crop: torch.Tensor, particle: measure.Particle, recipe: LocalizerRecipe, seed: int
) -> tuple[nn.Sequential, list[dict[str, float]]]:
    """Train a network; return it on the CPU, and its losses during training.

    `crop` is (s, s), or (k, c, s, s): k crops with c channels, one of which is drawn in each step.
    They have no noise (`without_noise` of crops.py), so copies of any brightness have a frame's.
    """
    import torch

    from livespt.models.networks import lodestar

    many = crop.dim() == 4
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = lodestar.build(recipe.net, channels=crop.shape[1] if many else 1)
    net = net.to(recipe.device)
    rate = RATES[recipe.net]
    optimizer = torch.optim.Adam(net.parameters(), rate)
    rates = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rate, total_steps=recipe.steps, pct_start=0.05, final_div_factor=100
    )
    history, sums, every = [], np.zeros(3), max(1, recipe.steps // 10)
    names = ("between_px", "within_px", "others")
    for step in steps(range(1, recipe.steps + 1), "training", recipe.steps):
        one = crop[int(torch.randint(len(crop), (), generator=generator))] if many else crop
        found = _losses(net, one, particle, recipe, generator)
        optimizer.zero_grad()
        (found[0] + found[1] + recipe.others * found[2]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        rates.step()
        sums += [float(loss.detach()) for loss in found]
        if step % every == 0:
            mean = (sums / every).round(4).tolist()
            history.append({"step": step} | dict(zip(names, mean, strict=True)))
            sums[:] = 0
    return net.cpu().eval(), history


def _losses(
    net: nn.Module,
    crop: torch.Tensor,
    particle: measure.Particle,
    recipe: LocalizerRecipe,
    generator: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Losses of one batch: between copies and within copies (pixels), and for negative examples."""
    import torch

    from livespt.models.networks import lodestar, negatives

    size, shift = measure.view_size(crop), measure.farthest(crop, particle)
    nearest = min(particle.fwhm_px, crop.shape[-1] / 3)
    copies = lodestar.draw_copies(BATCH, shift, recipe.zoom, generator)
    views = measure.views(crop, copies, particle, size)
    views, own = lodestar.intrude(views, crop, copies, nearest, generator, recipe.neighbours)
    varied = lodestar.vary(views, generator, recipe.gain, recipe.noise, particle.shot)
    views = varied.views
    if recipe.others > 0:
        others = negatives.draw_negatives(crop, NEGATIVES, particle.fwhm_px, shift, size, generator)
        others = lodestar.vary(
            others + particle.level, generator, recipe.gain, recipe.noise, particle.shot
        ).views
        views = torch.cat([views, others])
    out = net(lodestar.squash(views).to(recipe.device)).cpu()
    between, within = lodestar.losses(out[:BATCH], copies, varied.trust, own, generator)
    if recipe.others == 0:
        return between, within, torch.zeros(())
    return between, within, lodestar.confusion(out[:BATCH], own, out[BATCH:])
