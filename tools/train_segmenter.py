"""Recipe of the motion segmenter: simulated tracks in, one ONNX file and its card out.

Read from top to bottom: settings, tracks, loss, temperature, threshold, card. Tracks are made anew
all the time, so the network hardly sees one twice. Windows and the loop: tools/learning.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from livespt.models import crops
from livespt.models.calibrate import ece, fit_temperature, log_softmax, nll
from livespt.models.motion import Tracks, simulate_tracks
from livespt.tools.learning import (
    INPUT,
    LAG,
    POINTS,
    POOL,
    THREADS,
    WINDOW,
    Pools,
    batch,
    check_out,
    choose_device,
    fit,
)

if TYPE_CHECKING:
    from torch import Tensor

    from livespt.models.deepspt import Motion

STEPS = {"quick": 150, "cpu": 8000, "full": 100_000}
JUDGED = {"quick": 100, "cpu": 1000, "full": 20_000}  # tracks of each set that the metrics are from
CHANNELS = 48  # 64 take a third more time a window; whether they pay was not tried
RATE = 4e-3
# how many of each kind: DeepSPT's set to compare with, the physical one because real confinement
# and real gaps look like that
MIX: tuple[tuple[float, dict[str, Any]], ...] = (
    (0.40, {"ndim": 2}),
    (0.25, {"ndim": 3}),
    (0.22, {"ndim": 2, "variant": "physical", "gaps": 0.05}),
    (0.13, {"ndim": 3, "variant": "physical", "gaps": 0.05}),
)
HELD_OUT = 8_000_000  # first seed of the tracks that fit temperature and threshold
RIGHT_AT_LEAST = 0.5  # below the confidence at which this share is right, a reading is no answer


def train(
    *,
    preset: str = "cpu",
    out: Path,
    seed: int = 1,
    device: str = "auto",
    resume: bool = False,
    steps: int | None = None,
    judged: int | None = None,
) -> dict[str, Any]:
    """Train, calibrate, judge and write `out` (.onnx) with its card; return the card's metrics.

    Parameters
    ----------
    preset : str
        "quick" to see it work (a minute), "cpu" what is shipped, "full" for a GPU or a night.
    steps, judged : int
        Optimizer steps, and tracks of each set that the metrics are from, if not the preset's.

    Raises
    ------
    SettingError
        `out` exists or is no .onnx file, or there is nothing to resume.
    MissingError
        No torch, or no CUDA where it was asked for.
    """
    where = choose_device(device)
    check_out(out)
    import torch

    from livespt.models.deepspt import Motion

    torch.set_num_threads(THREADS)
    torch.manual_seed(seed)
    net = Motion(outputs=4, channels=CHANNELS).to(where)
    steps = STEPS[preset] if steps is None else steps
    judged = JUDGED[preset] if judged is None else judged
    pools = Pools(lambda k: tracks_of(seed, k * POOL, POOL))

    def loss_of(step: int) -> Tensor:
        windows, label, valid = batch(pools, seed, step, lambda some: some.label)
        scores = net(windows.to(where))[valid]
        return torch.nn.functional.cross_entropy(scores, label[valid].long().to(where))

    checkpoint = out.with_suffix(".checkpoint")
    history = fit(net, loss_of, steps, RATE, checkpoint, resume, "segmenter")
    net.cpu()
    calibration = calibrate(net, tracks_of(HELD_OUT + seed, 0, POOL), seed)
    facts = {
        "preset": preset,
        "steps": steps,
        "points": steps * POINTS,
        "channels": CHANNELS,
        "parameters": sum(p.numel() for p in net.parameters()),
        "rate": RATE,
        "loss": [round(x, 4) for x in history[-1:]],
        "calibration": calibration,
    }
    metrics = publish(net, out, seed, facts, calibration["abstain_below"], judged)
    checkpoint.unlink(missing_ok=True)
    return metrics


def tracks_of(seed: int, first: int, n: int) -> Tracks:
    """`n` tracks of the mix, from number `first` of the series `seed` on."""
    return crops.join(
        [
            simulate_tracks(round(n * share), seed * 10 + kind, first=first, **how)
            for kind, (share, how) in enumerate(MIX)
        ]
    )


def calibrate(net: Motion, tracks: Tracks, seed: int) -> dict[str, Any]:
    """Set the temperature of `net` from live readings of held-out tracks; say what it did."""
    import torch

    rng = np.random.default_rng((seed, HELD_OUT))
    some = crops.draw(rng, tracks, 4000, WINDOW)
    with torch.no_grad():
        scores = torch.cat([net(w) for w in torch.split(torch.from_numpy(some.windows), 200)])
    lags = np.array([0, 2, 4, 8, 16, LAG])  # what the live path reads, young points first
    there = some.windows[:, WINDOW - 1 - lags, 4] > 0
    x = scores.numpy()[:, WINDOW - 1 - lags][there].astype(np.float64)
    label = some.label[:, WINDOW - 1 - lags][there].astype(np.int64)
    temperature = fit_temperature(x, label)
    net.temperature.fill_(temperature)
    before, after = np.exp(log_softmax(x)), np.exp(log_softmax(x / temperature))
    right = after.argmax(1) == label
    return {
        "temperature": round(temperature, 4),
        "nll": [round(nll(x, label), 4), round(nll(x, label, temperature), 4)],
        "ece": [round(ece(p.max(1), right), 4) for p in (before, after)],
        "abstain_below": threshold(after.max(1), right),
        "seed": HELD_OUT + seed,
    }


def threshold(confidence: np.ndarray[Any, Any], right: np.ndarray[Any, Any]) -> float:
    """Confidence below which fewer than RIGHT_AT_LEAST of the readings near it are right."""
    for low in np.arange(0.25, 0.9, 0.05):
        near = (confidence >= low) & (confidence < low + 0.05)
        if near.sum() >= 20 and right[near].mean() >= RIGHT_AT_LEAST:
            return round(float(low), 2)
    return 0.25


def publish(
    net: Motion, out: Path, seed: int, facts: dict[str, Any], abstain_below: float, judged: int
) -> dict[str, Any]:
    """Write model and card, judge the very file, and complete the card."""
    from livespt.models.export import export_motion
    from livespt.models.session import write_card
    from livespt.tools.evaluate_motion import evaluate_segmenter

    export_motion(net, out)
    metrics: dict[str, Any] = {}
    for _ in range(2):  # the judge opens the model by its card
        write_card(
            out,
            task="segment",
            seed=seed,
            input=INPUT,
            window=WINDOW,
            lag=LAG,
            abstain_below=abstain_below,
            training=facts,
            metrics=metrics,
            provenance={
                "recipe": "tools/train_segmenter.py",
                "data": "models/motion.py: simulated tracks",
                "judge": f"livespt evaluate segmenter, {judged} tracks of each set",
            },
        )
        metrics = metrics or evaluate_segmenter(out, tracks=judged)
    return metrics
