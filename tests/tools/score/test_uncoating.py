"""The judge of the uncoating classifier: perfect and blind readers, and events as announced."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from livespt.models.simulate.tracks import Tracks
from livespt.stream.decisions import Decisions
from livespt.stream.settings import Rule
from livespt.stream.states import Settled
from livespt.stream.types import KINDS, STATE
from livespt.tools.score import uncoating as judge
from livespt.tools.score.uncoating import announcements, event_scores, uncoating_scores
from livespt.tools.train import uncoating

LAG = 10


@pytest.fixture(scope="module")
def tracks() -> Tracks:
    return uncoating.tracks_of(5, 0, 120)


def perfect(tracks: Tracks) -> NDArray[np.float32]:
    """Whoever was uncoated from the first point on cannot be known to be."""
    from_start = np.repeat(tracks.uncoated[tracks.offset[:-1]], np.diff(tracks.offset))
    return (tracks.uncoated & ~from_start).astype(np.float32)


def test_a_perfect_reader_announces_every_uncoating_in_time(tracks: Tracks) -> None:
    scores = event_scores(announcements(perfect(tracks), tracks, 0.5, 3, LAG), tracks)
    assert scores["found_share"] == 1 and scores["false_share"] == 0 and scores["true"] > 10
    assert scores["timing_error_frames"] == 0 and 12 <= scores["delay_frames"] <= 16
    told = uncoating_scores(tracks.uncoated.astype(np.float32), tracks)
    assert {told[name] for name in ("accuracy_mean", "before", "after", "all_points")} == {1}
    assert told["ece"] == 0 and told["timing_error_frames"] == 0


def test_a_blind_reader_announces_nothing(tracks: Tracks) -> None:
    nothing = np.zeros(len(tracks.frame), np.float32)
    none = event_scores(announcements(nothing, tracks, 0.5, 3, LAG), tracks)
    assert none["found_share"] == 0 and none["delay_frames"] is None
    told = uncoating_scores(nothing, tracks)
    assert told["before"] == 1 and told["after"] == 0 and told["timing_error_frames"] is None
    assert told["accuracy_mean"] == pytest.approx(0.5, abs=0.04)


def test_who_always_cries_is_wrong_in_every_track(tracks: Tracks) -> None:
    always = event_scores(announcements(1 - perfect(tracks), tracks, 0.5, 3, LAG), tracks)
    assert always["found_share"] < 0.25 and always["false_share"] > 0.75


@pytest.mark.parametrize(("threshold", "hold"), [(0.5, 1), (0.8, 3), (0.95, 6)])
def test_announced_is_what_a_run_would_announce(
    tracks: Tracks, threshold: float, hold: int
) -> None:
    """The same settled readings through stream/decisions.py."""
    rng = np.random.default_rng(hold)
    scores = 5 * np.sin(0.2 * rng.normal(size=len(tracks.frame)).cumsum())
    probability = (1 / (1 + np.exp(-scores))).astype(np.float32)
    events = announcements(probability, tracks, threshold, hold, LAG)
    expected = []
    for i, (low, high) in enumerate(zip(tracks.offset[:-1], tracks.offset[1:], strict=True)):
        decide = Decisions(Rule(threshold=threshold, hold=hold), capacity=1)
        for row in range(low, high):
            state = np.zeros(1, STATE)
            state["frame"], state["p_uncoated"] = tracks.frame[row], probability[row]
            settled = Settled(state, np.zeros(1, np.int32), np.zeros((1, 3)))
            last = min(row + LAG, high - 1)
            for event in decide(settled, int(tracks.frame[last])):
                assert KINDS[event["kind"]] == "uncoating"
                expected.append((i, int(event["frame"]), int(event["frame"] + event["delay"])))
    assert len(expected) > 10
    assert list(zip(*(part.tolist() for part in events), strict=True)) == expected


def test_entries_hold_viruses_and_others_with_holes_and_breaks() -> None:
    tracks = judge.entries(40, 3, judge.ENTRIES["movie"])
    assert len(tracks.uncoat) > 50 and (tracks.uncoat >= 0).sum() > 10
    assert (np.diff(tracks.frame) > 1).any()
    again = judge.entries(40, 3, judge.ENTRIES["movie"])
    assert np.array_equal(again.point, tracks.point)


def test_one_model_or_both_are_judged(networks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    movie = judge.ENTRIES["movie"] | {"n_frames": (30, 60)}
    monkeypatch.setattr(judge, "ENTRIES", {"movie": movie})
    one, whole = networks / "uncoating.onnx", networks / "uncoating_whole.onnx"
    both = judge.evaluate_uncoating(one, tracks=10, whole=whole, provider="cpu")
    readings = ["lag 0", "lag 10", "lag 20", "offline"]
    assert [row["reading"] for row in both["movie"]] == readings
    assert [row["reading"] for row in both["movie: events"]] == readings
    assert both["movie: events"][-1]["delay_frames"] is None
    assert set(both) == {"D", "movie", "movie: events", "controls"}
    assert [row["tracks"] for row in both["controls"]] == [10] * len(judge.CONTROLS)
    offline = judge.evaluate_uncoating(whole, tracks=10, provider="cpu")
    assert offline == {"movie": both["movie"][-1:], "D": both["D"]}


def test_d_overlaps_as_each_set_says() -> None:
    """Before and after of the hard set are drawn to overlap by 0.57; in the movie D leaps."""
    known = {name: judge.drawn_alike(judge.ENTRIES[name], 5) for name in ("hard", "movie")}
    told = {name: judge.change_of_d(tracks) for name, tracks in known.items()}
    assert told["hard"]["overlap"] == pytest.approx(0.57, abs=0.04)
    assert told["hard"]["slower"] > 0.1
    assert told["movie"]["overlap"] < 0.05 and told["movie"]["slower"] == 0
    same = known["hard"]._replace(diffusion=np.ones(len(known["hard"].frame)))
    assert judge.change_of_d(same) == {"overlap": 1, "ratio": 1, "slower": 0}


def test_controls_never_uncoat_and_an_alarm_is_counted() -> None:
    for name, make in judge.CONTROLS.items():
        tracks = make(20, 3)
        assert len(tracks.uncoat) == 20 and not tracks.uncoated.any(), name
        changes = np.flatnonzero(np.diff(tracks.label))
        inside = ~np.isin(changes + 1, tracks.offset)
        assert inside.any() == (name != "motion that stays")


def test_the_date_is_the_start_of_the_last_run(tracks: Tracks) -> None:
    """A blip before it does not count; who says nothing is never in time."""
    probability = tracks.uncoated.astype(np.float32)
    probability[tracks.offset[:-1]] = 1.0
    dated = uncoating_scores(probability, tracks)
    assert dated["timing_error_frames"] == 0 and dated["accuracy_mean"] < 1
