"""Power cuts: what is lost is what the durability says, and nothing else is another."""

from __future__ import annotations

from pathlib import Path

import pytest

from livespt.tools.chaos import power


def test_a_power_cut_takes_no_more_than_is_said(tmp_path: Path) -> None:
    reason = power.impossible(tmp_path)
    if reason:
        pytest.skip(reason)
    loss = power.cut(tmp_path, "second", 0.7)
    assert not loss.wrong and loss.frames_s < 1.0, loss
    assert loss.commits <= 30, "100 ms of them, on a machine that may have other work"


@pytest.mark.slow
def test_twenty_power_cuts_take_no_more_than_is_said(tmp_path: Path) -> None:
    told: list[str] = []
    result = power.run(20, tmp_path, told.append)
    assert result.get("held", "skipped" in result), told
