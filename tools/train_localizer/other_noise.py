"""Whether a tracker that was trained on one crop serves frames with other noise than the crop's.

A user trains on one frame and then records with another exposure. The finished model, with its
card and its fit, is therefore tried on composed frames of the particle at half, equal and double
noise. In units of the noise, these have double, equal and half the brightness, and photon noise is
a greater or smaller share.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from livespt.models.localize.localizer import Localizer
from livespt.models.render.composed_frames import Pattern, pattern, scattered
from livespt.models.runtime.card import write_card
from livespt.tools.score.spots import pair
from livespt.tools.train_localizer.measure import Particle
from livespt.tools.train_localizer.student_measure import counts

if TYPE_CHECKING:
    from torch import Tensor

LEVELS = {"half": 0.5, "equal": 1.0, "double": 2.0}  # noise, times that of the crop
FRAMES, SIDE = 12, 192  # frames of each level, their side in pixels
MATCH_PX, MATCH_FWHM = 2.0, 0.2  # greatest error of a particle that counts as found
MATCH_LOPSIDED = 0.5  # the same in diameters, of a particle without a centre of symmetry
MIN_RECALL, MAX_EXTRA = 0.98, 0.02

Figures = dict[str, dict[str, float]]


def seen_from(one: Pattern, crop: Tensor, particle: Particle, at: list[float]) -> Pattern:
    """The pattern about the point `at` that a network predicts, pixels from the crop's middle.

    Only a particle with a centre of symmetry determines this point.
    """
    if one.fold > 1:
        return one
    return pattern(crop.numpy(), (at[0], at[1]), particle.fwhm_px, particle.shot)


def measure(content: bytes, facts: dict[str, Any], one: Pattern, shot: float, seed: int) -> Figures:
    """Shares of particles found, and of detections in addition, at each of LEVELS.

    Parameters
    ----------
    content : bytes
        Of the `.onnx` file.
    facts : dict
        Content of its card, without metrics.
    one : Pattern
        The particle, in units of the noise of the crop.
    shot : float
        Variance of the photon noise in the crop at a signal of one noise unit.
    """
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.onnx"
        model.write_bytes(content)
        write_card(model, metrics={}, **facts)
        localizer = Localizer(model, provider="cpu")
    share = MATCH_FWHM if one.fold > 1 else MATCH_LOPSIDED
    # the card's correction holds for the orientation of the crop, and copies have any
    reach = max(MATCH_PX, share * one.fwhm_px) + float(np.hypot(*facts["centre"]["taken_off_px"]))
    return {
        name: _shares(localizer, one, 1 / noise, shot / noise, reach, (seed, 7, k))
        for k, (name, noise) in enumerate(LEVELS.items())
    }


def _shares(
    localizer: Localizer,
    one: Pattern,
    times: float,
    shot: float,
    reach: float,
    seed: tuple[int, ...],
) -> dict[str, float]:
    all_, hits, extra = 0, 0, 0
    for k in range(FRAMES):
        frame, points = scattered(np.random.default_rng((*seed, k)), SIDE, one, times, shot)
        spots = localizer(counts(frame))
        found: NDArray[np.float64] = np.stack([spots["y"], spots["x"]], axis=1).astype(float)
        both = len(pair(points, found, reach)[0])
        all_, hits, extra = all_ + len(points), hits + both, extra + len(found) - both
    return {"recall": round(hits / all_, 4), "extra": round(extra / all_, 4)}


def holds(figures: Figures) -> bool:
    """Whether enough particles are found, and few others, at every level."""
    return all(
        one["recall"] >= MIN_RECALL and one["extra"] <= MAX_EXTRA for one in figures.values()
    )


def advice(figures: Figures) -> str:
    """What fails at which noise, and what to do about it."""
    name, worst = max(
        figures.items(), key=lambda item: max(1 - item[1]["recall"], item[1]["extra"])
    )
    return (
        f"at {name} noise {100 * worst['recall']:.0f} % of the particles are found and "
        f"{100 * worst['extra']:.0f} % are false"
    )
