"""Train and calibrate one motion network, for the recipes of segmenter and uncoating classifier."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from livespt.models.motion import features, intensity_features
from livespt.models.motion.calibration import ece, fit_temperature, log_softmax, nll
from livespt.models.simulate.tracks import Tracks
from livespt.tools.train.loop import THREADS, train_network
from livespt.tools.train.track_batches import POOL, TrackBatch, TrackBatches, ages

if TYPE_CHECKING:
    from torch import Tensor

    from livespt.models.networks.motion import Follow, Whole


MakeTracks = Callable[[int, int, int], Tracks]  # seed, number of the first, how many
AGES = (0, 1, 2, 5, 10, 20, 30)  # ages of points at which a temperature is fitted
VALIDATION_BATCHES, CALIBRATION_BATCHES = range(6), range(6, 18)  # batches of held-out tracks


class TrackNetworkRecipe(NamedTuple):
    """Task and settings of the training of a network."""

    outputs: int  # scores of a point
    hidden: int
    rate: float  # greatest learning rate
    truth: Callable[[Tracks], Any]  # target of every point: a class, or true or false
    tracks: MakeTracks
    held_out: int  # first seed of the tracks for early stopping and calibration
    reads_intensity: bool = False  # whether intensities are used


def learn(
    recipe: TrackNetworkRecipe,
    kind: str,
    path: Path,
    *,
    seed: int,
    device: str,
    steps: int,
    resume: bool = False,
    begin: Follow | Whole | None = None,
) -> tuple[Follow | Whole, dict[str, Any]]:
    """Train one network, "follow" or "whole"; return it, and the description for its card.

    `path` is the file of the model, next to which the checkpoint is written. `begin` is a network
    whose training is continued, in place of a new one.
    """
    import torch

    from livespt.models.networks.motion import LAG, Follow, Whole

    torch.set_num_threads(THREADS)
    torch.manual_seed(seed)
    both = kind == "whole"
    inputs = features.COUNT + (intensity_features.COUNT if recipe.reads_intensity else 0)
    net = begin or (Whole if both else Follow)(recipe.outputs, recipe.hidden, inputs)
    net.temperature.fill_(1.0)  # it is fitted again at the end
    net.to(device)

    def pools(series: int) -> TrackBatches:
        make = recipe.tracks
        return TrackBatches(
            lambda k: make(series, k * POOL, POOL), seed, recipe.truth, both, recipe.reads_intensity
        )

    held_out = recipe.held_out + seed
    learned, apart = pools(seed), pools(held_out)

    def loss_at(some: TrackBatch, series: int, step: int) -> Tensor:
        age = torch.from_numpy(ages(series, step, tuple(some.truth.shape), LAG))
        return torch.nn.functional.cross_entropy(*scores_and_targets(net, some, age, device))

    def held_out_loss() -> float:
        with torch.no_grad():
            losses = [float(loss_at(apart(k), held_out, k)) for k in VALIDATION_BATCHES]
        return float(np.mean(losses))

    checkpoint = path.with_suffix(".checkpoint")
    history = train_network(
        net,
        lambda k: loss_at(learned(k), seed, k),
        steps,
        recipe.rate,
        checkpoint,
        resume,
        path.stem,
        held_out_loss,
    )
    net.cpu()
    return net, {
        "steps": steps,
        "hidden": net.hidden,
        "parameters": sum(p.numel() for p in net.parameters()),
        "rate": recipe.rate,
        "loss": [round(x, 4) for x in history[-1:]],
        "calibration": calibrate(net, apart, held_out),
    }


def scores_and_targets(
    net: Follow | Whole, some: TrackBatch, age: Tensor, device: str = "cpu"
) -> tuple[Tensor, Tensor]:
    """Scores (n, classes) of the predicted points, and their targets (n,).

    A single score becomes two classes, false and true: a sigmoid is a softmax of 0 and the score.
    """
    import torch

    from livespt.models.networks.motion import Follow

    if isinstance(net, Follow):
        times = torch.arange(len(age))[:, None] - age
        truth = torch.where(some.truth < 0, -1, torch.gather(some.truth, 0, times))
        scores = net(some.ahead.to(device), age.to(device))
    else:
        truth = some.truth
        scores = net(some.ahead.to(device), some.back.to(device), some.turn.to(device))
    valid = truth >= 0
    scores, truth = scores[valid.to(device)], truth[valid].to(device)
    if net.outputs == 1:
        scores = torch.cat([torch.zeros_like(scores), scores], 1)
    return scores, truth


def calibrate(net: Follow | Whole, apart: TrackBatches, seed: int) -> dict[str, Any]:
    """Fit the temperatures of `net` on held-out tracks; return its calibration.

    There is one for each age, fitted at `AGES` and interpolated between them.
    """
    import torch

    from livespt.models.networks.motion import LAG, Follow

    follows = isinstance(net, Follow)
    figures: dict[str, Any] = {"seed": seed, "age": list(AGES if follows else AGES[:1])}
    columns: tuple[str, ...] = ("temperature", "nll_before", "nll", "ece")
    figures |= {name: [] for name in columns}
    for age in figures["age"]:
        x, y = _at_age(net, apart, age)
        temperature = fit_temperature(x, y)
        p = np.exp(log_softmax(x / temperature))
        right = p.argmax(1) == y
        values = temperature, nll(x, y), nll(x, y, temperature), ece(p.max(1), right)
        for name, value in zip(columns, values, strict=True):
            figures[name].append(round(value, 4))
        figures["threshold"] = threshold(p.max(1), right)
    spread = np.interp(np.arange(LAG + 1), figures["age"], figures["temperature"])
    net.temperature.copy_(torch.from_numpy(spread) if follows else torch.tensor(spread[0]))
    return figures


def _at_age(net: Follow | Whole, apart: TrackBatches, age: int) -> tuple[Any, Any]:
    """Scores and targets of held-out points, each predicted at this `age`."""
    import torch

    scores, truth = [], []
    for some in map(apart, CALIBRATION_BATCHES):
        moment = torch.arange(len(some.truth))[:, None].expand_as(some.truth)
        with torch.no_grad():
            x, y = scores_and_targets(net, some, torch.full_like(some.truth, age).minimum(moment))
        old = (moment >= age)[some.truth >= 0]  # the others have not reached this age
        scores.append(x[old].numpy().astype(np.float64))
        truth.append(y[old].numpy())
    return np.concatenate(scores), np.concatenate(truth)


def threshold(confidence: np.ndarray[Any, Any], right: np.ndarray[Any, Any]) -> float:
    """Confidence below which fewer than half of the predictions near it are correct."""
    for low in np.arange(0.25, 0.9, 0.05):
        near = (confidence >= low) & (confidence < low + 0.05)
        if near.sum() >= 20 and right[near].mean() >= 0.5:
            return round(float(low), 2)
    return 0.25
