"""Measurements on a trained LodeSTAR network, for its card.

They are made on the crop. Held-out copies give the constant offset of the network, which the losses
do not determine, the scatter of its predictions (convergence, precision), and their scores. Noise
without a particle gives the scores of false detections.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.models.localize.localizer import measure
from livespt.models.localize.lodestar_peaks import detect

if TYPE_CHECKING:
    import torch
    from torch import nn


ALPHA, VARIANCE_PX2 = 0.5, 0.5  # of the score; see lodestar_peaks.py
SCORE = "uncalibrated"  # on cards: the score of a detection is no probability
BORDER_CELLS = 2  # at the edge of a frame, whose field of view is incomplete
COPIES = 128
SHIFT_PX = 2.5  # least shift of copies, pixels
GAIN = (0.4, 2.5)  # least range of the brightness of copies, relative to the crop
SIGNAL = (4.0, 100.0)  # least range of their contrast, noise units
RECEPTIVE_FIELD_PX = 36  # approximate
FRAME_PX = 72  # side of the views for measurements, in which no cell that counts sees an edge
Floats = NDArray[np.float64]


class Particle(NamedTuple):
    """Properties of the particle in a crop."""

    fwhm_px: float  # diameter of a disc with the area of the part above half of the contrast
    contrast: float  # peak above background, noise units; negative for dark particles
    shot: float = 0.0  # variance of photon noise at a contrast of 1, noise units
    level: float = 0.0  # background next to the particle, noise units, which is subtracted


class CopyDetections(NamedTuple):
    """Best detections in copies of the crop."""

    error: Floats  # (n, 2) difference to the true position, pixels
    score: Floats  # (n,) 0: nothing found
    relative: Floats  # (n,) noise of the disc divided by its intensity


def describe(crop: NDArray[Any]) -> Particle:
    """Measure the particle in the middle of a normalized crop (s, s)."""
    size = len(crop)
    padded = np.pad(np.asarray(crop, np.float64), 1, mode="edge")
    smooth = np.mean(
        [padded[i : i + size, j : j + size] for i in range(3) for j in range(3)], axis=0
    )
    level = float(np.median(smooth))
    smooth -= level
    half = (size - 1) / 2
    line = np.arange(size) - half
    r = np.hypot(line[:, None], line)
    near = np.where(r <= max(size / 4, 2), np.abs(smooth), 0)
    top = np.unravel_index(int(near.argmax()), near.shape)
    above = np.sign(smooth[top]) * smooth >= near.max() / 2
    area = np.count_nonzero(above & (r <= size / 3))
    return Particle(
        2 * float(np.sqrt(area / np.pi)), float(smooth[top]), _shot(crop, smooth), level
    )


def _shot(crop: NDArray[Any], smooth: NDArray[np.float64]) -> float:
    """Variance per contrast, from fourth differences, which depend on noise more than on shape."""
    mask = np.array([1.0, -4.0, 6.0, -4.0, 1.0])
    fine = np.asarray(crop, np.float64)
    for _ in range(2):
        fine = sum(w * fine[k : len(fine) - 4 + k] for k, w in enumerate(mask)).T
    excess = fine**2 / (mask @ mask) ** 2 - 1
    level = np.abs(smooth[2:-2, 2:-2])
    level = np.where(level > 0.2 * level.max(), level, 0)
    slope = float((excess * level).sum() / max(float((level**2).sum()), 1e-9))
    # a spot of one pixel must not count as noise: photon noise of a peak z is at most z^2 / 9
    return float(np.clip(slope, 0.0, level.max() / 9))


def isolate(crop: torch.Tensor, particle: Particle) -> torch.Tensor:
    """The crop with only its particle: beyond two diameters it fades to the background.

    Neighbours in the crop would move with the particle in every copy, and be learned as part of it.
    """
    import torch

    size = crop.shape[-1]
    line = torch.arange(size) - (size - 1) / 2
    r = torch.hypot(line[:, None], line[None, :])
    reach = min(max(2 * particle.fwhm_px, 5.0), (size - 1) / 2)
    fade = 0.5 + 0.5 * torch.cos(torch.pi * ((r - 0.75 * reach) / (0.25 * reach)).clamp(0, 1))
    return (crop - crop.median()) * fade


def farthest(crop: torch.Tensor, particle: Particle) -> float:
    """Greatest shift of copies, pixels, at which the whole particle stays in the view."""
    return float(np.clip(view_size(crop) / 2 - 1.2 * particle.fwhm_px, SHIFT_PX, 3 * SHIFT_PX))


def view_size(crop: torch.Tensor) -> int:
    """Side of the copies of a crop, pixels, even, and not below the receptive field of a cell.

    In smaller views, every cell would see an edge, which is rare in a frame.
    """
    return max(crop.shape[-1] // 2 * 2, RECEPTIVE_FIELD_PX)


def views(crop: torch.Tensor, copies: Any, particle: Particle, size: int) -> torch.Tensor:
    """Copies (n, c, size, size) of an isolated crop."""
    from livespt.models.networks import lodestar

    copied: torch.Tensor = lodestar.transform(crop, copies, size, padding="zeros")
    return copied + particle.level


def amplitudes(particle: Particle) -> tuple[float, float]:
    """Range of brightness to train for, relative to the crop: GAIN, and all signals of SIGNAL.

    Frames are measured in units of their noise, so a frame with a tenth of the noise shows the
    particle ten times as bright.
    """
    peak = max(abs(particle.contrast), 1.0)
    low, high = min(GAIN[0], SIGNAL[0] / peak), max(GAIN[1], SIGNAL[1] / peak)
    return round(low, 4), round(high, 4)


def geometry(particle: Particle, alpha: float = ALPHA) -> dict[str, Any]:
    """Lengths for the card that depend only on the size of the particle."""
    return {
        "fwhm_px": round(particle.fwhm_px, 3),
        "merge_px": round(max(1.2, 0.4 * particle.fwhm_px), 3),
        "radius_px": round(max(2.0, particle.fwhm_px), 3),
        "border_px": BORDER_CELLS,
        "alpha": alpha,
        "variance_px2": VARIANCE_PX2,
    }


def calibrate(
    net: nn.Module,
    crop: torch.Tensor,
    particle: Particle,
    gain: tuple[float, float],
    seed: int,
    alpha: float = ALPHA,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Keys of the card (offset, cutoff, precision), and metrics of the copies.

    Parameters
    ----------
    net : maps squashed views (n, 1, h, w) to (n, 3, h', w').
    crop : (s, s), noise units.
    gain : amplitudes that training drew from.
    """
    import torch

    generator = torch.Generator().manual_seed(seed + 77)
    geometric = geometry(particle, alpha)
    middle, offset = np.zeros(2), np.zeros(2)
    for _ in range(2):  # the second time around the result of the first
        plain = detect_in_copies(net, crop, particle, geometric, (1.0, 1.0), generator)
        middle, offset = _fit_centre(plain.copies, plain.points, middle, offset)
    levels = [(g, g) for g in (max(gain[0], 0.25), min(gain[1], 2.0))] + [(1.0, 1.0), gain]
    dim, bright, same, all_ = (
        _without_offset(
            detect_in_copies(net, crop, particle, geometric, level, generator), middle, offset
        )
        for level in levels
    )
    noise = noise_score(net, geometric, generator)
    low, own = (float(np.quantile(seen.score, 0.02)) for seen in (all_, same))
    # well below the scores of copies; where dim ones look like noise they are lost, but not those
    # as bright as the crop
    cutoff = max(0.6 * low, min(1.5 * noise, 0.9 * own), 0.05)
    floor, slope = _precision(dim, bright)
    keys: dict[str, Any] = {
        "alpha": alpha,
        "offset_px": [round(float(v), 4) for v in offset],
        "cutoff": round(cutoff, 4),
        "precision_px": [round(floor, 4), round(slope, 4)],
    }
    metrics = {
        "copies_found": float(np.mean(same.score >= keys["cutoff"])),
        "copies_found_all_amplitudes": float(np.mean(all_.score >= keys["cutoff"])),
        "copies_scatter_px": round(_robust(same.error), 4),
        "noise_score": round(noise, 4),
        "centre_in_crop_px": [round(float(v), 3) for v in middle],
    }
    return keys, metrics


