"""Kills: a few of them; `livespt chaos --what kills` does a hundred."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from livespt.stream.errors import LiveSptError, StoreError
from livespt.tools.chaos import kills
from livespt.tools.chaos.kill_checks import Tally, movie
from livespt.tools.chaos.suite import PARTS, chaos, check_held


@pytest.mark.parametrize(
    "kill",
    [kills.kill_writers, pytest.param(kills.kill_captures, marks=pytest.mark.slow)],
)
def test_a_killed_process_loses_nothing(kill: Callable[..., None], tmp_path: Path) -> None:
    tally = Tally()
    kill(1, tmp_path, movie(), tally, random.Random(3), str)
    assert tally.figures()["held"], tally


@pytest.mark.slow
def test_many_kills_lose_nothing(tmp_path: Path) -> None:
    found = chaos(["kills"], times=20, out=tmp_path / "out", say=print)
    assert all(figures["held"] for figures in found["kills"].values()), found


def test_a_promise_that_is_broken_anywhere_is_told(tmp_path: Path) -> None:
    check_held({"one": {"a": {"held": True}, "b": 3}})
    with pytest.raises(LiveSptError, match="two"):
        check_held({"one": {"held": True}, "two": {"a": {"held": False}}})
    with pytest.raises(LiveSptError, match="not all that is promised held: see two"):
        check_held({"one": {"failed": [], "late": ["x"]}, "two": {"failed": ["y"]}})
    with pytest.raises(LiveSptError, match="not in time: see `late` of one"):
        check_held({"one": {"a": {"failed": [], "late": ["x"]}}, "two": {"held": True, "late": []}})
    with pytest.raises(StoreError, match="exists"):
        chaos(list(PARTS), out=tmp_path)
