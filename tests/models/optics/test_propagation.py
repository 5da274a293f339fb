"""Propagation: against rendering elsewhere, its group law, and finding the focus."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from livespt.models.optics import holograms
from livespt.models.optics.holograms import HolographicMicroscope, Sphere
from livespt.models.optics.propagation import peak, propagate, refocus, tamura, transfer

SHAPE = (128, 128)


def sphere(z_um: float, y: float = 63.0, x: float = 65.5) -> Sphere:
    return Sphere(y, x, z_um, 0.228, 1.58)


@pytest.mark.parametrize(("start", "by"), [(0.0, 1.5), (1.0, 1.5), (-1.0, -2.0), (2.0, 0.0)])
def test_propagating_the_field_is_rendering_it_there(start: float, by: float) -> None:
    here = holograms.render([sphere(start)], SHAPE, margin=0)
    there = holograms.render([sphere(start - by)], SHAPE, margin=0)
    assert np.abs(propagate(here, by, margin=0) - there).max() < 1e-5
    wide = holograms.render([sphere(start)], SHAPE), holograms.render([sphere(start - by)], SHAPE)
    assert np.abs(propagate(wide[0], by) - wide[1]).max() < 0.02 * np.abs(wide[1]).max()


def test_there_and_back_keeps_light_and_energy() -> None:
    field = holograms.render([sphere(0.5)], SHAPE, margin=0)
    away = propagate(field, 3.0, margin=0)
    assert np.sum(np.abs(away) ** 2) == pytest.approx(np.sum(np.abs(field) ** 2), rel=1e-5)
    assert np.allclose(propagate(away, -3.0, margin=0), field, atol=1e-5)


def test_torch_and_numpy_agree() -> None:
    factors = transfer((64, 48))
    batch = factors.batch(torch.tensor([-1.5, 0.0, 4.0])).numpy()
    for k, dz in enumerate((-1.5, 0.0, 4.0)):
        assert np.allclose(batch[k], factors(dz), atol=1e-4)


@pytest.mark.parametrize("criterion", [tamura, peak])
@pytest.mark.parametrize("z_um", [-3.3, 0.2, 4.1])
def test_refocusing_finds_the_particle(criterion: object, z_um: float) -> None:
    field = holograms.render([sphere(z_um)], SHAPE)
    field = field + holograms.noise(SHAPE, 0.02, np.random.default_rng(8))
    found = refocus(field, (-6.0, 6.0), criterion)  # type: ignore[arg-type]
    assert found == pytest.approx(z_um, abs=0.15)


def test_an_empty_field_has_no_contrast() -> None:
    assert tamura(np.zeros((32, 32), np.complex64)) == 0.0
    assert -1.0 <= refocus(np.zeros((32, 32), np.complex64), (-1.0, 1.0)) <= 1.0


def test_light_beyond_the_medium_does_not_travel() -> None:
    m = HolographicMicroscope(na=1.45)  # more than water holds
    assert m.k_pupil == pytest.approx(m.k)
    assert np.isfinite(holograms.render([sphere(1.0)], SHAPE, m)).all()