def has_converged(metrics: dict[str, Any], particle: Particle) -> bool:
    """Whether copies of the crop are found, with consistent predictions."""
    scatter = metrics["copies_scatter_px"]
    return bool(metrics["copies_found"] >= 0.95 and scatter <= max(0.25, 0.05 * particle.fwhm_px))


class RawDetections(NamedTuple):
    """Copies of the crop and the best detection in each, pixels from the middle of the copy."""

    copies: Any
    points: Floats  # (n, 2); NaN: nothing found
    score: Floats
    relative: Floats


def detect_in_copies(
    net: nn.Module,
    crop: torch.Tensor,
    particle: Particle,
    geometric: dict[str, Any],
    gain: tuple[float, float],
    generator: torch.Generator,
) -> RawDetections:
    """Detect the particle in new copies of the crop."""
    import torch

    from livespt.models.networks import lodestar

    size = max(view_size(crop), FRAME_PX)
    copies = lodestar.draw_copies(COPIES, 2.0, 1.0, generator)
    seen = views(crop, copies, particle, size)
    varied = lodestar.vary(seen, generator, gain, 0.3, particle.shot).views
    with torch.no_grad():
        fields = net(lodestar.squash(varied)).numpy()
    middle = (size - 1) / 2
    reach = max(3.0, geometric["fwhm_px"])
    points, score = np.full((COPIES, 2), np.nan), np.zeros(COPIES)
    for k, field in enumerate(fields):
        found = detect(field, 1e-3, geometric["alpha"], VARIANCE_PX2, geometric["merge_px"], 0)
        away = np.hypot(*(found[:, :2] - middle - copies.shift[k].numpy()).T)
        found = found[away <= reach + size / 8]
        if len(found):
            best = found[found[:, 2].argmax()]
            points[k], score[k] = best[:2] - middle, best[2]
    relative = np.array(
        [
            _relative(view[0], points[k] + middle, geometric["radius_px"])
            for k, view in enumerate(varied.numpy())
        ]
    )
    return RawDetections(copies, points, score, relative)


