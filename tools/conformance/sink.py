"""What every sink must do: it takes each frame with its update, and the last word."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.stream import pipeline
from livespt.stream.analyzer import Analyzer
from livespt.stream.settings import Settings
from livespt.stream.timing import Stages, Timed, TimedInfer
from livespt.stream.types import SPOT, Frame, Sink, Start, Stop, Update, joined
from livespt.tools.conformance.samples import (
    last_update,
    sample_frames,
    sample_updates,
    start_of,
)

TABLES = ("spots", "states", "events")


class SinkTests(ABC):
    """Tests of a sink; inherit them, and override `made` and, if it keeps anything, `held`.

    Examples
    --------
    >>> class TestMySink(SinkTests):
    ...     def made(self, folder, start, frames):
    ...         return MySink(folder / "out")
    """

    @abstractmethod
    def made(self, folder: Path, start: Start, frames: list[Frame]) -> Sink:
        """Hook: make a sink that is ready for the first frame.

        Parameters
        ----------
        folder : Path
            Empty, for whatever it writes.
        start : Start
            First word of the run.
        frames : list of Frame
            The frames to come, for a sink that expects others to have stored them.
        """

    def held(self, folder: Path) -> Mapping[str, NDArray[np.void]] | None:
        """Hook: the rows of spots, states and events that it wrote or sent, after `close`.

        Read them by other means than this package's, such as Zarr or a bare socket. None: it
        writes no rows.
        """
        return None

    def test_it_holds_what_it_was_given(self, tmp_path: Path) -> None:
        """All rows of all updates, those that the end settles too, in order and to the bit."""
        frames = sample_frames()
        updates = [*sample_updates(frames), last_update(frames)]
        sink = self.made(tmp_path, start_of(frames), frames)
        for frame, update in zip(frames, updates, strict=False):
            sink(frame, update)
        sink.finish(updates[-1])
        sink.close(_stop(frames, updates))
        held = self.held(tmp_path)
        for name in TABLES if held is not None else ():
            given = [getattr(update, name) for update in updates]
            assert held is not None
            assert _words(held[name]) == _words(joined(given[0].dtype, given)), name

    def test_it_gives_back_measurements_alone(self, tmp_path: Path) -> None:
        """What a sink returns is nothing, or the update with other timings."""
        frames = sample_frames()
        updates = sample_updates(frames)
        sink = self.made(tmp_path, start_of(frames), frames)
        for frame, update in zip(frames, updates, strict=True):
            back = sink(frame, update)
            if back is not None:
                back = back._replace(timings=update.timings)
                assert all(new is old for new, old in zip(back, update, strict=True))
        sink.close(_stop(frames, updates))

    def test_it_leaves_what_it_is_given_as_it_was(self, tmp_path: Path) -> None:
        """It writes neither into the image nor into the rows: other sinks get them too."""
        frames = sample_frames()
        updates = [*sample_updates(frames), last_update(frames)]
        arrays = [frame.image for frame in frames]
        arrays += [getattr(update, name) for update in updates for name in TABLES]
        for array in arrays:
            array.flags.writeable = False  # whoever writes into it raises
        sink = self.made(tmp_path, start_of(frames), frames)
        for frame, update in zip(frames, updates, strict=False):
            sink(frame, update)
        sink.finish(updates[-1])
        sink.close(_stop(frames, updates))
        assert not any(array.flags.writeable for array in arrays)

    def test_it_can_be_closed_at_any_moment(self, tmp_path: Path) -> None:
        """Whatever the last word, after many frames or none, settled or not."""
        frames = sample_frames()
        updates = sample_updates(frames)
        for taken in (0, 3):
            for status in ("complete", "aborted", "failed"):
                folder = tmp_path / f"{status}{taken}"
                folder.mkdir()
                sink = self.made(folder, start_of(frames), frames)
                for frame, update in zip(frames[:taken], updates, strict=False):
                    sink(frame, update)
                sink.close(_stop(frames[:taken], updates[:taken], status))

    def test_a_frame_left_out_hinders_no_other(self, tmp_path: Path) -> None:
        """A sink that has `leave_out` takes a frame without an update, and goes on."""
        frames = sample_frames()
        analyzed = [frame for frame in frames if frame.number != 2]
        updates = sample_updates(analyzed)
        left = iter(updates)
        sink = self.made(tmp_path, start_of(frames), frames)
        leave_out = getattr(sink, "leave_out", None)
        for frame in frames:
            if frame.number != 2:
                sink(frame, next(left))
            elif leave_out is not None:
                leave_out(frame, "its time point does not follow")
        sink.close(_stop(analyzed, updates))

    def test_the_loop_runs_with_it(self, tmp_path: Path) -> None:
        """A whole run, and one whose source breaks: its error comes through, and no other."""

        def broken(frames: list[Frame]) -> Iterator[Frame]:
            yield from frames
            raise ConnectionError("the camera is gone")

        frames = sample_frames()
        for name in ("whole", "broken"):
            folder = tmp_path / name
            folder.mkdir()
            start, stages = start_of(frames), Stages(Timed(_localize), TimedInfer(_Unsure))
            sink = self.made(folder, start, frames)
            analyzer = Analyzer(stages.localize, stages.infer, Settings(lag=2))
            source = iter(frames) if name == "whole" else broken(frames)
            try:
                stop = pipeline.run(source, analyzer, [sink], start, stages)
            except ConnectionError:
                assert name == "broken"
            else:
                assert name == "whole"
                assert (stop.status, stop.analyzed) == ("complete", len(frames))


def _stop(frames: list[Frame], updates: list[Update], status: str = "complete") -> Stop:
    """The last word that the loop would say."""
    counts = [sum(len(getattr(update, name)) for update in updates) for name in TABLES]
    lost = sum(update.lost for update in updates)
    reason = "" if status == "complete" else "the user ended it"
    return Stop("conformance", status, reason, len(frames), len(frames), lost, *counts)


def _words(rows: NDArray[np.void]) -> dict[str, bytes]:
    """Bytes of each column: rows may be packed differently."""
    return {name: np.ascontiguousarray(rows[name]).tobytes() for name in rows.dtype.names or ()}


def _localize(image: NDArray[Any]) -> NDArray[np.void]:
    """One particle, where the image is brightest."""
    spots = np.zeros(1, SPOT)
    spots["y"], spots["x"] = np.unravel_index(image.argmax(), image.shape)
    return spots


class _Unsure:
    """A follower of tracks for which every motion is as likely as the others."""

    def push(self, slots: NDArray[np.int32], *_: Any) -> NDArray[np.float32]:
        return np.full((len(slots), 5), 0.25, np.float32)

    read = push

    def clear(self, slots: NDArray[np.int32]) -> None:
        pass
