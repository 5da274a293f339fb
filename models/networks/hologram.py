"""LodeSTAR for holograms in torch: one network for every plane of a refocused field.

It uses the two further symmetries of Midtvedt et al. (Nat. Commun. 13, 7492, 2022). A field that
is propagated over a distance shows its particle nearer by that distance, and a field multiplied by
s shows a particle with s times the polarizability. In the paper, a cell predicts its own position
plus a shift. Here a cell of a plane does so along the optical axis as well: the field is propagated
to several planes, and the same small network processes each of them, so that what it learns in one
plane holds for all. Its input is divided by its local amplitude, so that weak and strong particles
look alike. log s is the output of the network plus the logarithm of that amplitude.

Fields are (n, 2, y, x), real and imaginary part. Cells are 2 x 2 pixels, as in lodestar.py.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from livespt.models.networks import lodestar
from livespt.models.optics.holograms import HolographicMicroscope
from livespt.models.optics.propagation import Transfer, transfer

STRIDE = lodestar.STRIDE  # pixels per cell; the pupil must not alias at this pitch
SPACING_UM = 1.0  # distance of the planes
AMPLITUDE_BOX = 9  # cells; side of the square whose amplitude the input is divided by
INPUT_SCALE = 0.5  # with it, a particle in focus stands out
MARGIN_PX = 64  # without field, so that no light enters from the other side
MIN_ENERGY = 1e-12
ROUNDS, ENERGY_CLIP = 4, 2.5  # iterations of the clipped mean energy; in mean energies
# clipped mean of an exponentially distributed energy, divided by its mean: ROUNDS iterations of
# t = 1 - exp(-ENERGY_CLIP t), from 1
CLIPPED_MEAN = 0.8931
PEAK_CELLS = 7
CLEAR_ENERGY = 12.0  # over that of noise, which exceeds it in one of exp(12) cells
OUTPUTS = 5  # dy, dx (pixels), rho, z (micrometres), ln s
EPSILON = 1e-4  # added to the weights; less than in lodestar.py, because there are more cells
Z_WEIGHT, S_WEIGHT = 4.0, 4.0  # pixels that equal a micrometre, or a factor of e, in the losses


def build(width: int = 16) -> nn.Sequential:
    """Network from real part, imaginary part and amplitude (n, 3, h', w') to (n, 5, h', w')."""
    layers: list[nn.Module] = [nn.Conv2d(3, width, 5, padding=2), nn.ReLU()]
    for apart in (1, 2, 2):
        layers += [nn.Conv2d(width, width, 3, padding=apart, dilation=apart), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(width, OUTPUTS, 1))


class Planes(nn.Module):
    """Propagate a field (n, 2, y, x) to p planes: complex (n, p, y/2, x/2), at the cell centres.

    It sums over the plane waves within the pupil by matrix products, which allows any frame size,
    and no light re-enters on the other side.
    """

    def __init__(
        self, planes_um: Tensor, microscope: HolographicMicroscope, margin: int = MARGIN_PX
    ) -> None:
        super().__init__()
        self.planes_um, self.microscope, self.margin = planes_um, microscope, margin
        self._kept: tuple[tuple[int, int], Any] | None = None

    def forward(self, field: Tensor) -> Tensor:
        size = (int(field.shape[-2]), int(field.shape[-1]))
        if self._kept is None or self._kept[0] != size:
            self._kept = size, self._matrices(size)
        (ty, by), (tx, bx), factors = self._kept[1]
        waves = ty @ torch.complex(field[:, 0], field[:, 1]) @ tx.T
        return cast(Tensor, by @ (waves[:, None] * factors) @ bx.T)

    def _matrices(self, size: tuple[int, int]) -> Any:
        m, axes, waves = self.microscope, [], []
        for n in size:
            step = 2 * np.pi / ((n + self.margin) * m.pixel_um)
            half = int(m.k_pupil / step)
            k = step * torch.arange(-half, half + 1)
            to = k[:, None] * torch.arange(n) * m.pixel_um
            back = (STRIDE * torch.arange(n // STRIDE) + (STRIDE - 1) / 2)[:, None] * m.pixel_um * k
            share = torch.tensor(step * m.pixel_um / (2 * np.pi))
            axes.append((torch.polar(share.expand_as(to), -to), torch.polar(back * 0 + 1, back)))
            waves.append(k)
        square = waves[0][:, None] ** 2 + waves[1] ** 2
        slow = torch.sqrt((m.k**2 - square).clamp(min=0)) - m.k
        phase = self.planes_um[:, None, None] * slow
        inside = (square < m.k_pupil**2).float().expand_as(phase)
        return *axes, torch.polar(inside, phase)


class HologramNet(nn.Module):
    """Applies `net` to every plane of the field."""

    def __init__(self, net: nn.Sequential, microscope: HolographicMicroscope) -> None:
        super().__init__()
        self.net, self.microscope = net, microscope
        self.set_planes(2, MARGIN_PX)

    def set_planes(self, half: int, margin: int) -> None:
        """Use 2 `half` + 1 planes around the focal plane, and a margin of `margin` pixels."""
        planes_um = SPACING_UM * torch.arange(-half, half + 1)
        self.planes = Planes(planes_um, self.microscope, margin)

    def forward(self, field: Tensor, cells: int | None = None) -> Tensor:
        """Outputs (n, p, 5, h', w') of each cell of each plane; `cells`: only the middle ones."""
        waves = self.planes(field)
        energy = waves.real**2 + waves.imag**2
        options: dict[str, Any] = {"stride": 1, "count_include_pad": False}
        side, half = AMPLITUDE_BOX, AMPLITUDE_BOX // 2
        local = functional.avg_pool2d(energy, (side, 1), padding=(half, 0), **options)
        local = functional.avg_pool2d(local, (1, side), padding=(0, half), **options)
        if cells is not None:
            first = (waves.shape[-1] - cells) // 2
            part = (..., slice(first, first + cells), slice(first, first + cells))
            waves, energy, local = waves[part], energy[part], local[part]
        amplitude = torch.sqrt(local + MIN_ENERGY)
        seen = [waves.real, waves.imag, torch.sqrt(energy)]
        u = torch.stack([part / amplitude for part in seen], dim=2) * INPUT_SCALE
        flat = self.net(u.flatten(0, 1))
        out = flat.reshape(*u.shape[:2], *flat.shape[1:])
        z = out[:, :, 3] * SPACING_UM + self.planes.planes_um[:, None, None]
        s = out[:, :, 4] + torch.log(amplitude)
        return torch.stack([out[:, :, 0], out[:, :, 1], out[:, :, 2], z, s], dim=2)

    def noise(self, field: Tensor) -> Tensor:
        """Standard deviation (n,) of the noise in real or imaginary part, in units of the field.

        It is the mean energy of a plane, clipped so that particles in focus hardly contribute. The
        plane is the one where clipping removes the largest share: there, the light of particles is
        concentrated in few cells. Far planes lose noise across the edges of the frame, so this
        share is applied to the energy of the focal plane.
        """
        waves = self.planes(field)
        energy = waves.real**2 + waves.imag**2
        whole = level = energy.mean(dim=(2, 3), keepdim=True)
        for _ in range(ROUNDS):
            level = torch.minimum(energy, ENERGY_CLIP * level).mean(dim=(2, 3), keepdim=True)
        share = (level / (whole + MIN_ENERGY)).amin(dim=1)[:, 0, 0]
        here = whole[:, whole.shape[1] // 2, 0, 0]
        return torch.sqrt(share * here / (2 * CLIPPED_MEAN) + MIN_ENERGY)

    def pooled(self, field: Tensor, cells: int | None = None) -> Tensor:
        """Pooled outputs (n, 5, h', w'), with lower weights where light does not exceed the noise.

        The normalized input looks the same at any strength, also for noise. Therefore rho is
        reduced by the amount by which the greatest energy within PEAK cells is below CLEAR times
        that of the noise.
        """
        out = self(field, cells)
        waves = self.planes(field)
        energy = waves.real**2 + waves.imag**2
        strongest = functional.max_pool2d(energy, PEAK_CELLS, 1, PEAK_CELLS // 2)
        if cells is not None:
            first = (waves.shape[-1] - cells) // 2
            strongest = strongest[..., first : first + cells, first : first + cells]
        ratio = strongest / (2 * self.noise(field)[:, None, None, None] ** 2)
        out[:, :, 2] -= (CLEAR_ENERGY - ratio).clamp(min=0)
        return pool(out)


def pool(out: Tensor) -> Tensor:
    """Pool outputs (n, p, 5, h', w') over planes: (n, 5, h', w').

    The result is the weighted mean of the best plane and its neighbours; rho is that of the best.
    """
    rho = out[:, :, 2]
    best = rho.argmax(dim=1, keepdim=True)
    near = (torch.arange(out.shape[1])[None, :, None, None] - best).abs() <= 1
    weight = torch.sigmoid(rho) * near
    mean = (out * (weight / weight.sum(dim=1, keepdim=True))[:, :, None]).sum(dim=1)
    return torch.stack([mean[:, 0], mean[:, 1], rho.amax(dim=1), mean[:, 3], mean[:, 4]], dim=1)


class Study(NamedTuple):
    """How copies of the crop are drawn; lengths are in pixels unless stated otherwise."""

    size: int = 96  # side of a copy
    shift: float = 3.0
    z_um: float = 2.0  # greatest distance of propagation, in both directions
    gain: tuple[float, float] = (0.1, 4.0)
    noise: float = 2.5  # greatest noise, times that of the crop
    blur_um2: float = 0.003
    turn: float = 0.3  # greatest change of phase, radians


class FieldCopies(NamedTuple):
    """FieldCopies of a crop and their true parameters."""

    field: Tensor  # (n, 2, size, size)
    plane: lodestar.Copies
    z_um: Tensor  # (n,) additional distance of the particle, compared with the crop
    log_s: Tensor  # (n,)
    contrast: Tensor  # (n,) signal over noise, in units of the crop's


class Copier:
    """Draws copies of a crop: rotated, shifted, propagated, scaled, and with more noise.

    In addition to the paper, copies vary like particles that differ from that of the crop, at the
    same s. The field is blurred a little, as for a wider or narrower particle; its integral, and
    thus its polarizability, stays the same. Its phase is changed, because larger particles retard
    forward light more.
    """

    def __init__(
        self, crop: Tensor, noise: float, study: Study, microscope: HolographicMicroscope
    ) -> None:
        self.crop, self.noise, self.study = crop, noise, study  # (2, s, s), faded at its edges
        size = (study.size, study.size)
        self.transfer: Transfer = transfer(size, microscope)
        self.pupil = torch.from_numpy(self.transfer.pupil.astype(np.float32))
        slow = torch.from_numpy(self.transfer.slow.astype(np.float32))
        self.momentum = -2 * microscope.k * slow * self.pupil  # (2 k sin(angle / 2))^2

    def draw_copies(self, n: int, generator: torch.Generator) -> FieldCopies:
        study = self.study

        def uniform(low: float, high: float) -> Tensor:
            return low + (high - low) * torch.rand(n, generator=generator)

        plane = lodestar.draw_copies(n, study.shift, 1.0, generator)
        real, imaginary = (
            lodestar.transform(part, plane, study.size, padding="zeros")[:, 0] for part in self.crop
        )
        z_um = uniform(-study.z_um, study.z_um)
        more = uniform(0, float(np.log(study.noise)))
        low = torch.clamp(float(np.log(study.gain[0])) + more, max=0.0)
        log_s = low + (float(np.log(study.gain[1])) - low) * uniform(0, 1)
        s, level = torch.exp(log_s), self.noise * torch.exp(more)
        blur = uniform(-study.blur_um2, study.blur_um2)
        strength = s[:, None, None] * torch.exp(-blur[:, None, None] * self.momentum)
        turn = uniform(-study.turn, study.turn)[:, None, None].expand_as(strength)
        spectrum = torch.fft.fft2(torch.complex(real, imaginary)) * self.transfer.batch(-z_um)
        spectrum = spectrum * torch.polar(strength, turn)
        # the noise of the crop is scaled with it; the rest up to the wanted level is added
        added = torch.sqrt((level**2 - (s * self.noise) ** 2).clamp(min=0))
        unit = study.size / float(self.pupil.mean()) ** 0.5
        grain = torch.randn(2, *strength.shape, generator=generator) * self.pupil
        spectrum = spectrum + torch.complex(grain[0], grain[1]) * (added * unit)[:, None, None]
        field = torch.fft.ifft2(spectrum)
        contrast = s * self.noise / torch.maximum(level, s * self.noise)
        return FieldCopies(
            torch.stack([field.real, field.imag], dim=1), plane, z_um, log_s, contrast
        )


def losses(
    out: Tensor, copies: FieldCopies, trust: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Disagreement between copies, and between cells of a copy: (4,) each, y, x, z, ln s.

    These are the losses of lodestar.py, over the cells of all planes; z and ln s are treated like
    y and x (Methods, "Neural network training"). Z_WEIGHT and S_WEIGHT convert them to pixels.
    """
    rho = out[:, :, 2]
    kept = torch.rand(rho.shape, generator=generator) >= 0.01
    weight = torch.sigmoid(rho) * kept + EPSILON
    weight = (weight / weight.sum(dim=(1, 2, 3), keepdim=True))[:, :, None]
    flat = lodestar.positions(out.flatten(0, 1))
    points = flat.reshape(*out.shape[:2], *flat.shape[1:])
    predictions = torch.cat([points, out[:, :, 3:4] * Z_WEIGHT, out[:, :, 4:] * S_WEIGHT], dim=2)
    middle = (predictions * weight).sum(dim=(1, 3, 4))  # (n, 4)
    known = torch.stack([copies.z_um * Z_WEIGHT, copies.log_s * S_WEIGHT], dim=1)
    home = torch.cat([copies.plane.back(middle[:, :2]), middle[:, 2:] - known], dim=1)
    mean = (home * trust[:, None]).mean(dim=0)
    between = ((home - mean).abs() * trust[:, None]).mean(dim=0)
    apart = (predictions - middle[:, None, :, None, None]).abs() * weight
    return between, (apart.sum(dim=(1, 3, 4)) * trust[:, None]).mean(dim=0)
