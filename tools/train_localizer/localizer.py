"""Train a localizer on marked particles of a movie; write the model, its card and a picture."""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from livespt.models.localize.localizer import DTYPES, MIN_SIZE
from livespt.stream.errors import MissingError, SettingError
from livespt.tools.train import model_files
from livespt.tools.train_localizer import (
    centre as localizer_centre,
    crops as localizer_crops,
    measure,
    other_noise,
)
from livespt.tools.train_localizer.crops import Click, Source
from livespt.tools.train_localizer.fit import BATCH, RATES, LocalizerRecipe, train_network
from livespt.tools.train_localizer.student import distil

if TYPE_CHECKING:
    import torch
    from torch import nn


STEPS = {"light": 5000, "wide": 5000, "paper": 3000}
MIN_CROP_PX = 9  # a crop must include background
MAX_CARD_CROP_PX = 64  # a greater crop is not copied to the card
MAX_MEASURED_CROPS = 4  # on which the performance for the card is measured

At = tuple[float, float] | Sequence[tuple[float, float]]


class Detection(NamedTuple):
    """Settings of the detection, in place of measured ones."""

    alpha: float = measure.ALPHA  # exponent in score = w^alpha c^(1 - alpha)
    cutoff: float | None = None  # least score of a particle
    quantile: float | None = None  # quantile of the scores of a frame, in place of a cutoff


def train(
    movie: str | Path,
    *,
    size: int,
    out: str | Path,
    frame: int | None = None,
    at: At = (),
    clicks: str | Path | None = None,
    seed: int = 1,
    net: str = "light",
    steps: int | None = None,
    gain: tuple[float, float] | None = None,
    zoom: float = 1.15,
    noise: float = 1.0,
    neighbours: float = 0.5,
    others: float = 0.0,
    centre: str = "auto",
    alpha: float = measure.ALPHA,
    cutoff: float | None = None,
    quantile: float | None = None,
    fast: bool = False,
    device: str = "auto",
    overwrite: bool = False,
) -> dict[str, Any]:
    """Train on crops of `size` pixels around marked particles; return a summary.

    This writes `out`, its card (.json) and a picture (.png) of what the model finds in the first
    frame, all of them or none.

    Parameters
    ----------
    movie : path, or "simulated": a frame of bright spots, one of them near (128, 128).
    frame, at : a frame, and one or several positions (y, x) in it, pixels.
    clicks : CSV file with the columns frame, y, x, in place of these or in addition.
    gain, zoom, noise : brightness, size and noise to expect, relative to the crop; by default the
        brightness covers signals of 4 to 100 times the noise (`amplitudes` of measure.py).
    neighbours, others : see `LocalizerRecipe`.
    centre : definition of the centre of the particle; see `find` of centre.py.
    alpha, cutoff, quantile : see `Detection`.
    fast : distil the result into a network that needs a tenth of the time.

    Raises
    ------
    InputError : the frame does not exist, or is not (y, x).
    SettingError : a crop extends beyond the frame or is too small, or `out` exists.
    MissingError : torch is not installed.
    """
    out = Path(out)
    model_files.check_out(out, overwrite)
    size += 1 - size % 2  # a crop has a middle pixel
    if size < MIN_CROP_PX:
        raise SettingError(f"the crop must be at least {MIN_CROP_PX} pixels wide, not {size}")
    if centre not in localizer_centre.METHODS:
        raise SettingError(f"unknown centre '{centre}': {', '.join(localizer_centre.METHODS)}")
    source = localizer_crops.read(movie, _clicks(frame, at, clicks), seed)
    for click in source.clicks:
        localizer_crops.corner(source.images[click.frame], (click.y, click.x), size)
    lodestar = _lodestar()
    steps = STEPS.get(net, 0) if steps is None else steps
    recipe = LocalizerRecipe(
        net, steps, gain or measure.GAIN, zoom, noise, _device(device), neighbours, others
    )
    _check_recipe(recipe, Detection(alpha, cutoff, quantile), lodestar.NETS)
    start = time.perf_counter()
    normalize = lodestar.Normalize(max(size, 24))
    crops, particle = _crops(source, size, normalize)
    recipe = recipe._replace(gain=gain or measure.amplitudes(particle))
    centres = [
        localizer_centre.find(crop.numpy(), particle, np.subtract(click[1:], np.round(click[1:])),
                              centre)
        for crop, click in zip(crops[:MAX_MEASURED_CROPS], source.clicks, strict=False)
    ]  # fmt: skip
    centres = [one for one in centres if one.method == centres[0].method]
    ones, clean = localizer_crops.without_noise(crops, particle)
    common = _facts(recipe, particle) | {"seed": seed}
    common |= {"refine": _refinement(source, normalize, particle), "crop": _raw(source, size)}
    common["provenance"] = _provenance(source, size, seed, recipe, centre, out.name)
    given = {"cutoff": cutoff, "quantile": quantile}
    given = {name: value for name, value in given.items() if value is not None}
    for attempt in (seed, seed + 1000):
        network, history = train_network(_stacked(clean), particle, recipe, attempt)
        keys, metrics = _measure(network, clean, particle, recipe.gain, attempt, alpha, centres)
        facts = common | keys | given
        facts["training"] = common["training"] | {"attempt_seed": attempt, "losses": history}
        facts["training"] |= {"size_px": size, "window_px": normalize.window, "crops": len(crops)}
        content = _serialize(network, normalize)
        shown = other_noise.seen_from(ones[0], crops[0], particle, metrics["centre_in_crop_px"])
        shares = other_noise.measure(content, facts, shown, particle.shot, attempt)
        converged = measure.has_converged(metrics, particle) and (fast or other_noise.holds(shares))
        if converged:
            break
    if fast:
        content, facts, metrics = distil(crops, particle, centres, facts, metrics, out, cutoff)
        shares = other_noise.measure(content, facts, shown, particle.shot, seed)
    metrics, served = metrics | {"other_noise": shares}, other_noise.holds(shares)
    clicked = source.centres
    report = model_files.write(
        out, content, facts, metrics, converged and served, source.image, clicked
    )
    if not report["converged"]:
        report["warning"] = "training did not converge: use a clearer particle or more steps"
        report["warning"] += "" if served else f" ({other_noise.advice(shares)})"
    seconds = round(time.perf_counter() - start, 1)
    summary = {"model": str(out), "seconds": seconds, "fwhm_px": facts["fwhm_px"]}
    summary |= {"centre": facts["centre"]["method"], "refine": facts["refine"]}
    return summary | {"cutoff": facts["cutoff"]} | report


