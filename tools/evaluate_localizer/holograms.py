"""Evaluate a hologram localizer: height and polarizability of simulated spheres.

The fields are those of optics/holograms.py: exact scattering through the objective, and Gaussian
noise within its pupil. The height is compared with iterative refocusing of the same fields, in a
region around the true position of the particle, without the mean error of each method. The
polarizability is compared with forward scattering (`polarizability`, its modulus), with its real
part, which is the integrated phase, and with Clausius and Mossotti.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.models.localize.localizer import Localizer
from livespt.models.optics import holograms
from livespt.models.optics.holograms import HolographicMicroscope, Sphere
from livespt.models.optics.propagation import peak, refocus, tamura
from livespt.models.runtime.card import add_metrics
from livespt.stream.errors import ModelError
from livespt.tools.train_localizer.hologram import Reference

SEED = 24_000  # of evaluation fields: no training or tuning used it
SHAPE, WITHIN_UM, SEARCH_UM, REACH_PX = (128, 128), 5.0, (-6.0, 6.0), 6.0
NOISES = (0.02, 0.05)  # standard deviation of real or imaginary part; the illumination is 1
REGIONS = {"region_64": 64, "region_128": 128}  # side of the region for refocusing, pixels
CRITERIA = {"tamura": tamura, "peak": peak}
RADII_UM, INDICES = (0.15, 0.2, 0.25, 0.3), (1.45, 1.5, 1.55, 1.6, 1.65)
Floats = NDArray[np.float64]


class HologramCase(NamedTuple):
    """Fields of one kind."""

    number: int  # of the seed
    noise: float
    reference: Reference = Reference()
    spheres: int = 1
    shape: tuple[int, int] = SHAPE
    apart_px: float = 40.0


def evaluate(
    model: str | Path, *, frames: int = 200, provider: str = "cpu", write: bool = False
) -> dict[str, Any]:
    """Evaluate heights at each noise, and polarizabilities over sizes and refractive indices.

    With `write`, the figures are added to the card.

    Raises
    ------
    ModelError : the model is not a hologram localizer.
    """
    localizer = Localizer(model, provider=provider)
    card = localizer.session.card
    if "reference" not in card or "z" not in card.get("extras", ()):
        raise ModelError(f"{model} measures no height: train one with `livespt train hologram`")
    m = HolographicMicroscope(**card["input"]["microscope"])
    known = Reference(card["reference"]["radius_um"], card["reference"]["refractive_index"])
    metrics: dict[str, Any] = {
        "height": [
            height(localizer, m, HologramCase(k, noise, known), frames)
            for k, noise in enumerate(NOISES)
        ],
        "height_among_others": height(
            localizer, m, HologramCase(50, NOISES[0], known, 6, (256, 256)), max(frames // 6, 1)
        ),
        "polarizability": [
            _polarizabilities(localizer, m, known, noise, max(frames // 20, 2)) for noise in NOISES
        ],
        "false_per_megapixel": _false(localizer, m, max(frames // 10, 1)),
        "fields": frames,
        "z_um": WITHIN_UM,
        "command": f"livespt evaluate holograms --frames {frames}",
    }
    if write:
        add_metrics(localizer.session.path, {"simulated": metrics})
    return metrics


def height(
    localizer: Localizer, m: HolographicMicroscope, case: HologramCase, frames: int
) -> dict[str, Any]:
    """Errors along the axis and in the plane (nm), errors of refocusing, and reported precision."""
    errors, refocusing = [], []
    for k in range(frames):
        field, spheres = _field(case, k, m)
        found = localizer(_parts(field))
        for sphere in spheres:
            errors.append(_error(found, sphere, m))
            refocusing.append([
                refocus(region, SEARCH_UM, criterion, m) - sphere.z_um
                for region in (_region(field, sphere, n) for n in REGIONS.values())
                for criterion in CRITERIA.values()
            ])  # fmt: skip
    e, r = np.array(errors), 1e3 * np.array(refocusing)
    seen = np.isfinite(e[:, 2])
    names = [f"{criterion}_{region}" for region in REGIONS for criterion in CRITERIA]
    spread = {name: round(float(r[:, k].std()), 1) for k, name in enumerate(names)}
    e = e[seen]
    sigma = float(e[:, 2].std())
    return {
        "noise": case.noise,
        "spheres": case.spheres,
        "found": round(float(seen.mean()), 4),
        "sigma_z_nm": round(sigma, 1),
        "bias_z_nm": round(float(e[:, 2].mean()), 1),
        "rmse_plane_nm": round(float(np.sqrt((e[:, :2] ** 2).mean())), 1),
        "claimed_z": round(float(np.sqrt((e[:, 3] ** 2).mean())) / sigma, 3),
        "claimed_plane": round(float(np.sqrt((e[:, 4] ** 2).mean() / (e[:, :2] ** 2).mean())), 3),
        "refocusing_sigma_z_nm": spread,
        "share_of_refocusing": round(sigma / spread["tamura_region_64"], 3),
        "refocusing_bias_z_nm": round(float(r[:, 0].mean()), 1),
    }


def _polarizabilities(
    localizer: Localizer, m: HolographicMicroscope, known: Reference, noise: float, frames: int
) -> dict[str, Any]:
    """Mean relative errors over sizes and indices, relative to the reference particle."""
    laws: dict[str, Callable[[float, float], float]] = {
        "mie": lambda r, n: abs(holograms.polarizability(r, n, m)),
        "mie_real": lambda r, n: holograms.polarizability(r, n, m).real,
        "clausius_mossotti": lambda r, n: holograms.clausius_mossotti(r, n, m.medium),
    }
    card_value = localizer.session.card["reference"]["polarizability_um3"]
    rows, found, cells = [], 0, []
    for a, radius in enumerate(RADII_UM):
        for b, index in enumerate(INDICES):
            case = HologramCase(100 + 10 * a + b, noise, Reference(radius, index))
            ratio = []
            for k in range(frames):
                field, (sphere,) = _field(case, k, m)
                ratio.append(_error(localizer(_parts(field)), sphere, m)[5] / card_value)
            true = [law(radius, index) / law(*known) for law in laws.values()]
            error = np.array(ratio)[:, None] / np.array(true) - 1
            seen = np.isfinite(error[:, 0])
            found += int(seen.sum())
            rows.append(np.abs(error[seen]).mean(axis=0) if seen.any() else np.ones(len(laws)))
            cells.append({
                "radius_um": radius, "refractive_index": index,
                "mie_um3": round(laws["mie"](radius, index), 5),
                "error": round(float(rows[-1][0]), 4), "found": int(seen.sum()),
                "median": round(float(np.median(error[seen, 0])), 4) if seen.any() else None,
            })  # fmt: skip
    mean = np.mean(rows, axis=0)
    return {
        "noise": noise,
        **{f"error_{name}": round(float(v), 4) for name, v in zip(laws, mean, strict=True)},
        "worst_mie": round(float(np.max(rows, axis=0)[0]), 4),
        "found": round(found / (len(cells) * frames), 4),
        "fields_each": frames,
        "cells": cells,
    }


def _field(
    case: HologramCase, k: int, m: HolographicMicroscope
) -> tuple[NDArray[np.complex64], list[Sphere]]:
    """Simulate field `k` of a case; return it and its spheres."""
    rng = np.random.default_rng((SEED, case.number, k))
    half = np.array(case.shape) / 2
    room = 6.0 if case.spheres == 1 else half.min() - 32
    centres: list[Floats] = []
    while len(centres) < case.spheres:
        centre = half + rng.uniform(-room, room, 2)
        if all(np.hypot(*(centre - other)) >= case.apart_px for other in centres):
            centres.append(centre)
    spheres = [
        Sphere(float(y), float(x), float(rng.uniform(-WITHIN_UM, WITHIN_UM)), *case.reference)
        for y, x in centres
    ]
    field = holograms.render(spheres, case.shape, m)
    return field + holograms.noise(case.shape, case.noise, rng, m), spheres


def _error(found: NDArray[np.void], sphere: Sphere, m: HolographicMicroscope) -> list[float]:
    """Errors of y, x, z (nm), reported dz and dy (nm), polarizability; NaN if not found."""
    away = np.hypot(found["y"] - sphere.y, found["x"] - sphere.x)
    if not len(found) or away.min() > REACH_PX:
        return [float("nan")] * 6
    spot = found[int(away.argmin())]
    nm = 1e3 * m.pixel_um
    return [
        nm * float(spot["y"] - sphere.y), nm * float(spot["x"] - sphere.x),
        nm * float(spot["z"]) - 1e3 * sphere.z_um, nm * float(spot["dz"]), nm * float(spot["dy"]),
        float(spot["polarizability_um3"]),
    ]  # fmt: skip


def _region(field: NDArray[np.complex64], sphere: Sphere, n: int) -> NDArray[np.complex64]:
    y, x = (
        int(np.clip(round(v) - n // 2, 0, size - n))
        for v, size in zip((sphere.y, sphere.x), field.shape, strict=True)
    )
    return field[y : y + n, x : x + n]


def _parts(field: NDArray[np.complex64]) -> NDArray[np.float32]:
    return np.stack([field.real, field.imag])


def _false(localizer: Localizer, m: HolographicMicroscope, frames: int) -> float:
    """Detections per million pixels in fields of noise."""
    rng = np.random.default_rng((SEED, 999))
    fields = (holograms.noise((256, 256), NOISES[0], rng, m) for _ in range(frames))
    count = sum(len(localizer(_parts(field))) for field in fields)
    return round(count / (frames * 256**2) * 1e6, 3)
