"""Train a localizer: one particle of one frame in; model, card and picture out."""

from __future__ import annotations

import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.models.localize import DTYPES, MIN_SIZE
from livespt.stream.errors import InputError, MissingError, SettingError
from livespt.tools import localizer_card, localizer_files
from livespt.tools.spot_frames import training_frame

if TYPE_CHECKING:
    import torch
    from torch import nn

STEPS = {"light": 5000, "paper": 3000}
BATCH, RATE = 8, 1e-3
SHIFT_PX = 2.5
SMALLEST = 9  # pixels: a crop must show background around its particle
SIMULATED = "simulated"  # instead of a movie's path


class Recipe(NamedTuple):
    """How a network is trained; all of it stands on the card."""

    net: str
    steps: int
    gain: tuple[float, float]  # amplitudes, times that of the crop
    zoom: float  # sizes, times and over that of the crop
    noise: float  # most white noise added, noise units
    device: str


def train(
    movie: str | Path,
    *,
    frame: int,
    at: tuple[float, float],
    size: int,
    out: str | Path,
    seed: int = 1,
    net: str = "light",
    steps: int | None = None,
    gain: tuple[float, float] = (0.4, 2.5),
    zoom: float = 1.15,
    noise: float = 1.0,
    device: str = "auto",
    overwrite: bool = False,
) -> dict[str, Any]:
    """Train on the crop of `size` pixels around `at` (y, x) in one frame; return what was made.

    Writes `out`, its card (.json) and a picture (.png) of what it finds in that frame, all or
    none. `movie` may be "simulated": a frame of bright spots, one near (128, 128).

    Raises
    ------
    InputError : no such frame, or a frame that is not (y, x).
    SettingError : a crop that leaves the frame or is too small; `out` exists.
    MissingError : torch is not installed.
    """
    out = Path(out)
    localizer_files.check(out, overwrite)
    size += 1 - size % 2  # a crop has a middle pixel
    if size < SMALLEST:
        raise SettingError(f"the crop must be at least {SMALLEST} pixels wide, not {size}")
    image, source = _image(movie, frame, seed)
    y, x = _corner(image, at, size)
    lodestar = _lodestar()
    steps = STEPS.get(net, 0) if steps is None else steps
    recipe = Recipe(net, steps, gain, zoom, noise, _device(device))
    _check_recipe(recipe, lodestar.NETS)
    start = time.perf_counter()
    normalize = lodestar.Normalize(max(size, 24))
    crop = lodestar.normalized(normalize, image)[y : y + size, x : x + size].contiguous()
    particle = localizer_card.describe(crop.numpy())
    crop = localizer_card.isolate(crop, particle)
    for attempt in (seed, seed + 1000):
        network, history = fit(crop, particle, recipe, attempt)
        keys, metrics = localizer_card.calibrate(network, crop, particle, gain, attempt)
        converged = localizer_card.has_converged(metrics, particle)
        if converged:
            break
    facts = _facts(recipe, particle) | keys | {"seed": seed}
    facts["training"] |= {"attempt_seed": attempt, "losses": history}
    facts["training"] |= {"size_px": size, "window_px": normalize.window}
    facts["provenance"] = {
        "movie": source,
        "frame": frame,
        "at": [float(v) for v in at],
        "size": size,
        "command": _command(source, frame, at, size, seed, recipe, out.name),
        "software": {name: version(name) for name in ("livespt", "torch", "onnx", "numpy")},
    }
    content = _serialize(network, normalize)
    report = localizer_files.write(out, content, facts, metrics, converged, image, at)
    if not report["converged"]:
        report["warning"] = "training did not converge: take a clearer particle or more steps"
    seconds = round(time.perf_counter() - start, 1)
    shown = {"model": str(out), "seconds": seconds, "fwhm_px": facts["fwhm_px"]}
    return shown | {"cutoff": facts["cutoff"]} | report


def _facts(recipe: Recipe, particle: localizer_card.Particle) -> dict[str, Any]:
    """What the card says before anything is measured."""
    from livespt.models import lodestar

    return {
        "task": "localize",
        "input": {
            "dtype": "float32",
            "axes": "yx",
            "accepts": list(DTYPES),
            "least": MIN_SIZE,
            "assumes": "particles about as wide and as sharp as the one trained on",
        },
        "stride_px": lodestar.STRIDE,
        "contrast": round(particle.contrast, 3),
        **localizer_card.geometry(particle),
        "training": recipe._asdict()
        | {"batch": BATCH, "learning_rate": RATE, "shift_px": SHIFT_PX},
    }


