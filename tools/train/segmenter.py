"""Recipe of the motion segmenter: simulated tracks in, two ONNX files and their cards out.

Read from top to bottom: settings, tracks, training, cards. Tracks are made anew all the time, so
the networks never see one twice. Loss and calibration: tools/train/track_networks.py; batches and
the loop: tools/train/loop.py.

`NAME.onnx` follows tracks as they grow; `NAME_whole.onnx` reads finished ones both ways
(`analyze --offline`). To learn behaviours of your own, call `train` with a function of your own in
the place of `tracks_of`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from livespt.models.simulate import tracking_errors
from livespt.models.simulate.tracks import Tracks, simulate_tracks
from livespt.tools.train.loop import choose_device, plan
from livespt.tools.train.track_batches import INPUT
from livespt.tools.train.track_networks import MakeTracks, TrackNetworkRecipe, learn

if TYPE_CHECKING:
    from livespt.models.networks.motion import Follow, Whole

STEPS = {"quick": 100, "cpu": 3000, "full": 100_000}
JUDGED = {"quick": 100, "cpu": 2000, "full": 20_000}  # tracks of each set that the metrics are from
HIDDEN = 96  # 64 made a frame 12 to 15 % cheaper; trained for fewer steps, it lost a point
SETTLED = 20  # frames of look-ahead of a settled state: 5 points above lag 0, 10 more gain one
RATE = 4e-3
# how many of each kind: DeepSPT's set to compare with, also short tracks of it, for most real ones
# are; the physical one because real confinement and real gaps look like that
MIX: tuple[tuple[float, dict[str, Any]], ...] = (
    (0.36, {"ndim": 2}),
    (0.28, {"ndim": 3}),
    (0.08, {"ndim": 2, "lengths": (5, 60)}),
    (0.06, {"ndim": 3, "lengths": (5, 60)}),
    (0.14, {"ndim": 2, "variant": "physical", "gaps": 0.05}),
    (0.08, {"ndim": 3, "variant": "physical", "gaps": 0.05}),
)
WRONG_LINKS = 0.03  # share of tracks with a point that belongs elsewhere
HELD_OUT = 8_000_000  # first seed of the tracks that end training and fit the temperatures


def tracks_of(seed: int, first: int, n: int) -> Tracks:
    """`n` tracks of the mix, from number `first` of the series `seed` on."""
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
    judged: int | None = None,
    tracks: MakeTracks = tracks_of,
    only: str = "both",
) -> dict[str, Any]:
    """Train, calibrate, judge and write both networks with their cards; return the metrics of each.

    Parameters
    ----------
    preset : str
        "quick" to see it work (minutes), "cpu" what is shipped, "full" for a GPU or a night.
    out : Path
        NAME.onnx of the network that follows; the other is NAME_whole.onnx.
    steps, judged : int
        Optimizer steps, and tracks of each set that the metrics are from, if not the preset's.
    tracks : callable
        (seed, number of the first, how many) to labelled tracks: what the networks learn.
    only : str
        "follow" or "whole" to train one of the two.
    resume : bool
        Go on from the checkpoints; what is finished stays as it is.

    Raises
    ------
    SettingError
        `out` exists or is no .onnx file, or there is nothing to resume.
    MissingError
        No torch, or no CUDA where it was asked for.
    """
    where = choose_device(device)
    todo = plan(out, only, resume)
    steps = STEPS[preset] if steps is None else steps
    judged = JUDGED[preset] if judged is None else judged
    metrics: dict[str, Any] = {}
    for kind, (path, begun) in todo.items():
        recipe = TrackNetworkRecipe(4, HIDDEN, RATE, lambda some: some.label, tracks, HELD_OUT)
        net, facts = learn(recipe, kind, path, seed=seed, device=where, steps=steps, resume=begun)
        facts = {"preset": preset, **facts}
        metrics[kind] = publish(net, path, seed, facts, judged)
    return metrics


def publish(
    net: Follow | Whole, out: Path, seed: int, facts: dict[str, Any], judged: int
) -> dict[str, Any]:
    """Write model and card, judge the very file, and complete the card."""
    from livespt.models.networks.motion import LAG, Follow
    from livespt.models.networks.motion_graph import save
    from livespt.models.runtime.card import write_card
    from livespt.tools.score.segmenter import evaluate_segmenter

    follows = isinstance(net, Follow)
    save(net, out)
    own: dict[str, Any] = {"lag": SETTLED, "farthest": LAG} if follows else {}
    metrics: dict[str, Any] = {}
    for _ in range(2):  # the judge opens the model by its card
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
                "judge": f"livespt evaluate segmenter, {judged} tracks of each set",
            },
            **own,
        )
        metrics = metrics or evaluate_segmenter(out, tracks=judged)
    out.with_suffix(".checkpoint").unlink(missing_ok=True)
    return metrics
