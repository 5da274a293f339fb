"""A trained network that follows tracks, with the settings of its card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from livespt.models.motion.follower import Network
from livespt.models.runtime.session import Session, open_session, shipped
from livespt.stream.errors import ModelError


class Reader:
    """A network that follows tracks, with the settings of its card.

    Attributes
    ----------
    network : Network
    lag : int
        Look-ahead after which a prediction is settled, frames.
    farthest : int
        Greatest age of a point that it can predict, in points before the newest.
    card : dict
    path : Path
    provider : str
    """

    task, default, outputs = "", "", 1

    def __init__(
        self, path: str | Path | None = None, *, provider: str = "auto", threads: int = 1
    ) -> None:
        path = shipped(self.default) if path is None else path
        self.session: Session = open_session(path, provider, threads, task=self.task)
        self.card: dict[str, Any] = self.session.card
        self.path: Path = self.session.path
        self.provider: str = self.session.provider
        for key in ("lag", "farthest"):
            if not isinstance(self.card.get(key), int):
                raise ModelError(f"the card of {self.path} has no '{key}': train the model again")
        self.lag: int = self.card["lag"]
        self.farthest: int = self.card["farthest"]
        if not 0 <= self.lag <= self.farthest:
            raise ModelError(
                f"the card of {self.path} settles states {self.lag} frames later and reads at most "
                f"{self.farthest} back: train the model again"
            )
        self.network = Network(self.session)
        if self.network.outputs != self.outputs:
            raise ModelError(
                f"{self.path} has {self.network.outputs} outputs where {self.outputs} are needed: "
                "name another model"
            )

    def check_intensity(self) -> None:
        """Raise ModelError if this network does not use intensities."""
        check_intensity(self.network.reads_intensity, self.path)


def check_intensity(reads: bool, path: Path) -> None:
    if not reads:
        raise ModelError(
            f"{path} does not read intensities: leave out --read-intensity, or train it again"
        )
