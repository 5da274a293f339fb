"""Evaluate a localizer of planes on simulated stacks, compared with the bound in z, y and x.

The bound (`stack_bound`) is that of an isolated particle, and no method can have a smaller error.
Particles are matched to the truth within RADIUS pixels and AXIAL axial widths, nearest first.
Isolated particles have no other within ALONE pixels in y and x, at any z.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.models.localize.stack_localizer import StackLocalizer
from livespt.models.optics import spots as optics, stacks as optics3d
from livespt.tools.score.movie import nearest_first

Floats = NDArray[np.float64]
SEED = 20_300  # seed of evaluation stacks, not used in tuning
SIDE = 128  # pixels
RADIUS, AXIAL = 2.0, 1.5
ALONE, EDGE = 8.0, 6.0  # pixels
COLUMNS = ("z", "y", "x")


class StackCase(NamedTuple):
    """One kind of stack."""

    snr: float = 5.0  # in the focal plane, A / sqrt(A + background)
    n: int = 12  # number of particles, uniformly distributed
    apart_px: float = 14.0  # least distance in y and x; 0: none
    sigma_z: float = 2.0  # axial width, planes; in wide field, the equivalent width near focus
    planes: int = 16
    depth: float = math.inf  # depth of a wide field, planes; see optics/stacks.py
    over: float = 0.0  # distance, in axial widths, of a second particle above a third of them
    spread: float = 0.0  # standard deviation of the logarithm of the photons
    uneven: bool = False
    sigma_px: float = 1.3
    background: float = 100.0
    read_noise_e: float = 1.5

    @property
    def fading(self) -> float:
        """Axial width for the simulation, planes; infinite in wide field."""
        return math.inf if math.isfinite(self.depth) else self.sigma_z


CASES = {
    "few, SNR 3": StackCase(snr=3), "few, SNR 5": StackCase(), "few, SNR 10": StackCase(snr=10),
    "many, SNR 3": StackCase(snr=3, n=40, apart_px=0), "many, SNR 5": StackCase(n=40, apart_px=0),
    "many, SNR 10": StackCase(snr=10, n=40, apart_px=0),
    "sigma_z 1.5, 9 planes": StackCase(sigma_z=1.5, planes=9),
    "sigma_z 3, 30 planes": StackCase(sigma_z=3.0, planes=30),
    "uneven, brightness varies": StackCase(snr=10, spread=0.4, uneven=True),
    "pairs, 2 sigma_z apart": StackCase(snr=10, over=2.0),
    "pairs, 3 sigma_z apart": StackCase(over=3.0),
    "wide field, SNR 5": StackCase(depth=2.0), "wide field, SNR 10": StackCase(snr=10, depth=2.0),
}  # fmt: skip


def evaluate(model: str | Path, *, stacks: int = 20, provider: str = "cpu") -> dict[str, Any]:
    """Recall, precision and error on simulated stacks, one row for each case.

    `over_bound_z` and `over_bound_yx` are root mean square errors of isolated particles divided by
    the bound. `claimed_z` and `claimed_yx` are the reported precision divided by the error. Errors
    are in planes and pixels.
    """
    localizer = StackLocalizer(model, provider=provider)
    rows = [
        {"case": name} | _case(localizer, k, case, stacks)
        for k, (name, case) in enumerate(CASES.items())
    ]
    return {
        "cases": rows,
        "stacks_per_case": stacks,
        "milliseconds_16x256x256": _speed(localizer),
        "command": "livespt evaluate stacks",
    }


def stack(rng: np.random.Generator, case: StackCase) -> tuple[NDArray[np.uint16], Floats, Floats]:
    """A stack (z, y, x), where its particles are (n, 3), and their photons in focus."""
    shape = (case.planes, SIDE, SIDE)
    points = np.empty((0, 3))
    while len(points) < case.n:
        one = rng.uniform(0, np.array(shape) - 1.0)
        if (np.hypot(*(points - one)[:, 1:].T) >= case.apart_px).all():
            points = np.vstack([points, one])
    if case.over:  # both particles of a pair lie in the stack
        half = 0.5 * case.over * case.sigma_z
        middle = np.clip(points[:, 0], half, case.planes - 1 - half)
        points[:, 0] = middle - half
        points = np.vstack([points, points[: case.n // 3] + np.array([2 * half, 0, 0])])
    usual = optics.photons_for_snr(case.snr, case.background, case.sigma_px)
    photons = np.asarray(usual * np.exp(rng.normal(0, case.spread, len(points))))
    background: Any = case.background
    if case.uneven:
        background = optics.uneven(shape[1:], case.background, rng)
    seen = optics3d.render_stack(
        points, photons, shape, case.sigma_px, case.fading, background, depth=case.depth
    )
    return optics.camera(seen, rng, read_noise_e=case.read_noise_e), points, photons


def matched(truth: Floats, found: Floats, sigma_z: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """Match truth (n, 3) and found (m, 3), z, y, x, one to one; return the rows of the pairs."""
    scale = np.array([AXIAL * sigma_z, RADIUS, RADIUS])
    square = (((truth[:, None] - found[None]) / scale) ** 2).sum(axis=2)
    pairs = nearest_first(square, square < 1)
    both = np.array(pairs, np.intp).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def _case(localizer: StackLocalizer, number: int, case: StackCase, stacks: int) -> dict[str, Any]:
    hits, missed, false = 0, 0, 0
    errors, claims, bounds = [], [], []
    for k in range(stacks):
        image, truth, photons = stack(np.random.default_rng((SEED, number, k)), case)
        spots = localizer(image)
        found = np.stack([spots[c].astype(np.float64) for c in COLUMNS], axis=1)
        i, j = matched(truth, found, case.sigma_z)
        inside = _inside(truth)
        false += int(_inside(np.delete(found, j, axis=0)).sum())
        hits += int(inside[i].sum())
        missed += int(inside.sum() - inside[i].sum())
        use = (inside & _alone(truth))[i]
        i, j = i[use], j[use]
        errors.append(found[j] - truth[i])
        claims.append(np.stack([spots[j][f"d{c}"] for c in COLUMNS], axis=1))
        bounds.append(_bound(case, truth[i, 0], photons[i]))
    error, claim, bound = (_rms(np.concatenate(part)) for part in (errors, claims, bounds))
    row: dict[str, Any] = {
        "jaccard": round(hits / max(hits + missed + false, 1), 4),
        "recall": round(hits / max(hits + missed, 1), 4),
        "precision": round(hits / max(hits + false, 1), 4),
    }
    if not case.over:
        row |= {"alone": sum(map(len, errors)), "rmse_z": _rounded(error[0])}
        row |= {"rmse_yx": _rounded(error[1]), "bound_z": _rounded(bound[0])}
        row |= {"bound_yx": _rounded(bound[1]), "over_bound_z": _rounded(error[0] / bound[0])}
        row |= {"over_bound_yx": _rounded(error[1] / bound[1])}
        row |= {"claimed_z": _rounded(claim[0] / error[0])}
        row |= {"claimed_yx": _rounded(claim[1] / error[1])}
    return row


def _bound(case: StackCase, z: Floats, photons: Floats) -> Floats:
    """Bounds (n, 3) in planes, pixels, pixels."""
    bound = optics3d.stack_bound(
        z,
        photons,
        case.background,
        case.sigma_px,
        case.fading,
        case.planes,
        depth=case.depth,
        read_noise_e=case.read_noise_e,
    )
    return bound[:, :3]


def _rms(values: Floats) -> tuple[float, float]:
    """Root mean square in z, and in y and x together."""
    square = values**2
    return float(np.sqrt(square[:, 0].mean())), float(np.sqrt(square[:, 1:].mean()))


def _rounded(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None


def _inside(points: Floats) -> NDArray[np.bool_]:
    inside = (points[:, 1:] >= EDGE) & (points[:, 1:] <= SIDE - 1 - EDGE)
    return np.asarray(inside.all(axis=1))


def _alone(points: Floats) -> NDArray[np.bool_]:
    gap = points[:, None, 1:] - points[None, :, 1:]
    near = np.hypot(gap[..., 0], gap[..., 1]) < ALONE
    return np.asarray(near.sum(axis=1) == 1)


def _speed(localizer: StackLocalizer) -> float:
    """CPU milliseconds for a stack of 16 x 256 x 256 with 48 particles (median of 5)."""
    image = np.tile(stack(np.random.default_rng(SEED), StackCase(snr=10))[0], (1, 2, 2))
    localizer.warm_up(image.shape)
    times = []
    for _ in range(5):
        start = time.process_time()
        localizer(image)
        times.append(time.process_time() - start)
    return round(1e3 * float(np.median(times)), 1)
