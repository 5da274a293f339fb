"""Recipe of the uncoating classifier: from simulated virus entry to two ONNX files and cards.

The steps in order are: settings, tracks, training, decision, card. Loss and calibration are in
track_networks.py, batches and the training loop in track_batches.py and loop.py. `NAME.onnx`
follows growing tracks; `NAME_whole.onnx` classifies finished tracks, forwards and backwards
(`analyze --offline`). With tracks of a user (own_tracks.py), the training of the shipped networks
is continued on these and on simulated tracks together.
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
from livespt.models.simulate.intensities import with_intensities
from livespt.models.simulate.tracks import Tracks, simulate_tracks
from livespt.models.simulate.virus_entry import simulate_entry
from livespt.stream.errors import SettingError
from livespt.tools.train.loop import choose_device, plan
from livespt.tools.train.own_tracks import Own, mixed, read_own
from livespt.tools.train.track_batches import INPUT
from livespt.tools.train.track_networks import MakeTracks, TrackNetworkRecipe, learn

if TYPE_CHECKING:
    from livespt.models.networks.motion import Follow, Whole


STEPS = {"quick": 100, "cpu": 3000, "full": 60_000}
STEPS_ON = {"quick": 100, "cpu": 600, "full": 6000}  # if training is continued on own tracks
EVALUATION_TRACKS = {"quick": 60, "cpu": 400, "full": 2000}  # of each set
HIDDEN = 64  # smaller than in the segmenter, because a frame needs both networks
SETTLED = 20  # look-ahead of a settled state, frames, as in the segmenter
RATE = 4e-3
RATE_ON = 1e-3
RATE_FROM = 2e-3  # if training is continued on simulated tracks only
SHIPPED = {"follow": "uncoating", "whole": "uncoating_whole"}
# shares of the kinds of tracks: viruses over the full ranges, and particles that never uncoat, with
# any motion
MIX: tuple[tuple[float, dict[str, Any]], ...] = (
    (0.50, {"ndim": 2}),
    (0.25, {"ndim": 3}),
)
OTHERS: tuple[tuple[float, dict[str, Any]], ...] = ((0.15, {"ndim": 2}), (0.10, {"ndim": 3}))
# drawn for each pool, log-uniform, and the same for viruses and others: if they differed, the size
# of a step in um would distinguish them. The two-colour movies of the DeepSPT paper have 4.2 s
INTERVALS_S, INTERVALS = (0.03, 6.0), 3
KNOWN_INTENSITY = 0.5  # share of the tracks with known intensities
SERIES = 20  # series of random numbers for each seed
FRAMES = (10, 600)  # length of a track
GAP_SHARE = 0.03  # of points that are missing
BROKEN_SHARE = 0.25  # of tracks that start again after a loss, uncoated or not
HELD_OUT = 8_500_000  # first seed of the tracks for temperatures and decision
FALSE_COSTS = 3.0  # missed uncoatings that are as bad as one false announcement
MIN_DECISION_TRACKS = 200  # simulated
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
    evaluation_tracks: int | None = None,
    tracks: MakeTracks | None = None,
    only: str = "both",
    own: Own | None = None,
    begin: Mapping[str, Path] | None = None,
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
        Returns tracks with known uncoating, from (seed, number of the first, how many).
    only : str
        "follow" or "whole" to train only one of the two.
    resume : bool
        Continue from the checkpoints; finished networks are kept.
    own : Own
        Labelled tracks of a user; training is continued on these and on simulated tracks.
    begin : mapping
        Networks whose training is continued, "follow" and "whole", in place of new ones; with own
        tracks, by default the shipped ones.

    Raises
    ------
    SettingError
        `out` exists or does not end in .onnx, or there is nothing to resume.
    MissingError
        torch is not installed, or CUDA was requested but does not work.
    """
    where = choose_device(device)
    todo = plan(out, only, resume)
    default = STEPS if own is None else STEPS_ON
    steps = default[preset] if steps is None else steps
    if evaluation_tracks is None:
        evaluation_tracks = EVALUATION_TRACKS[preset]
    make = tracks or tracks_of
    recipe = TrackNetworkRecipe(
        1, HIDDEN, RATE, lambda some: some.uncoated, make, HELD_OUT, reads_intensity=True
    )
    if begin is not None:
        recipe = recipe._replace(rate=RATE_FROM)
    if own is not None:
        recipe = recipe._replace(rate=RATE_ON, tracks=mixed(own, make, HELD_OUT))
        begin = begin or {kind: shipped(name) for kind, name in SHIPPED.items()}
    metrics: dict[str, Any] = {}
    for kind, (path, is_resumed) in todo.items():
        source = None if begin is None else begin[kind]
        net, facts = learn(
            recipe,
            kind,
            path,
            seed=seed,
            device=where,
            steps=steps,
            resume=is_resumed,
            begin=None if source is None else _load(source),
        )
        facts = {"preset": preset, **facts}
        if source is not None:
            facts |= {"learned_on_from": read_card(source)["sha256"]}
        if own is not None:
            facts |= {"own_tracks": own.facts}
        metrics[kind] = save_network(net, path, seed, facts, evaluation_tracks, own, source)
    return metrics


