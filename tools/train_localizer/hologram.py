"""Train a localizer of holograms on one particle; it measures z and polarizability as well.

The field is complex, in units of the illumination, as reconstructed by an off-axis holographic
microscope. One crop suffices to learn the position in the plane and along the axis (copies are
propagated) and the strength of scattering (copies are scaled). Symmetry does not give two numbers:
the plane of z = 0, and the polarizability of the particle, which is known from its population.
"""

from __future__ import annotations

import os
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.models.optics import holograms
from livespt.models.optics.holograms import HolographicMicroscope, Sphere
from livespt.models.optics.propagation import propagate, refocus
from livespt.models.runtime.card import write_card
from livespt.stream.errors import InputError, MissingError, SettingError
from livespt.tools import progress
from livespt.tools.train import model_files
from livespt.tools.train_localizer import hologram_measure

if TYPE_CHECKING:
    from torch import Tensor

    from livespt.models.networks.hologram import HologramNet


SIMULATED = "simulated"  # instead of a file's path
STEPS, BATCH, RATE = 12_000, 8, 2.5e-3
LEAST_STEPS = 40
CELLS = 24  # side of the region of a copy that is used in training, cells
SEARCH_UM = (-6.0, 6.0)  # range of z in which the particle of the crop is searched
MIN_CROP_PX = 32
KNEE = 0.3  # contrast, relative to the crop, at which the weight of a copy is one half
SIMULATED_SHAPE, SIMULATED_NOISE = (129, 129), 0.02
LOSSES = ("between_px", "within_px", "between_z_um", "within_z_um", "between_ln_s", "within_ln_s")
Complex = NDArray[np.complex64]


class Reference(NamedTuple):
    """The population to which the particle of the crop belongs."""

    radius_um: float = 0.228
    refractive_index: float = 1.58


