"""`livespt resume`: finish an interrupted run in place, without changing what it holds."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from livespt.acquisition.recordings.movie import Stated
from livespt.stream.errors import InputError
from livespt.stream.host.crash_log import crash_log, remove_empty_logs
from livespt.stream.recovery.checkpoints import CHECKPOINT_S
from livespt.stream.recovery.reanalysis import Reanalysis
from livespt.stream.store.attributes import Attributes, read_attributes
from livespt.stream.store.frame_log import LogReader
from livespt.stream.store.ome_image import movie_dtype
from livespt.stream.store.run import RunReader, RunWriter, open_run
from livespt.stream.types import FORMAT, Frame, Start, Stop, Update
from livespt.tools.progress import Progress
from livespt.tools.runs.compose import Chain, compose
from livespt.tools.runs.interrupt import Interrupt
from livespt.tools.runs.options import Facts, Options
from livespt.tools.runs.outputs import open_outputs
from livespt.tools.runs.provenance import differences

if TYPE_CHECKING:
    from livespt.acquisition.recordings.movie import Movie


def resume(
    run: Path,
    *,
    movie: Path | None = None,
    close: bool = False,
    checkpoint_s: float = CHECKPOINT_S,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Finish an interrupted run.

    The state of the analyzer is restored (stream/recovery/reanalysis.py). Then frames that are
    stored and were not analyzed are analyzed, and those of the source of a replay that are not
    stored yet.

    Parameters
    ----------
    run : Path
    movie : Path, optional
        Movie that the run replays; by default it is searched next to the run and in the current
        folder.
    close : bool
        Do not analyze; end the run with what it has.
    checkpoint_s : float
        Least time between two checkpoints.
    say : callable
        Is called with each line of text for the user.

    Returns
    -------
    dict
        Summary, for printing and `--json`.

    Raises
    ------
    KeyboardInterrupt
        The user interrupted; the run can be resumed again.
    LiveSptError
        The run does not exist, ended as failed, is being written by another process, its source was
        not found, or it cannot be continued; what it holds is unchanged.
    """
    attributes = read_attributes(run)
    if attributes.stop is not None:
        return _ended(run, attributes.stop, say)
    _check_version(run, attributes)
    start, has_movie = attributes.start, (run / "movie").is_dir()
    if close:
        writer = RunWriter(run, start, movie=has_movie, resume=True)
        return _report(run, writer.close(Stop(start.run, "failed", "cut short")), 0)
    is_whole = has_movie and _is_whole(run)
    source = None if is_whole else find_source(run, start, movie)
    chain = chain_of_run(start, say)
    writer = RunWriter(run, start, movie=has_movie, resume=True)
    try:
        reanalysis = Reanalysis(run, chain.analyzer, writer.tables)
        if reanalysis.refused:
            say(f"note: {reanalysis.refused}")
        if source is None and reanalysis.newest > max(writer.last, reanalysis.last_known_frame):
            lost = f"frames {writer.last + 1} to {reanalysis.newest} were analyzed but not stored"
            say(f"note: {lost}: '{run}' ends with what it has")
            return _report(run, writer.close(Stop(start.run, "failed", lost)), 0)
        unfinished = UnfinishedRun(open_run(run), writer, reanalysis, source)
        outputs = open_outputs(
            chain,
            run,
            unfinished,
            writer.tables,
            reanalysis=reanalysis,
            checkpoint_s=checkpoint_s,
            say=say,
        )
    except BaseException:
        writer.leave()
        raise
    with (
        crash_log(run, "resume"),
        Interrupt() as interrupt,
        Progress("resuming", unit="frame") as passed,
    ):
        frames = _until(unfinished.frames(), interrupt, passed)
        stop = outputs.run(frames, lambda: _ending(start, is_whole, writer.last))
    remove_empty_logs(run)  # of the processes that were interrupted
    return _report(run, open_run(run).stop or stop, reanalysis.reanalyzed)


def chain_of_run(start: Start, say: Callable[[str], None]) -> Chain:
    """Build the chain of a run from its `Start`; report why its bytes may differ."""
    options = Options(provider=start.machine["provider"], threads=start.machine["threads"])
    chain = compose(Facts.of(start), options, start.mode, start)
    if different := differences(chain.start, start):
        say(f"note: the bytes may differ from those so far: {'; '.join(different)}")
    return chain._replace(start=start)


def find_source(run: Path, start: Start, movie: Path | None) -> Movie | None:
    """Open the movie that a run replays; None for a live run, which holds all its frames.

    Raises
    ------
    InputError
        The movie was not found.
    """
    from livespt.acquisition.recordings.open_movie import open_movie

    if start.mode == "live":
        return None
    paths = [movie] if movie else [run.parent / start.source, Path(start.source)]
    for path in paths:
        if movie or (start.source and path.exists()):
            return open_movie(path, Stated(**start.recording.get("stated", {})))
    raise InputError(
        f"'{run}' replays '{start.source}', which was not found next to it or in this folder: name "
        "it with --movie"
    )


