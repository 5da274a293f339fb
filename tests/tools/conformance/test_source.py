"""The suite of sources finds out what is wrong with one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from livespt.stream.types import Frame, Source
from livespt.tools.conformance.samples import sample_frames
from livespt.tools.conformance.source import SourceTests


class FaultySource(SourceTests):
    """Yields `faulty` of each frame; `again` makes it go on after its end."""

    def __init__(self, faulty: Any, again: bool = False) -> None:
        self.faulty, self.again = faulty, again

    @contextmanager
    def opened(self, folder: Path) -> Iterator[Source]:
        yield Endless(self.faulty) if self.again else map(self.faulty, sample_frames())

    def truth(self) -> list[Frame]:
        return sample_frames()


class Endless:
    """Goes on after it has ended once."""

    def __init__(self, faulty: Any) -> None:
        self.frames: list[Frame | None] = [*sample_frames(), None, faulty(sample_frames()[0])]

    def __iter__(self) -> Iterator[Frame]:
        return self  # type: ignore[return-value]

    def __next__(self) -> Frame:
        frame = self.frames.pop(0) if self.frames else None
        if frame is None:
            raise StopIteration
        return frame


BUFFER = sample_frames()[0].image.copy()


def reused(frame: Frame) -> Frame:
    BUFFER[:] = frame.image
    return frame._replace(image=BUFFER)


SOURCES: dict[str, tuple[SourceTests, str]] = {
    "other pixels": (
        FaultySource(lambda f: f._replace(image=f.image + 1)),
        "test_frames_are_those_that_were_taken",
    ),
    "another time": (
        FaultySource(lambda f: f._replace(time_s=f.time_s + 1)),
        "test_frames_are_those_that_were_taken",
    ),
    "numbers that repeat": (
        FaultySource(lambda f: f._replace(number=f.number // 2)),
        "test_numbers_count_exposures",
    ),
    "numbers of NumPy": (
        FaultySource(lambda f: f._replace(t=np.int64(f.t))),
        "test_values_have_the_types_of_the_vocabulary",
    ),
    "an unknown clock": (
        FaultySource(lambda f: f._replace(clock=99)),
        "test_values_have_the_types_of_the_vocabulary",
    ),
    "images by columns": (
        FaultySource(lambda f: f._replace(image=np.asfortranarray(f.image))),
        "test_images_are_of_one_kind",
    ),
    "64-bit pixels": (
        FaultySource(lambda f: f._replace(image=f.image.astype("f8"))),
        "test_images_are_of_one_kind",
    ),
    "time that goes back": (
        FaultySource(lambda f: f._replace(time_s=-f.time_s)),
        "test_times_do_not_go_back",
    ),
    "one buffer for all": (FaultySource(reused), "test_a_frame_stays_as_it_was"),
    "no end": (FaultySource(lambda f: f, again=True), "test_it_ends"),
}


@pytest.mark.parametrize("name", SOURCES)
def test_a_faulty_source_is_found_out(name: str, tmp_path: Path) -> None:
    suite, test = SOURCES[name]
    with pytest.raises(AssertionError):
        getattr(suite, test)(tmp_path)
