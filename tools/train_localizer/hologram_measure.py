"""Measurements on a trained hologram network, for its card.

They are made on held-out copies of the crop: the constant offsets of position, height and signal,
which the losses do not determine; the increase of the errors with noise; and the scores.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.models.localize.lodestar_peaks import detect
from livespt.models.optics.holograms import HolographicMicroscope, noise
from livespt.tools.train_localizer.measure import SCORE

if TYPE_CHECKING:
    import torch

    from livespt.models.networks.hologram import HologramNet
    from livespt.models.networks.hologram_graph import HologramScale


PLANES = 6  # on each side of the focal plane
ALPHA, VARIANCE_PX2, BORDER = 0.5, 0.5, 2  # of the score; see lodestar_peaks.py
MERGE_PX, RADIUS_PX = 4.0, 6.0
COPIES, BATCH, CELLS = 128, 16, 40
Floats = NDArray[np.float64]


class HologramDetections(NamedTuple):
    """Best detections in copies of the crop, relative to the truth; NaN if there is none."""

    point: Floats  # (n, 2) position from the middle of the copy, minus its shift, pixels
    matrix: Floats  # (n, 2, 2) transform of the copy
    z_um: Floats
    ln_s: Floats
    score: Floats
    ratio: Floats  # noise that was added, over s


def calibrate(
    model: HologramNet, crop: torch.Tensor, level: float, seed: int
) -> tuple[HologramScale, dict[str, Any], dict[str, Any]]:
    """Corrections for the graph, keys of the card, and metrics of the copies.

    Parameters
    ----------
    crop, level : as in `hologram.fit`.
    """
    from livespt.models.networks.hologram_graph import HologramScale

    seen = detect_in_copies(model, crop, level, seed + 77)
    found = np.isfinite(seen.z_um)
    offset = _offset(seen.point[found], seen.matrix[found])
    z_um, ln_s = float(np.nanmedian(seen.z_um)), float(np.nanmedian(seen.ln_s))
    pixel = model.microscope.pixel_um
    plane = (seen.point - offset[0] - seen.matrix @ offset[1])[found]
    along = ((seen.z_um - z_um) / pixel)[found]
    ratio = seen.ratio[found]
    scale = HologramScale(z_um, ln_s, _precision(along, ratio), _precision(plane, ratio))
    quiet = noise_score(model, level, seed)
    low = float(np.quantile(seen.score, 0.02))
    keys: dict[str, Any] = {
        "offset_px": [round(float(v), 4) for v in offset[0]],
        "cutoff": round(max(0.6 * low, min(1.1 * quiet, 0.9 * low), 0.05), 4),
        "precision_px": [round(v, 4) for v in scale.dy],
        "alpha": ALPHA,
        "variance_px2": VARIANCE_PX2,
        "border_px": BORDER,
        "merge_px": MERGE_PX,
        "radius_px": RADIUS_PX,
    }
    good = ratio <= np.median(ratio)
    metrics = {
        "copies_found": float(np.mean(seen.score >= keys["cutoff"])),
        "copies_scatter_px": round(_robust(plane[good]), 4),
        "copies_scatter_z_um": round(_robust(along[good]) * pixel, 4),
        "copies_scatter_ln_s": round(_robust(seen.ln_s[found][good] - ln_s), 4),
        "noise_score": round(quiet, 4),
    }
    return scale, keys, metrics


def has_converged(metrics: dict[str, Any]) -> bool:
    """Whether copies of the crop are found, with consistent predictions."""
    return bool(
        metrics["copies_found"] >= 0.95
        and metrics["copies_scatter_px"] <= 0.3
        and metrics["copies_scatter_z_um"] <= 0.15
        and metrics["copies_scatter_ln_s"] <= 0.15
    )


def detect_in_copies(
    model: HologramNet, crop: torch.Tensor, level: float, seed: int
) -> HologramDetections:
    """Detect the particle in new copies of the crop, up to 5 um out of focus."""
    import torch

    from livespt.models.networks import hologram as nets

    study = nets.Study(size=128, z_um=5.0, gain=(0.25, 2.0), blur_um2=0.0, turn=0.0)
    copier = nets.Copier(crop, level, study, model.microscope)
    generator = torch.Generator().manual_seed(seed)
    model.set_planes(PLANES, nets.MARGIN_PX)
    point, other = np.full((COPIES, 2), np.nan), np.full((2, COPIES), np.nan)
    score, ratio, matrix = np.zeros(COPIES), np.zeros(COPIES), np.zeros((COPIES, 2, 2))
    for first in range(0, COPIES, BATCH):
        copies = copier.draw_copies(BATCH, generator)
        with torch.no_grad():
            fields = model.pooled(copies.field, CELLS).numpy()
        for k, field in enumerate(fields):
            here = first + k
            matrix[here] = copies.plane.matrix[k].numpy()
            shift = copies.plane.shift[k].numpy()
            ratio[here] = level * np.sqrt(max(1 / float(copies.contrast[k]) ** 2 - 1, 0))
            rows = detect(field, 1e-3, ALPHA, VARIANCE_PX2, MERGE_PX, BORDER)
            rows[:, :2] -= (nets.STRIDE * CELLS - 1) / 2 + shift
            rows = rows[np.hypot(rows[:, 0], rows[:, 1]) <= 8]
            if len(rows):
                best = rows[rows[:, 2].argmax()]
                point[here], score[here] = best[:2], best[2]
                other[:, here] = best[4:]
                other[0, here] -= float(copies.z_um[k])
                other[1, here] -= float(copies.log_s[k])
    return HologramDetections(point, matrix, other[0], other[1], score, ratio)


def noise_score(model: HologramNet, level: float, seed: int, frames: int = 4) -> float:
    """Greatest score in fields of 256 x 256 pixels of noise."""
    import torch

    best, rng = 0.0, np.random.default_rng((seed, 78))
    for _ in range(frames):
        field = noise((256, 256), level, rng, model.microscope)
        with torch.no_grad():
            out = model.pooled(as_parts(field)[None])[0].numpy()
        rows = detect(out, 1e-3, ALPHA, VARIANCE_PX2, MERGE_PX, BORDER)
        best = max(best, float(rows[:, 2].max(initial=0.0)))
    return best


def as_parts(field: NDArray[Any]) -> torch.Tensor:
    """Real and imaginary part (2, y, x), float32."""
    import torch

    return torch.from_numpy(np.stack([field.real, field.imag]).astype(np.float32))


def _offset(point: Floats, matrix: Floats) -> Floats:
    """Constant offset of the network, and position of the particle in the crop, pixels: (2, 2).

    The prediction for a copy is offset + matrix position; outliers are ignored.
    """
    design = np.concatenate([np.broadcast_to(np.eye(2), matrix.shape), matrix], axis=2)
    good = np.ones(len(point), bool)
    solution = np.zeros(4)
    for _ in range(3):
        rows = design[good].reshape(-1, 4)
        solution = np.linalg.lstsq(rows, point[good].reshape(-1), rcond=None)[0]
        away = np.hypot(*(point - design @ solution).T)
        good = away <= 3 * np.median(away) + 0.1
    return solution.reshape(2, 2)


def _robust(error: Floats) -> float:
    return 1.4826 * float(np.median(np.abs(error)))


def _spread(error: Floats) -> float:
    """Root mean square without outliers (beyond 5 standard deviations)."""
    kept = error[np.abs(error) <= 5 * _robust(error)]
    return float(np.sqrt(np.mean(kept**2)))


def _precision(error: Floats, ratio: Floats) -> tuple[float, float]:
    """Floor (pixels) and slope (pixels per noise of s) of the standard deviation of the errors."""
    order = np.argsort(ratio)
    low, high = order[: len(order) // 2], order[len(order) // 2 :]
    e = [_spread(error[part]) ** 2 for part in (low, high)]
    r = [float(np.median(ratio[part])) ** 2 for part in (low, high)]
    slope = max((e[1] - e[0]) / max(r[1] - r[0], 1e-12), 0.0)
    return float(np.sqrt(max(e[0] - slope * r[0], 1e-4))), float(np.sqrt(slope))


def facts(microscope: HolographicMicroscope) -> dict[str, Any]:
    """Content of the card that is known before any measurement."""
    from livespt.models.networks.hologram import SPACING_UM, STRIDE
    from livespt.models.networks.hologram_graph import EXTRAS

    return {
        "task": "localize",
        "input": {
            "dtype": "float32",
            "axes": "cyx",
            "accepts": ["float32"],
            "channels": ["real", "imaginary"],
            "assumes": "field over the illumination, less 1; z > 0 behind the focal plane",
            "microscope": {k: float(v) for k, v in microscope._asdict().items()},
        },
        "score": SCORE,
        "channels": 2,
        "intensity_channel": 1,
        "stride_px": STRIDE,
        "extras": list(EXTRAS),
        "planes_um": [-PLANES * SPACING_UM, PLANES * SPACING_UM],
    }
