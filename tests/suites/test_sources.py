"""Every source does what sources must do: rings, movies, what wraps them for the loop."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tifffile

from livespt.acquisition.recordings.open_movie import open_movie
from livespt.acquisition.simulated import Scenario, SimulatedMovie, virus_entry
from livespt.stream.analyzer import Analyzer
from livespt.stream.degradation import Degradation
from livespt.stream.recovery.reanalysis import Reanalysis
from livespt.stream.ring.reader import RingReader
from livespt.stream.ring.writer import RingWriter
from livespt.stream.settings import Settings
from livespt.stream.sources import after_reanalysis, graded, handed_over, paced
from livespt.stream.store.run import RunWriter
from livespt.stream.timing import Stages, Timed, TimedInfer
from livespt.stream.types import CLOCKS, Frame, Source, Stop
from livespt.tools.conformance.samples import SHAPE, sample_frames, start_of
from livespt.tools.conformance.source import SourceTests
from livespt.tools.runs.interrupt import Interrupt
from livespt.tools.runs.replay import chosen


@contextmanager
def ring(frames: list[Frame], *, lossless: bool = False, end: bool = True) -> Iterator[RingReader]:
    """A ring that holds these frames; its writer has ended, or died without an end."""
    name = f"suite-{os.getpid()}-{time.monotonic_ns()}"
    writer = RingWriter(name, len(frames), SHAPE, "uint16")
    with RingReader(name, lossless=lossless) as reader:
        for frame in frames:
            number, t, channel, position, time_s, image, clock, *_ = frame
            writer.put(
                image, number=number, t=t, channel=channel, position=position, time_s=time_s,
                clock=clock, captured_ns=time.monotonic_ns(),
            )  # fmt: skip
        if end:
            writer.end()
        else:
            writer.close()
        yield reader
        if end:
            writer.close()


class TestRing(SourceTests):
    @contextmanager
    def opened(self, folder: Path) -> Iterator[Source]:
        with ring(sample_frames()) as reader:
            yield reader

    def truth(self) -> list[Frame]:
        return sample_frames()


class TestLosslessRing(TestRing):
    @contextmanager
    def opened(self, folder: Path) -> Iterator[Source]:
        with ring(sample_frames(), lossless=True) as reader:
            yield reader


class TestGradedRing(TestRing):
    @contextmanager
    def opened(self, folder: Path) -> Iterator[Source]:
        with ring(sample_frames()) as reader:
            yield handed_over(graded(reader, Degradation()))


class TestOrphanedRing(TestRing):
    """Its writer died: what it left is read, and then the source ends."""

    @contextmanager
    def opened(self, folder: Path) -> Iterator[Source]:
        with ring(sample_frames(), end=False) as reader:
            yield handed_over(reader)


class TestTiff(SourceTests):
    @contextmanager
    def opened(self, folder: Path) -> Iterator[Source]:
        pixels = np.stack([frame.image for frame in self.truth()])
        facts = {"axes": "TYX", "TimeIncrement": 0.05}
        tifffile.imwrite(folder / "a.ome.tif", pixels, metadata=facts)
        yield open_movie(folder / "a.ome.tif")

    def truth(self) -> list[Frame]:
        frames = sample_frames(range(6), channels=1)
        return [frame._replace(position=0, clock=CLOCKS.index("file")) for frame in frames]


class TestPaced(TestTiff):
    @contextmanager
    def opened(self, folder: Path) -> Iterator[Source]:
        with super().opened(folder) as movie, Interrupt() as interrupt:
            yield interrupt.until(paced(iter(movie), 1e-9), lambda n: None)


class TestRun(SourceTests):
    """A run of ours, as it is replayed."""

    @contextmanager
    def opened(self, folder: Path) -> Iterator[Source]:
        frames = sample_frames()
        writer = RunWriter(folder / "a.zarr", start_of(frames))
        for frame in frames:
            writer.add_frame(frame)
        writer.close(Stop("conformance", "complete"))
        movie = open_movie(folder / "a.zarr")
        out = RunWriter(folder / "b.zarr", start_of(frames))
        yield chosen(movie, True, out)
        out.close(Stop("conformance", "complete"))

    def truth(self) -> list[Frame]:
        return sample_frames()


class TestContinued(TestRun):
    """The frames of a run that was cut short before any was analyzed."""

    @contextmanager
    def opened(self, folder: Path) -> Iterator[Source]:
        frames = sample_frames()
        RunWriter(folder / "a.zarr", start_of(frames)).leave()
        writer = RunWriter(folder / "a.zarr", start_of(frames), resume=True)
        stages = Stages(Timed(nothing), TimedInfer(nothing))
        analyzer = Analyzer(stages.localize, stages.infer, Settings())
        recall = Reanalysis(folder / "a.zarr", analyzer, writer.tables)
        yield after_reanalysis(stages, recall, writer.tables.taking(iter(frames)))
        writer.leave()


def nothing(*_: object) -> None:
    raise AssertionError("nothing is to be analyzed again")


class TestSimulated(SourceTests):
    @contextmanager
    def opened(self, folder: Path) -> Iterator[Source]:
        yield simulated()

    def truth(self) -> list[Frame]:
        return known()


def simulated() -> SimulatedMovie:
    few = Scenario(seed=3, n_frames=20, shape=(48, 64), viruses=1, uncoating=1, visitors=0)
    return virus_entry(few)


@functools.cache
def known() -> list[Frame]:
    """Another movie of the same seed, drawn from the last frame to the first."""
    movie, camera = simulated(), CLOCKS.index("camera")
    frames = [Frame(i, i, 0, 0, i * 0.05, movie.frame(i), camera) for i in reversed(range(20))]
    return frames[::-1]
