"""Holograms: scattering against a Mie library and textbook limits, the objective, noise."""

from __future__ import annotations

import miepython
import numpy as np
import pytest

from livespt.models.optics import holograms
from livespt.models.optics.holograms import HolographicMicroscope, Sphere

M = HolographicMicroscope()
SPHERES = {
    "far below the wavelength": (0.01, 1.58),
    "150 nm, weak": (0.15, 1.45),
    "228 nm polystyrene": (0.228, 1.58),
    "300 nm, strong": (0.3, 1.65),
    "several wavelengths": (2.0, 1.58),
    "a bubble": (0.5, 1.0),
}


@pytest.mark.parametrize("name", SPHERES)
def test_coefficients_are_those_of_miepython(name: str) -> None:
    radius, index = SPHERES[name]
    ours = holograms.coefficients(M.k * radius, index / M.medium)
    theirs = miepython.coefficients(index / M.medium, M.k * radius)
    for a, b in zip(ours, theirs, strict=True):
        n = min(len(a), len(b))
        assert np.allclose(a[:n], b[:n])
        assert np.abs(a[n:]).max(initial=0) < 1e-6


@pytest.mark.parametrize("name", SPHERES)
def test_forward_scattering_tells_all_that_is_scattered(name: str) -> None:
    """Optical theorem, without absorption: 4 pi Re S(0) is the integral of all intensity."""
    radius, index = SPHERES[name]
    nodes, weights = np.polynomial.legendre.leggauss(400)
    s1, s2 = holograms.amplitudes(M.k * radius, index / M.medium, nodes)
    scattered = np.pi * np.sum(weights * (np.abs(s1) ** 2 + np.abs(s2) ** 2))
    forward, _ = holograms.amplitudes(M.k * radius, index / M.medium, np.ones(1))
    assert 4 * np.pi * forward[0].real == pytest.approx(scattered, rel=1e-9)


def test_small_spheres_are_dipoles_of_clausius_and_mossotti() -> None:
    cosine = np.linspace(-1, 1, 7)
    s1, s2 = holograms.amplitudes(M.k * 0.005, 1.58 / M.medium, cosine)
    assert np.allclose(s2, s1 * cosine, rtol=0.01, atol=0.01 * abs(s1[0]))
    seen = holograms.polarizability(0.005, 1.58)
    assert seen.real == pytest.approx(holograms.clausius_mossotti(0.005, 1.58), rel=1e-3)
    assert abs(seen.imag) < 1e-3 * seen.real


@pytest.mark.parametrize("z_um", [0.0, -2.0])
def test_integrated_phase_is_the_polarizability(z_um: float) -> None:
    """Of a small sphere k alpha / 2, at any focus."""
    radius, index = 0.03, 1.58
    field = holograms.render([Sphere(64.3, 63.8, z_um, radius, index)], (128, 128), margin=0)
    phase = field.astype(complex).imag.sum() * M.pixel_um**2
    alpha = holograms.clausius_mossotti(radius, index)
    assert phase == pytest.approx(M.k * alpha / 2, rel=0.02)


def test_integral_is_forward_scattering_for_any_sphere() -> None:
    field = holograms.render([Sphere(64, 64, 0.7, 0.3, 1.65)], (128, 128), margin=0)
    total = field.astype(complex).sum() * M.pixel_um**2
    assert total / (0.5j * M.k) == pytest.approx(holograms.polarizability(0.3, 1.65), rel=1e-4)


def test_a_particle_is_where_it_was_put() -> None:
    field = holograms.render([Sphere(40.25, 70.5, 0.0, 0.1, 1.58)], (96, 128))
    energy = np.abs(field) ** 2
    y, x = np.indices(energy.shape)
    near = np.hypot(y - 40.25, x - 70.5) < 12
    assert np.sum((energy * y)[near]) / energy[near].sum() == pytest.approx(40.25, abs=0.02)
    assert np.sum((energy * x)[near]) / energy[near].sum() == pytest.approx(70.5, abs=0.02)


def test_spheres_add_and_the_margin_hardly_matters() -> None:
    one, two = Sphere(30, 30, 1.0, 0.2, 1.5), Sphere(90, 80, -2.0, 0.228, 1.58)
    both = holograms.render([one, two], (128, 128))
    alone = holograms.render([one], (128, 128)) + holograms.render([two], (128, 128))
    assert np.allclose(both, alone, atol=1e-6)
    wide = holograms.render([one, two], (128, 128), margin=192)
    assert np.abs(both - wide).max() < 0.01 * np.abs(both).max()


def test_the_field_holds_nothing_that_the_objective_stops() -> None:
    field = holograms.render([Sphere(64, 64, 0.0, 0.05, 1.58)], (128, 128), margin=0)
    spectrum = np.abs(np.fft.fft2(field.astype(complex)))
    assert spectrum[~M.pupil((128, 128))].max() < 1e-5 * spectrum.max()
    narrow = holograms.render([Sphere(64, 64, 0, 0.05, 1.58)], (128, 128), M._replace(na=0.6))
    assert np.abs(narrow).max() < np.abs(field).max()


def test_noise_is_of_its_level_and_within_the_pupil() -> None:
    noise = holograms.noise((256, 256), 0.05, np.random.default_rng(3))
    assert noise.real.std() == pytest.approx(0.05, rel=0.03)
    assert noise.imag.std() == pytest.approx(0.05, rel=0.03)
    spectrum = np.abs(np.fft.fft2(noise.astype(complex)))
    assert spectrum[~M.pupil((256, 256))].max() < 1e-4 * spectrum.max()
