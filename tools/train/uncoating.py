"""Recipe of the uncoating classifier: simulated virus entry in, two ONNX files and cards out.

Read from top to bottom: settings, tracks, training, decision, card. Loss and calibration:
tools/train/track_networks.py; batches and the loop: tools/train/loop.py. `NAME.onnx` follows tracks
as they grow; `NAME_whole.onnx` reads finished ones both ways (`analyze --offline`). With tracks of
a user's own (tools/train/own_tracks.py) the shipped networks learn on, from these and simulated
ones together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from livespt.models.motion import features, intensity_features
from livespt.models.runtime.card import read_card
from livespt.models.runtime.session import shipped
from livespt.models.simulate import tracking_errors
from livespt.models.simulate.intensities import lit
from livespt.models.simulate.tracks import Tracks, simulate_tracks
from livespt.models.simulate.virus_entry import simulate_entry
from livespt.tools.train.loop import choose_device, plan
from livespt.tools.train.own_tracks import Own, mixed
from livespt.tools.train.track_batches import INPUT
from livespt.tools.train.track_networks import MakeTracks, TrackNetworkRecipe, learn

if TYPE_CHECKING:
    from livespt.models.networks.motion import Follow, Whole

STEPS = {"quick": 100, "cpu": 3000, "full": 60_000}
STEPS_ON = {"quick": 100, "cpu": 600, "full": 6000}  # of a network that learns on from own tracks
JUDGED = {"quick": 60, "cpu": 400, "full": 2000}  # tracks of each set that the metrics are from
HIDDEN = 64  # a frame pays for both networks
SETTLED = 20  # frames of look-ahead of a settled state, the segmenter's
RATE = 4e-3
RATE_ON = 1e-3
RATE_FROM = 2e-3  # of one that learns on from simulated tracks alone
SHIPPED = {"follow": "uncoating", "whole": "uncoating_whole"}
# how many of each kind: viruses as broad as their ranges go, and particles that never uncoat
# whatever they do
MIX: tuple[tuple[float, dict[str, Any]], ...] = (
    (0.50, {"ndim": 2}),
    (0.25, {"ndim": 3}),
)
OTHERS: tuple[tuple[float, dict[str, Any]], ...] = ((0.15, {"ndim": 2}), (0.10, {"ndim": 3}))
# drawn for each pool, log-uniform, for viruses and others alike: where they differ, the size of a
# step in um gives away which is which. The DeepSPT paper's two colours have 4.2 s
INTERVALS_S, INTERVALS = (0.03, 6.0), 3
LIT = 0.5  # share of the tracks whose intensities are told
SERIES = 20  # seeds of a seed's own
FRAMES = (10, 600)  # of a track
GAPS = 0.03  # share of points that are missing
BROKEN = 0.25  # tracks that begin anew after a loss: uncoated or not, nothing says it
HELD_OUT = 8_500_000  # first seed of the tracks that fit temperature and decision
FALSE_COSTS = 3.0  # uncoatings missed that are as bad as one announcement in vain
DECIDED = 200  # simulated tracks that the decision is made on, at least
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
    own: Own | None = None,
    begin: Mapping[str, Path] | None = None,
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
    own : Own
        Labelled tracks of a user's own: networks that know the simulated ones learn on, from both.
    begin : mapping
        The networks that learn on, "follow" and "whole", in place of new ones; where there are own
        tracks, the shipped ones by default.

    Raises
    ------
    SettingError
        `out` exists or is no .onnx file, or there is nothing to resume.
    MissingError
        No torch, or no CUDA where it was asked for.
    """
    where = choose_device(device)
    todo = plan(out, only, resume)
    default = STEPS if own is None else STEPS_ON
    steps = default[preset] if steps is None else steps
    judged = JUDGED[preset] if judged is None else judged
    make = tracks or tracks_of
    recipe = TrackNetworkRecipe(
        1, HIDDEN, RATE, lambda some: some.uncoated, make, HELD_OUT, light=True
    )
    if begin is not None:
        recipe = recipe._replace(rate=RATE_FROM)
    if own is not None:
        recipe = recipe._replace(rate=RATE_ON, tracks=mixed(own, make, HELD_OUT))
        begin = begin or {kind: shipped(name) for kind, name in SHIPPED.items()}
    metrics: dict[str, Any] = {}
    for kind, (path, begun) in todo.items():
        source = None if begin is None else begin[kind]
        net, facts = learn(
            recipe,
            kind,
            path,
            seed=seed,
            device=where,
            steps=steps,
            resume=begun,
            begin=None if source is None else _load(source),
        )
        facts = {"preset": preset, **facts}
        if source is not None:
            facts |= {"learned_on_from": read_card(source)["sha256"]}
        if own is not None:
            facts |= {"own_tracks": own.facts}
        metrics[kind] = publish(net, path, seed, facts, judged, own, source)
    return metrics


