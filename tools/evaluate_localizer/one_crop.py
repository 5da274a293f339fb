"""Evaluate trackers that were trained on one crop, in frames of other noise and brightness.

One particle of a noisy frame is marked and trained on. New frames of particles that lie apart have
half, equal or double its noise, or half or double its brightness. The particles are Gaussian beads
and a ring, as a bead out of focus.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from livespt.models.localize.localizer import Localizer
from livespt.stream.errors import SettingError
from livespt.tools.score.spots import pair

SEED = 30_000  # of all frames
SIDE, MARGIN_PX, PARTICLES = 192, 24.0, 10  # of a frame
OFFSET, NOISE = 1000.0, 10.0  # of the camera and of the background, counts
PHOTON_SHARE = 0.5  # variance of photon noise at the peak, over that of the other noise
RING_PX = 6.0  # radius of the ring
CROP_PX = {"1.3": 21, "2": 27, "3": 35, "4": 41, "5": 51, "ring": 35}  # by sigma of the bead, px
MATCH_PX, MATCH_SIGMA = 2.0, 0.5  # greatest error of a particle that counts as found
CLICK_PX = 1.0  # greatest error per axis of the user who marks the particle


class Case(NamedTuple):
    """Frames of one kind, relative to that with the crop."""

    name: str
    noise: float
    brightness: float


CASES = (
    Case("half noise", 0.5, 1.0),
    Case("equal", 1.0, 1.0),
    Case("double noise", 2.0, 1.0),
    Case("half brightness", 1.0, 0.5),
    Case("double brightness", 1.0, 2.0),
    Case("a tenth of the noise", 0.1, 1.0),
)
Floats = NDArray[np.float64]


def evaluate(
    *,
    shapes: Sequence[str] = tuple(CROP_PX),
    snr: float = 10.0,
    frames: int = 20,
    net: str = "light",
    steps: int | None = None,
    fast: bool = False,
    out: str | Path | None = None,
    seed: int = 1,
) -> dict[str, Any]:
    """Train on one crop of each shape; shares of particles found and of false detections.

    Parameters
    ----------
    shapes : names in CROP_PX: sigma of a bead in pixels, or "ring".
    snr : peak of the particle in the crop over the noise of the background.
    frames : number of frames of each case.
    fast : evaluate the distilled networks.
    out : folder for the models; those that are there are evaluated. None: a temporary folder.

    Returns
    -------
    dict : `rows`, one for each shape and case: `recall`, `extra` (both as shares of the particles),
        `rmse_px` per axis; `converged`, as stated by each card.

    Raises
    ------
    SettingError : a shape is unknown.
    """
    from livespt.models.runtime.card import read_card

    for shape in shapes:
        if shape not in CROP_PX:
            raise SettingError(f"unknown shape '{shape}': one of {', '.join(CROP_PX)}")
    rows: list[dict[str, Any]] = []
    converged: dict[str, bool] = {}
    with tempfile.TemporaryDirectory(prefix="livespt-crops-") as temporary:
        folder = Path(temporary if out is None else out)
        folder.mkdir(parents=True, exist_ok=True)
        for shape in shapes:
            model = _model(folder, shape, snr, seed, net=net, steps=steps, fast=fast)
            converged[shape] = bool(read_card(model)["converged"])
            localizer = Localizer(model, provider="cpu")
            rows += [
                {"shape": shape, "case": case.name} | _judge(localizer, shape, snr, case, frames)
                for case in CASES
            ]
    return {"net": "fast" if fast else net, "snr": snr, "converged": converged, "rows": rows}


def draw_frame(
    rng: Generator, shape: str, snr: float, noise: float = 1.0, brightness: float = 1.0
) -> tuple[NDArray[np.uint16], Floats]:
    """A frame (SIDE, SIDE) of particles that lie apart, and their positions (n, 2), pixels."""
    apart = 30.0 if shape == "ring" else max(20.0, 8 * float(shape))
    points: list[Floats] = []
    for point in rng.uniform(MARGIN_PX, SIDE - 1 - MARGIN_PX, (500, 2)):
        if len(points) < PARTICLES and all(math.dist(point, other) >= apart for other in points):
            points.append(point)
    y, x = np.mgrid[:SIDE, :SIDE]
    form = np.sum([_profile(shape, np.hypot(y - p, x - q)) for p, q in points], axis=0)
    variance = (NOISE * noise) ** 2 + PHOTON_SHARE * NOISE**2 * brightness * np.abs(form)
    image = OFFSET + NOISE * snr * brightness * form
    image += rng.standard_normal(form.shape) * np.sqrt(variance)
    return np.clip(np.round(image), 0, 65535).astype(np.uint16), np.array(points)


def _profile(shape: str, r: Floats) -> Floats:
    """Brightness at the distance `r` from the centre, pixels; 1 at its maximum, about."""
    if shape != "ring":
        return np.exp(-(r**2) / (2 * float(shape) ** 2))
    spot = 0.35 * np.exp(-(r**2) / (2 * 1.5**2))
    dark = 0.25 * np.exp(-((r - RING_PX - 4) ** 2) / (2 * 1.8**2))
    return np.exp(-((r - RING_PX) ** 2) / (2 * 1.5**2)) + spot - dark


def _model(folder: Path, shape: str, snr: float, seed: int, **settings: Any) -> Path:
    """Path of the model of a shape, which is trained unless it exists."""
    import tifffile

    from livespt.tools.train_localizer.localizer import train

    name = f"{shape}-fast" if settings["fast"] else shape
    model = folder / f"{name.replace('.', '_')}.onnx"
    if not model.exists():
        rng = np.random.default_rng((SEED, 0, seed, list(CROP_PX).index(shape)))
        image, points = draw_frame(rng, shape, snr)
        middle = points[np.hypot(*(points - SIDE / 2).T).argmin()]
        at = np.round(middle + rng.uniform(-CLICK_PX, CLICK_PX, 2))
        movie = model.with_suffix(".tif")
        tifffile.imwrite(movie, image)
        train(
            movie, frame=0, at=(float(at[0]), float(at[1])), size=CROP_PX[shape], out=model,
            seed=seed, device="cpu", **settings,
        )  # fmt: skip
    return model


def _judge(
    localizer: Localizer, shape: str, snr: float, case: Case, frames: int
) -> dict[str, float | None]:
    """Recall, share of false detections, and error of one kind of frames."""
    reach = MATCH_PX if shape == "ring" else max(MATCH_PX, MATCH_SIGMA * float(shape))
    errors, true, found = [], 0, 0
    for k in range(frames):
        rng = np.random.default_rng((SEED, 1, list(CROP_PX).index(shape), k))
        image, points = draw_frame(rng, shape, snr, case.noise, case.brightness)
        spots = localizer(image)
        seen = np.stack([spots["y"], spots["x"]], axis=1).astype(np.float64)
        mine, yours = pair(points, seen, reach)
        errors.append(seen[yours] - points[mine])
        true, found = true + len(points), found + len(seen)
    error = np.concatenate(errors)
    return {
        "recall": round(len(error) / true, 4),
        "extra": round((found - len(error)) / true, 4),
        "rmse_px": round(float(np.sqrt(np.mean(error**2))), 3) if len(error) else None,
    }