class UnfinishedRun:
    """The rest of an interrupted run: source of the missing frames, and sink that stores them.

    Parameters
    ----------
    run : RunReader
        The interrupted run.
    writer : RunWriter
        Its writer, opened with `resume`.
    reanalysis : Reanalysis
    source : Movie or None
        Movie that the run replays; None if the run holds all frames.

    Raises
    ------
    InputError
        The source is not the movie that the run replays.
    """

    def __init__(
        self, run: RunReader, writer: RunWriter, reanalysis: Reanalysis, source: Movie | None
    ) -> None:
        self._run, self._writer, self._reanalysis, self._source = run, writer, reanalysis, source
        if source is not None:
            _check_source(run, source)

    def frames(self) -> Iterator[Frame]:
        """Yield the frames to analyze; store skipped frames that are not stored yet."""
        run, source = self._run, self._source
        for i in range(run.n_frames if source is None else len(source)):
            if i < run.n_frames and run.log["number"][i] <= self._reanalysis.last_known_frame:
                continue  # it is stored, and part of the restored state
            frame = run.frame(i) if i < run.n_frames else None
            if source is not None and (frame is None or not self._reanalysis.knows(frame.number)):
                frame = source.frame(i)
                frame = frame._replace(level=0) if run.start.all_frames else frame
            assert frame is not None
            default = source is None or run.start.all_frames or bool(source.analyzed[i])
            if self._reanalysis.wanted(frame.number, default):
                yield self._reanalysis.graded(frame)
            self._add(frame)

    def __call__(self, frame: Frame, update: Update) -> None:
        """Store a frame and its results."""
        self._add(frame)
        self._note(update)
        self._writer.tables.commit(frame, update)

    def finish(self, update: Update) -> None:
        """Store the rows that the end settles, unless the run already holds them."""
        if not self._reanalysis.finish(update):
            self._note(update)
            self._writer.finish(update)

    def close(self, stop: Stop) -> None:
        """End the run; after a failure, leave it open, so that it can be resumed."""
        if stop.status == "failed":
            self._writer.leave()
        else:
            self._writer.close(stop)

    def _note(self, update: Update) -> None:
        """Store what is told of the sample."""
        for kind, text in update.notices:
            self._writer.status(kind, update.t, text)

    def _add(self, frame: Frame) -> None:
        if frame.number > self._writer.last:
            self._writer.add_frame(frame)


def _until(
    frames: Iterator[Frame], interrupt: Interrupt, passed: Callable[[int], object]
) -> Iterator[Frame]:
    """Yield frames; if interrupted, raise KeyboardInterrupt, because an end would end the run."""
    for frame in frames:
        if interrupt.seen:
            raise KeyboardInterrupt
        yield frame
        passed(1)


def _ended(run: Path, stop: Stop, say: Callable[[str], None]) -> dict[str, Any]:
    """Report on a run that has already ended."""
    if stop.status == "failed":
        raise InputError(
            f"'{run}' ended as failed ({stop.reason}) and is closed; to analyze all its frames: "
            f"livespt replay {run} --out NEW.zarr --all-frames"
        )
    say(f"'{run}' ended as {stop.status}: there is nothing to resume")
    return _report(run, stop, 0)


def _check_version(run: Path, attributes: Attributes) -> None:
    """Refuse a run that another version of livespt started."""
    if attributes.start.format != FORMAT:
        raise InputError(
            f"'{run}' was started by another version of livespt, with format "
            f"{attributes.start.format}: replay it into a new run"
        )


def _check_source(run: RunReader, source: Movie) -> None:
    """Refuse a movie that does not begin with the frames of the run."""
    ours = run.start.axes, tuple(run.start.shape), movie_dtype(run.start)
    theirs = source.axes, source.shape, source.dtype.newbyteorder("<")
    n = run.n_frames if run.has_movie else len(run.frames)
    same = ours == theirs and len(source) >= n
    if same and n and run.has_movie:
        last, log = source.frame(n - 1), run.log[n - 1]
        pixels = last.image.astype(movie_dtype(run.start), copy=False)
        same = last.number == log["number"] and zlib.crc32(pixels.data) == log["pixels_crc"]
    if not same:
        raise InputError(
            f"'{source.path}' is not the movie that '{run.path}' replays: name it with --movie"
        )


def _is_whole(run: Path) -> bool:
    """Whether the recorder had ended the movie, so that it holds all frames."""
    log = LogReader(run)
    log.poll()
    return log.ended


def _ending(start: Start, is_whole: bool, last: int) -> tuple[str, str]:
    """Status and reason of `Stop`."""
    if start.mode == "live" and not is_whole:
        return "aborted", f"interrupted after frame {last}; resumed up to there"
    return "complete", ""


def _report(run: Path, stop: Stop, reanalyzed: int) -> dict[str, Any]:
    return {
        "run": str(run),
        "status": stop.status,
        "recorded": stop.recorded,
        "analyzed": stop.analyzed,
        "again": reanalyzed,
        "spots": stop.spots,
        "events": stop.events,
    }
