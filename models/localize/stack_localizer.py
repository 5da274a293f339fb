"""The localizer of stacks (z, y, x): detection plane by plane, and a fit in z, y and x.

The localizer of planes processes each plane, smoothed over its neighbours. Detections above one
another are one particle, which lies where they are brightest. The fit (stack_fit.py) then finds its
position in the unsmoothed stack. All particles of a stack have the same widths, which are estimated
from the brightest. A particle that is narrower than the optics allow (a hot pixel, a cosmic ray) is
left out; one that is too long along z is fitted as two.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.models.localize import stack_search as search
from livespt.models.localize.localizer import Localizer
from livespt.models.localize.stack_fit import (
    NEIGHBOUR_WIDTHS,
    fit_particles,
    gains,
    misfits,
    neighbors,
    variances,
    width_variances,
)
from livespt.models.localize.stack_model import (
    INTENSITY,
    LEVEL,
    POSITION,
    SIGMA,
    SIGMA_Z,
    WIDTHS,
    Model,
    Stack,
    Z,
    expected_of,
)
from livespt.models.optics.spots import Floats
from livespt.models.runtime.session import Session
from livespt.stream.errors import InputError, SettingError
from livespt.stream.types import SPOT

MIN_PLANES = 3  # with two, the same ratio belongs to many positions and widths
MAX_ROUNDS, MAX_FREE_ROUNDS = 30, 8  # of the fit, with common and with free widths
MAX_WIDTH_PROBES = 64  # the brightest particles, from which the widths are estimated
MIN_WIDTH_RATIO, MAX_HEIGHT_RATIO = 0.6, 1.15  # of one particle, to the common widths
WIDTH_SDS = 3.0  # by which a width must differ


class _Found(NamedTuple):
    """Particles of a stack during the fit."""

    spots: Floats  # (n, 9) columns of stack_fit.py
    score: Floats  # (n,) score of the localizer
    sigma: Floats  # (n,) individual width, pixels; NaN: not fitted
    expected: Stack  # expected counts of all particles

    def select(self, rows: NDArray[Any], wide: bool) -> _Found:
        """Keep only the particles of these rows."""
        spots = self.spots[rows]
        expected = expected_of(spots, self.expected.shape, wide)
        return _Found(spots, self.score[rows], self.sigma[rows], expected)


class StackLocalizer:
    """Returns the SPOT rows of a stack, sorted by `y` then `x`, with frame 0 and track -1.

    `z` and `dz` are in planes. The intensity is that in the focal plane; sigma is the individual
    width of a particle.

    Parameters
    ----------
    localizer : Localizer of planes, or the model to make one of.
    provider, threads : as in `open_session`, if `localizer` is a path.
    significance : least intensity of a particle, in standard deviations of the intensity.

    Raises
    ------
    ModelError : as for Localizer.
    SettingError : the significance is not above 0.
    """

    def __init__(
        self,
        localizer: Localizer | str | Path,
        *,
        provider: str = "auto",
        threads: int = 1,
        significance: float = 6.0,
    ) -> None:
        if not significance > 0:
            raise SettingError(f"significance must be above 0, got {significance}")
        if not isinstance(localizer, Localizer):
            localizer = Localizer(localizer, provider=provider, threads=threads)
        self.localizer = localizer
        # the positions are fitted in three dimensions, so planes are not refined
        self._planes = Localizer(localizer.session, cutoff=localizer.cutoff, refine="none")
        self.significance = significance

    @property
    def session(self) -> Session:
        """Session of the localizer of planes."""
        return self.localizer.session

    @property
    def provider(self) -> str:
        """Execution provider in use: "cpu" or "cuda"."""
        return self.localizer.provider

    def refuses(self, axes: str, shape: tuple[int, ...], dtype: str) -> str | None:
        """Why frames of this kind cannot be analyzed; None if they can."""
        if axes != "zyx" or len(shape) != 3:
            return f"a stack is (z, y, x), not {axes} {list(shape)}"
        if 1 < shape[0] < MIN_PLANES or shape[0] == 0:
            return f"{shape[0]} planes do not determine z: give one, or {MIN_PLANES} or more"
        return self.localizer.refuses("yx", shape[1:], dtype)

    def warm_up(self, shape: tuple[int, ...], dtype: str = "uint16") -> None:
        """Compile and allocate now, so that the first stack is not late."""
        if shape[0] == 1:
            self.localizer.warm_up(shape[1:], dtype)
            return
        self._planes.warm_up(shape[1:], "float32")  # the type of smoothed planes
        stack = np.random.default_rng(0).normal(100.0, 3.0, (9, 24, 24)).astype(np.float32)
        two = np.array([[4.0, y, 12.0, 900.0, 0.0, 0.0, 0.0, 1.3, 1.5] for y in (8.0, 15.0)])
        stack += expected_of(two, stack.shape, False)
        points = np.column_stack([two[:, :3], np.ones(len(two))])
        self._particles(stack, search.smoothed(stack), points)

    def __call__(self, image: NDArray[Any]) -> NDArray[np.void]:
        """Return the SPOT rows (n,) of one stack (z, y, x).

        Voxels that are NaN or infinite are ignored.
        """
        reason = self.refuses("zyx", image.shape, image.dtype.name)
        if reason is not None:
            raise InputError(reason)
        if len(image) == 1:
            return self.localizer(image[0])
        stack = np.ascontiguousarray(image, dtype=np.float32)
        smooth = search.smoothed(stack)
        return self._particles(stack, smooth, self._detections(smooth))

    def _particles(self, stack: Stack, smooth: Stack, points: Floats) -> NDArray[np.void]:
        """SPOT rows of a stack, from detections in planes: `points` (n, 4) z, y, x, score."""
        sigma = self._sigma()
        model = search.background(stack)
        merge, scatter = max(2.0, 1.5 * sigma), math.sqrt(model.variance)
        seeds = search.seeds(points, smooth, sigma, merge, scatter)
        if not len(seeds):
            return np.zeros(0, SPOT)
        found, model = _start(stack, seeds, sigma, model)
        for _ in range(2):
            fit_particles(stack, found.expected, found.spots, POSITION, model, MAX_ROUNDS)
            estimates = gains(stack, found.expected, found.spots, model)
            model = model._replace(gain=search.usual_gain(estimates))
        found, variance = self._certain(stack, found, model)
        if not len(found.spots):
            return np.zeros(0, SPOT)
        checked = _checked(stack, found, model)
        if len(checked.spots) == len(found.spots) and not np.isnan(checked.sigma).any():
            return _rows(checked, variance, model, len(stack))
        return _rows(*self._certain(stack, checked, model), model, len(stack))

    def _certain(self, stack: Stack, found: _Found, model: Model) -> tuple[_Found, Floats]:
        """Fit, and remove particles of insignificant intensity, of neighbours the weakest first."""
        while True:
            fit_particles(stack, found.expected, found.spots, POSITION, model, MAX_ROUNDS)
            variance = variances(stack, found.expected, found.spots, model)
            sure = found.spots[:, INTENSITY] / np.sqrt(variance[:, INTENSITY])
            sure[~np.isfinite(sure)] = 0.0
            weak = np.flatnonzero(sure < self.significance)
            if not len(weak):
                return found, variance
            first, entries = neighbors(found.spots, NEIGHBOUR_WIDTHS)
            rank = np.empty(len(sure), np.int64)
            rank[np.argsort(sure, kind="stable")] = np.arange(len(sure))
            near = [entries[first[w] : first[w + 1]] for w in weak]
            weakest = [
                w for w, others in zip(weak, near, strict=True) if (rank[w] < rank[others]).all()
            ]
            kept = np.ones(len(sure), np.bool_)
            kept[weakest] = False
            found = found.select(kept, model.wide)

    def _detections(self, smooth: Stack) -> Floats:
        """Detections of the localizer in all planes: (n, 4) z, y, x, score."""
        parts = [np.empty((0, 4))]
        for plane, image in enumerate(smooth):
            rows = self._planes(image)
            height = np.full(len(rows), float(plane))
            parts.append(np.column_stack([height, rows["y"], rows["x"], rows["score"]]))
        return np.concatenate(parts)

    def _sigma(self) -> float:
        """Approximate width of the particles that the localizer was trained for, pixels."""
        card = self.session.card
        if "sigma_px" in card:
            return float(np.mean(card["sigma_px"]))
        return float(card.get("fwhm_px", card["radius_px"])) / 2.355


def _start(stack: Stack, seeds: Floats, sigma: float, model: Model) -> tuple[_Found, Model]:
    """Fit each seed with individual widths, then give all the common widths; specks are left out.

    The model of out-of-focus light, fading or spreading, is the one that fits the brightest better.
    """
    spots = np.zeros((len(seeds), WIDTHS))
    spots[:, :3] = seeds[:, :3]
    peak = np.maximum(seeds[:, 4], math.sqrt(model.variance))
    spots[:, INTENSITY] = peak * 2 * math.pi * sigma**2
    guess = np.array([sigma, search.axial_width(stack, seeds, sigma)])
    spots[:, SIGMA:] = guess
    own, deviation = _own(stack, spots, model)
    whole = (np.abs(np.log(own[:, SIGMA] / sigma)) < math.log(2)) & np.isfinite(deviation).all(1)
    usual = np.median(own[whole, SIGMA:][:MAX_WIDTH_PROBES], axis=0) if whole.any() else guess
    kept = ~_narrow(own, deviation, usual)
    spots[whole] = own[whole]
    spots[:, SIGMA:] = usual
    if (kept & whole).any():
        model, spots[:, SIGMA:] = _kind(stack, spots[kept & whole][:MAX_WIDTH_PROBES], model)
    found = _Found(spots, seeds[:, 3], np.full(len(seeds), np.nan), np.empty_like(stack))
    return found.select(kept, model.wide), model


def _kind(stack: Stack, probes: Floats, model: Model) -> tuple[Model, Floats]:
    """Choose the model of out-of-focus light that fits `probes` better; return it and widths."""
    misfit, widths = [], []
    for wide in (False, True):
        kind = model._replace(wide=wide)
        own, expected = _fit_widths(stack, probes, kind)
        misfit.append(misfits(stack, expected, own, probes, kind))
        widths.append(np.median(own[:, SIGMA:], axis=0))
    wide = bool(np.median(misfit[0] - misfit[1]) > 0)
    return model._replace(wide=wide), widths[wide]


def _fit_widths(stack: Stack, spots: Floats, model: Model) -> tuple[Floats, Stack]:
    """Fit each particle with individual widths; also return the expected counts of all."""
    own = spots.copy()
    expected = expected_of(own, stack.shape, model.wide)
    fit_particles(stack, expected, own, WIDTHS, model, MAX_FREE_ROUNDS)
    return own, expected


def _own(stack: Stack, spots: Floats, model: Model) -> tuple[Floats, Floats]:
    """Particles with individual widths, and SURE standard deviations of these widths (n, 2)."""
    own, expected = _fit_widths(stack, spots, model)
    return own, WIDTH_SDS * np.sqrt(width_variances(stack, expected, own, model))


def _narrow(own: Floats, deviation: Floats, usual: Floats) -> NDArray[np.bool_]:
    """Which of them are narrower than the optics allow."""
    margin = np.where(np.isfinite(deviation), deviation, 0.0)  # unknown for a single voxel
    return np.asarray((own[:, SIGMA:] + margin < MIN_WIDTH_RATIO * usual).any(axis=1))


def _checked(stack: Stack, found: _Found, model: Model) -> _Found:
    """Use individual widths: remove too narrow particles, split those that are too tall."""
    usual = found.spots[0, SIGMA:]
    own, deviation = _own(stack, found.spots, model)
    narrow = _narrow(own, deviation, usual)
    over = np.asarray(own[:, SIGMA:] - deviation > (1.0, MAX_HEIGHT_RATIO) * usual)
    tall = over[:, 1] & ~over[:, 0] & ~narrow
    found = found._replace(sigma=own[:, SIGMA])
    if not narrow.any() and not tall.any():
        return found
    half = np.sqrt(own[tall, SIGMA_Z] ** 2 - usual[1] ** 2)
    pairs = np.concatenate([own[tall], own[tall]])
    pairs[:, Z] += np.concatenate([half, -half])
    pairs[:, SIGMA:] = usual
    pairs[:, INTENSITY] *= 0.6
    alone = ~narrow & ~tall
    spots = np.concatenate([found.spots[alone], pairs])
    score = np.concatenate([found.score[alone], np.tile(found.score[tall], 2)])
    sigma = np.concatenate([found.sigma[alone], np.full(len(pairs), np.nan)])
    return _Found(spots, score, sigma, expected_of(spots, stack.shape, model.wide))


def _rows(found: _Found, variance: Floats, model: Model, planes: int) -> NDArray[np.void]:
    """SPOT rows of the particles within the stack."""
    height, width = found.expected.shape[1:]
    points = found.spots[:, :3]
    last = np.array([planes, height, width]) - 0.5
    inside = np.flatnonzero(((points > -0.5) & (points < last)).all(axis=1))
    order = inside[np.lexsort((points[inside, 2], points[inside, 1]))]
    particles = found.spots[order]
    spots = np.zeros(len(order), SPOT)
    spots["track"] = -1
    spots["z"], spots["y"], spots["x"] = particles[:, :3].T
    spots["dz"], spots["dy"], spots["dx"] = np.sqrt(variance[order, :3]).T
    plane = np.clip(np.rint(particles[:, Z]), 0, planes - 1).astype(np.int64)
    spots["intensity"] = particles[:, INTENSITY]
    spots["background"] = model.levels[plane] + particles[:, LEVEL]
    spots["score"], spots["sigma"] = found.score[order], found.sigma[order]
    spots["variance"] = spots["polarizability_um3"] = np.nan
    return spots
