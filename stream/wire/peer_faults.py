"""Peer faults: what strangers do to a publisher, counted in every heartbeat and told in notices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

PEER_FAULTS = {
    "malformed": "{count} requests or subscriptions so far made no sense",
    "limited": "{count} requests so far were more than one peer may ask at a time",
    "refused": "{address} has no known key and was refused, {count} so far",
    "hung_up": "someone floods: everyone was cut off and may connect again, {count} times so far",
}


class FaultNotices:
    """What was told: a notice is due whenever a count has doubled, for some try for ever."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def due(self, counts: Mapping[str, int], address: str) -> list[tuple[str, str]]:
        """Kind and text of each notice; `address`: of who was refused last."""
        found = []
        for kind, text in PEER_FAULTS.items():
            if counts[kind] and counts[kind] >= 2 * self._counts[kind]:
                self._counts[kind] = counts[kind]
                found.append((kind, text.format(count=counts[kind], address=address)))
        return found
