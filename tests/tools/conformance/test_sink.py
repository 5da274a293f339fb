"""The suite of sinks finds out what is wrong with one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from livespt.stream.types import Frame, Start, Stop, Update
from livespt.tools.conformance.sink import SinkTests


class FaultySink(SinkTests):
    def __init__(self, kind: type[Kept]) -> None:
        self.kind = kind

    def made(self, folder: Path, start: Start, frames: list[Frame]) -> Kept:
        self.sink = self.kind()
        return self.sink

    def held(self, folder: Path) -> dict[str, NDArray[np.void]]:
        names = ("spots", "states", "events")
        return {name: np.concatenate([getattr(u, name) for u in self.sink.kept]) for name in names}


class Kept:
    """A sink that does as it should."""

    def __init__(self) -> None:
        self.kept: list[Update] = []

    def __call__(self, frame: Frame, update: Update) -> Update | None:
        self.kept.append(update)
        return None

    def finish(self, update: Update) -> None:
        self.kept.append(update)

    def close(self, stop: Stop) -> None:
        pass


class Forgetful(Kept):
    def finish(self, update: Update) -> None:
        pass


class Meddling(Kept):
    def __call__(self, frame: Frame, update: Update) -> Update:
        return update._replace(spots=update.spots[:1].copy())


class Scribbling(Kept):
    def __call__(self, frame: Frame, update: Update) -> None:
        frame.image[0, 0] = 0


class Proud(Kept):
    def close(self, stop: Stop) -> None:
        assert stop.status == "complete"


class Hasty(Kept):
    def close(self, stop: Stop) -> None:
        assert self.kept


SINKS: dict[str, tuple[type[Kept], str, type[Exception]]] = {
    "without the end": (Forgetful, "test_it_holds_what_it_was_given", AssertionError),
    "other rows": (Meddling, "test_it_gives_back_measurements_alone", AssertionError),
    "writes into images": (Scribbling, "test_it_leaves_what_it_is_given_as_it_was", ValueError),
    "cannot fail": (Proud, "test_it_can_be_closed_at_any_moment", AssertionError),
    "cannot be empty": (Hasty, "test_it_can_be_closed_at_any_moment", AssertionError),
}


@pytest.mark.parametrize("name", SINKS)
def test_a_faulty_sink_is_found_out(name: str, tmp_path: Path) -> None:
    kind, test, error = SINKS[name]
    with pytest.raises(error):
        getattr(FaultySink(kind), test)(tmp_path)


def test_a_good_sink_passes(tmp_path: Path) -> None:
    for test in {test for _, test, _ in SINKS.values()}:
        folder = tmp_path / test
        folder.mkdir()
        getattr(FaultySink(Kept), test)(folder)
