"""The suite of accidents: what the command line offers is what can be run."""

from __future__ import annotations

from livespt.tools.chaos.suite import PARTS, _runs


def test_every_part_can_be_run() -> None:
    assert list(_runs()) == list(PARTS)
