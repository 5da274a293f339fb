"""The checks of the linker say what is true, on small sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from livespt.stream.errors import InputError
from livespt.tools.evaluate import linker_checks as checks


def test_links_are_trackpys_where_the_optimum_is_unique(monkeypatch: pytest.MonkeyPatch) -> None:
    named = ("crossing", "contracting grid", "exchange", "dense subnets")
    some = {name: movie for name, movie in checks.movies().items() if name in named}
    assert len(some) == len(named)
    monkeypatch.setattr(checks, "movies", lambda: some)
    rows = checks.exactness()
    assert [row["equal"] for row in rows] == [True] * 2 * len(named)
    assert all(row["links"] > 3 for row in rows)


def test_other_links_are_not_called_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    movie = [np.array([[0.0, 0.0], [9.0, 9.0]]), np.array([[0.0, 1.0]])]
    monkeypatch.setattr(checks, "movies", lambda: {"two": (movie, 3.0)})
    monkeypatch.setattr(checks, "by_trackpy", lambda *_: np.array([0, 1, 1]))
    assert [row["equal"] for row in checks.exactness((0,))] == [False]


def test_edges_are_trackmates(real_data: Path) -> None:
    rows = checks.trackmate(real_data / "trackmate_lap")
    assert [(row["gap closing"], row["equal"]) for row in rows] == [
        ("without", True),
        ("with", True),
    ]
    assert all(row["links"] > 100 for row in rows)


def test_a_folder_without_trackmates_tables_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="lacks"):
        checks.trackmate(tmp_path)


def test_speed_names_its_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "TIMED", ((50, 200.0),))
    (row,) = checks.speed(frames=16)
    assert row["particles"] == 50
    assert row["livespt_ms"] > 0 and row["trackpy_ms"] > 0
    assert row["times_faster"] == pytest.approx(row["trackpy_ms"] / row["livespt_ms"])
    (alone,) = checks.speed(frames=16, with_trackpy=False)
    assert "trackpy_ms" not in alone


def test_cost_is_followed_to_the_end_of_a_long_run() -> None:
    row = checks.slope(2200)
    assert row["frames"] == 2200
    assert row["ids"] > 1000 and row["at_the_end_ms"] > 0
    assert row["capacity"] == 1024  # slots are reused


def test_a_crowd_of_200_is_one_component() -> None:
    row = checks.subnets()
    assert 0 < row["median_ms"] <= row["most_ms"]


def test_restarted_goes_on_identically() -> None:
    (row,) = checks.restart(motion="auto")
    assert row["identical"] is True
    assert row["bytes"] > 5000


def test_bad_input_is_answered() -> None:
    rows = {row["case"]: row for row in checks.bad_input()}
    assert "point 500" in rows["a coordinate that is NaN"]["refused"]
    assert "frame -1" in rows["a frame number that goes back"]["refused"]
    assert rows["50 000 false detections"]["continued"] == 500
    assert rows["a frame number that jumps"]["continued"] == 0
    assert rows["500 particles at one place, twice"]["continued"] == 500
    assert rows["one particle"]["continued"] + rows["one particle"]["born"] == 1
