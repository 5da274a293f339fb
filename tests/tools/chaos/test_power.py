"""Power cuts: what is lost is what the durability says, and nothing else is another."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from livespt.stream.host.atomic_files import Durability
from livespt.tools.chaos import power


def test_a_power_cut_takes_no_more_than_is_said(tmp_path: Path) -> None:
    reason = power.impossible(tmp_path)
    if reason:
        pytest.skip(reason)
    loss = power.cut_power(tmp_path, "frame", 0.7)
    assert loss == power.Loss(0, 0.0, 0, 0.0, []), "what was acknowledged is there"


@pytest.mark.slow
def test_twenty_power_cuts_take_no_more_than_is_said(tmp_path: Path) -> None:
    told: list[str] = []
    result = power.run(20, tmp_path, told.append)
    assert result.get("held", "skipped" in result), told


def test_what_a_power_cut_must_not_take_is_told_from_what_it_took_too_much_of() -> None:
    def told(durability: Durability, **changed: Any) -> tuple[bool, bool]:
        loss = power.Loss(3, 0.2, 1, 0.05, [])._replace(**changed)
        found = power.summary(durability, [loss, power.Loss(0, 0.0, 0, 0.0, [])])
        return found["held"], bool(found["late"])

    assert told("second") == (True, False)
    assert told("second", frames_s=1.5) == (True, True)
    assert told("second", frames_s=math.inf) == (False, True), "it cannot be opened"
    assert told("second", wrong=["frame 3 is another"]) == (False, False)
    assert not told("frame")[0]
    assert told("frame", frames=0, frames_s=0.0, commits=0, commits_s=0.0) == (True, False)
