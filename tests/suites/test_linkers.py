"""Every linker does what linkers must do: plain, with each motion model, with hindsight."""

from __future__ import annotations

from typing import Any, ClassVar

from livespt.stream.link.linker import Linker
from livespt.tools.conformance.linker import LinkerTests


class TestPlain(LinkerTests):
    options: ClassVar[dict[str, Any]] = {}

    def made(self, search_range: float, memory: int, ndim: int = 2) -> Linker:
        return Linker(search_range, memory, ndim, **self.options)


class TestAuto(TestPlain):
    options = {"motion": "auto"}


class TestBrownian(TestPlain):
    options = {"motion": "brownian", "intensity_weight": 1.0}


class TestVelocity(TestPlain):
    options = {"motion": "velocity"}


class TestHindsight(TestPlain):
    options = {"motion": "auto", "refine": 3}
