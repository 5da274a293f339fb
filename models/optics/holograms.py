"""Holograms of spheres: the complex field that an off-axis holographic microscope reconstructs.

A field is complex (y, x), in units of the illumination and less it: 0 where nothing scatters. Its
imaginary part is, where it is small, the phase that light gained. Light travels towards +z as
exp(ikz); z is where the particle is, seen from the focal plane, so a particle at z > 0 lies behind
that plane on the light's way. Times the light's own phase, a field at another plane is that of
`models.optics.propagation`.

Scattering is exact (Lorenz and Mie; Bohren & Huffman, Absorption and Scattering of Light by Small
Particles, 1983, chapter 4), the objective aplanatic (Novotny & Hecht, Principles of Nano-Optics,
2nd ed., 2012, section 3.5). Left out: the coverslip's aberrations, light that two particles
scatter in turn.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Complexes = NDArray[np.complex128]
Floats = NDArray[np.float64]
CACHED = 64  # spectra kept, 1 MiB each at 256 x 256


class HolographicMicroscope(NamedTuple):
    """What the field depends on beside the particles."""

    wavelength_um: float = 0.633  # in vacuum
    na: float = 1.3
    medium: float = 1.333  # refractive index of water
    pixel_um: float = 0.115  # in the sample

    @property
    def k(self) -> float:
        """Wave number in the medium, radians per micrometre."""
        return 2 * np.pi * self.medium / self.wavelength_um

    @property
    def k_pupil(self) -> float:
        """Largest lateral wave number that is imaged, radians per micrometre."""
        return 2 * np.pi * min(self.na, self.medium) / self.wavelength_um

    def lateral(self, shape: tuple[int, int]) -> tuple[Floats, Floats]:
        """Wave numbers (h, 1) and (1, w) of the cells of a discrete Fourier transform."""
        ky, kx = (np.asarray(2 * np.pi * np.fft.fftfreq(n, self.pixel_um), float) for n in shape)
        return ky[:, None], kx[None, :]

    def pupil(self, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """(h, w): the cells of a discrete Fourier transform that the objective lets through."""
        ky, kx = self.lateral(shape)
        return ky**2 + kx**2 < self.k_pupil**2


class Sphere(NamedTuple):
    """One particle."""

    y: float  # pixels
    x: float
    z_um: float  # from the focal plane
    radius_um: float
    refractive_index: float


def coefficients(size: float, relative: float) -> tuple[Complexes, Complexes]:
    """a_n and b_n, n = 1, 2, ...

    Parameters
    ----------
    size : circumference over the wavelength in the medium.
    relative : refractive index of the sphere over the medium's.

    Notes
    -----
    Logarithmic derivatives by downward, Riccati-Bessel functions by upward recurrence, as many
    terms as Wiscombe (Appl. Opt. 19, 1505, 1980) found to be needed.
    """
    terms = int(size + 4.05 * size ** (1 / 3) + 2)
    inner = relative * size
    start = int(max(terms, abs(inner))) + 16
    derivative = np.zeros(start + 1, np.complex128)  # of ln psi_n at `inner`
    for k in range(start, 0, -1):
        derivative[k - 1] = k / inner - 1 / (derivative[k] + k / inner)
    n = np.arange(terms + 1)
    psi, chi = np.empty(terms + 2), np.empty(terms + 2)  # of orders -1, 0, 1, ...
    psi[:2], chi[:2] = (np.cos(size), np.sin(size)), (-np.sin(size), np.cos(size))
    for k in range(1, terms + 1):
        psi[k + 1] = (2 * k - 1) / size * psi[k] - psi[k - 1]
        chi[k + 1] = (2 * k - 1) / size * chi[k] - chi[k - 1]
    xi = psi - 1j * chi
    electric = (derivative[: terms + 1] / relative + n / size)[1:]
    magnetic = (derivative[: terms + 1] * relative + n / size)[1:]
    a = (electric * psi[2:] - psi[1:-1]) / (electric * xi[2:] - xi[1:-1])
    b = (magnetic * psi[2:] - psi[1:-1]) / (magnetic * xi[2:] - xi[1:-1])
    return a, b


def amplitudes(size: float, relative: float, cosine: Floats) -> tuple[Complexes, Complexes]:
    """S1 and S2 of Bohren & Huffman (equation 4.74) at the cosines of scattering angles."""
    a, b = coefficients(size, relative)
    before, angular = np.zeros_like(cosine), np.ones_like(cosine)  # pi_0, pi_1
    s1, s2 = np.zeros(cosine.shape, np.complex128), np.zeros(cosine.shape, np.complex128)
    for n in range(1, len(a) + 1):
        tau = n * cosine * angular - (n + 1) * before
        weight = (2 * n + 1) / (n * (n + 1))
        s1 += weight * (a[n - 1] * angular + b[n - 1] * tau)
        s2 += weight * (a[n - 1] * tau + b[n - 1] * angular)
        following = ((2 * n + 1) * cosine * angular - (n + 1) * before) / n
        before, angular = angular, following
    return s1, s2


def clausius_mossotti(
    radius_um: float, index: float, medium: float = HolographicMicroscope().medium
) -> float:
    """Polarizability of a small sphere, um^3: 3 V (n_p^2 - n_m^2) / (n_p^2 + 2 n_m^2)."""
    volume = 4 / 3 * np.pi * radius_um**3
    return float(3 * volume * (index**2 - medium**2) / (index**2 + 2 * medium**2))


def polarizability(
    radius_um: float, index: float, microscope: HolographicMicroscope | None = None
) -> complex:
    """Polarizability of a sphere of any size as its forward scattering shows it, um^3.

    4 pi i S(0) / k^3: the integral of the field over the plane is i k / 2 times it, wherever the
    focus is and whatever the aperture. Its real part is `clausius_mossotti` for small spheres.
    """
    m = microscope or HolographicMicroscope()
    s1, _ = amplitudes(m.k * radius_um, index / m.medium, np.ones(1))
    return complex(4j * np.pi * s1[0] / m.k**3)


def render(
    spheres: Iterable[Sphere],
    shape: tuple[int, int],
    microscope: HolographicMicroscope | None = None,
    margin: int = 64,
) -> NDArray[np.complex64]:
    """Field (y, x) in the focal plane, without noise; light is polarized along x.

    The transform behind it is periodic; `margin` pixels on each side, cut off, keep light that
    leaves one side from coming in at the other.
    """
    m = microscope or HolographicMicroscope()
    wide = (shape[0] + 2 * margin, shape[1] + 2 * margin)
    ky, kx = m.lateral(wide)
    slow = defocus(wide, m)
    total = np.zeros(wide, np.complex128)
    for s in spheres:
        y, x = (s.y + margin) * m.pixel_um, (s.x + margin) * m.pixel_um
        shift = np.exp(-1j * ky * y) * np.exp(-1j * kx * x)
        total += (
            _spectrum(m, s.radius_um, s.refractive_index, wide)
            * shift
            * np.exp(-1j * slow * s.z_um)
        )
    field = np.fft.ifft2(total)[margin : margin + shape[0], margin : margin + shape[1]]
    return field.astype(np.complex64)


def defocus(shape: tuple[int, int], microscope: HolographicMicroscope) -> Floats:
    """(h, w) kz - k: the phase that a plane wave gains on the illumination, radians a micrometre.

    0 outside the pupil.
    """
    ky, kx = microscope.lateral(shape)
    square = np.where(microscope.pupil(shape), ky**2 + kx**2, 0.0)
    return np.asarray(np.sqrt(microscope.k**2 - square) - microscope.k)


@lru_cache(maxsize=CACHED)
def _spectrum(
    microscope: HolographicMicroscope, radius_um: float, index: float, shape: tuple[int, int]
) -> Complexes:
    """(h, w) discrete Fourier transform of the field of a sphere in focus, at pixel (0, 0).

    A plane wave of the field has amplitude -S / (2 pi k kz) (the far field exp(ikr) S / (-ikr) by
    stationary phase, Novotny & Hecht equation 3.33), and behind the lens sqrt(cos) of it; across
    the pupil the polarizations turn into the plane, so along x is S2 cos^2 + S1 sin^2.
    """
    k = microscope.k
    ky, kx = microscope.lateral(shape)
    inside = microscope.pupil(shape)
    square = (ky**2 + kx**2)[inside]
    along = np.divide((kx**2 + 0 * ky)[inside], square, out=np.ones_like(square), where=square > 0)
    angles, back = np.unique(np.round(square, 9), return_inverse=True)
    cosine = np.sqrt(1 - angles / k**2)
    s1, s2 = (s[back] for s in amplitudes(k * radius_um, index / microscope.medium, cosine))
    towards = -(s2 * along + s1 * (1 - along)) / (2 * np.pi * k**2 * np.sqrt(cosine[back]))
    spectrum = np.zeros(shape, np.complex128)
    # integrals over k become sums over cells of the transform, (2 pi / (n pixel))^2 each, and the
    # inverse transform divides by n^2
    spectrum[inside] = towards * (2 * np.pi / microscope.pixel_um) ** 2
    return spectrum


def noise(
    shape: tuple[int, int],
    level: float,
    rng: np.random.Generator,
    microscope: HolographicMicroscope | None = None,
) -> NDArray[np.complex64]:
    """Complex Gaussian noise (y, x), standard deviation `level` in each of both parts.

    White within the pupil and nothing outside: what is left of a camera's shot noise in the side
    band of an off-axis hologram.
    """
    inside = (microscope or HolographicMicroscope()).pupil(shape)
    spectrum = np.zeros(shape, np.complex128)
    n = np.count_nonzero(inside)
    spectrum[inside] = rng.standard_normal(n) + 1j * rng.standard_normal(n)
    grain = np.fft.ifft2(spectrum) * (level * inside.size / np.sqrt(n))
    return np.asarray(grain, np.complex64)
