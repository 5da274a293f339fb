"""Measurements on a trained student network, for its card."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from livespt.models.localize.localizer import DTYPES, MIN_SIZE, Localizer
from livespt.models.localize.student_peaks import decode, interleave
from livespt.models.optics import spots as optics
from livespt.models.render import composed_frames
from livespt.models.runtime.card import write_card
from livespt.tools.score.spots import pair

if TYPE_CHECKING:
    from livespt.models.networks.student import Shape


MERGE_PX = 1.25  # predicted positions that are closer than this belong to one particle
MATCH_PX = 2.0
EDGE_PX = 6.0
SIGMA_PX = (0.95, 2.1)  # sigma of simulated spots
FWHM_PX, RADIUS_PX = 3.06, 3.5  # diameter of simulated spots; radius of the disc for intensities
BACKGROUNDS = (5.0, 100.0, 2000.0)  # backgrounds of frames without particles, photons
LEAST_SCORE, SCORE_BINS = 0.15, 60  # of spots from which probabilities are measured; bins of these
CUTOFFS = np.arange(0.3, 0.91, 0.02)
JACCARD_TOLERANCE = 0.001  # cutoffs within it are equally good
SIDE = 256

Floats = NDArray[np.float64]
Image = NDArray[np.uint16]


def facts(
    shape: Shape, steps: int, device: str, history: list[float], assumes: str
) -> dict[str, Any]:
    """Content of the card that is known before any measurement."""
    from livespt.models.networks import student

    return {
        "task": "localize",
        "decoder": "student",
        "input": {
            "dtype": "uint16",
            "axes": "yx",
            "accepts": list(DTYPES),
            "least": MIN_SIZE,
            "assumes": assumes,
        },
        "weight_bits": 7,
        "stride_px": shape.stride,
        "split": shape.split,
        "merge_px": MERGE_PX,
        "refine": True,
        "training": {
            **shape._asdict(),
            "steps": steps,
            "device": device,
            "unit": student.INPUT_UNIT,
            "losses": [round(v, 4) for v in history[:: max(1, len(history) // 20)]],
            "size_px": 0,
        },
    }


def spots(rng: np.random.Generator, snr: float, n: int) -> tuple[Image, Floats]:
    """A frame of `n` equal spots, sigma 1.3 px, background 100, and their positions (n, 2)."""
    points = rng.uniform(-0.5, SIDE - 0.5, (n, 2))
    photons = optics.photons_for_snr(snr, 100.0, 1.3)
    expected = optics.render(points[:, 0], points[:, 1], photons, (SIDE, SIDE), 1.3, 100.0)
    return optics.camera(expected, rng), points


def simulated_frames(seed: int, numbers: range) -> list[Image]:
    """Frames for calibrating the integers, from dim to bright, and from few to many spots."""
    made = []
    for k in numbers:
        rng = np.random.default_rng((seed, 3, k))
        snr = float(np.exp(rng.uniform(np.log(3), np.log(20))))
        made.append(spots(rng, snr, int(rng.integers(10, 150)))[0])
    return made


def sample(seed: int) -> tuple[Image, list[tuple[float, float]]]:
    """The frame for the picture, and its particles."""
    image, points = spots(np.random.default_rng((seed, 4)), 8.0, 60)
    return image, [(float(y), float(x)) for y, x in points]


def simulated_cases(seed: int) -> Iterator[tuple[Image, Floats]]:
    """Frames and their spots for choosing the cutoff: SNR 3 to 10, few and many spots."""
    for a, snr in enumerate((3.0, 4.0, 5.0, 7.0, 10.0)):
        for b, n in enumerate((25, 125)):
            for k in range(8):
                yield spots(np.random.default_rng((seed, 5, a, b, k)), snr, n)


def pasted_cases(
    seed: int, one: composed_frames.Pattern, frames: int = 4
) -> Iterator[tuple[Image, Floats]]:
    """The same with copies of one particle, including that of the crop."""
    for a, snr in enumerate((3.0, 5.0, 10.0, max(20.0, abs(one.peak)))):
        for k in range(frames):
            rng = np.random.default_rng((seed, 5, a, k))
            batch = composed_frames.composed(rng, 1, SIDE, one, snr=(snr, snr), most=4.0)
            points = np.stack([batch.specks.y, batch.specks.x], axis=1)
            yield counts(batch.frames[0]), points


def counts(frame: NDArray[Any]) -> Image:
    """Convert a frame in noise units to counts of a camera."""
    whole = np.clip(np.round(1000 + 20 * (frame - frame.min())), 0, 65535)
    return np.asarray(whole, np.uint16)


def calibrate(
    content: bytes, split: int, cases: Iterable[tuple[Image, Floats]], seed: int
) -> tuple[dict[str, float], dict[str, Any]]:
    """Choose the `cutoff` for the card; return it with metrics.

    The cutoff is in the middle of those with the best mean Jaccard index on `cases`, whose seeds
    are not those of the evaluation. At SNR 3, it admits noise once in some frames; `noise_score` is
    the greatest score of noise.
    """
    field, stride = runner(content, split), 4 / split
    each = []
    for image, points in cases:
        found = decode(field(image), float(CUTOFFS[0]), stride, MERGE_PX)
        each.append([jaccard(points, found[found[:, 2] >= cut, :2]) for cut in CUTOFFS])
    mean = np.mean(each, axis=0)
    best = float(np.mean(CUTOFFS[mean >= mean.max() - JACCARD_TOLERANCE]))
    noise = noise_score(field, stride, seed)
    keys = {"cutoff": round(best, 3)}
    return keys, {"noise_score": round(noise, 3), "jaccard": round(float(mean.max()), 4)}


def score_scale(
    content: bytes, facts: dict[str, Any], cases: Iterable[tuple[Image, Floats]]
) -> dict[str, Any]:
    """Entries of the card that turn scores into probabilities of being real.

    Spots of `cases`, as the localizer returns them, are sorted by the answer of the network; the
    share of real ones among equally many is made to rise with it (pooling adjacent violators).
    """
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.onnx"
        model.write_bytes(content)
        write_card(model, metrics={}, **facts)
        localizer = Localizer(model, provider="cpu", cutoff=LEAST_SCORE)
    score: list[Floats] = []
    real: list[NDArray[np.bool_]] = []
    for image, points in cases:
        spots = localizer(image)
        at: Floats = np.stack([spots["y"], spots["x"]], axis=1).astype(np.float64)
        inside = ((at >= EDGE_PX) & (at <= SIDE - 1 - EDGE_PX)).all(axis=1)
        is_real = np.zeros(len(at), bool)
        is_real[pair(points, at, MATCH_PX)[1]] = True
        score.append(spots["score"].astype(np.float64)[inside])
        real.append(is_real[inside])
    answers, probability = _rising(np.concatenate(score), np.concatenate(real))
    least = float(np.interp(facts["cutoff"], answers, probability))
    return {
        "score_scale": [np.round(answers, 4).tolist(), np.round(probability, 4).tolist()],
        "cutoff": round(least, 4),
        "score": "probability of being real, in frames of SNR 3 to 10 with 25 or 125 spots on "
        f"{SIDE} x {SIDE} px",
    }


def _rising(score: Floats, real: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Knots of a rising line from scores to shares of real spots."""
    order = np.argsort(score, kind="stable")
    blocks: list[list[float]] = []  # number, mean score, share
    for part in np.array_split(order, SCORE_BINS):
        blocks.append([len(part), float(score[part].mean()), float(real[part].mean())])
        while len(blocks) > 1 and blocks[-2][2] >= blocks[-1][2]:
            n, at, share = blocks.pop()
            m, before, lower = blocks[-1]
            blocks[-1] = [
                m + n, (m * before + n * at) / (m + n), (m * lower + n * share) / (m + n)
            ]  # fmt: skip
    knots = np.array([[0.0, 0.0], *([at, share] for _, at, share in blocks)])
    if knots[-1, 0] < 1.0:
        knots = np.vstack([knots, [1.0, max(1.0 - 1e-3, knots[-1, 1] + 1e-4)]])
    return knots[:, 0], np.minimum(knots[:, 1], 1.0)


