"""Recipe of the uncoating classifier: simulated virus entry in, two ONNX files and cards out.

Read from top to bottom: settings, tracks, training, decision, card. Loss and calibration:
tools/motion_recipe.py; batches and the loop: tools/learning.py. `NAME.onnx` follows tracks as they
grow; `NAME_whole.onnx` reads finished ones both ways (`analyze --offline`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from livespt.models import crops
from livespt.models.motion import Tracks, simulate_entry, simulate_tracks
from livespt.tools.learning import INPUT, choose_device, plan
from livespt.tools.motion_recipe import MakeTracks, Recipe, learn

if TYPE_CHECKING:
    from livespt.models.deepspt import Follow, Whole

STEPS = {"quick": 100, "cpu": 3000, "full": 60_000}
JUDGED = {"quick": 60, "cpu": 400, "full": 2000}  # tracks of each set that the metrics are from
HIDDEN = 64  # a frame pays for both networks
SETTLED = 20  # frames of look-ahead of a settled state, the segmenter's
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
    tracks: MakeTracks | None = None,
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
        (seed, number of the first, how many) to tracks that know where they uncoated.
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
    recipe = Recipe(1, HIDDEN, RATE, lambda some: some.uncoated, tracks or tracks_of, HELD_OUT)
    metrics: dict[str, Any] = {}
    for kind, (path, begun) in todo.items():
        net, facts = learn(recipe, kind, path, seed=seed, device=where, steps=steps, resume=begun)
        metrics[kind] = publish(net, path, seed, {"preset": preset, **facts}, judged)
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


def decide(out: Path, n: int, seed: int) -> dict[str, Any]:
    """Threshold and hold that find most uncoatings at the least cost of false announcements.

    Judged on held-out viruses of the simulated movie: over the broad ranges of training many
    changes are too small to be dated by anyone.
    """
    from livespt.models.follow import Network
    from livespt.models.session import open_session
    from livespt.tools.evaluate_uncoating import ENTRIES, announcements, entries, event_scores
    from livespt.tools.readings import as_known

    tracks = entries(n, HELD_OUT + seed, ENTRIES["movie"])
    network = Network(open_session(out, task="uncoating"))
    settled = as_known(network, tracks, (SETTLED,), 1.0)[SETTLED][:, 0]
    table = []
    for threshold in THRESHOLDS:
        for hold in HOLDS:
            events = announcements(settled, tracks, threshold, hold, SETTLED)
            scores = event_scores(events, tracks)
            gain = scores["found_share"] - FALSE_COSTS * scores["false_share"]
            table.append((gain, -hold, threshold))  # of two alike, the sooner
    _, hold, threshold = max(table)
    return {"lag": SETTLED, "threshold": threshold, "hold": -hold}


def publish(
    net: Follow | Whole, out: Path, seed: int, facts: dict[str, Any], judged: int
) -> dict[str, Any]:
    """Write model and card, find the decision, judge the very file, and complete the card."""
    from livespt.models.deepspt import LAG, Follow
    from livespt.models.motion_graph import save
    from livespt.models.session import write_card
    from livespt.tools.evaluate_uncoating import evaluate_uncoating

    follows = isinstance(net, Follow)
    save(net, out)
    own: dict[str, Any] = {"lag": SETTLED, "farthest": LAG} if follows else {}
    metrics: dict[str, Any] = {}

    def card() -> None:
        write_card(
            out,
            task="uncoating" if follows else "uncoating_whole",
            seed=seed,
            input=INPUT,
            training=facts,
            metrics=metrics,
            provenance={
                "recipe": "tools/train_uncoating.py",
                "data": "models/motion.py: simulated virus entry",
                "judge": f"livespt evaluate uncoating, {judged} tracks of each set",
            },
            **own,
        )

    card()
    if follows:
        own["decision"] = decide(out, judged, seed)
        card()
    metrics = evaluate_uncoating(out, tracks=judged)
    card()
    out.with_suffix(".checkpoint").unlink(missing_ok=True)
    return metrics
