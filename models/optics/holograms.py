"""Holograms of spheres: the complex field that an off-axis holographic microscope reconstructs.

A field is complex (y, x). It is the total field divided by the illumination, minus 1, so it is 0
where nothing scatters; a small imaginary part is the phase shift. Light travels towards +z as
exp(ikz). z is the position of the particle relative to the focal plane; at z > 0 the light passes
the focal plane first. Apart from the phase of the illumination, the field in another plane is that
of models/optics/propagation.py.

Scattering is exact (Lorenz and Mie; Bohren & Huffman, Absorption and Scattering of Light by Small
Particles, 1983, chapter 4), and the objective is aplanatic (Novotny & Hecht, Principles of
Nano-Optics, 2nd ed., 2012, section 3.5). Aberrations of the coverslip and multiple scattering
between particles are neglected.
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
    """Properties of the microscope on which the field depends."""

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
        """Cells (h, w) of a discrete Fourier transform that the objective transmits."""
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
    """Mie coefficients a_n and b_n, n = 1, 2, ...

    Parameters
    ----------
    size : circumference of the sphere divided by the wavelength in the medium.
    relative : refractive index of the sphere divided by that of the medium.

    Notes
    -----
    Logarithmic derivatives are computed by downward recurrence, Riccati-Bessel functions by upward
    recurrence, with the number of terms of Wiscombe (Appl. Opt. 19, 1505, 1980).
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
    """Polarizability (um^3) of a sphere of any size, from its forward scattering.

    It is 4 pi i S(0) / k^3. The integral of the field over the plane is i k / 2 times this value,
    for any focus and aperture. For small spheres, its real part equals `clausius_mossotti`.
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
    """Field (y, x) in the focal plane, without noise; the light is polarized along x.

    The Fourier transform is periodic. A `margin` of pixels on each side, which is cut off, keeps
    light that leaves on one side from entering on the other.
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
    """kz - k (h, w): phase of a plane wave relative to the illumination, radians per micrometre.

    It is 0 outside the pupil.
    """
    ky, kx = microscope.lateral(shape)
    square = np.where(microscope.pupil(shape), ky**2 + kx**2, 0.0)
    return np.asarray(np.sqrt(microscope.k**2 - square) - microscope.k)


@lru_cache(maxsize=CACHED)
def _spectrum(
    microscope: HolographicMicroscope, radius_um: float, index: float, shape: tuple[int, int]
) -> Complexes:
    """Discrete Fourier transform (h, w) of the field of a sphere in focus at pixel (0, 0).

    A plane wave of the field has the amplitude -S / (2 pi k kz) (from the far field exp(ikr) S /
    (-ikr) by stationary phase, Novotny & Hecht equation 3.33), times sqrt(cos) behind the lens. The
    lens rotates the polarizations into the plane, so the component along x is S2 cos^2 + S1 sin^2.
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
    # an integral over k becomes a sum over cells of the transform, of (2 pi / (n pixel))^2 each,
    # and the inverse transform divides by n^2
    spectrum[inside] = towards * (2 * np.pi / microscope.pixel_um) ** 2
    return spectrum


def noise(
    shape: tuple[int, int],
    level: float,
    rng: np.random.Generator,
    microscope: HolographicMicroscope | None = None,
) -> NDArray[np.complex64]:
    """Complex Gaussian noise (y, x) with standard deviation `level` in real and imaginary part.

    It is white within the pupil and zero outside, as is the shot noise of a camera in the side band
    of an off-axis hologram.
    """
    inside = (microscope or HolographicMicroscope()).pupil(shape)
    spectrum = np.zeros(shape, np.complex128)
    n = np.count_nonzero(inside)
    spectrum[inside] = rng.standard_normal(n) + 1j * rng.standard_normal(n)
    grain = np.fft.ifft2(spectrum) * (level * inside.size / np.sqrt(n))
    return np.asarray(grain, np.complex64)