def noise_score(field: Any, stride: float, seed: int) -> float:
    """Greatest score in frames of noise, a million pixels of each background."""
    worst = 0.0
    for b, level in enumerate(BACKGROUNDS):
        rng = np.random.default_rng((seed, 6, b))
        for _ in range(4):
            image = optics.camera(np.full((512, 512), level, np.float32), rng)
            found = decode(field(image), 0.1, stride, MERGE_PX)
            worst = max(worst, float(found[:, 2].max(initial=0.0)))
    return worst


def jaccard(truth: Floats, found: Floats) -> float:
    """Jaccard index of particles and detections, nearest pairs first, without edges."""
    if not len(truth) or not len(found):
        return 0.0
    gap = np.hypot(*(truth[:, None] - found[None]).transpose(2, 0, 1))
    pairs = np.argwhere(gap <= MATCH_PX)
    pairs = pairs[np.argsort(gap[pairs[:, 0], pairs[:, 1]], kind="stable")]
    mine, yours = np.zeros(len(truth), bool), np.zeros(len(found), bool)
    for i, j in pairs:
        if not mine[i] and not yours[j]:
            mine[i] = yours[j] = True
    true, seen = (((p >= EDGE_PX) & (p <= SIDE - 1 - EDGE_PX)).all(axis=1) for p in (truth, found))
    hit = int((mine & true).sum())
    return hit / max(int(true.sum()) + int((seen & ~yours).sum()), 1)


def runner(content: bytes, split: int) -> Any:
    """Callable that returns the output of the network (3, h', w') for a frame."""
    from livespt.models.runtime.session import open_session

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "student.onnx"
        path.write_bytes(content)
        write_card(path, task="localize", seed=0, input={}, training={}, metrics={}, provenance={})
        session = open_session(path, "cpu")
    if split == 1:
        return lambda image: session.run(image)[0][0]
    return lambda image: interleave(session.run(image)[0][0])