def train(
    field: str | Path,
    *,
    at: tuple[float, float] | None = None,
    size: int = 64,
    out: str | Path,
    z_um: float | None = None,
    noise: float | None = None,
    radius_um: float = Reference().radius_um,
    refractive_index: float = Reference().refractive_index,
    microscope: HolographicMicroscope | None = None,
    steps: int = STEPS,
    seed: int = 1,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Train on the particle at `at` (y, x) of one field; return a summary.

    This writes `out` and its card (.json), both or none.

    Parameters
    ----------
    field : .npy file of complex (y, x) or float (2, y, x): the field divided by the illumination,
        minus 1; or "simulated", a polystyrene sphere in the middle.
    size : side of the crop, pixels.
    z_um : position of the particle relative to the focal plane; by default found by refocusing.
    noise : standard deviation of real or imaginary part of the field; by default measured.
    radius_um, refractive_index : properties of the population of the particle; its polarizability
        (Clausius and Mossotti) is the reference for others.

    Raises
    ------
    InputError : the file does not hold a field.
    SettingError : the crop extends beyond the field or is too small, or `out` exists.
    MissingError : torch is not installed.
    """
    m = microscope or HolographicMicroscope()
    out = Path(out)
    model_files.check_out(out, overwrite)
    nets = _nets()
    _check_options(size, steps, m)
    source, whole = _field(field, seed, Reference(radius_um, refractive_index), m)
    if source == SIMULATED:
        at, z_um = (whole.shape[0] // 2, whole.shape[1] // 2), 0.0
    if at is None:
        raise SettingError("the position of the particle is missing: give --at Y,X")
    start = time.perf_counter()
    parts = hologram_measure.as_parts(whole)[None]
    level = float(nets.HologramNet(nets.build(), m).noise(parts)) if noise is None else noise
    crop, plane_um = cut_field(whole, at, size, z_um, m)
    model, history = train_network(crop, level, steps, seed, m)
    scale, keys, metrics = hologram_measure.calibrate(model, crop, level, seed)
    converged = hologram_measure.has_converged(metrics)
    known = holograms.clausius_mossotti(radius_um, refractive_index, m.medium)
    card = hologram_measure.facts(m) | keys | {"seed": seed, "converged": converged}
    ones = [[1.0, 0.0]] * (len(card["extras"]) - 2)
    card["extras_calibration"] = [[1.0, 0.0], [known, 0.0], *ones]
    card["reference"] = {
        "radius_um": radius_um, "refractive_index": refractive_index, "polarizability_um3": known,
        "law": "Clausius-Mossotti",
    }  # fmt: skip
    card["training"] = {
        "steps": steps, "batch": BATCH, "rate": RATE, "size_px": size, "noise": level,
        "crop_z_um": round(plane_um, 4), "calibration": scale._asdict(),
        "study": nets.Study()._asdict(), "losses": history,
    }  # fmt: skip
    card["provenance"] = {
        "field": source,
        "command": _command(
            source,
            at,
            size,
            z_um,
            noise,
            Reference(radius_um, refractive_index),
            m,
            steps,
            seed,
            out.name,
        ),
        "software": {name: version(name) for name in ("livespt", "torch", "onnx", "numpy")},
    }
    _write(out, _serialize(model, scale), card | {"metrics": metrics})
    report = {"model": str(out), "seconds": round(time.perf_counter() - start, 1)} | metrics
    if not converged:
        report["warning"] = "training did not converge: use a clearer particle or more steps"
    return report | {"cutoff": card["cutoff"], "converged": converged}


def cut_field(
    whole: Complex,
    at: tuple[float, float],
    size: int,
    z_um: float | None,
    microscope: HolographicMicroscope,
) -> tuple[Tensor, float]:
    """The crop (2, size, size) in focus, 0 at its edges, and the z of its particle (um).

    Raises
    ------
    SettingError : the crop extends beyond the field.
    """
    y, x = (round(v) - size // 2 for v in at)
    if y < 0 or x < 0 or y + size > whole.shape[0] or x + size > whole.shape[1]:
        raise SettingError(
            f"a crop of {size} pixels around {at[0]:g},{at[1]:g} extends beyond the field of "
            f"{whole.shape[0]} x {whole.shape[1]}: choose a particle further inside"
        )
    part = (slice(y, y + size), slice(x, x + size))
    if z_um is None:
        z_um = refocus(whole[part], SEARCH_UM, microscope=microscope)
    crop = propagate(whole, z_um, microscope)[part]
    line = np.arange(size) - (size - 1) / 2
    r = np.hypot(line[:, None], line) / (size / 2 - 2)
    fade = 0.5 + 0.5 * np.cos(np.pi * np.clip((r - 0.75) / 0.25, 0, 1))
    return hologram_measure.as_parts(crop * fade), z_um


def simulated(seed: int, reference: Reference, microscope: HolographicMicroscope) -> Complex:
    """The field on which the shipped model is trained: one sphere in focus, in the middle."""
    rng = np.random.default_rng((seed, 5))
    middle = SIMULATED_SHAPE[0] // 2 - 0.5  # of a crop of even size
    sphere = Sphere(middle, middle, 0.0, *reference)
    field = holograms.render([sphere], SIMULATED_SHAPE, microscope)
    return field + holograms.noise(SIMULATED_SHAPE, SIMULATED_NOISE, rng, microscope)


def train_network(
    crop: Tensor, noise: float, steps: int, seed: int, microscope: HolographicMicroscope
) -> tuple[HologramNet, list[dict[str, float]]]:
    """Train a network; return it, and its losses during training.

    Parameters
    ----------
    crop : (2, s, s) field of one particle in focus, in the middle, 0 at the edges.
    noise : standard deviation of the noise of real or imaginary part.
    """
    import torch

    from livespt.models.networks import hologram as nets

    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nets.HologramNet(nets.build(), microscope)
    model.set_planes(2, 0)  # copies are periodic
    copier = nets.Copier(crop, noise, nets.Study(), microscope)
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    rates = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, RATE, total_steps=steps, pct_start=0.05, final_div_factor=100
    )
    history, sums, every = [], np.zeros(6), max(1, steps // 10)
    for step in progress.steps(range(1, steps + 1), "training", steps):
        copies = copier.draw_copies(BATCH, generator)
        trust = copies.contrast / (KNEE + copies.contrast)
        out = model(copies.field, CELLS)
        between, within = nets.losses(out, copies, trust / trust.mean(), generator)
        optimizer.zero_grad()
        (between.sum() + within.sum()).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        rates.step()
        for k, loss in enumerate((between, within)):
            plane, z, s = loss.detach()[:2].mean(), loss.detach()[2], loss.detach()[3]
            sums[k::2] += float(plane), float(z) / nets.Z_WEIGHT, float(s) / nets.S_WEIGHT
        if step % every == 0:
            mean = dict(zip(LOSSES, (sums / every).round(4).tolist(), strict=True))
            history.append({"step": step} | mean)
            sums[:] = 0
    return model.eval(), history


def _check_options(size: int, steps: int, microscope: HolographicMicroscope) -> None:
    if size < MIN_CROP_PX or size % 2:
        raise SettingError(
            f"the crop must be even and at least {MIN_CROP_PX} pixels wide, not {size}"
        )
    if steps < LEAST_STEPS:
        raise SettingError(f"{steps} steps are too few: give at least {LEAST_STEPS}")
    if 2 * microscope.pixel_um * microscope.k_pupil > 2 * np.pi:
        raise SettingError(
            f"pixels of {microscope.pixel_um:g} um are too coarse for NA {microscope.na:g}: two "
            "pixels must not exceed the period of its finest fringes"
        )


def _field(
    field: str | Path, seed: int, reference: Reference, microscope: HolographicMicroscope
) -> tuple[str, Complex]:
    """Name of the source, and its field."""
    if str(field) == SIMULATED:
        return SIMULATED, simulated(seed, reference, microscope)
    path = Path(field)
    if path.suffix != ".npy" or not path.is_file():
        raise InputError(f"{path} is no .npy file that exists: save the complex field with numpy")
    try:
        array = np.load(path, allow_pickle=False)
    except ValueError as error:
        raise InputError(f"{path} cannot be loaded: {error}") from error
    if array.ndim == 3 and len(array) == 2 and array.dtype.kind == "f":
        array = array[0] + 1j * array[1]
    if array.ndim != 2 or array.dtype.kind != "c" or not np.isfinite(array).all():
        raise InputError(
            f"{path} holds {array.dtype} {list(array.shape)}: give complex (y, x) or float "
            "(2, y, x) without NaN"
        )
    return path.name, array.astype(np.complex64)


def _nets() -> Any:
    try:
        import onnx  # noqa: F401
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingError('training needs torch: pip install "livespt[train]"') from error
    from livespt.models.networks import hologram

    return hologram


def _serialize(model: HologramNet, scale: Any) -> bytes:
    from livespt.models.networks.hologram_graph import serialize

    return serialize(model, hologram_measure.PLANES, scale)


def _write(out: Path, content: bytes, card: dict[str, Any]) -> None:
    """Write model and card; both are complete before either gets its name."""
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".training-") as folder:
        model = Path(folder) / out.name
        model.write_bytes(content)
        write_card(model, **card)
        for path in (model, model.with_suffix(".json")):
            os.replace(path, out.with_name(path.name))


def _command(
    source: str,
    at: tuple[float, float],
    size: int,
    z_um: float | None,
    noise: float | None,
    reference: Reference,
    microscope: HolographicMicroscope,
    steps: int,
    seed: int,
    name: str,
) -> str:
    """Command that makes this model again; values that are defaults are left out."""
    options = [f"--size {size}", f"--steps {steps}", f"--seed {seed}", f"--out {name}"]
    if source != SIMULATED:
        options.append(f"--at {at[0]:g},{at[1]:g}")
        options += [f"--z-um {z_um:g}"] if z_um is not None else []
    options += [f"--noise {noise!r}"] if noise is not None else []
    for values, usual in ((reference, Reference()), (microscope, HolographicMicroscope())):
        named = zip(values._fields, values, usual, strict=True)
        options += [f"--{k.replace('_', '-')} {v:g}" for k, v, own in named if v != own]
    return f"livespt train hologram {source} {' '.join(options)}"
