"""`livespt replay`: analyze a recorded movie in the same way as a live run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from livespt.acquisition.recordings.movie import NOTHING, MovieUnits, Stated
from livespt.stream.errors import SettingError, StoreError, WireError
from livespt.stream.host.atomic_files import Durability
from livespt.stream.host.crash_log import crash_log
from livespt.stream.recovery.checkpoints import CHECKPOINT_S
from livespt.stream.sinks import StoredReplay
from livespt.stream.sources import paced
from livespt.stream.store.run import RunWriter
from livespt.stream.types import Frame, Start, Stop
from livespt.stream.wire.codec import ENDPOINT
from livespt.stream.wire.publisher import Publisher
from livespt.tools.progress import Progress
from livespt.tools.runs.compose import compose
from livespt.tools.runs.interrupt import Interrupt
from livespt.tools.runs.options import Facts, Options
from livespt.tools.runs.outputs import open_outputs, open_publisher
from livespt.tools.runs.provenance import differences

if TYPE_CHECKING:
    from livespt.acquisition.recordings.movie import Movie


def replay(
    movie_path: Path | str,
    out: Path | str,
    options: Options,
    stated: Stated = NOTHING,
    *,
    rate: str = "max",
    endpoint: str = ENDPOINT,
    keys: Path | None = None,
    keep_movie: bool = True,
    all_frames: bool = False,
    durability: Durability = "second",
    checkpoint_s: float = CHECKPOINT_S,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Analyze a recorded movie into a new run.

    Parameters
    ----------
    movie_path : Path or str
        A livespt run, or a recording of a format that `open_movie` reads.
    out : Path or str
        The run to write; must not exist.
    options : Options
    stated : Stated
        What the user states of the movie, which rules over what its file says.
    rate : {"max", "realtime"}
        "realtime" waits for the time of each frame; no frame is skipped for being late.
    endpoint : str
        Endpoint at which to publish. If the default port is in use, this is reported, and the
        replay is not published.
    keys : Path, optional
        Folder of keys (stream/wire/keys.py): only subscribers with one of them are admitted.
    keep_movie : bool
        Store the frames as well, so that the run is complete in itself.
    all_frames : bool
        Also analyze the frames that the live run had to skip.
    durability : {"frame", "second", "end"}
        When frames and commits are safe from a power cut (stream/host/atomic_files.py).
    checkpoint_s : float
        Least time between two checkpoints, from which `resume` continues.
    say : callable
        Is called with each line of text for the user.

    Returns
    -------
    dict
        Summary, for printing and `--json`.

    Raises
    ------
    KeyboardInterrupt
        The user interrupted; the run was closed with what was analyzed.
    LiveSptError
        Movie, model, setting or output cannot be used; nothing was written.
    """
    from livespt.acquisition.recordings.open_movie import open_movie
    from livespt.acquisition.recordings.summary import summary

    movie_path, out = Path(movie_path), Path(out)
    for name in MovieUnits._fields:
        value = getattr(stated, name)
        if value is not None and not 0 < value < 1e6:
            raise SettingError(f"{name} must be above 0, not {value}")
    if out.exists():
        raise StoreError(f"'{out}' exists already: choose another --out, or --overwrite")
    movie = open_movie(movie_path, stated)
    for line in summary(movie):
        say(line)
    origin = movie.run.start if movie.run else None
    interval = movie.frame_interval_s
    if origin is not None and "classifier" in origin.models and stated.frame_interval_s is None:
        interval = origin.frame_interval_s  # a user's classifier computed with it: the same bytes
    facts = Facts(
        source=movie_path.name,
        axes=movie.axes,
        shape=movie.shape,
        dtype=movie.dtype.str,
        pixel_size_um=movie.pixel_size_um,
        frame_interval_s=interval,
        z_step_um=movie.z_step_um,
        exposure_s=movie.exposure_s,
        recording={"stated": stated.words(), "origins": movie.origins},
    )
    if rate == "realtime" and not interval:
        raise SettingError(
            f"the frame interval of '{movie_path}' is unknown: "
            "--rate realtime needs --frame-interval-s"
        )
    chain = compose(facts, options, "replay", origin)
    chain = chain._replace(start=replace(chain.start, all_frames=all_frames))
    if origin is not None and (different := differences(chain.start, origin)):
        say(f"note: the bytes may differ from those of the run: {'; '.join(different)}")
    publisher = publish(endpoint, chain.start, out, say, keys)
    try:
        writer = RunWriter(out, chain.start, movie=keep_movie, durability=durability)
    except BaseException:
        if publisher:
            publisher.close(Stop(chain.start.run, "failed", "the run could not be created"))
        raise
    outputs = open_outputs(
        chain,
        out,
        StoredReplay(writer),
        writer.tables,
        publisher=publisher,
        durability=durability,
        checkpoint_s=checkpoint_s,
        say=say,
    )

    frames = chosen(movie, all_frames, writer)
    if rate == "realtime" and interval:
        frames = paced(frames, interval)
    begin = time.perf_counter()
    with (
        crash_log(out, "replay"),
        Interrupt() as interrupt,
        Progress("replaying", len(movie), "frame") as passed,
    ):
        stop = outputs.run(interrupt.until(frames, passed), interrupt.ending)
    took = time.perf_counter() - begin
    if interrupt.seen:
        raise KeyboardInterrupt
    return {
        "run": str(out),
        "frames": stop.analyzed,
        "skipped": 0 if all_frames else int((~movie.analyzed).sum()),
        "spots": stop.spots,
        "events": stop.events,
        "frames_per_s": round(stop.analyzed / took, 1),
        "provider": chain.start.machine["provider"],
        "published": publisher.endpoint if publisher else None,
    }


def publish(
    endpoint: str, start: Start, out: Path, say: Callable[[str], None], keys: Path | None = None
) -> Publisher | None:
    """Open the publisher; if the default port is in use, report it and return None."""
    try:
        return open_publisher(endpoint, start, out, keys=keys)
    except WireError as error:
        if endpoint != ENDPOINT:
            raise
        say(f"note: this replay is not published: {error}")
        return None


def chosen(movie: Movie, all_frames: bool, writer: RunWriter) -> Iterator[Frame]:
    """Yield the frames to analyze; only store those that the recorded run skipped."""
    for frame, analyzed in zip(movie, movie.analyzed, strict=True):
        if all_frames:
            yield frame._replace(level=0)  # without degradation
        elif analyzed:
            yield frame
        else:
            writer.add_frame(frame)
