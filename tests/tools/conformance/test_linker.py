"""The suite of linkers finds out what is wrong with one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from livespt.stream.link.linker import Linked, Linker
from livespt.tools.conformance.linker import LinkerTests


class Reusing(Linker):
    """Ids start from 0 again once nothing is left."""

    def link(self, frame: int, points: Any, **more: Any) -> Linked:
        if not self.living:
            self.next_id = 0
        return super().link(frame, points, **more)


class ByOrder(Linker):
    """Links the points in the order in which they come."""

    def link(self, frame: int, points: Any, **more: Any) -> Linked:
        linked = super().link(frame, points, **more)
        return linked._replace(track=np.arange(len(linked.track)))


class Patient(Linker):
    def __init__(self, search_range: float, memory: int = 0, ndim: int = 2, *more: Any) -> None:
        super().__init__(search_range, memory + 1, ndim, *more)


class FarSighted(Linker):
    def __init__(self, search_range: float, memory: int = 0, ndim: int = 2, *more: Any) -> None:
        super().__init__(6 * search_range, memory, ndim, *more)


class Tolerant(Linker):
    def link(self, frame: int, points: Any, **more: Any) -> Linked:
        numbers = np.nan_to_num(np.asarray(points, np.float64))
        return super().link(frame, numbers, **more)


class Moving(Linker):
    def link(self, frame: int, points: Any, **more: Any) -> Linked:
        linked = super().link(frame, points, **more)
        if isinstance(points, np.ndarray):
            points += 1.0
        return linked


class FaultyLinker(LinkerTests):
    def __init__(self, kind: type[Linker]) -> None:
        self.kind = kind

    def made(self, search_range: float, memory: int, ndim: int = 2) -> Linker:
        return self.kind(search_range, memory, ndim)


LINKERS: dict[type[Linker], str] = {
    Reusing: "test_ids_are_never_used_again",
    ByOrder: "test_the_order_of_points_does_not_matter",
    Patient: "test_a_gap_is_bridged_as_long_as_memory_says",
    FarSighted: "test_nothing_is_linked_beyond_the_range",
    Tolerant: "test_what_cannot_be_linked_is_refused",
    Moving: "test_points_stay_as_they_were",
}


@pytest.mark.parametrize("kind", LINKERS, ids=lambda kind: kind.__name__)
def test_a_faulty_linker_is_found_out(kind: type[Linker]) -> None:
    with pytest.raises(AssertionError):
        getattr(FaultyLinker(kind), LINKERS[kind])()