def _clicks(frame: int | None, at: At, clicks: str | Path | None) -> list[Click]:
    """All positions from `--at` and from the file."""
    pairs: Any = [at] if len(at) == 2 and not isinstance(at[0], Sequence) else list(at)
    if bool(pairs) != (frame is not None):
        raise SettingError("a particle needs both its frame and its place: give --frame and --at")
    found = [Click(int(frame or 0), float(y), float(x)) for y, x in pairs]
    found += localizer_crops.read_clicks(clicks) if clicks is not None else []
    if not found:
        raise SettingError("no particle to learn from: give --frame and --at, or --clicks")
    return found


def _crops(
    source: Source, size: int, normalize: Any
) -> tuple[list[torch.Tensor], measure.Particle]:
    """Crops (size, size) of the marked particles, each alone, in noise units; and properties."""
    from livespt.models.networks import lodestar

    flat = {k: lodestar.normalized(normalize, image) for k, image in source.images.items()}
    cuts = []
    for click in source.clicks:
        y, x = localizer_crops.corner(source.images[click.frame], (click.y, click.x), size)
        cuts.append(flat[click.frame][y : y + size, x : x + size].contiguous())
    each = [measure.describe(crop.numpy()) for crop in cuts]
    particle = measure.Particle(*np.median(np.array(each), axis=0).tolist())
    return [measure.isolate(crop, particle) for crop in cuts], particle


def _stacked(crops: list[torch.Tensor]) -> torch.Tensor:
    import torch

    return crops[0] if len(crops) == 1 else torch.stack(crops)[:, None]


