"""What every format of recordings must do: a file becomes the frames that were written into it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from livespt.acquisition.recordings.movie import NOTHING, Movie, MovieUnits, Stated
from livespt.acquisition.recordings.open_movie import open_movie
from livespt.stream.errors import InputError
from livespt.stream.types import CLOCKS
from livespt.tools.conformance.refusal import refusal


class RecordingTests(ABC):
    """Tests of a format that `open_movie` reads; inherit them, and override the hooks.

    Whatever `write` makes must come from a program that knows nothing of this package.

    Attributes
    ----------
    axes : str
        Axes of the arrays given to `write`, from "tpczyx": those that the format can hold.
    dtypes : tuple of str
        Types of pixels that the format can hold.
    units : MovieUnits
        Pixel size, frame interval and z step that `write` states; None where it states none.

    Examples
    --------
    >>> class TestMyFormat(RecordingTests):
    ...     axes = "tyx"
    ...
    ...     def write(self, folder, pixels):
    ...         library.save(folder / "movie.ext", pixels)
    ...         return folder / "movie.ext"
    """

    axes: ClassVar[str] = "tyx"
    dtypes: ClassVar[tuple[str, ...]] = ("uint8", "uint16", "float32")
    units: ClassVar[MovieUnits] = MovieUnits()

    @abstractmethod
    def write(self, folder: Path, pixels: NDArray[Any]) -> Path:
        """Hook: write a movie of `pixels`, with `axes`, into an empty folder; return its path."""

    def opened(self, path: Path, stated: Stated = NOTHING) -> Movie:
        """Hook: open it; by default with `open_movie`."""
        return open_movie(path, stated)

    def times(self, n: int) -> list[float] | None:
        """Hook: seconds of the n time points; None where the file does not tell them."""
        step = self.units.frame_interval_s
        return None if step is None else [t * step for t in range(n)]

    def numbers(self, n: int) -> list[int]:
        """Hook: numbers of the n exposures that are in the file."""
        return list(range(n))

    def truncate(self, path: Path) -> None:
        """Hook: take away the end of the file, as a full disk does."""
        files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
        last = max(files, key=lambda file: file.stat().st_size)
        last.write_bytes(last.read_bytes()[: -last.stat().st_size // 3])

    @abstractmethod
    def damage(self, path: Path, pixels: NDArray[Any], i: int) -> None:
        """Hook: take away or destroy what holds the pixels of frame i."""

    def _pixels(self, dtype: str = "uint16") -> NDArray[Any]:
        """A movie in which no two frames are alike, and no row is like a column."""
        sizes = {"t": 6, "p": 2, "c": 2, "z": 3, "y": 16, "x": 21}
        shape = [sizes[axis] for axis in self.axes]
        return np.random.default_rng(1).integers(0, 251, shape).astype(dtype)

    def _frames(self, pixels: NDArray[Any]) -> tuple[NDArray[Any], list[tuple[int, int, int]]]:
        """The frames (n, [z,] y, x), channels fastest, and their (t, position, channel)."""
        outer = [axis for axis in "tpc" if axis in self.axes]
        inner = [axis for axis in "zyx" if axis in self.axes]
        order = [self.axes.index(axis) for axis in (*outer, *inner)]
        sorted_ = pixels.transpose(order)
        shape = sorted_.shape[: len(outer)]
        places = []
        for index in np.ndindex(*shape):
            at = dict(zip(outer, map(int, index), strict=True))
            places.append((at.get("t", 0), at.get("p", 0), at.get("c", 0)))
        return sorted_.reshape(-1, *sorted_.shape[len(outer) :]), places

    def _written(self, folder: Path, dtype: str = "uint16") -> tuple[Path, NDArray[Any]]:
        folder.mkdir(exist_ok=True)
        pixels = self._pixels(dtype)
        return self.write(folder, pixels), pixels

    def test_frames_are_those_that_were_written(self, tmp_path: Path) -> None:
        """Each pixel, in order of time, position and channel, for each type of pixels."""
        for dtype in self.dtypes:
            path, pixels = self._written(tmp_path / dtype, dtype)
            frames, places = self._frames(pixels)
            movie = self.opened(path)
            assert movie.axes == "".join(axis for axis in "zyx" if axis in self.axes)
            assert (movie.shape, movie.dtype) == (frames.shape[1:], np.dtype(dtype))
            assert len(movie) == movie.n_frames == len(frames) and movie.analyzed.all()
            for frame, image, place in zip(movie, frames, places, strict=True):
                assert (frame.t, frame.position, frame.channel) == place
                assert frame.image.dtype == dtype and np.array_equal(frame.image, image)
            assert [frame.number for frame in movie] == self.numbers(len(frames))

    def test_units_and_times_are_those_that_were_written(self, tmp_path: Path) -> None:
        """In micrometers and seconds; where nothing is stated there is no unit and no clock."""
        path, pixels = self._written(tmp_path)
        movie = self.opened(path)
        for name, true in self.units._asdict().items():
            value = getattr(movie, name)
            assert (value is None) == (true is None), name
            assert value is None or abs(value - true) < 1e-6 * true, name
            assert (name in movie.origins) == (value is not None), f"where is {name} from?"
        times = self.times(pixels.shape[self.axes.index("t")])
        for frame in movie:
            assert abs(frame.time_s - (times[frame.t] if times else 0.0)) < 1e-6
            assert (CLOCKS[frame.clock] == "none") == (times is None)

    def test_any_frame_can_be_read_at_any_time(self, tmp_path: Path) -> None:
        """In any order, again and again, as in iteration; no frame lies outside."""
        path, _ = self._written(tmp_path)
        movie = self.opened(path)
        images = [frame.image for frame in movie]
        for i in [*reversed(range(len(movie))), 0, 0]:
            assert np.array_equal(movie.frame(i).image, images[i])
        first, second = iter(movie), iter(movie)
        for image in images:
            assert np.array_equal(next(first).image, image)
            assert np.array_equal(next(second).image, image)
        for i in (-1, len(movie)):
            try:
                movie.frame(i)
            except IndexError as error:
                assert str(path) in str(error)
            else:
                raise AssertionError(f"there is a frame {i}")

    def test_an_image_belongs_to_the_caller(self, tmp_path: Path) -> None:
        """C-contiguous, in native byte order, and free to be changed."""
        path, _ = self._written(tmp_path)
        movie = self.opened(path)
        image = movie.frame(1).image
        assert image.flags.c_contiguous and image.flags.writeable and image.dtype.isnative
        before = image.copy()
        image[:] = 0
        assert np.array_equal(movie.frame(1).image, before)

    def test_reading_changes_nothing_and_is_silent(self, tmp_path: Path, capfd: Any) -> None:
        """No byte of the file, and no word on the terminal."""
        path, _ = self._written(tmp_path)
        before = _contents(tmp_path)
        capfd.readouterr()
        movie = self.opened(path)
        list(movie)
        del movie
        assert capfd.readouterr() == ("", "")
        assert _contents(tmp_path) == before

    def test_a_truncated_file_is_refused(self, tmp_path: Path, capfd: Any) -> None:
        """When it is opened, or at the frame that is missing: never other pixels instead."""
        path, pixels = self._written(tmp_path)
        self.truncate(path)
        capfd.readouterr()
        text = refusal(InputError, lambda: self._compared(path, pixels))
        assert str(path) in text
        assert capfd.readouterr() == ("", "")

    def test_what_the_user_states_rules(self, tmp_path: Path) -> None:
        """Over what the file says, and over the times of its frames."""
        path, _ = self._written(tmp_path)
        movie = self.opened(path, Stated(pixel_size_um=0.25, frame_interval_s=3.0, exposure_s=0.5))
        assert (movie.pixel_size_um, movie.frame_interval_s, movie.exposure_s) == (0.25, 3.0, 0.5)
        assert [frame.time_s for frame in movie] == [3.0 * frame.t for frame in movie]
        assert {CLOCKS[frame.clock] for frame in movie} == {"file"}

    def test_a_missing_frame_is_told(self, tmp_path: Path) -> None:
        """By an error that names the file, or as a lost exposure; never other pixels instead.

        A hole is a number that is left out, and a notice. Where the file is refused, frames before
        the missing one can be read if it opens at all.
        """
        path, pixels = self._written(tmp_path)
        frames, _ = self._frames(pixels)
        self.damage(path, pixels, 3)
        if (holes := self._holes(path, frames)) is not None:
            assert holes == [self.numbers(len(frames))[3]]
            return
        read = list[int]()
        text = refusal(InputError, lambda: self._compared(path, pixels, read.append))
        assert str(path) in text
        assert len(read) in (0, 3) and len(frames) > 3

    def _holes(self, path: Path, frames: NDArray[Any]) -> list[int] | None:
        """Numbers that a movie leaves out and tells of; None: it is refused, or leaves out none."""
        try:
            movie = self.opened(path)
        except InputError:
            return None
        there = [frame.number for frame in movie] if len(movie) < len(frames) else []
        if not there:
            return None
        numbers = self.numbers(len(frames))
        for frame in movie:
            assert np.array_equal(frame.image, frames[numbers.index(frame.number)])
        assert any("missing" in notice and path.name in notice for notice in movie.notices)
        return sorted({*numbers} - {*there})

    def _compared(
        self, path: Path, pixels: NDArray[Any], passed: Callable[[int], None] = lambda i: None
    ) -> None:
        """Read every frame; AssertionError where one is not as it was written."""
        frames, _ = self._frames(pixels)
        movie = self.opened(path)
        for i, image in enumerate(frames):
            assert i < len(movie), f"frame {i} is missing, and nothing says so"
            assert np.array_equal(movie.frame(i).image, image), f"pixels of frame {i}"
            passed(i)


def _contents(folder: Path) -> dict[str, bytes]:
    """Each file below a folder, with what it holds."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
