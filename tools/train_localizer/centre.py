"""Centre: where the middle of the trained particle is, which its losses do not fix.

A network may answer with any point that turns along with the particle, if nothing in its shape
singles one out. So the place that it answers with in its crop is set against the centre of the
crop's symmetry, or against where a person clicked, and the card holds the difference.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.stream.errors import SettingError
from livespt.tools.train_localizer.measure import Particle

METHODS = ("auto", "symmetry", "click", "none")
SYMMETRIC = 0.985  # least correlation with itself turned by half a turn, less its uncertainty
REPEATS = 24  # of the noise, for the uncertainty
SURE = 4.0  # standard deviations from which on a difference is taken off
BLUR = 1.0  # pixels

Floats = NDArray[np.float64]


class Centre(NamedTuple):
    """The middle of the particle in its crop, pixels from the crop's middle."""

    method: str  # "symmetry", "click" or "none"
    at: Floats  # (2,) y, x
    uncertainty_px: float  # standard deviation per axis
    symmetry: float  # correlation of the crop with itself turned by half a turn, at best


def find(crop: NDArray[Any], particle: Particle, click: Floats, method: str = "auto") -> Centre:
    """The centre of one crop.

    Parameters
    ----------
    crop : (s, s), noise units, the particle alone in it (`measure.isolate`).
    click : (2,) where a person put the centre, pixels from the crop's middle.
    method : "symmetry": the point about which the crop resembles itself most when turned by half
        a turn; "click"; "auto": symmetry where the crop has it, else the click if it was given
        with decimals, else none: what turns with the particle must not be set right for one of its
        orientations by a click that only points at it; "none".

    Raises
    ------
    SettingError : no such method, or symmetry asked of a crop that has none.
    """
    if method not in METHODS:
        raise SettingError(f"unknown centre '{method}': one of {', '.join(METHODS)}")
    at, symmetry, least, spread = _turned(np.asarray(crop, np.float64), particle)
    if method == "symmetry" and symmetry < least:
        raise SettingError(
            f"the particle has no centre of symmetry (correlation {symmetry:.2f} with itself "
            f"turned, {least:.3f} needed): take another centre"
        )
    if method == "symmetry" or (method == "auto" and symmetry >= least):
        return Centre("symmetry", at, spread, symmetry)
    # a place given in whole pixels is meant within half of one; nobody clicks within 0.05
    whole = bool((np.abs(click - np.round(click)) < 1e-9).all())
    if method == "none" or (method == "auto" and whole):
        return Centre("none", np.zeros(2), float("nan"), symmetry)
    return Centre("click", np.asarray(click, np.float64), 0.29 if whole else 0.05, symmetry)


def calibrate(
    keys: dict[str, Any], places: list[Floats], scatter_px: float, centres: list[Centre]
) -> dict[str, Any]:
    """The card's `offset_px` and `centre`, from where the network sees the particle in each crop.

    The difference is taken off where it is more than its uncertainty can explain: then it holds
    for particles that lie as the crop's does.

    Parameters
    ----------
    keys : the card's, with the constant `offset_px` of the network.
    places : (2,) for each crop, pixels from its middle: what the network answers in it.
    scatter_px : of these answers.
    """
    gaps = np.array([place - centre.at for place, centre in zip(places, centres, strict=True)])
    gap, number = gaps.mean(axis=0), len(gaps)
    own = float(np.sqrt(np.mean([c.uncertainty_px**2 for c in centres]) / number))
    spread = float(np.hypot(own, scatter_px / 10))
    method = centres[0].method
    taken = gap if method != "none" and (np.abs(gap) > SURE * spread).any() else np.zeros(2)
    known = method != "none"
    return keys | {
        "offset_px": [round(float(v), 4) for v in np.asarray(keys["offset_px"]) + taken],
        "centre": {
            "method": method,
            "crops": number,
            "difference_px": [round(float(v), 4) for v in gap] if known else None,
            "taken_off_px": [round(float(v), 4) for v in taken],
            "uncertainty_px": round(spread, 4) if known else None,
            "symmetry": round(float(np.mean([c.symmetry for c in centres])), 4),
        },
    }


def _turned(crop: Floats, particle: Particle) -> tuple[Floats, float, float, float]:
    """Centre of half-turn symmetry, the correlation there and the least it needs, uncertainty."""
    rng = np.random.default_rng(0)
    smooth = _blurred(crop)
    at, peak = _peak(smooth)
    variance = 1 + particle.shot * np.abs(smooth)
    variance *= np.abs(crop) > 1e-6  # noise that `isolate` cut off is not there
    energy = float((smooth**2).sum()) - float(variance.sum()) / (4 * np.pi * BLUR**2)
    sigma = np.sqrt(variance)
    noise = (sigma * rng.standard_normal(crop.shape) for _ in range(REPEATS))
    again = [_peak(_blurred(crop + grain)) for grain in noise]
    spread = float(np.sqrt(np.mean([(place - at) ** 2 for place, _ in again])))
    doubt = float(np.std([value for _, value in again])) / max(energy, 1e-9)
    least = max(SYMMETRIC - doubt, 0.9)
    return at, float(np.clip(peak / max(energy, 1e-9), 0, 1)), least, spread


def _blurred(crop: Floats) -> Floats:
    frequency = np.fft.fftfreq(2 * len(crop))
    transfer = np.exp(-2 * (np.pi * BLUR * frequency) ** 2)
    size = len(transfer)
    spectrum = np.fft.fft2(crop, (size, size)) * transfer[:, None] * transfer
    return np.asarray(np.fft.ifft2(spectrum).real[: len(crop), : len(crop)])


def _peak(crop: Floats) -> tuple[Floats, float]:
    """Maximum of the crop's convolution with itself: half its place is the centre, and its value.

    sum_p I(p) I(2c - p) compares the crop with itself turned by half a turn about c.
    """
    size = len(crop)
    whole = np.fft.ifft2(np.fft.fft2(crop, (2 * size, 2 * size)) ** 2).real
    middle, reach = size - 1, size // 2
    near = whole[middle - reach : middle + reach + 1, middle - reach : middle + reach + 1]
    i, j = np.unravel_index(int(near[1:-1, 1:-1].argmax()), (2 * reach - 1, 2 * reach - 1))
    patch = near[i : i + 3, j : j + 3]
    # least-squares paraboloid through 3 x 3
    line = np.array([-1.0, 0.0, 1.0])
    gy, gx = (patch * line[:, None]).sum() / 6, (patch * line).sum() / 6
    yy = (patch * (line**2 - 2 / 3)[:, None]).sum() / 2
    xx = (patch * (line**2 - 2 / 3)).sum() / 2
    yx = (patch * line[:, None] * line).sum() / 4
    hessian = np.array([[2 * yy, yx], [yx, 2 * xx]])
    step = np.zeros(2)
    if np.linalg.det(hessian) > 0:
        step = np.clip(-np.linalg.solve(hessian, [gy, gx]), -1, 1)
    at = (np.array([i, j]) + 1 - reach + step) / 2
    return at, float(patch[1, 1] + 0.5 * (gy * step[0] + gx * step[1]))
