"""What every source of frames must do: the frames of a run, in order, and an end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np

from livespt.stream.types import CLOCKS, Frame, Source

PIXELS = ("uint8", "uint16", "float32")


class SourceTests(ABC):
    """Tests of a source; inherit them, and override the hooks `opened` and `truth`.

    Examples
    --------
    >>> class TestMySource(SourceTests):
    ...     @contextmanager
    ...     def opened(self, folder):
    ...         yield MySource(...)
    ...
    ...     def truth(self):
    ...         return sample_frames()
    """

    @abstractmethod
    def opened(self, folder: Path) -> AbstractContextManager[Source]:
        """Hook: open a source that yields the frames of `truth` and then ends.

        Parameters
        ----------
        folder : Path
            Empty, for whatever it needs.
        """

    @abstractmethod
    def truth(self) -> list[Frame]:
        """Hook: the frames to be yielded, known by other means than the source's own code."""

    def test_frames_are_those_that_were_taken(self, tmp_path: Path) -> None:
        """In order, with all their words and every pixel; none twice, none left out."""
        with self.opened(tmp_path) as source:
            for frame, true in zip(source, self.truth(), strict=True):
                assert frame[:4] == true[:4]
                assert np.array_equal(frame.time_s, true.time_s, equal_nan=True)
                assert frame.clock == true.clock
                assert frame.image.dtype == true.image.dtype
                assert np.array_equal(frame.image, true.image), f"pixels of frame {frame.number}"

    def test_numbers_count_exposures(self, tmp_path: Path) -> None:
        """A later frame has a greater number; a gap means lost exposures."""
        with self.opened(tmp_path) as source:
            numbers = [frame.number for frame in source]
        assert numbers[0] >= 0 and (np.diff(numbers) > 0).all()

    def test_values_have_the_types_of_the_vocabulary(self, tmp_path: Path) -> None:
        """Python's own numbers, as the wire and the store write them, and codes that exist."""
        with self.opened(tmp_path) as source:
            for frame in source:
                whole = (*frame[:4], frame.clock, frame.captured_ns, frame.level)
                assert {type(value) for value in whole} == {int}
                assert type(frame.time_s) is float
                assert 0 <= frame.clock < len(CLOCKS)
                assert frame.channel >= 0 and frame.captured_ns >= 0 and frame.level >= 0

    def test_images_are_of_one_kind(self, tmp_path: Path) -> None:
        """C-contiguous (y, x) or (z, y, x) of one shape, in native byte order."""
        with self.opened(tmp_path) as source:
            images = [frame.image for frame in source]
        assert len({(image.shape, image.dtype) for image in images}) == 1
        for image in images:
            assert image.ndim in (2, 3) and image.flags.c_contiguous
            assert image.dtype in map(np.dtype, PIXELS) and image.dtype.isnative

    def test_times_do_not_go_back(self, tmp_path: Path) -> None:
        """Seconds never decrease, time points neither within a channel and position; NaN: none."""
        with self.opened(tmp_path) as source:
            frames = [frame._replace(image=frame.image[:0]) for frame in source]
        times = np.array([frame.time_s for frame in frames])
        assert np.isnan(times).all() or (np.diff(times) >= 0).all()
        for lane in {(frame.channel, frame.position) for frame in frames}:
            points = [frame.t for frame in frames if (frame.channel, frame.position) == lane]
            assert (np.diff(points) > 0).all(), f"time points of channel, position {lane}"

    def test_a_frame_stays_as_it_was(self, tmp_path: Path) -> None:
        """Its memory isn't used again for later frames while the consumer holds it."""
        with self.opened(tmp_path) as source:
            frames = list(source)
            for frame, true in zip(frames, self.truth(), strict=True):
                assert np.array_equal(frame.image, true.image), f"pixels of frame {frame.number}"

    def test_it_ends(self, tmp_path: Path) -> None:
        """After the last frame comes no other, however often one asks."""
        with self.opened(tmp_path) as source:
            frames = iter(source)
            count = sum(1 for _ in frames)
            assert count == len(self.truth())
            assert [next(frames, None) for _ in range(3)] == [None] * 3
