"""Recipe of the motion segmenter: from simulated tracks to two ONNX files and their cards.

The steps in order are: settings, tracks, training, cards. New tracks are simulated all the time, so
a network never sees the same track twice. Loss and calibration are in track_networks.py, batches
and the training loop in track_batches.py and loop.py.

`NAME.onnx` follows growing tracks; `NAME_whole.onnx` classifies finished tracks, forwards and
backwards (`analyze --offline`). To train on your own kinds of motion, call `train` with a function
of your own in place of `tracks_of`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from livespt.models.simulate import tracking_errors
from livespt.models.simulate.tracks import Tracks, simulate_tracks
from livespt.stream.errors import ModelError
from livespt.tools.train.loop import choose_device, plan
from livespt.tools.train.track_batches import INPUT
from livespt.tools.train.track_networks import MakeTracks, TrackNetworkRecipe, learn
from livespt.tools.train.track_ranges import card_entry

if TYPE_CHECKING:
    from livespt.models.networks.motion import Follow, Whole


STEPS = {"quick": 100, "cpu": 3000, "full": 100_000}
EVALUATION_TRACKS = {"quick": 100, "cpu": 2000, "full": 20_000}  # of each set
HIDDEN = 96  # with 64, a frame costs 12 to 15 % less; with fewer training steps, it lost a point
SETTLED = 20  # look-ahead of a settled state, frames: accuracy 5 points above lag 0; 30: one more
RATE = 4e-3
# shares of the kinds of tracks: the DeepSPT set for comparison, also with short tracks, which most
# real ones are; the physical set, because it resembles real confinement and gaps
MIX: tuple[tuple[float, dict[str, Any]], ...] = (
    (0.36, {"ndim": 2}),
    (0.28, {"ndim": 3}),
    (0.08, {"ndim": 2, "lengths": (5, 60)}),
    (0.06, {"ndim": 3, "lengths": (5, 60)}),
    (0.14, {"ndim": 2, "variant": "physical", "gaps": 0.05}),
    (0.08, {"ndim": 3, "variant": "physical", "gaps": 0.05}),
)
WRONG_LINKS = 0.03  # share of tracks with a point of another particle
HELD_OUT = 8_000_000  # first seed of the tracks for early stopping and for the temperatures


def tracks_of(seed: int, first: int, n: int) -> Tracks:
    """Simulate `n` tracks of the mix, from number `first` of the series `seed` on."""
    parts = [
        simulate_tracks(round(n * share), seed * 10 + kind, first=first, **how)
        for kind, (share, how) in enumerate(MIX)
    ]
    return tracking_errors.teleported(
        np.random.default_rng((seed, first)), tracking_errors.join(parts), WRONG_LINKS
    )


def train(
    *,
    preset: str = "cpu",
    out: Path,
    seed: int = 1,
    device: str = "auto",
    resume: bool = False,
    steps: int | None = None,
    evaluation_tracks: int | None = None,
    tracks: MakeTracks = tracks_of,
    only: str = "both",
) -> dict[str, Any]:
    """Train, calibrate, evaluate and write both networks and their cards; return their metrics.

    Parameters
    ----------
    preset : str
        "quick" for a test (minutes), "cpu" for the shipped networks, "full" for a GPU or a night.
    out : Path
        NAME.onnx for the network that follows tracks; the other one is NAME_whole.onnx.
    steps, evaluation_tracks : int
        Optimizer steps, and tracks of each set in the evaluation, in place of those of the preset.
    tracks : callable
        Returns labelled tracks for training, from (seed, number of the first, how many).
    only : str
        "follow" or "whole" to train only one of the two.
    resume : bool
        Continue from the checkpoints; finished networks are kept.

    Raises
    ------
    SettingError
        `out` exists or does not end in .onnx, or there is nothing to resume.
    MissingError
        torch is not installed, or CUDA was requested but does not work.
    """
    where = choose_device(device)
    todo = plan(out, only, resume)
    steps = STEPS[preset] if steps is None else steps
    if evaluation_tracks is None:
        evaluation_tracks = EVALUATION_TRACKS[preset]
    metrics: dict[str, Any] = {}
    for kind, (path, is_resumed) in todo.items():
        recipe = TrackNetworkRecipe(4, HIDDEN, RATE, lambda some: some.label, tracks, HELD_OUT)
        net, facts = learn(
            recipe, kind, path, seed=seed, device=where, steps=steps, resume=is_resumed
        )
        facts = {"preset": preset, **facts}
        metrics[kind] = save_network(net, path, seed, facts, evaluation_tracks, tracks)
    return metrics


def save_network(
    net: Follow | Whole,
    out: Path,
    seed: int,
    facts: dict[str, Any],
    evaluation_tracks: int,
    tracks: MakeTracks,
) -> dict[str, Any]:
    """Write model and card, evaluate this file, and complete the card."""
    from livespt.models.networks.motion import LAG, Follow
    from livespt.models.networks.motion_graph import save
    from livespt.models.runtime.card import write_card
    from livespt.tools.score.segmenter import evaluate_segmenter

    follows = isinstance(net, Follow)
    save(net, out)
    own: dict[str, Any] = {}
    if follows:
        own = {"lag": SETTLED, "farthest": LAG, "tracks": card_entry(tracks)}
    metrics: dict[str, Any] = {}
    for _ in range(2):  # the evaluation needs a card to open the model
        write_card(
            out,
            task="segment" if follows else "segment_whole",
            seed=seed,
            input=INPUT,
            abstain_below=facts["calibration"]["threshold"],
            training=facts,
            metrics=metrics,
            provenance={
                "recipe": "livespt train segmenter",
                "data": "simulated tracks",
                "judge": f"livespt evaluate segmenter, {evaluation_tracks} tracks of each set",
            },
            **own,
        )
        metrics = metrics or evaluate_segmenter(out, tracks=evaluation_tracks)
    out.with_suffix(".checkpoint").unlink(missing_ok=True)
    return metrics


def write_ranges(model: Path | None = None) -> dict[str, Any]:
    """Write what the tracks of this recipe look like into the card of a segmenter that it made.

    Parameters
    ----------
    model : Path, optional
        NAME.onnx, which stays as it is; default: the shipped one.

    Raises
    ------
    ModelError
        It is no segmenter.
    """
    from livespt.models.runtime.card import read_card, write_card
    from livespt.models.runtime.session import shipped

    path = shipped("segmenter") if model is None else model
    card = read_card(path)
    if card["task"] != "segment":
        raise ModelError(f"{path} is not a model of `train segmenter`")
    card.pop("sha256")
    card["tracks"] = card_entry(tracks_of)
    write_card(path, **card)
    return {"model": str(path), **card["tracks"]["ranges"]}
