"""Every localizer does what localizers must do: each shipped network, and stacks."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from livespt.models.localize.localizer import Localizer
from livespt.models.localize.stack_localizer import StackLocalizer
from livespt.models.optics import holograms
from livespt.models.optics.holograms import Sphere
from livespt.models.runtime.session import shipped
from livespt.tools.conformance.localizer import LocalizerTests


class TestFast(LocalizerTests):
    model: ClassVar[str] = "fast"
    refused = (*LocalizerTests.refused, ("yx", (15, 64), "uint8"))

    def made(self) -> Localizer:
        return Localizer(shipped(self.model), provider="cpu")


class TestCrowd(TestFast):
    model = "crowd"


class TestSpots(TestFast):
    model = "spots"


class TestStacks(LocalizerTests):
    axes = "zyx"
    shape = (9, 64, 64)
    places = ((4.3, 14.3, 45.8), (3.6, 25.0, 19.6), (4.9, 38.7, 40.2), (4.0, 47.4, 15.1))
    sigma_px = (2.0, 1.3, 1.3)
    tolerance_px = (0.4, 0.3, 0.3)
    refused = (
        ("yx", (64, 64), "uint16"),
        ("zyx", (2, 32, 32), "uint16"),  # two planes do not determine z
        ("zyx", (0, 32, 32), "uint16"),
        ("zyx", (5, 8, 32), "uint16"),
        ("zyx", (5, 32, 32), "float64"),
    )

    def made(self) -> StackLocalizer:
        return StackLocalizer(shipped("fast"), provider="cpu")


class TestHolograms(TestFast):
    model = "hologram"
    axes = "cyx"
    dtypes = ("float32",)
    shape = (2, 128, 160)
    places = ((34.3, 110.8), (45.0, 41.6), (78.7, 88.2), (97.4, 130.1))
    tolerance_px = (0.5, 0.5)
    refused = (
        ("cyx", (1, 64, 64), "float32"),
        ("yx", (64, 64), "float32"),
        ("cyx", (2, 64, 64), "uint16"),
        ("cyx", (2, 1, 1), "float32"),
    )

    def image(self, places: NDArray[np.float64]) -> NDArray[np.float64]:
        spheres = [Sphere(y, x, 0.0, 0.15, 1.58) for y, x in places]
        field = holograms.render(spheres, (128, 160))
        field += holograms.noise((128, 160), 0.02, np.random.default_rng(5))
        return np.stack([field.real, field.imag]).astype(np.float64)