def _load(source: Path) -> Follow | Whole:
    from livespt.models.networks.motion_weights import load, widened

    return widened(load(source), features.COUNT + intensity_features.COUNT)


def tracks_of(seed: int, first: int, n: int) -> Tracks:
    """`n` tracks of the mix, from number `first` of the series `seed` on."""
    rng = np.random.default_rng((seed, first))
    low, high = np.log(INTERVALS_S)
    intervals = np.exp(rng.uniform(low, high, INTERVALS)).tolist()
    viruses = [
        simulate_entry(
            round(n * share), seed * SERIES + kind, first=first, n_frames=FRAMES, gaps=GAPS, **how
        )
        for kind, (share, how) in enumerate(_at(intervals, MIX))
    ]
    others = [
        simulate_tracks(
            round(n * share),
            seed * SERIES + SERIES // 2 + kind,
            first=first,
            variant="physical",
            gaps=GAPS,
            **how,
        )
        for kind, (share, how) in enumerate(_at(intervals, OTHERS))
    ]
    return lit(
        tracking_errors.broken(rng, tracking_errors.join([*viruses, *others]), BROKEN), rng, LIT
    )


def _at(
    intervals: Sequence[float], mix: Sequence[tuple[float, dict[str, Any]]]
) -> list[tuple[float, dict[str, Any]]]:
    """The mix, shared out over frame intervals in seconds."""
    return [
        (share / len(intervals), how | {"dt_s": dt_s}) for share, how in mix for dt_s in intervals
    ]


def decide(out: Path, n: int, seed: int, own: Own | None = None) -> dict[str, Any]:
    """Threshold and hold that find most uncoatings at the least cost of false announcements.

    Judged on held-out viruses of the simulated movie: over the broad ranges of training many
    changes are too small to be dated by anyone. Where there are `own` tracks, the calibrating
    ones are judged beside them: alone they are too few for rare false events to be seen.
    """
    from livespt.models.motion.follower import Network
    from livespt.models.runtime.session import open_session
    from livespt.tools.score.readings import as_known
    from livespt.tools.score.uncoating import ENTRIES, announcements, entries, event_scores

    tracks = entries(max(n, DECIDED), HELD_OUT + seed, ENTRIES["movie"])
    if own is not None:
        tracks = tracking_errors.join([tracks, own.calibrating])
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
    net: Follow | Whole,
    out: Path,
    seed: int,
    facts: dict[str, Any],
    judged: int,
    own: Own | None = None,
    source: Path | None = None,
) -> dict[str, Any]:
    """Write model and card, find the decision, judge the very file, and complete the card."""
    from livespt.models.networks.motion import LAG, Follow
    from livespt.models.networks.motion_graph import save
    from livespt.models.runtime.card import write_card
    from livespt.tools.score.uncoating import evaluate_uncoating

    follows = isinstance(net, Follow)
    save(net, out)
    use: dict[str, Any] = {"lag": SETTLED, "farthest": LAG} if follows else {}
    metrics: dict[str, Any] = {}
    data = "simulated virus entry"

    def card() -> None:
        write_card(
            out,
            task="uncoating" if follows else "uncoating_whole",
            seed=seed,
            input=INPUT,
            training=facts,
            metrics=metrics,
            provenance={
                "recipe": "livespt train uncoating",
                "data": data if own is None else f"{data}; labelled tracks of a user's own",
                "judge": f"livespt evaluate uncoating, {judged} tracks of each set",
            },
            **use,
        )

    card()
    if follows:
        use["decision"] = decide(out, judged, seed, own)
        card()
    metrics = evaluate_uncoating(out, tracks=judged)
    if own is not None and source is not None:
        metrics = own_scores(out, source, own.judging) | metrics
    card()
    out.with_suffix(".checkpoint").unlink(missing_ok=True)
    return metrics


def own_scores(out: Path, source: Path, tracks: Tracks) -> dict[str, Any]:
    """Scores of the model `out` and of the one that it learned on from, on own tracks."""
    from livespt.models.motion.uncoating import Uncoating
    from livespt.models.motion.whole_tracks import WholeReader
    from livespt.tools.score.segmenter import rounded
    from livespt.tools.score.uncoating import judged

    scores: dict[str, Any] = {}
    for name, path in (("own tracks", out), ("own tracks, before learning", source)):
        if read_card(path)["task"] == "uncoating":
            scores |= judged(name, tracks, Uncoating(path), None)
        else:
            scores |= judged(name, tracks, None, WholeReader(path, "uncoating_whole"))
    told: dict[str, Any] = rounded(scores)
    return told
