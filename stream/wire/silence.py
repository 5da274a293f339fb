"""Silence: how long a subscriber has listened to a publisher without hearing anything."""

from __future__ import annotations

import time

MOST_S = 0.15  # of the time between two looks that counts as listening


class Silence:
    """Adds up the time spent listening: a consumer that stalls is not a silent publisher.

    Attributes
    ----------
    quiet_s, unheard_s : float
        Time without any message, and without a live one.
    """

    def __init__(self) -> None:
        self.quiet_s = self.unheard_s = 0.0
        self._read_at = time.monotonic()

    def add(self, heard: bool, live: bool) -> float:
        """Take one look, whether something was heard; return `quiet_s` as it was before."""
        now, before = time.monotonic(), self.quiet_s
        listened = min(now - self._read_at, MOST_S)
        self.quiet_s = 0.0 if heard else before + listened
        self.unheard_s = 0.0 if live else self.unheard_s + listened
        self._read_at = now
        return before
