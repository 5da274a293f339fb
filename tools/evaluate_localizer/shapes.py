"""Evaluate LodeSTAR trained on one image of each of five shapes, as in its paper.

This repeats Fig. 1g-k of Midtvedt et al. 2022 (error against signal-to-noise ratio, compared with
the centroid and the centre of radial symmetry of the whole image) and Table 1 (self-consistency of
each model on each shape), with the images of particle_shapes.py. As in the paper, a whole image is
one
particle: its position is the weighted mean of all cells, and so are the variances
of Table 1.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.models.localize.localizer import Localizer
from livespt.models.localize.radial_symmetry import radial_symmetry
from livespt.models.localize.refinement import fit_gaussian
from livespt.models.render import particle_shapes
from livespt.stream.errors import SettingError

SEED = 20_000  # of all images: no setting was chosen by them
SNRS = (2, 3, 5, 8, 10, 15, 20)
CROP_SNR, CROP_PX = 10.0, 41
CLICK_PX = 1.0  # greatest error per axis of the user who marks the particle
RECIPE: dict[str, Any] = {
    "gain": (0.2, 2.2),  # signal / noise is proportional to SNR, which is 2 to 20; 10 in the crop
    "noise": 2.0,
    "neighbours": 0.0,  # there is one particle in an image
    "others": 0.1,
    "centre": "none",  # the particles have random orientations
}
SEEN = np.s_[1:5]  # SNR 3 to 10, at which the error must be below that of other methods
PRECISE = np.s_[3:]  # SNR 8 and more, at which the error must be below PRECISE_PX
PRECISE_PX = 0.1
FACTOR, PAIR_FACTOR = 10.0, 5.0  # Table 1: ratio of variances; that of sphere and ellipse
PAIR = {"sphere", "ellipse"}
PUBLISHED = {"lodestar": [0.409, 0.135, 0.065, 0.040], "gaussian": [0.348, 0.131, 0.061, 0.032]}
PUBLISHED_SNRS = (2, 5, 10, 20)  # of a point, public PyTorch LodeSTAR and an 11 x 11 fit, pixels

Floats = NDArray[np.float64]


class Images(NamedTuple):
    """Test images of one shape, equally many of each SNR."""

    counts: NDArray[np.uint16]  # (n, y, x)
    centres: Floats  # (n, 2)
    axes: Floats  # (n, 2)
    snr: Floats  # (n,)


class Reading(NamedTuple):
    """Predictions of a network for images of one particle each."""

    points: Floats  # (n, 2) y, x, pixels
    variance: Floats  # (n,) pixels^2, both axes


def evaluate(
    *,
    images: int = 10_000,
    net: str = "wide",
    steps: int = 5000,
    out: str | Path | None = None,
    seed: int = 1,
) -> dict[str, Any]:
    """Train five models and evaluate them: RMSE (pixels per axis) by SNR, and Table 1.

    Parameters
    ----------
    images : total number of images, over all shapes and SNRs.
    out : folder for the models; models that are already there are evaluated as they are. None: a
        temporary folder.

    Returns
    -------
    dict : `error` {shape: {method: [by SNR]}}, `variance` {model: {shape: pixels^2}}, `met` the
        targets reached.
    """
    each = images // (len(particle_shapes.KINDS) * len(SNRS))
    if each < 1:
        raise SettingError(f"{images} images are too few for all shapes and SNRs: give 35 or more")
    with tempfile.TemporaryDirectory(prefix="livespt-shapes-") as temporary:
        folder = Path(temporary if out is None else out)
        folder.mkdir(parents=True, exist_ok=True)
        made = {kind: _model(folder, kind, net, steps, seed) for kind in particle_shapes.KINDS}
        tests = {kind: test_images(kind, each) for kind in particle_shapes.KINDS}
        errors: dict[str, Any] = {}
        variance: dict[str, dict[str, float]] = {}
        for kind, model in made.items():
            localizer = Localizer(model, provider="cpu", refine="none")
            variance[kind] = {}
            for other, test in tests.items():
                reading = read(localizer, test.counts)
                variance[kind][other] = float(reading.variance.mean())
                if other == kind:
                    errors[kind] = _errors(kind, localizer, reading, test)
        converged = {kind: _converged(model) for kind, model in made.items()}
    result: dict[str, Any] = {"snr": list(SNRS), "net": net, "steps": steps}
    result |= {"images": each * len(SNRS) * len(particle_shapes.KINDS), "converged": converged}
    result |= {"error": errors, "variance": variance}
    result["factor"] = _factors(variance)
    result["met"] = _met(errors, result["factor"])
    published = {"snr": list(PUBLISHED_SNRS), **PUBLISHED}
    return result | {"published_point": published, "command": "livespt evaluate shapes"}


def test_images(kind: str, each: int) -> Images:
    """`each` images of a shape at each of SNRS."""
    rng = np.random.default_rng((SEED, 1, particle_shapes.KINDS.index(kind)))
    snr = np.repeat(np.array(SNRS, np.float64), each)
    drawn = [particle_shapes.draw_particle(kind, ratio, rng) for ratio in snr]
    counts, centres, axes = (np.stack(part) for part in zip(*drawn, strict=True))
    return Images(counts, centres, axes, snr)


def pool(field: NDArray[np.float32]) -> tuple[Floats, float]:
    """Weighted mean position (2,) and variance over all cells of an output (3, h', w')."""
    weight = 1 / (1 + np.exp(-np.clip(field[2].astype(np.float64), -60, 60)))
    weight /= weight.sum()
    rows, columns = (2.0 * np.arange(n) + 0.5 for n in weight.shape)
    y, x = field[0] + rows[:, None], field[1] + columns
    middle = np.array([(weight * y).sum(), (weight * x).sum()])
    return middle, float((weight * ((y - middle[0]) ** 2 + (x - middle[1]) ** 2)).sum())


def read(localizer: Localizer, counts: NDArray[np.uint16]) -> Reading:
    """Predict one particle for every image (n, y, x), without the constant offset of the card."""
    offset = np.array(localizer.session.card["offset_px"])
    found = [pool(localizer.field(image)[0]) for image in counts]
    return Reading(np.array([one[0] for one in found]) - offset, np.array([v for _, v in found]))


def centroids(counts: NDArray[np.uint16]) -> Floats:
    """Centroids (n, 2) of whole images including background, as in the figure of the paper."""
    line = np.arange(counts.shape[-1])
    total = counts.sum(axis=(1, 2), dtype=np.float64)
    y = (counts.sum(axis=2) * line).sum(axis=1) / total
    x = (counts.sum(axis=1) * line).sum(axis=1) / total
    return np.stack([y, x], axis=1)


def radial_centres(counts: NDArray[np.uint16]) -> Floats:
    """Centres of radial symmetry (n, 2) of whole images."""
    half = counts.shape[-1] // 2 - 1
    middle = np.array([[float(half), float(half)]])
    return np.concatenate([radial_symmetry(image, middle, float(half)) for image in counts])


def errors_px(kind: str, points: Floats, test: Images) -> Floats:
    """Errors (n, 2), pixels; for a crescent across its axis, and along it relative to a constant.

    A crescent has no natural centre on its axis: any point is valid if it is always the same.
    """
    error = points - test.centres
    if kind != "crescent":
        return error
    along = (error * test.axes).sum(axis=1)
    across = error[:, 0] * test.axes[:, 1] - error[:, 1] * test.axes[:, 0]
    return np.stack([across, along - np.median(along[test.snr >= CROP_SNR])], axis=1)


def _model(folder: Path, kind: str, net: str, steps: int, seed: int) -> Path:
    """Path of the model of a shape, which is trained unless it exists."""
    import tifffile

    from livespt.tools.train_localizer.localizer import train

    model = folder / f"{kind}.onnx"
    if not model.exists():
        rng = np.random.default_rng((SEED, 0, particle_shapes.KINDS.index(kind)))
        image = particle_shapes.draw_particle(kind, CROP_SNR, rng)
        at = np.round(image.centre + rng.uniform(-CLICK_PX, CLICK_PX, 2))
        movie = folder / f"{kind}.tif"
        tifffile.imwrite(movie, image.counts)
        train(
            movie, frame=0, at=(float(at[0]), float(at[1])), size=CROP_PX, out=model, seed=seed,
            net=net, steps=steps, device="cpu", **RECIPE,
        )  # fmt: skip
    return model


def _errors(kind: str, localizer: Localizer, reading: Reading, test: Images) -> dict[str, Any]:
    """Root mean square errors of all methods, by SNR."""
    methods = {
        "lodestar": reading.points,
        "centroid": centroids(test.counts),
        "radial symmetry": radial_centres(test.counts),
    }
    if localizer.session.card.get("refine") == "gauss":
        methods["refined"] = _refined(test.counts, reading.points)
    table: dict[str, Any] = {}
    for name, points in methods.items():
        square = errors_px(kind, points, test) ** 2
        by_snr = [float(np.sqrt(square[test.snr == ratio].mean())) for ratio in SNRS]
        table[name] = [round(value, 4) for value in by_snr]
    return table


def _refined(counts: NDArray[np.uint16], points: Floats) -> Floats:
    """Refine points by a Gaussian fit with a gain of 1; points without a fit are kept."""
    out = points.copy()
    for image, point in zip(counts, out, strict=True):
        noise = float(np.sqrt(max(np.median(image), 0.25)))
        fits = fit_gaussian(image, point[None], noise, gain=1.0)
        if fits.good[0]:
            point[:] = fits.points[0]
    return out


def _converged(model: Path) -> bool:
    from livespt.models.runtime.card import read_card

    return bool(read_card(model)["converged"])


def _factors(variance: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Variances divided by that of the trained shape."""
    return {
        model: {kind: round(value / row[model], 2) for kind, value in row.items()}
        for model, row in variance.items()
    }


def _met(errors: dict[str, Any], factors: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Which targets are reached for each shape."""
    met: dict[str, Any] = {"below_rivals": {}, "below_0.1_px": {}, "table_1": {}}
    for kind, table in errors.items():
        best = np.array(table["refined" if "refined" in table else "lodestar"])
        others = np.minimum(table["centroid"], table["radial symmetry"])
        met["below_rivals"][kind] = bool((best < others)[SEEN].all())
        met["below_0.1_px"][kind] = bool((best < PRECISE_PX)[PRECISE].all())
        met["table_1"][kind] = all(
            factor >= (PAIR_FACTOR if {kind, other} == PAIR else FACTOR)
            for other, factor in factors[kind].items()
            if other != kind
        )
    return met
