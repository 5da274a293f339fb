"""Progress of long work where stderr is no terminal."""

from __future__ import annotations

import pytest

from livespt.tools import progress


def test_a_line_every_ten_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    with progress.Progress("training", 100, done=20, clock=lambda: now) as passed:
        for _ in range(50):
            now += 0.5
            passed()
    assert capsys.readouterr().err.splitlines() == [
        "training: 40 of 100 steps, 2 steps/s, 30 s left",
        "training: 60 of 100 steps, 2 steps/s, 20 s left",
    ]


def test_unknown_ends_and_long_ones() -> None:
    now = 0.0
    passed = progress.Progress("resuming", unit="frame", clock=lambda: now)
    passed(5)
    assert passed.line(2.0) == "resuming: 5 frames, 2.5 frames/s"
    passed.total = 5 + 600 * 5
    assert passed.line(2.0).endswith("20 min left")
    passed.total = 5 + 10_000 * 5
    assert passed.line(2.0).endswith("5.6 h left")


def test_steps_are_those_of_the_work(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress.steps("abc", "spelling", 3, "letter")) == ["a", "b", "c"]
    assert capsys.readouterr().err == ""  # it was over within ten seconds
