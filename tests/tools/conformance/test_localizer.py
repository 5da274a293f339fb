"""The suite of localizers finds out what is wrong with one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from livespt.stream.errors import InputError
from livespt.stream.types import SPOT
from livespt.tools.conformance.localizer import LocalizerTests


class Brightest:
    """Finds the local maxima above a threshold: positions of whole pixels."""

    def __call__(self, image: NDArray[Any]) -> NDArray[np.void]:
        if (reason := self.refuses("yx", image.shape, image.dtype.name)) is not None:
            raise InputError(reason)
        counts = np.nan_to_num(image.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
        inner, peak = counts[1:-1, 1:-1], np.zeros(counts.shape, bool)
        around = [counts[1 + dy : counts.shape[0] - 1 + dy, 1 + dx : counts.shape[1] - 1 + dx]
                  for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]  # fmt: skip
        peak[1:-1, 1:-1] = (inner > np.max(around, axis=0)) & (inner > 90)
        rows = np.zeros(peak.sum(), SPOT)
        rows["y"], rows["x"] = np.nonzero(peak)
        rows["track"] = -1
        for name in ("dz", "dy", "dx", "sigma"):
            rows[name] = np.nan
        return rows

    def refuses(self, axes: str, shape: tuple[int, ...], dtype: str) -> str | None:
        known = ("uint8", "uint16", "float32")
        fits = axes == "yx" and len(shape) == 2 and min(shape) > 2 and np.dtype(dtype).name in known
        return None if fits else f"{axes} {shape} {dtype} cannot be analyzed"


class Transposed(Brightest):
    def __call__(self, image: NDArray[Any]) -> NDArray[np.void]:
        rows = super().__call__(image)
        rows["y"], rows["x"] = rows["x"].copy(), rows["y"].copy()
        return rows


class OffByHalf(Brightest):
    def __call__(self, image: NDArray[Any]) -> NDArray[np.void]:
        rows = super().__call__(image)
        rows["y"] += 0.9
        return rows


class Remembering(Brightest):
    seen = 0

    def __call__(self, image: NDArray[Any]) -> NDArray[np.void]:
        rows = super().__call__(image)
        self.seen += 1
        rows["score"] = self.seen
        return rows


class Blurring(Brightest):
    def __call__(self, image: NDArray[Any]) -> NDArray[np.void]:
        image -= image.min()
        return super().__call__(image)


class Generous(Brightest):
    def refuses(self, axes: str, shape: tuple[int, ...], dtype: str) -> str | None:
        return None


class Timid(Brightest):
    def __call__(self, image: NDArray[Any]) -> NDArray[np.void]:
        return super().__call__(image)[: 0 if np.isnan(image).any() else None]


class Imagining(Brightest):
    def __call__(self, image: NDArray[Any]) -> NDArray[np.void]:
        rows = super().__call__(image)
        return rows if len(rows) else np.zeros(1, SPOT)


class Unordered(Brightest):
    def __call__(self, image: NDArray[Any]) -> NDArray[np.void]:
        return super().__call__(image)[::-1]


class Faulty(LocalizerTests):
    tolerance_px = (0.6, 0.6)

    def __init__(self, kind: type[Brightest]) -> None:
        self.kind, self.one = kind, kind()

    def made(self) -> Brightest:
        return self.kind()

    def _localizer(self) -> Brightest:  # type: ignore[override]
        return self.one


LOCALIZERS: dict[type[Brightest], str] = {
    Transposed: "test_particles_are_found_where_they_are",
    OffByHalf: "test_a_shifted_image_shifts_the_spots",
    Unordered: "test_rows_are_complete_and_in_order",
    Remembering: "test_the_same_image_gives_the_same_bytes",
    Blurring: "test_the_image_stays_as_it_was",
    Imagining: "test_nothing_is_found_where_nothing_is",
    Timid: "test_pixels_that_are_no_numbers_hide_nothing_else",
    Generous: "test_what_it_cannot_analyze_is_refused",
}


@pytest.mark.parametrize("kind", LOCALIZERS, ids=lambda kind: kind.__name__)
def test_a_faulty_localizer_is_found_out(kind: type[Brightest]) -> None:
    getattr(Faulty(Brightest), LOCALIZERS[kind])()
    with pytest.raises(AssertionError):
        getattr(Faulty(kind), LOCALIZERS[kind])()