def _measure(
    network: nn.Module,
    crops: list[torch.Tensor],
    particle: measure.Particle,
    gain: tuple[float, float],
    seed: int,
    alpha: float,
    centres: list[localizer_centre.Centre],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Keys of the card and metrics, from the crop with the worst result; and the centres of all."""
    each = [
        measure.calibrate(network, crop, particle, gain, seed, alpha)
        for crop in crops[: len(centres)]
    ]
    keys, metrics = min(each, key=lambda one: float(one[0]["cutoff"]))
    predicted = [np.array(other["centre_in_crop_px"]) for _, other in each]
    scatter = float(metrics["copies_scatter_px"])
    return localizer_centre.calibrate(keys, predicted, scatter, centres), metrics


def _refinement(source: Source, normalize: Any, particle: measure.Particle) -> str:
    """ "gauss" if the first particle is a Gaussian within its noise, otherwise "none"."""
    from livespt.models.localize.refinement import fit_gaussian
    from livespt.models.networks import lodestar

    frame = np.ascontiguousarray(source.image, np.float32)
    flat = lodestar.normalized(normalize, frame).numpy()
    y, x = (round(v) for v in source.centres[0])
    patch = np.s_[max(y - 8, 0) : y + 9, max(x - 8, 0) : x + 9]
    noise = float(np.ptp(frame[patch]) / max(float(np.ptp(flat[patch])), 1e-9))
    fits = fit_gaussian(frame, np.array([source.centres[0]]), noise, gain=particle.shot * noise)
    # bright particles reveal small deviations: up to a twentieth of the peak is accepted
    allowed = 1.5 + (particle.contrast / 20) ** 2
    narrow = fits.sigma[0] <= 2.5 and fits.misfit[0] <= allowed and not fits.speck[0]
    return "gauss" if fits.good[0] and narrow else "none"


def _raw(source: Source, size: int) -> list[list[float]] | None:
    """Pixels of the first crop as recorded, for the card."""
    if size > MAX_CARD_CROP_PX:
        return None
    crop = localizer_crops.cut_crop(source.image, source.centres[0], size)
    rounded: list[list[float]] = (crop if crop.dtype.kind in "ui" else crop.round(4)).tolist()
    return rounded


def _provenance(
    source: Source, size: int, seed: int, recipe: LocalizerRecipe, centre: str, name: str
) -> dict[str, Any]:
    first = source.clicks[0]
    return {
        "movie": source.name,
        "frame": first.frame,
        "at": [first.y, first.x],
        "clicks": [list(click) for click in source.clicks],
        "size": size,
        "command": _command(source, size, seed, recipe, centre, name),
        "software": {part: version(part) for part in ("livespt", "torch", "onnx", "numpy")},
    }


def _facts(recipe: LocalizerRecipe, particle: measure.Particle) -> dict[str, Any]:
    """Content of the card that is known before any measurement."""
    from livespt.models.networks import lodestar

    return {
        "task": "localize",
        "input": {
            "dtype": "float32",
            "axes": "yx",
            "accepts": list(DTYPES),
            "least": MIN_SIZE,
            "assumes": "particles about as wide and as sharp as the one trained on",
        },
        "score": measure.SCORE,
        "stride_px": lodestar.STRIDE,
        "contrast": round(particle.contrast, 3),
        **measure.geometry(particle),
        "training": recipe._asdict() | {"batch": BATCH, "learning_rate": RATES[recipe.net]},
    }


def _check_recipe(recipe: LocalizerRecipe, detection: Detection, nets: tuple[str, ...]) -> None:
    low, high = recipe.gain
    if recipe.net not in nets:
        raise SettingError(f"unknown net '{recipe.net}': one of {', '.join(nets)}")
    if recipe.steps < 10:
        raise SettingError(f"{recipe.steps} steps are too few: give at least 10")
    if not 0 < low <= high:
        raise SettingError(f"gain must be LOW,HIGH with 0 < LOW <= HIGH, not {low},{high}")
    if not 1 <= recipe.zoom <= 3 or recipe.noise < 0:
        raise SettingError("zoom must be from 1 to 3, noise must not be negative")
    if not 0 <= recipe.neighbours <= 1 or recipe.others < 0:
        raise SettingError("neighbours must be from 0 to 1, others must not be negative")
    if not 0 < detection.alpha <= 1:
        raise SettingError(f"alpha must be between 0 and 1, not {detection.alpha:g}")
    for name in ("cutoff", "quantile"):
        value = getattr(detection, name)
        if value is not None and not 0 < value < 1:
            raise SettingError(f"{name} must be between 0 and 1, not {value:g}")


def _lodestar() -> Any:
    try:
        import onnx  # noqa: F401
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingError('training needs torch: pip install "livespt[train]"') from error
    from livespt.models.networks import lodestar

    return lodestar


def _device(device: str) -> str:
    import torch

    if device not in ("auto", "cpu", "cuda"):
        raise SettingError(f"unknown device '{device}': auto, cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise MissingError("CUDA was requested but torch does not find it: use device cpu")
    return "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"


def _serialize(network: nn.Sequential, normalize: Any) -> bytes:
    from livespt.models.networks.lodestar_graph import serialize

    return serialize(network, normalize)


def _command(
    source: Source, size: int, seed: int, recipe: LocalizerRecipe, centre: str, name: str
) -> str:
    """Command that makes this model again; for several frames, the clicks are on the card."""
    if len(source.images) > 1:
        where = "--clicks CLICKS.csv"
    else:
        each = " ".join(f"--at {y:g},{x:g}" for y, x in source.centres)
        where = f"--frame {source.clicks[0].frame} {each}"
    return (
        f"livespt train localizer {source.name} {where} --size {size} --seed {seed} "
        f"--net {recipe.net} --steps {recipe.steps} "
        f"--gain {recipe.gain[0]:g},{recipe.gain[1]:g} --zoom {recipe.zoom:g} "
        f"--noise {recipe.noise:g} --neighbours {recipe.neighbours:g} --others {recipe.others:g} "
        f"--centre {centre} --out {name}"
    )
