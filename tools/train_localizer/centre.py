"""The centre of the trained particle, which the losses do not determine.

A network may predict any point that moves and rotates with the particle. Therefore its prediction
for the crop is compared with the centre of symmetry of the crop, or with the click of the user, and
the card holds the difference.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.stream.errors import SettingError
from livespt.tools.train_localizer.measure import Particle

METHODS = ("auto", "symmetry", "click", "none")
MIN_SYMMETRY = 0.985  # correlation with the crop turned by 180 degrees, minus its uncertainty
REPEATS = 24  # repetitions with other noise, for the uncertainty
CORRECTION_SDS = 4.0  # a greater difference is corrected
BLUR_PX = 1.0

Floats = NDArray[np.float64]


class Centre(NamedTuple):
    """The centre of the particle in its crop, in pixels from the middle of the crop."""

    method: str  # "symmetry", "click" or "none"
    at: Floats  # (2,) y, x
    uncertainty_px: float  # standard deviation per axis
    symmetry: float  # greatest correlation of the crop with itself rotated by 180 degrees


def find(crop: NDArray[Any], particle: Particle, click: Floats, method: str = "auto") -> Centre:
    """Find the centre of one crop.

    Parameters
    ----------
    crop : (s, s), noise units, with the particle alone (`isolate` of measure.py).
    click : (2,) centre given by the user, in pixels from the middle of the crop.
    method : "symmetry" is the point about which the crop is most similar to itself rotated by 180
        degrees; "click" the point of the user; "none" makes no correction. "auto" uses symmetry if
        the crop has it, otherwise the click if it has decimals, otherwise none: a click in whole
        pixels only selects the particle, and a correction by it would hold for one orientation.

    Raises
    ------
    SettingError : the method is unknown, or symmetry is requested for a crop without it.
    """
    if method not in METHODS:
        raise SettingError(f"unknown centre '{method}': one of {', '.join(METHODS)}")
    at, symmetry, least, spread = _turned(np.asarray(crop, np.float64), particle)
    if method == "symmetry" and symmetry < least:
        raise SettingError(
            f"the particle has no centre of symmetry (correlation {symmetry:.2f} with itself "
            f"rotated, {least:.3f} needed): choose another --centre"
        )
    if method == "symmetry" or (method == "auto" and symmetry >= least):
        return Centre("symmetry", at, spread, symmetry)
    # a position in whole pixels is exact to half a pixel; no click is exact to 0.05
    whole = bool((np.abs(click - np.round(click)) < 1e-9).all())
    if method == "none" or (method == "auto" and whole):
        return Centre("none", np.zeros(2), float("nan"), symmetry)
    return Centre("click", np.asarray(click, np.float64), 0.29 if whole else 0.05, symmetry)


def calibrate(
    keys: dict[str, Any], predicted: list[Floats], scatter_px: float, centres: list[Centre]
) -> dict[str, Any]:
    """`offset_px` and `centre` for the card, from the predictions of the network in each crop.

    A difference is corrected if it is significant. The correction then holds for particles with the
    orientation of the crop.

    Parameters
    ----------
    keys : keys of the card, with the constant `offset_px` of the network.
    predicted : (2,) prediction for each crop, in pixels from its middle.
    scatter_px : standard deviation of these predictions.
    """
    gaps = np.array([point - centre.at for point, centre in zip(predicted, centres, strict=True)])
    gap, number = gaps.mean(axis=0), len(gaps)
    own = float(np.sqrt(np.mean([c.uncertainty_px**2 for c in centres]) / number))
    spread = float(np.hypot(own, scatter_px / 10))
    method = centres[0].method
    known = method != "none"
    is_significant = (np.abs(gap) > CORRECTION_SDS * spread).any()
    correction = gap if known and is_significant else np.zeros(2)
    return keys | {
        "offset_px": [round(float(v), 4) for v in np.asarray(keys["offset_px"]) + correction],
        "centre": {
            "method": method,
            "crops": number,
            "difference_px": [round(float(v), 4) for v in gap] if known else None,
            "taken_off_px": [round(float(v), 4) for v in correction],
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
    variance *= np.abs(crop) > 1e-6  # `isolate` has removed the noise elsewhere
    energy = float((smooth**2).sum()) - float(variance.sum()) / (4 * np.pi * BLUR_PX**2)
    sigma = np.sqrt(variance)
    noise = (sigma * rng.standard_normal(crop.shape) for _ in range(REPEATS))
    repeats = [_peak(_blurred(crop + grain)) for grain in noise]
    spread = float(np.sqrt(np.mean([(peak - at) ** 2 for peak, _ in repeats])))
    doubt = float(np.std([value for _, value in repeats])) / max(energy, 1e-9)
    least = max(MIN_SYMMETRY - doubt, 0.9)
    return at, float(np.clip(peak / max(energy, 1e-9), 0, 1)), least, spread


def _blurred(crop: Floats) -> Floats:
    frequency = np.fft.fftfreq(2 * len(crop))
    transfer = np.exp(-2 * (np.pi * BLUR_PX * frequency) ** 2)
    size = len(transfer)
    spectrum = np.fft.fft2(crop, (size, size)) * transfer[:, None] * transfer
    return np.asarray(np.fft.ifft2(spectrum).real[: len(crop), : len(crop)])


def _peak(crop: Floats) -> tuple[Floats, float]:
    """Maximum of the convolution of the crop with itself: the centre at half its position; value.

    sum_p I(p) I(2c - p) compares the crop with itself rotated by 180 degrees about c.
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
