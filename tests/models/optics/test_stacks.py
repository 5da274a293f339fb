"""Optics in three dimensions: stacks keep their light, and the bound is what a fit reaches."""

from __future__ import annotations

import math

import numpy as np
import pytest

from livespt.models.optics.spots import photons_for_snr, precision_bound, render
from livespt.models.optics.stacks import render_stack, stack_bound
from livespt.stream.errors import SettingError


def test_a_plane_is_the_spot_of_two_dimensions_times_its_axial_share() -> None:
    stack = render_stack([[3.3, 12.2, 15.7]], 1000.0, (8, 30, 32), 1.3, 2.0, 7.0)
    assert stack.shape == (8, 30, 32) and stack.dtype == np.float32
    for k in range(8):
        light = 1000 * math.exp(-0.5 * ((k - 3.3) / 2) ** 2)
        plane = render(12.2, 15.7, light, (30, 32), 1.3, 7.0)
        np.testing.assert_allclose(stack[k], plane, rtol=1e-5)


def test_a_wide_field_keeps_its_light_and_spreads_it() -> None:
    stack = render_stack([[4.0, 30.0, 30.0]], 1000.0, (9, 61, 61), 1.3, math.inf, depth=2.0)
    np.testing.assert_allclose(stack.sum(axis=(1, 2)), 1000, rtol=1e-3)
    y = np.arange(61) - 30.0
    for k in range(9):
        width = (stack[k].sum(axis=1) * y**2).sum() / stack[k].sum() - 1 / 12
        assert width == pytest.approx(1.3**2 * (1 + ((k - 4) / 2) ** 2), rel=0.01)


def test_spots_add_up_and_may_lie_outside() -> None:
    points = np.array([[2.0, 5.0, 5.0], [2.5, 6.0, 7.0], [-1.0, 20.0, 39.7], [90.0, 3.0, 3.0]])
    photons = np.array([100.0, 200.0, 300.0, 400.0])
    together = render_stack(points, photons, (6, 30, 40), 1.3, 1.5, 2.0)
    apart = [
        render_stack([p], n, (6, 30, 40), 1.3, 1.5) for p, n in zip(points, photons, strict=True)
    ]
    np.testing.assert_allclose(together, np.sum(apart, axis=0) + 2, rtol=1e-5)
    assert np.all(render_stack([], [], (3, 9, 9), 1.3, 1.5, 3.0) == 3)


def test_the_bound_in_a_stack_is_below_that_of_one_plane() -> None:
    photons = photons_for_snr([3.0, 5.0, 10.0], 100, 1.3)
    flat = precision_bound(photons, 100, 1.3, read_noise_e=1.5)
    deep = stack_bound(8.0, photons, 100, 1.3, 2.0, 17, read_noise_e=1.5)
    # dim: the planes add up to sigma_z sqrt(pi) of them, each with the background's noise alone
    assert deep[0, 1] == pytest.approx(flat[0, 0] / 2**0.5 / math.pi**0.25, rel=0.02)
    np.testing.assert_allclose(deep[:, 1], deep[:, 2], rtol=1e-9)
    assert deep[:, 0] / deep[:, 1] == pytest.approx(2.0 / 1.34, rel=0.02)  # the ratio of widths
    edge = stack_bound(0.0, photons, 100, 1.3, 2.0, 17, read_noise_e=1.5)
    assert (edge[:, :4] > deep[:, :4]).all()


@pytest.mark.parametrize("kind", ["fades", "spreads"])
def test_the_bound_is_the_information_of_the_rendered_stack(kind: str) -> None:
    sigma_z, depth = (2.0, math.inf) if kind == "fades" else (math.inf, 2.0)
    shape, at, nudge = (9, 15, 15), np.array([4.3, 7.0, 7.0]), 1e-2

    def seen(z: float, y: float, x: float, photons: float = 3000.0) -> np.ndarray:
        drawn = render_stack([[z, y, x]], photons, shape, 1.3, sigma_z, depth=depth)
        return drawn.astype(np.float64).ravel()

    slopes = [(seen(*(at + e)) - seen(*(at - e))) / (2 * nudge) for e in nudge * np.eye(3)]
    design = np.stack([*slopes, seen(*at) / 3000, np.ones(math.prod(shape))])
    information = (design / (seen(*at) + 100)) @ design.T
    bound = stack_bound(4.3, 3000, 100, 1.3, sigma_z, 9, depth=depth)[0]
    np.testing.assert_allclose(np.sqrt(np.diag(np.linalg.inv(information))), bound, rtol=0.02)


BAD = {"odd number": {"window": 8}, "2 or more": {"planes": 1}, "above 0": {"photons": 0.0}}


@pytest.mark.parametrize("words", BAD)
def test_what_has_no_bound_is_refused(words: str) -> None:
    given = {"z": 3.0, "photons": 100.0, "planes": 7} | BAD[words]
    with pytest.raises(SettingError, match=words):
        stack_bound(background=10.0, sigma=1.3, sigma_z=2.0, **given)  # type: ignore[arg-type]
