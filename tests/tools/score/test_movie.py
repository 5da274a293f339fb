"""Score: counts that can be checked by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from livespt.acquisition.simulated import TRUTH, Scenario, virus_entry
from livespt.stream.types import EVENT, KINDS, SPOT, STATE
from livespt.tools.score import movie as score

Rows = NDArray[np.void]


def table(dtype: np.dtype[Any], names: str, rows: list[tuple[Any, ...]]) -> Rows:
    """Rows with the named fields set, the others 0."""
    out = np.zeros(len(rows), dtype)
    for k, name in enumerate(names.split()):
        out[name] = [row[k] for row in rows]
    return out


def truth_of(rows: list[tuple[Any, ...]], **fixed: int) -> Rows:
    out = table(TRUTH, "frame particle y x", rows)
    out["visible"] = 1
    for name, value in fixed.items():
        out[name] = value
    return out


def spots_of(rows: list[tuple[Any, ...]]) -> Rows:
    return table(SPOT, "frame track y x", rows)


def test_nearest_pairs_match_first_and_once() -> None:
    truth = truth_of([(1, 0, 10, 10), (1, 1, 10, 13), (2, 0, 10, 10)])
    spots = spots_of([(1, 5, 10, 11.4), (1, 6, 10, 10.2), (3, 6, 10, 10), (2, 6, 12.01, 10)])
    matched = score.match(truth, spots, radius=2.0)
    # spot 0 is nearer to truth 0, which spot 1 has; truth 2 is 2.01 px away; frame 3 is empty
    assert sorted(zip(matched.truth.tolist(), matched.spot.tolist(), strict=True)) == [
        (0, 1),
        (1, 0),
    ]


def test_detection_by_hand() -> None:
    truth = truth_of([(0, 0, 10, 10), (0, 1, 20, 20), (1, 0, 10, 10), (1, 1, 20, 20)])
    truth["visible"][3] = 0  # its spot is a false one
    spots = spots_of([(0, 0, 10.3, 10), (1, 0, 10, 9.6), (1, 1, 20, 20), (1, 2, 30, 30)])
    found = score.detection(truth, spots)
    assert found == {
        "recall": pytest.approx(2 / 3),
        "precision": pytest.approx(2 / 4),
        "rmse_px": pytest.approx(math.sqrt((0.3**2 + 0.4**2) / 4), rel=1e-5),
    }
    assert score.detection(truth, spots, frames=[1])["recall"] == 1
    one = score.detection(truth, spots, radius=0.35)
    assert one["recall"] == pytest.approx(1 / 3)


def test_the_border_is_left_out_after_matching() -> None:
    truth = truth_of([(0, 0, 6.0, 30), (0, 1, 5.9, 50), (0, 2, 30, 93.5), (0, 3, 50, 50)])
    spots = spots_of(
        [(0, 0, 5.5, 30), (0, 1, 6.1, 50), (0, 2, 2, 2), (0, 3, 30, 60), (0, 4, 50, 50)]
    )
    found = score.detection(truth, spots, shape=(80, 100))
    # counted: truth 0 (its spot lies outside), truth 3; the spot at (30, 60) is the only false one
    assert found["recall"] == 1 and found["precision"] == pytest.approx(2 / 3)
    everything = score.detection(truth, spots)
    assert everything["recall"] == pytest.approx(3 / 4)
    assert everything["precision"] == pytest.approx(3 / 5)


def test_nothing_found_or_nothing_there() -> None:
    truth, spots = truth_of([(0, 0, 9, 9)]), spots_of([(0, 0, 9, 9)])
    for a, b in ((truth[:0], spots), (truth, spots[:0]), (truth[:0], spots[:0])):
        found = score.detection(a, b)
        assert (found["recall"], found["precision"]) == (0, 0) and math.isnan(found["rmse_px"])
        assert score.purity(a, b) == 0
        assert score.states(a, b, np.zeros(0, STATE)) == 0


def test_purity_weighs_tracks_by_their_spots() -> None:
    truth = truth_of([(f, p, 10 * p, 10.0) for f in range(10) for p in (1, 2)])
    # track 1 follows particle 1 for 6 frames, then 2; track 2 the other; track 3 nothing
    spots = spots_of([(f, 1, 10 if f < 6 else 20, 10) for f in range(10)]
                     + [(f, 2, 20 if f < 6 else 10, 10) for f in range(10)]
                     + [(f, 3, 90, 90) for f in range(10)])  # fmt: skip
    assert score.purity(truth, spots) == pytest.approx(12 / 20)
    split = spots.copy()
    split["track"][(split["frame"] >= 6) & (split["track"] < 3)] += 10  # broken tracks are pure
    assert score.purity(truth, split) == 1


def test_exchanges_are_counted_where_it_is_certain_whose_a_spot_is() -> None:
    apart = [(f, p, 20.0 * (p + 1), 30.0) for f in (0, 1, 3, 4) for p in (0, 1)]
    truth = truth_of([*apart, (2, 0, 29.0, 30.0), (2, 1, 31.0, 30.0)])
    swapped = {0: (7, 8), 1: (7, 8), 2: (8, 7), 3: (8, 7), 4: (8, 7)}  # tracks of 0 and 1 by frame
    rows = [(row["frame"], row["y"], row["x"], row["particle"]) for row in truth]
    spots = spots_of([(f, swapped[int(f)][p], y, x) for f, y, x, p in rows])
    assert score.exchanges(truth, spots) == 2  # one of each track, between frames 1 and 3
    kept = spots_of([(f, 7 + p, y, x) for f, y, x, p in rows])
    assert score.exchanges(truth, kept) == 0
    flicker = kept.copy()  # in frame 2, either could be either
    flicker["track"][flicker["frame"] == 2] = flicker["track"][flicker["frame"] == 2][::-1]
    assert score.exchanges(truth, flicker) == 0


def test_states_count_settled_rows_of_matched_spots() -> None:
    truth = truth_of([(f, 0, 10, 10) for f in range(5)])
    truth["state"] = [0, 1, 2, 3, 3]
    spots = spots_of([(f, 7, 10 if f < 4 else 40, 10) for f in range(5)])
    rows = table(
        STATE,
        "frame track settled state p_normal p_directed p_confined p_subdiffusive",
        [
            (0, 7, 1, 0, 0.7, 0.1, 0.1, 0.1),  # right
            (0, 7, 0, 1, 0.1, 0.7, 0.1, 0.1),  # provisional: not counted
            (1, 7, 1, -1, 0.3, 0.4, 0.2, 0.1),  # abstains, but its likeliest is right
            (2, 7, 1, 3, 0.1, 0.1, 0.1, 0.7),  # wrong
            (4, 7, 1, 3, 0.1, 0.1, 0.1, 0.7),  # its spot matches nothing
            (3, 8, 1, 3, 0.1, 0.1, 0.1, 0.7),  # another track
        ],
    )
    assert score.states(truth, spots, rows) == pytest.approx(2 / 3)


def story() -> Rows:
    """Particles 0-2 uncoat at 40, 50, 60; 3 never; 4 at 50, hardly seen; rows of 100 frames."""
    truth = truth_of([(f, p, 20.0 * (p + 1), 30.0) for f in range(100) for p in range(5)])
    for particle, frame in ((0, 40), (1, 50), (2, 60), (4, 50)):
        truth["uncoated"][(truth["particle"] == particle) & (truth["frame"] >= frame)] = 1
    hidden = (truth["particle"] == 4) & (np.abs(truth["frame"] - 50) < 8)
    truth["visible"][hidden] = 0
    return truth


def events_of(rows: list[tuple[Any, ...]], kind: str = "uncoating") -> Rows:
    """(frame, y, delay) of events at x = 31."""
    out = table(EVENT, "frame y delay", rows)
    out["seq"] = np.arange(len(rows))
    out["kind"] = KINDS.index(kind)
    out["x"] = 31
    out["amends"] = -1
    return out


CASES: dict[str, tuple[list[tuple[int, float, int]], dict[str, Any]]] = {
    "none": ([], {"found": 0, "missed": 3, "false": 0, "delay_frames": None}),
    "all": (
        [(42, 20, 10), (50, 40, 12), (55, 60, 13)],
        {"found": 3, "missed": 0, "false": 0, "delay_frames": 12.0},
    ),
    "too late": ([(61, 20, 0)], {"found": 0, "missed": 3, "false": 1, "delay_frames": None}),
    "just in time": ([(60, 20, 5)], {"found": 1, "missed": 2, "false": 0, "delay_frames": 25.0}),
    "twice": ([(45, 20, 9), (39, 20, 9)], {"found": 1, "missed": 2, "false": 1,
                                           "delay_frames": 8.0}),
    "a control": ([(50, 80, 5)], {"found": 0, "missed": 3, "false": 1, "delay_frames": None}),
    "nobody": ([(40, 25, 5)], {"found": 0, "missed": 3, "false": 1, "delay_frames": None}),
    "unseen": ([(50, 100, 5)], {"found": 0, "missed": 3, "false": 0, "delay_frames": None}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_uncoating_by_hand(case: str) -> None:
    rows, expected = CASES[case]
    assert score.uncoating(story(), events_of(rows)) == {"true": 3, **expected}


def test_uncoating_takes_the_last_word() -> None:
    events = events_of([(20, 20, 5), (41, 20, 9), (40, 40, 3)])
    events["amends"][1] = 0  # the first was revised
    changes = events_of([(50, 40, 5)], kind="changepoint")
    found = score.uncoating(story(), np.concatenate([events, changes]))
    assert (found["found"], found["false"]) == (2, 0)


def test_uncoating_at_the_border_or_before_the_movie_is_not_asked_for() -> None:
    truth = story()
    assert score.uncoating(truth, events_of([]), shape=(110, 60))["true"] == 3
    assert score.uncoating(truth, events_of([]), shape=(64, 60))["true"] == 2  # 60 > 64 - 1 - 6
    truth["uncoated"][truth["particle"] == 0] = 1
    assert score.uncoating(truth, events_of([]))["true"] == 2


CHANGES: dict[str, tuple[list[tuple[int, float, int]], dict[str, int]]] = {
    "none": ([], {"found": 0, "false": 0}),
    "both of one particle": ([(44, 20, 3), (71, 20, 3)], {"found": 2, "false": 0}),
    "twice": ([(44, 20, 3), (45, 20, 3)], {"found": 1, "false": 1}),
    "just in time": ([(50, 20, 3)], {"found": 1, "false": 0}),
    "too late": ([(51, 20, 3)], {"found": 0, "false": 1}),
    "of another particle": ([(40, 40, 3)], {"found": 0, "false": 1}),
    "of nobody": ([(40, 25, 3)], {"found": 0, "false": 1}),
}


@pytest.mark.parametrize("case", CHANGES)
def test_changepoints_by_hand(case: str) -> None:
    rows, expected = CHANGES[case]
    events = np.concatenate([events_of(rows, "changepoint"), events_of([(40, 20, 3)])])
    changes = np.array([(0, 40), (0, 70), (2, 40)])
    assert score.changepoints(story(), changes, events) == {"true": 3, **expected}


def test_a_changepoint_is_false_where_nothing_is_known_to_change() -> None:
    events = events_of([(40, 20, 3)], "changepoint")
    nothing = np.empty((0, 2), np.int64)
    for truth in (story(), story()[:0]):
        found = score.changepoints(truth, nothing, events)
        assert found == {"true": 0, "found": 0, "false": 1}


def test_a_perfect_analysis_of_a_movie_scores_perfectly() -> None:
    movie = virus_entry(
        Scenario(seed=1, n_frames=200, shape=(128, 128), viruses=8, uncoating=6, visitors=6)
    )
    shown = movie.truth[movie.truth["visible"] == 1]
    spots = np.zeros(len(shown), SPOT)
    states = np.zeros(len(shown), STATE)
    spots["track"] = states["track"] = shown["particle"] + 100
    states["settled"] = 1
    for name in ("frame", "y", "x"):
        spots[name] = shown[name]
    states["frame"] = shown["frame"]
    names = np.array(["p_normal", "p_directed", "p_confined", "p_subdiffusive"])
    for k, name in enumerate(names):
        states[name] = shown["state"] == k
    events = np.zeros(6, EVENT)
    for name in ("frame", "y", "x"):
        events[name] = movie.uncoatings[name]
    events["seq"], events["amends"] = np.arange(6), -1
    events["kind"], events["delay"] = KINDS.index("uncoating"), 9
    found = score.detection(movie.truth, spots, shape=movie.shape)
    assert (found["recall"], found["precision"]) == (1, 1) and found["rmse_px"] < 1e-4
    assert score.purity(movie.truth, spots) == 1
    assert score.states(movie.truth, spots, states) == 1
    assert score.uncoating(movie.truth, events, shape=movie.shape) == {
        "true": 6,
        "found": 6,
        "missed": 0,
        "false": 0,
        "delay_frames": 9.0,
    }
