"""The pipeline: the loop that every run is, live or replayed.

    for frame in source:
        update = analyze(frame)
        for sink in sinks:
            sink(frame, update)

Around these lines stands only what a loop needs at its edges: the clock, and the last word. A stage
that fails ends the run: sinks are closed with `Stop(status="failed")`, never with stale results.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from livespt.stream.analyzer import Analyzer
from livespt.stream.errors import LiveSptError
from livespt.stream.timing import Stages
from livespt.stream.types import Frame, Sink, Source, Start, Stop, Timings


def run(
    source: Source,
    analyze: Analyzer,
    sinks: Sequence[Sink],
    start: Start,
    stages: Stages,
    *,
    ending: Callable[[], tuple[str, str]] = lambda: ("complete", ""),
    clock: Callable[[], int] = time.perf_counter_ns,
) -> Stop:
    """Analyze every frame of `source` and hand each to every sink; return the last word.

    A frame that cannot follow those before it is handed to `leave_out` of those sinks that have
    it, with the reason: whoever stores frames stores it all the same.

    When the source ends, `ending` returns how it ended: status and reason of `Stop`.

    Raises
    ------
    BaseException
        Whatever a stage raised, after the sinks were closed with status "failed". What was
        committed stays; points not settled by then stay provisional.
    """
    frames = lost = spots = states = events = 0

    def stop(status: str, reason: str = "") -> Stop:
        return Stop(start.run, status, reason, frames, frames, 0, lost, spots, states, events)

    try:
        for frame in source:
            if reason := analyze.refuses(frame):
                _leave_out(sinks, frame, reason)
                continue
            begin = clock()
            update = analyze(frame)
            took = (clock() - begin) / 1e6
            timings = Timings(stages.localize.take_ms(), stages.infer.take_ms(), took)
            update = update._replace(timings=timings)
            frames, lost = frames + 1, lost + update.lost
            spots, states = spots + len(update.spots), states + len(update.states)
            events += len(update.events)
            for sink in sinks:
                update = sink(frame, update) or update
        last = analyze.finish()
        if last is not None:
            states, events = states + len(last.states), events + len(last.events)
            for sink in sinks:
                sink.finish(last)
        end = stop(*ending())
    except BaseException as error:
        _close(sinks, stop("failed", " ".join(f"{type(error).__name__}: {error}".split())))
        raise
    failures = _close(sinks, end)
    if failures:
        raise failures[0]
    return end


def _leave_out(sinks: Sequence[Sink], frame: Frame, reason: str) -> None:
    """Hand over a frame that is not analyzed."""
    for sink in sinks:
        leave_out = getattr(sink, "leave_out", None)
        if leave_out is not None:
            leave_out(frame, reason)


def _close(sinks: Sequence[Sink], stop: Stop) -> list[LiveSptError]:
    """Give every sink the last word, the store first; return what went wrong."""
    failures = []
    for sink in reversed(sinks):
        try:
            sink.close(stop)
        except LiveSptError as error:
            failures.append(error)
    return failures