def fit(
    crop: torch.Tensor, particle: localizer_card.Particle, recipe: Recipe, seed: int
) -> tuple[nn.Sequential, list[dict[str, float]]]:
    """A trained network on the CPU, and its losses along the way (pixels)."""
    import torch
    from tqdm import tqdm

    from livespt.models import lodestar

    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = lodestar.build(recipe.net)
    net = net.to(recipe.device)
    optimizer = torch.optim.Adam(net.parameters(), RATE)
    rates = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, RATE, total_steps=recipe.steps, pct_start=0.05, final_div_factor=100
    )
    size = crop.shape[0] // 2 * 2
    nearest = min(particle.fwhm_px, size / 3)
    history, sums, every = [], np.zeros(2), max(1, recipe.steps // 10)
    for step in tqdm(range(1, recipe.steps + 1), "training", disable=not sys.stderr.isatty()):
        copies = lodestar.draw_copies(BATCH, SHIFT_PX, recipe.zoom, generator)
        views = lodestar.transform(crop, copies, size)
        views, own = lodestar.intrude(views, crop, copies, nearest, generator)
        varied = lodestar.vary(views, generator, recipe.gain, recipe.noise)
        out = net(lodestar.squash(varied.views).to(recipe.device)).cpu()
        between, within = lodestar.losses(out, copies, varied.trust, own, generator)
        optimizer.zero_grad()
        (between + within).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        rates.step()
        sums += float(between.detach()), float(within.detach())
        if step % every == 0:
            mean = (sums / every).round(4)
            history.append({"step": step, "between_px": mean[0], "within_px": mean[1]})
            sums[:] = 0
    return net.cpu().eval(), history


def _check_recipe(recipe: Recipe, nets: tuple[str, ...]) -> None:
    low, high = recipe.gain
    if recipe.net not in nets:
        raise SettingError(f"unknown net '{recipe.net}': one of {', '.join(nets)}")
    if recipe.steps < 10:
        raise SettingError(f"{recipe.steps} steps teach nothing: at least 10")
    if not 0 < low <= high:
        raise SettingError(f"gain must be LOW,HIGH with 0 < LOW <= HIGH, not {low},{high}")
    if not 1 <= recipe.zoom <= 3 or recipe.noise < 0:
        raise SettingError("zoom must lie from 1 to 3, noise must not be negative")


def _image(movie: str | Path, frame: int, seed: int) -> tuple[NDArray[Any], str]:
    """The training frame (y, x) and what it is from."""
    if str(movie) == SIMULATED:
        return training_frame(seed), SIMULATED
    from livespt.acquisition.replay import open_movie

    opened = open_movie(movie)
    if not 0 <= frame < opened.n_frames:
        raise InputError(f"{movie} has frames 0 to {opened.n_frames - 1}, not {frame}")
    image = np.asarray(opened.frame(frame).image)
    if image.ndim != 2:
        raise InputError(f"{movie} has frames {opened.axes}: a localizer learns from yx frames")
    if image.dtype.name not in DTYPES:
        raise InputError(f"{movie} holds {image.dtype.name}: a localizer takes {DTYPES}")
    if not np.isfinite(image).all():
        raise InputError(f"frame {frame} of {movie} holds NaN or infinity: choose another")
    return image, Path(movie).name


def _corner(image: NDArray[Any], at: tuple[float, float], size: int) -> tuple[int, int]:
    """First pixel of the crop around `at`."""
    height, width = image.shape
    if not (0 <= at[0] <= height - 1 and 0 <= at[1] <= width - 1):
        raise SettingError(f"{at[0]:g},{at[1]:g} lies outside the frame of {height} x {width}")
    y, x = (round(v) - size // 2 for v in at)
    if y < 0 or x < 0 or y + size > height or x + size > width:
        raise SettingError(
            f"a crop of {size} pixels around {at[0]:g},{at[1]:g} leaves the frame of {height} x "
            f"{width}: choose a particle further inside or a smaller size"
        )
    crop = image[y : y + size, x : x + size]
    if crop.min() == crop.max():
        raise SettingError(f"nothing to see at {at[0]:g},{at[1]:g}: all pixels are {crop.min():g}")
    return y, x


def _lodestar() -> Any:
    try:
        import onnx  # noqa: F401
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingError('training needs torch: pip install "livespt[train]"') from error
    from livespt.models import lodestar

    return lodestar


def _device(device: str) -> str:
    import torch

    if device not in ("auto", "cpu", "cuda"):
        raise SettingError(f"unknown device '{device}': auto, cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise MissingError("CUDA was asked for and torch finds none here: use device cpu")
    return "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"


def _serialize(network: nn.Sequential, normalize: Any) -> bytes:
    from livespt.models.lodestar_graph import serialize

    return serialize(network, normalize)


def _command(
    movie: str, frame: int, at: tuple[float, float], size: int, seed: int, recipe: Recipe, out: str
) -> str:
    """What makes this model again."""
    return (
        f"livespt train localizer {movie} --frame {frame} --at {at[0]:g},{at[1]:g} --size {size} "
        f"--seed {seed} --net {recipe.net} --steps {recipe.steps} "
        f"--gain {recipe.gain[0]:g},{recipe.gain[1]:g} --zoom {recipe.zoom:g} "
        f"--noise {recipe.noise:g} --out {out}"
    )
