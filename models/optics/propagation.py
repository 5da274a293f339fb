"""Propagate fields to other planes, and find the plane where a particle is in focus.

This uses the angular spectrum (Goodman, Introduction to Fourier Optics, 3rd ed., 2005, section
3.10): each plane wave of the field gains a phase. Phases are relative to that of the illumination,
so that the propagated field is again one without its background. Waves that the objective does not
transmit are removed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.models.optics.holograms import HolographicMicroscope, defocus

if TYPE_CHECKING:
    from torch import Tensor


Criterion = Callable[[NDArray[Any]], float]
GOLDEN = (5**0.5 - 1) / 2


class Transfer(NamedTuple):
    """Effect of propagation on the discrete Fourier transform of a field."""

    slow: NDArray[np.float64]  # (h, w) kz - k, radians per micrometre
    pupil: NDArray[np.bool_]  # (h, w)

    def __call__(self, dz_um: float) -> NDArray[np.complex128]:
        """Factors (h, w) for propagation over `dz_um`."""
        return np.where(self.pupil, np.exp(1j * self.slow * dz_um), 0)

    def batch(self, dz_um: Tensor) -> Tensor:
        """Factors (n, h, w), complex64, for propagation over each of the distances `dz_um` (n,)."""
        import torch

        slow = torch.from_numpy(self.slow.astype(np.float32)).to(dz_um.device)
        pupil = torch.from_numpy(self.pupil.astype(np.float32)).to(dz_um.device)
        phase = slow * dz_um[:, None, None]
        return torch.complex(pupil * torch.cos(phase), pupil * torch.sin(phase))


def transfer(shape: tuple[int, int], microscope: HolographicMicroscope | None = None) -> Transfer:
    """Transfer function for fields of this shape."""
    m = microscope or HolographicMicroscope()
    return Transfer(defocus(shape, m), m.pupil(shape))


def propagate(
    field: NDArray[Any],
    dz_um: float,
    microscope: HolographicMicroscope | None = None,
    margin: int = 64,
) -> NDArray[np.complex64]:
    """Propagate a field (y, x), without its background, by `dz_um` along the light.

    The z of particles decreases by `dz_um`. A `margin` of pixels without field keeps light that
    leaves on one side from entering on the other.
    """
    wide = np.pad(field, margin)
    spectrum = np.fft.fft2(wide) * transfer(wide.shape, microscope)(dz_um)
    inside = (slice(margin, margin + field.shape[0]), slice(margin, margin + field.shape[1]))
    return np.fft.ifft2(spectrum)[inside].astype(np.complex64)


def peak(field: NDArray[Any]) -> float:
    """Greatest intensity: the light of a small particle is concentrated in its own plane."""
    return float((np.abs(field) ** 2).max())


def tamura(field: NDArray[Any]) -> float:
    """Tamura coefficient of the intensity (Memmolo et al., Opt. Lett. 36, 1945, 2011)."""
    intensity = np.abs(field) ** 2
    mean = float(intensity.mean())
    return float(np.sqrt(intensity.std() / mean)) if mean > 0 else 0.0


def refocus(
    field: NDArray[Any],
    within_um: tuple[float, float],
    criterion: Criterion = tamura,
    microscope: HolographicMicroscope | None = None,
    *,
    step_um: float = 0.5,
    tolerance_um: float = 0.002,
) -> float:
    """z (um) of the particle in `field`, where the refocused field has the largest `criterion`.

    A scan finds the neighbourhood of the maximum, and a golden-section search (Kiefer, Proc. Am.
    Math. Soc. 4, 502, 1953) the maximum.

    Parameters
    ----------
    field : (y, x) complex, without its background, with one particle.
    within_um : least and greatest z to search.
    """
    factors = transfer(field.shape, microscope)
    spectrum = np.fft.fft2(field)

    def value(z: float) -> float:
        return criterion(np.fft.ifft2(spectrum * factors(z)))

    low, high = within_um
    scan = np.linspace(low, high, max(2, round((high - low) / step_um)) + 1)
    best = scan[int(np.argmax([value(z) for z in scan]))]
    a, b = max(low, best - step_um), min(high, best + step_um)
    c, d = b - GOLDEN * (b - a), a + GOLDEN * (b - a)
    at_c, at_d = value(c), value(d)
    while b - a > tolerance_um:
        if at_c > at_d:
            b, d, at_d = d, c, at_c
            c = b - GOLDEN * (b - a)
            at_c = value(c)
        else:
            a, c, at_c = c, d, at_d
            d = a + GOLDEN * (b - a)
            at_d = value(d)
    return float((a + b) / 2)
