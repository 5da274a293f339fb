"""Other localizers, for comparison on the same frames.

They are `locate` of trackpy (numba engine), `identify` and the maximum likelihood fit of Picasso,
and the Laplacian of Gaussian of scikit-image. Each is set as by an expert: it gets the width of the
spots, the properties of the camera, and the best threshold on a movie of the same kind. livespt
itself does not need them.
"""

from __future__ import annotations

import functools
import importlib.util
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.models.render.spot_movies import SpotCase
from livespt.tools.score import spots as accuracy

Floats = NDArray[np.float64]
NEEDS = {"trackpy": "trackpy", "picassosr": "picasso", "scikit-image": "skimage"}
BOX = 7  # box of Picasso, pixels


class OtherLocalizer(NamedTuple):
    """A localizer with one threshold."""

    name: str
    find: Callable[[NDArray[Any], float, int | None], Floats]
    """(image, threshold, most) -> (n, 5): y, x, their precision, the quantity for the threshold.

    With `most`, only this number of rows, with the greatest quantity, is returned.
    """


class TunedLocalizer(NamedTuple):
    """A localizer with its threshold."""

    localizer: OtherLocalizer
    threshold: float

    def __call__(self, image: NDArray[Any]) -> Floats:
        """Positions y, x and their precision (n, 4), pixels."""
        return self.localizer.find(image, self.threshold, None)[:, :4]


def skipped() -> list[str]:
    """Packages that are not installed, whose localizers are therefore left out."""
    return [name for name, module in NEEDS.items() if importlib.util.find_spec(module) is None]


def available(case: SpotCase) -> list[OtherLocalizer]:
    """Localizers that are installed, set for the width of the spots and the camera."""
    missing = skipped()
    found = []
    if "trackpy" not in missing:
        found += [OtherLocalizer("trackpy 7", functools.partial(find_trackpy, 7, 8))]
        found += [OtherLocalizer("trackpy 5", functools.partial(find_trackpy, 5, 4))]
    if "picassosr" not in missing:
        found += [OtherLocalizer("Picasso", functools.partial(_picasso, case))]
    if "scikit-image" not in missing:
        found += [OtherLocalizer("blob_log", functools.partial(_blobs, case.sigma_px))]
    return found


def tune(other: OtherLocalizer, images: list[NDArray[Any]], truth: list[Floats]) -> TunedLocalizer:
    """Choose the threshold with the best Jaccard index, on a movie that is not used for scores."""
    seen = [
        other.find(image, 0.0, 4 * max(len(at), 8)) for image, at in zip(images, truth, strict=True)
    ]
    values = np.concatenate([found[:, 4] for found in seen])
    best, chosen = -1.0, 0.0
    for threshold in np.quantile(values, np.linspace(0, 0.98, 50)) if len(values) else ():
        tally = accuracy.together(
            [
                accuracy.compare(at, found[found[:, 4] > threshold], image.shape)
                for image, at, found in zip(images, truth, seen, strict=True)
            ]
        )
        if accuracy.jaccard(tally) > best:
            best, chosen = accuracy.jaccard(tally), float(threshold)
    return TunedLocalizer(other, chosen)


def _top(found: Floats, most: int | None) -> Floats:
    """The `most` rows with the greatest values in the last column, in their order."""
    if most is None or len(found) <= most:
        return found
    return found[np.sort(np.argsort(-found[:, -1], kind="stable")[:most])]


def find_trackpy(
    diameter: int, separation: float, image: NDArray[Any], threshold: float, most: int | None
) -> Floats:
    """Centre of mass in a disc of `diameter` pixels after a bandpass; the threshold is its mass."""
    import trackpy

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        table = trackpy.locate(
            image, diameter, minmass=threshold, separation=separation, engine="numba"
        )
    # a frame without particles has fewer columns
    found = table.reindex(columns=["y", "x", "ep", "ep", "mass"])
    return _top(found.to_numpy(np.float64), most)


def _picasso(case: SpotCase, image: NDArray[Any], threshold: float, most: int | None) -> Floats:
    """Local maxima by net gradient, and a fit of a pixel-integrated round Gaussian, box of 7."""
    import matplotlib
    import pandas

    with warnings.catch_warnings(), matplotlib.rc_context():  # importing it sets a style
        warnings.simplefilter("ignore")
        from picasso import gaussmle, localize

        y, x, gradient = localize.identify_in_image(image.astype(np.float32), threshold, BOX)
        peaks = _top(np.column_stack([y, x, gradient]).astype(np.float64), most)
        if not len(peaks):
            return np.empty((0, 5))
        table = pandas.DataFrame(peaks, columns=["y", "x", "net_gradient"])
        table = table.astype({"y": int, "x": int}).assign(frame=0)
        facts = {"Baseline": case.offset, "Sensitivity": case.gain_e_per_count, "Gain": 1}
        spots = localize.get_spots(image[None], table, BOX, facts)
        theta, bound = _fit_spots(gaussmle.gaussmle, spots)
    with np.errstate(invalid="ignore"):
        precision = np.sqrt(bound[:, 1::-1].astype(np.float64))
    at = peaks[:, :2] - BOX // 2 + theta[:, 1::-1]
    found = np.column_stack([at, precision, peaks[:, 2]])
    return np.asarray(found[np.isfinite(at).all(axis=1)])


def _fit_spots(gaussmle: Any, spots: NDArray[np.float32]) -> tuple[Floats, Floats]:
    """Parameters x, y, ... and variances of each box; NaN if the fit divides by zero."""
    try:
        theta, bound, _, _ = gaussmle(spots, 1e-3, 100, "sigma")
    except ZeroDivisionError:
        if len(spots) == 1:
            return np.full((1, 6), np.nan), np.full((1, 6), np.nan)
        halves = [_fit_spots(gaussmle, part) for part in np.array_split(spots, 2)]
        theta, bound = (np.concatenate(part) for part in zip(*halves, strict=True))
    return theta, bound


def _blobs(sigma: float, image: NDArray[Any], threshold: float, most: int | None) -> Floats:
    """Maxima of the Laplacian of Gaussian at the width of the spots; whole pixels, no precision."""
    from scipy import ndimage
    from skimage import feature

    counts = image.astype(np.float64)
    response = -ndimage.gaussian_laplace(counts, sigma) * sigma**2 if most else None
    if response is not None:
        threshold = max(threshold, float(np.quantile(response, 0.95)))
    blob_log: Any = feature.blob_log  # untyped
    blobs = blob_log(counts, sigma, sigma, num_sigma=1, threshold=threshold)[:, :2]
    at = blobs.astype(int)
    height = np.zeros(len(at)) if response is None else response[tuple(at.T)]
    return _top(np.column_stack([blobs, np.full(blobs.shape, np.nan), height]), most)