def noise_score(
    net: nn.Module, geometric: dict[str, Any], generator: torch.Generator, frames: int = 16
) -> float:
    """Greatest score in `frames` frames of 256 x 256 pixels of noise."""
    import torch

    from livespt.models.networks import lodestar

    best = 0.0
    for _ in range(frames):
        z = torch.randn(1, 1, 256, 256, generator=generator)
        with torch.no_grad():
            field = net(lodestar.squash(z))[0].numpy()
        found = detect(
            field, 1e-3, geometric["alpha"], VARIANCE_PX2, geometric["merge_px"], BORDER_CELLS
        )
        best = max(best, float(found[:, 2].max(initial=0.0)))
    return max(best, 0.02)


def _relative(view: NDArray[np.float32], point: Floats, radius: float) -> float:
    if not np.isfinite(point).all():
        return float("nan")
    total, _, pixels = measure(view, point[None], radius)
    return float(np.sqrt(pixels[0]) / max(abs(float(total[0])), 1e-6))


def _fit_centre(
    copies: Any, points: Floats, middle: Floats, offset: Floats
) -> tuple[Floats, Floats]:
    """Least-squares fit of the position of the particle in the crop, and of the constant offset.

    The prediction for a copy is matrix `middle` + shift + offset. The first term rotates with the
    copy and the last does not, so both are determined. Outliers beyond 3 deviations are ignored.
    """
    matrix, shift = copies.matrix.numpy().astype(float), copies.shift.numpy().astype(float)
    design = np.concatenate([matrix, np.broadcast_to(np.eye(2), matrix.shape)], axis=2)
    wanted = points - shift
    start = np.concatenate([middle, offset])
    away = np.hypot(*(wanted - design @ start).T)
    good = np.isfinite(away)
    if good.sum() < 8:
        return middle, offset
    good &= away <= 3 * np.nanmedian(away) + 0.3
    solution = np.linalg.lstsq(design[good].reshape(-1, 4), wanted[good].reshape(-1), rcond=None)[0]
    return solution[:2], solution[2:]


def _without_offset(seen: RawDetections, middle: Floats, offset: Floats) -> CopyDetections:
    matrix, shift = seen.copies.matrix.numpy(), seen.copies.shift.numpy()
    return CopyDetections(seen.points - offset - matrix @ middle - shift, seen.score, seen.relative)


def _robust(error: Floats) -> float:
    """Standard deviation per axis of errors (n, 2) without outliers; infinite without errors."""
    good = error[np.isfinite(error).all(axis=1)]
    return 1.4826 * float(np.median(np.abs(good))) if len(good) else 1e9


def _precision(dim: CopyDetections, bright: CopyDetections) -> tuple[float, float]:
    """Floor (pixels) and slope (pixels per relative noise) of the precision."""
    d, b = _robust(dim.error) ** 2, _robust(bright.error) ** 2
    rd, rb = (float(np.nanmedian(seen.relative)) ** 2 for seen in (dim, bright))
    slope = max((d - b) / (rd - rb), 0.0) if rd > rb else 0.0
    return float(np.sqrt(max(b - slope * rb, 1e-4))), float(np.sqrt(slope))