def train_on_tables(
    tables: Sequence[Path],
    *,
    pixel_size_um: float | None = None,
    frame_interval_s: float | None = None,
    z_step_um: float | None = None,
    source: Path | None = None,
    seed: int = 1,
    **settings: Any,
) -> dict[str, Any]:
    """Train as `train` does, also on labelled tracks of a user, if there are any.

    Parameters
    ----------
    tables, pixel_size_um, frame_interval_s, z_step_um
        Labelled tracks of a user, as in `read_own`; no tables: simulated tracks only.
    source : Path, optional
        NAME.onnx, whose training is continued together with that of NAME_whole.onnx; by default
        the shipped ones with tables, otherwise new networks.
    settings
        Those of `train`.

    Raises
    ------
    SettingError
        There are sizes and no tables; or as raised by `train`.
    InputError
        A table cannot be used.
    """
    sizes = {"frame_interval_s": frame_interval_s, "z_step_um": z_step_um}
    if not tables and (pixel_size_um or any(sizes.values())):
        raise SettingError(
            "pixel size, frame interval and z step belong to own tracks: give --runs"
        )
    own = read_own(tables, pixel_size_um, seed=seed, **sizes) if tables else None
    begin = None
    if source is not None:
        begin = {"follow": source, "whole": source.with_name(f"{source.stem}_whole.onnx")}
    return train(own=own, begin=begin, seed=seed, **settings)


def _load(source: Path) -> Follow | Whole:
    from livespt.models.networks.motion_weights import load, widened

    return widened(load(source), features.COUNT + intensity_features.COUNT)


def tracks_of(seed: int, first: int, n: int) -> Tracks:
    """Simulate `n` tracks of the mix, from number `first` of the series `seed` on."""
    rng = np.random.default_rng((seed, first))
    low, high = np.log(INTERVALS_S)
    intervals = np.exp(rng.uniform(low, high, INTERVALS)).tolist()
    viruses = [
        simulate_entry(
            round(n * share),
            seed * SERIES + kind,
            first=first,
            n_frames=FRAMES,
            gaps=GAP_SHARE,
            **how,
        )
        for kind, (share, how) in enumerate(_at(intervals, MIX))
    ]
    others = [
        simulate_tracks(
            round(n * share),
            seed * SERIES + SERIES // 2 + kind,
            first=first,
            variant="physical",
            gaps=GAP_SHARE,
            **how,
        )
        for kind, (share, how) in enumerate(_at(intervals, OTHERS))
    ]
    return with_intensities(
        tracking_errors.broken(rng, tracking_errors.join([*viruses, *others]), BROKEN_SHARE),
        rng,
        KNOWN_INTENSITY,
    )


def _at(
    intervals: Sequence[float], mix: Sequence[tuple[float, dict[str, Any]]]
) -> list[tuple[float, dict[str, Any]]]:
    """Simulate the mix at each of the frame intervals (s)."""
    return [
        (share / len(intervals), how | {"dt_s": dt_s}) for share, how in mix for dt_s in intervals
    ]


def decide(out: Path, n: int, seed: int, own: Own | None = None) -> dict[str, Any]:
    """Choose threshold and hold so that many uncoatings are found with few false announcements.

    They are chosen on held-out viruses of the simulated movie, because over the broad ranges of
    training many changes are too small to be dated. If there are `own` tracks, those for
    calibration are added; alone, they are too few to reveal rare false events.
    """
    from livespt.models.motion.follower import Network
    from livespt.models.runtime.session import open_session
    from livespt.tools.score.readings import as_known
    from livespt.tools.score.uncoating import ENTRIES, announcements, entries, event_scores

    tracks = entries(max(n, MIN_DECISION_TRACKS), HELD_OUT + seed, ENTRIES["movie"])
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
            table.append((gain, -hold, threshold))  # of equal gains, the earlier announcement
    _, hold, threshold = max(table)
    return {"lag": SETTLED, "threshold": threshold, "hold": -hold}


def save_network(
    net: Follow | Whole,
    out: Path,
    seed: int,
    facts: dict[str, Any],
    evaluation_tracks: int,
    own: Own | None = None,
    source: Path | None = None,
) -> dict[str, Any]:
    """Write model and card, choose the decision, evaluate this file, and complete the card."""
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
                "judge": f"livespt evaluate uncoating, {evaluation_tracks} tracks of each set",
            },
            **use,
        )

    card()
    if follows:
        use["decision"] = decide(out, evaluation_tracks, seed, own)
        card()
    metrics = evaluate_uncoating(out, tracks=evaluation_tracks)
    if own is not None and source is not None:
        metrics = own_scores(out, source, own.judging) | metrics
    card()
    out.with_suffix(".checkpoint").unlink(missing_ok=True)
    return metrics


def own_scores(out: Path, source: Path, tracks: Tracks) -> dict[str, Any]:
    """Scores on own tracks, of the model `out` and of the model whose training it continued."""
    from livespt.models.motion.uncoating import Uncoating
    from livespt.models.motion.whole_tracks import WholeReader
    from livespt.tools.score.segmenter import rounded
    from livespt.tools.score.uncoating import scores_of_set

    scores: dict[str, Any] = {}
    for name, path in (("own tracks", out), ("own tracks, before learning", source)):
        if read_card(path)["task"] == "uncoating":
            scores |= scores_of_set(name, tracks, Uncoating(path), None)
        else:
            scores |= scores_of_set(name, tracks, None, WholeReader(path, "uncoating_whole"))
    figures: dict[str, Any] = rounded(scores)
    return figures
