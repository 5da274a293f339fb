"""Train a student network: a small, fast localizer of simulated spots, or of a user's particle."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.models.render import training_frames
from livespt.stream.errors import SettingError
from livespt.tools.train import loop, model_files
from livespt.tools.train_localizer import centre, measure, student_measure

if TYPE_CHECKING:
    from torch import Tensor

    from livespt.models.networks.student import Shape, Student


BATCH, SIDE = 8, 96  # frames in a batch; their side in pixels
REUSE = 2  # steps with the same frames, in different orientations
RATE = 2e-3
COUNTS_PER_NOISE = 20.0  # of composed frames, since the network takes counts
SIMULATED = "simulated"
CHECKPOINT = ".checkpoint"
TEACHERS_OWN = ("alpha", "variance_px2", "border_px", "offset_px", "precision_px", "quantile")
CROP_STEPS = 12_000  # steps for a user's particle, which take up to three minutes

Draw = Callable[[np.random.Generator, int, int], training_frames.FrameBatch]


class Preset(NamedTuple):
    """Settings of a shipped network; see `Shape` of student.py."""

    channels: int
    depth: int
    split: int
    steps: int


PRESETS = {
    "fast": Preset(16, 3, 1, 60_000),
    "crowd": Preset(32, 4, 2, 60_000),
}


def train(
    *,
    out: str | Path,
    preset: str = "fast",
    steps: int | None = None,
    seed: int = 1,
    device: str = "auto",
    resume: bool = False,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Train a network on simulated spots; write `out`, its card and a picture; return a summary.

    Raises
    ------
    SettingError
        `out` exists or cannot be written, the preset is unknown, or there is nothing to resume.
    MissingError
        torch, or CUDA if requested, is not available.
    """
    out = Path(out)
    model_files.check_out(out, overwrite)
    if preset not in PRESETS:
        raise SettingError(f"unknown preset '{preset}': one of {', '.join(PRESETS)}")
    device = loop.choose_device(device)
    from livespt.models.networks import student

    size = PRESETS[preset]
    steps = size.steps if steps is None else steps
    shape = student.Shape(size.channels, size.depth, size.split)
    start = time.perf_counter()
    net, history = train_network(shape, training_frames.simulated, steps, seed, device,
                       out.with_suffix(CHECKPOINT), resume)  # fmt: skip
    content = graph(net, student_measure.simulated_frames(seed, range(100, 112)))
    cases = student_measure.simulated_cases(seed)
    keys, metrics = student_measure.calibrate(content, shape.split, cases, seed)
    facts = student_measure.facts(shape, steps, device, history, "bright spots of light")
    facts |= keys | {"fwhm_px": student_measure.FWHM_PX}
    facts |= {"radius_px": student_measure.RADIUS_PX, "sigma_px": list(student_measure.SIGMA_PX)}
    facts |= {"seed": seed, "provenance": {
        "movie": SIMULATED,
        "command": f"livespt train localizer {SIMULATED} --fast --preset {preset} --steps {steps} "
        f"--seed {seed} --out {out.name}",
        "software": {name: version(name) for name in ("livespt", "torch", "onnx", "numpy")},
    }}  # fmt: skip
    facts |= student_measure.score_scale(content, facts, student_measure.simulated_cases(seed + 1))
    image, centres = student_measure.sample(seed)
    report = model_files.write(out, content, facts, metrics, True, image, centres)
    out.with_suffix(CHECKPOINT).unlink(missing_ok=True)
    shown = {"model": str(out), "seconds": round(time.perf_counter() - start, 1)}
    return shown | {"cutoff": facts["cutoff"]} | report


def train_network(
    shape: Shape,
    draw_frames: Draw,
    steps: int,
    seed: int,
    device: str,
    checkpoint: Path,
    resume: bool = False,
) -> tuple[Student, list[float]]:
    """Train a network on drawn frames; return it on the CPU, and its losses in training."""
    import torch

    from livespt.models.networks import student

    if steps < 10:
        raise SettingError(f"{steps} steps are too few: give at least 10")
    torch.set_num_threads(loop.THREADS)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = student.build(shape)
    net = net.to(device)
    held: list[Any] = [-1, None, None]

    def loss_of(step: int) -> Tensor:
        number, which = divmod(step, REUSE)
        if held[0] != number:
            rng = np.random.default_rng((seed, 0, number))
            held[:] = number, *_batch(draw_frames(rng, BATCH, SIDE), shape.stride)
        symmetry = int(np.random.default_rng((seed, 1, number)).permutation(8)[which])
        frames, targets = training_frames.turned(held[1], held[2], symmetry)
        return student.loss(net(frames.to(device)), targets.to(device))

    history = loop.train_network(net, loss_of, steps, RATE, checkpoint, resume)
    return net.cpu().eval(), history


