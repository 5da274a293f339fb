"""Chaos on the wire, in short: the same code as `livespt chaos` runs, for seconds.

Nothing may be lost, changed or crash. What came late (`late`, `noticed_ms`) is not judged here: it
tells how busy the machine was.
"""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from livespt.tools.chaos import messages, subscribers

pytestmark = pytest.mark.skipif(
    not hasattr(signal, "SIGSTOP"), reason="this system cannot stop a process"
)


def test_malformed_messages_and_raw_connections_harm_no_one(tmp_path: Path) -> None:
    figures = messages.run(600, tmp_path, print)
    assert figures["failed"] == []
    for who in ("plain", "curve"):
        assert figures[who]["counts"]["malformed"] > 500
    assert figures["hostile publisher"]["malformed"] > 0


def test_every_subscriber_ends_with_every_event(tmp_path: Path) -> None:
    figures = subscribers.run(5, tmp_path, print, pace=0.03)
    assert figures["failed"] == []
    assert figures["identical"] == 5
    assert sum(kind["refetched"] for kind in figures["by_hardship"].values()) > 0


@pytest.mark.slow
def test_messages_in_full(tmp_path: Path) -> None:
    assert messages.run(100_000, tmp_path, print)["failed"] == []


@pytest.mark.slow
def test_subscribers_in_full(tmp_path: Path) -> None:
    assert subscribers.run(200, tmp_path, print)["failed"] == []
