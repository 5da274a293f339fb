"""Recipe of the uncoating classifier: simulated virus entry in, one ONNX file and its card out.

Read from top to bottom: settings, tracks, loss, temperature, decision, card. Windows and the loop:
tools/learning.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from livespt.models import crops
from livespt.models.calibrate import ece, fit_temperature, nll
from livespt.models.motion import Tracks, simulate_entry, simulate_tracks
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

STEPS = {"quick": 150, "cpu": 6000, "full": 60_000}
JUDGED = {"quick": 60, "cpu": 200, "full": 2000}  # tracks of each set that the metrics are from
CHANNELS = 32  # a frame pays for both networks; other widths were not tried
RATE = 4e-3
# how many of each kind: viruses as broad as their ranges go, and particles that never uncoat
# whatever they do
MIX: tuple[tuple[float, dict[str, Any]], ...] = (
    (0.50, {"ndim": 2}),
    (0.25, {"ndim": 3}),
)
OTHERS: tuple[tuple[float, dict[str, Any]], ...] = ((0.15, {"ndim": 2}), (0.10, {"ndim": 3}))
FRAMES = (10, 600)  # of a track
GAPS = 0.03  # share of points that are missing
BROKEN = 0.25  # tracks that begin anew after a loss: uncoated or not, nothing says it
HELD_OUT = 8_500_000  # first seed of the tracks that fit temperature and decision
FALSE_COSTS = 3.0  # uncoatings missed that are as bad as one announcement in vain
THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98)
HOLDS = (1, 3, 5, 8, 12)


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
    net = Motion(outputs=1, channels=CHANNELS).to(where)
    steps = STEPS[preset] if steps is None else steps
    judged = JUDGED[preset] if judged is None else judged
    pools = Pools(lambda k: tracks_of(seed, k * POOL, POOL))

    def loss_of(step: int) -> Tensor:
        windows, uncoated, valid = batch(pools, seed, step, lambda some: some.uncoated)
        scores = net(windows.to(where))[valid][:, 0]
        return torch.nn.functional.binary_cross_entropy_with_logits(
            scores, uncoated[valid].float().to(where)
        )

    checkpoint = out.with_suffix(".checkpoint")
    history = fit(net, loss_of, steps, RATE, checkpoint, resume, "uncoating")
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
    decision = decide(net, judged, seed)
    metrics = publish(net, out, seed, facts, decision, judged)
    checkpoint.unlink(missing_ok=True)
    return metrics


def tracks_of(seed: int, first: int, n: int) -> Tracks:
    """`n` tracks of the mix, from number `first` of the series `seed` on."""
    viruses = [
        simulate_entry(
            round(n * share), seed * 10 + kind, first=first, n_frames=FRAMES, gaps=GAPS, **how
        )
        for kind, (share, how) in enumerate(MIX)
    ]
    others = [
        simulate_tracks(
            round(n * share),
            seed * 10 + 5 + kind,
            first=first,
            variant="physical",
            gaps=GAPS,
            **how,
        )
        for kind, (share, how) in enumerate(OTHERS)
    ]
    rng = np.random.default_rng((seed, first))
    return crops.broken(rng, crops.join([*viruses, *others]), BROKEN)


def calibrate(net: Motion, tracks: Tracks, seed: int) -> dict[str, Any]:
    """Set the temperature of `net` from live readings of held-out tracks; say what it did."""
    import torch

    rng = np.random.default_rng((seed, HELD_OUT))
    some = crops.draw(rng, tracks, 4000, WINDOW)
    with torch.no_grad():
        scores = torch.cat([net(w) for w in torch.split(torch.from_numpy(some.windows), 200)])
    lags = np.array([0, 4, LAG])  # what the live path reads
    there = some.windows[:, WINDOW - 1 - lags, 4] > 0
    x = scores.numpy()[:, WINDOW - 1 - lags, 0][there].astype(np.float64)
    two = np.stack([np.zeros_like(x), x], 1)  # a sigmoid is a softmax of two
    label = some.uncoated[:, WINDOW - 1 - lags][there].astype(np.int64)
    temperature = fit_temperature(two, label)
    net.temperature.fill_(temperature)
    right = (x > 0) == label
    sure = [1 / (1 + np.exp(-np.abs(x / t))) for t in (1.0, temperature)]
    return {
        "temperature": round(temperature, 4),
        "nll": [round(nll(two, label), 4), round(nll(two, label, temperature), 4)],
        "ece": [round(ece(p, right), 4) for p in sure],
        "seed": HELD_OUT + seed,
    }


def decide(net: Motion, n: int, seed: int) -> dict[str, Any]:
    """Threshold and hold that find most uncoatings at the least cost of false announcements.

    Judged on held-out viruses of the simulated movie: over the broad ranges of training many
    changes are too small to be dated by anyone.
    """
    import torch

    from livespt.tools.evaluate_motion import (
        ENTRIES,
        announcements,
        as_known,
        entries,
        event_scores,
    )

    def read(windows: Any) -> Any:
        with torch.no_grad():
            return torch.sigmoid(net(torch.from_numpy(windows)))[:, :, 0].numpy()

    tracks = entries(n, HELD_OUT + seed, ENTRIES["movie"])
    (settled,) = as_known(read, tracks, WINDOW, (LAG,))
    table = []
    for threshold in THRESHOLDS:
        for hold in HOLDS:
            events = announcements(settled, tracks, threshold, hold, LAG)
            scores = event_scores(events, tracks)
            gain = scores["found_share"] - FALSE_COSTS * scores["false_share"]
            table.append((gain, -hold, threshold))  # of two alike, the sooner
    _, hold, threshold = max(table)
    return {"lag": LAG, "threshold": threshold, "hold": -hold}


def publish(
    net: Motion, out: Path, seed: int, facts: dict[str, Any], decision: dict[str, Any], judged: int
) -> dict[str, Any]:
    """Write model and card, judge the very file, and complete the card."""
    from livespt.models.export import export_motion
    from livespt.models.session import write_card
    from livespt.tools.evaluate_motion import evaluate_uncoating

    export_motion(net, out)
    metrics: dict[str, Any] = {}
    for _ in range(2):  # the judge opens the model by its card
        write_card(
            out,
            task="uncoating",
            seed=seed,
            input=INPUT,
            window=WINDOW,
            lag=LAG,
            decision=decision,
            training=facts,
            metrics=metrics,
            provenance={
                "recipe": "tools/train_uncoating.py",
                "data": "models/motion.py: simulated virus entry",
                "judge": f"livespt evaluate uncoating, {judged} tracks of each set",
            },
        )
        metrics = metrics or evaluate_uncoating(out, tracks=judged)
    return metrics