def _batch(batch: training_frames.FrameBatch, stride: int) -> tuple[Tensor, Tensor]:
    """Frames (n, 1, side, side) and their targets, as tensors."""
    import torch

    n, side = batch.frames.shape[:2]
    counts = torch.from_numpy(batch.frames.astype(np.float32))[:, None]
    targets = training_frames.truth(batch.specks, n, side, stride)
    return counts, torch.from_numpy(targets)


def graph(net: Student, frames: list[NDArray[np.uint16]]) -> bytes:
    """Content of the `.onnx` file, with 8-bit integers where they do not reduce precision."""
    from livespt.models.networks import student_graph

    return student_graph.quantize(student_graph.serialize(net), frames)


class Made(NamedTuple):
    """A student of one particle."""

    content: bytes  # of the .onnx file
    facts: dict[str, Any]  # for its card
    metrics: dict[str, Any]


def train_from_crops(
    crops: Sequence[Tensor],
    particle: measure.Particle,
    centres: Sequence[Any],
    teacher: dict[str, Any],
    *,
    checkpoint: Path,
    steps: int = CROP_STEPS,
    seed: int = 1,
    zoom: float = 1.15,
    device: str = "cpu",
) -> Made:
    """Distil a LodeSTAR network, the teacher, into a small network.

    The teacher gives the position of the particle in each crop. The student is trained on frames
    composed of copies of the particle (composed_frames.py), whose positions are therefore known.

    Parameters
    ----------
    crops : (s, s) each
        The particle alone, in noise units, from `isolate` of measure.py.
    centres : (2,) each
        y, x in pixels from the middle of the crop.
    teacher : dict
        Content of the card of the teacher; provenance, seed and size of the crops are kept.
    """
    from livespt.models.networks import student
    from livespt.models.render import composed_frames

    ones = [composed_frames.pattern(crop.numpy(), (float(at[0]), float(at[1])), particle.fwhm_px)
            for crop, at in zip(crops, centres, strict=True)]  # fmt: skip
    size = PRESETS["fast"]
    shape = student.Shape(size.channels, size.depth, size.split)

    def draw_frames(rng: np.random.Generator, n: int, side: int) -> training_frames.FrameBatch:
        one = ones[rng.integers(len(ones))]
        batch = composed_frames.composed(rng, n, side, one, zoom=zoom)
        return batch._replace(frames=COUNTS_PER_NOISE * batch.frames)

    net, history = train_network(shape, draw_frames, steps, seed, device, checkpoint)
    some = (draw_frames(np.random.default_rng((seed, 3, k)), 1, 256) for k in range(8))
    scales = [student_measure.counts(batch.frames[0] / COUNTS_PER_NOISE) for batch in some]
    content = graph(net, scales)
    checkpoint.unlink(missing_ok=True)
    cases = student_measure.pasted_cases(seed, ones[0])
    keys, metrics = student_measure.calibrate(content, shape.split, cases, seed)
    facts = student_measure.facts(
        shape, steps, device, history, "particles like the one trained on"
    )
    geometry = measure.geometry(particle)
    facts |= keys | {"fwhm_px": geometry["fwhm_px"], "radius_px": geometry["radius_px"]}
    kept = {k: v for k, v in teacher.items() if k not in facts and k not in TEACHERS_OWN}
    facts["training"] |= {"turns_averaged": [one.fold for one in ones], "zoom": zoom}
    facts["training"] |= {"teacher": teacher["training"]}
    facts["training"]["size_px"] = teacher["training"]["size_px"]
    facts["refine"] = teacher.get("refine", "none")
    return Made(content, kept | facts, metrics)


def distil(
    crops: Sequence[Tensor],
    particle: measure.Particle,
    centres: Sequence[centre.Centre],
    facts: dict[str, Any],
    metrics: dict[str, Any],
    out: Path,
    cutoff: float | None = None,
) -> Made:
    """Replace a teacher, trained by `train` of localizer.py, by its student.

    `facts` and `metrics` are those of the teacher, `cutoff` is the one given by the user.
    """
    at = [one.at if one.method != "none" else metrics["centre_in_crop_px"] for one in centres]
    learned = facts["training"]
    made = train_from_crops(
        crops[: len(at)],
        particle,
        at,
        facts,
        checkpoint=out.with_suffix(CHECKPOINT),
        seed=facts["seed"],
        zoom=learned["zoom"],
        device=learned["device"],
    )
    made.facts["provenance"] = facts["provenance"] | {
        "command": facts["provenance"]["command"] + " --fast"
    }
    made.facts["cutoff"] = made.facts["cutoff"] if cutoff is None else cutoff
    return made._replace(metrics=metrics | {"student": made.metrics})
