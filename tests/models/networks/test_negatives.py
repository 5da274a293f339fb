"""Strangers: they are not the particle, and as bright as it is."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from livespt.models.networks import lodestar, negatives
from livespt.models.render import particle_shapes


def crop_of(kind: str, angle: float = 0.3) -> torch.Tensor:
    image = 30 * particle_shapes.expected(kind, (20.0, 20.0), angle, 41)
    return torch.from_numpy(image.astype(np.float32))


@pytest.mark.parametrize("kind", particle_shapes.KINDS)
def test_they_are_as_bright_and_other(kind: str) -> None:
    crop, generator = crop_of(kind), torch.Generator().manual_seed(0)
    odd = negatives.draw_negatives(crop, 24, 8.0, 2.0, 40, generator)
    assert odd.shape == (24, 1, 40, 40) and bool(torch.isfinite(odd).all())
    peaks = lodestar.smooth(odd, 1.0).amax(dim=(1, 2, 3))
    own = float(lodestar.smooth(crop[None, None], 1.0).max())
    assert own / 20 < peaks.min() and peaks.max() == pytest.approx(own, rel=0.01)
    assert (peaks > 0.99 * own).float().mean() > 0.9
    copies = lodestar.draw_copies(200, 0.0, 1.0, generator)
    turned = lodestar.transform(crop, copies, 40).flatten(1)
    same = turned / turned.norm(dim=1, keepdim=True)
    centred = negatives.draw_negatives(crop, 40, 8.0, 0.0, 40, generator).flatten(1)
    alike = (centred / centred.norm(dim=1, keepdim=True) @ same.T).amax(dim=1)
    assert alike.median() < 0.95


@pytest.mark.parametrize("angle", [0.0, 0.7, 2.2])
def test_the_short_axis_of_an_ellipse(angle: float) -> None:
    long, short_way = negatives.axes(crop_of("ellipse", angle))
    assert 1.5 < long < 2.2
    # short axis: the long one (sin, cos of `angle`) turned by a quarter
    assert abs(math.sin(angle) * math.cos(short_way) + math.cos(angle) * math.sin(short_way)) < 0.05


@pytest.mark.parametrize("kind", ["point", "sphere", "annulus"])
def test_round_ones_are_round(kind: str) -> None:
    assert negatives.axes(crop_of(kind))[0] < 1.05
