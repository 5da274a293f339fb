"""Every linker does what linkers must do: plain, with each motion model, with hindsight."""

from __future__ import annotations

from livespt.stream.link.linker import Linker
from livespt.tools.conformance.linker import LinkerTests


class TestPlain(LinkerTests):
    def made(self, search_range: float, memory: int, ndim: int = 2) -> Linker:
        return Linker(search_range, memory, ndim)


class TestAuto(LinkerTests):
    def made(self, search_range: float, memory: int, ndim: int = 2) -> Linker:
        return Linker(search_range, memory, ndim, motion="auto")


class TestBrownian(LinkerTests):
    def made(self, search_range: float, memory: int, ndim: int = 2) -> Linker:
        return Linker(search_range, memory, ndim, motion="brownian", intensity_weight=1.0)


class TestVelocity(LinkerTests):
    def made(self, search_range: float, memory: int, ndim: int = 2) -> Linker:
        return Linker(search_range, memory, ndim, motion="velocity")


class TestHindsight(LinkerTests):
    def made(self, search_range: float, memory: int, ndim: int = 2) -> Linker:
        return Linker(search_range, memory, ndim, motion="auto", refine=3)
