"""Outputs of a run: publisher, store and checkpoints, opened alike by live, replay and resume."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from livespt.stream import pipeline
from livespt.stream.errors import WireError
from livespt.stream.host.atomic_files import Durability
from livespt.stream.recovery.checkpoints import CHECKPOINT_S, Checkpoints
from livespt.stream.recovery.reanalysis import Reanalysis
from livespt.stream.sinks import Published, Said
from livespt.stream.sources import after_reanalysis
from livespt.stream.store.table_writer import TableWriter
from livespt.stream.types import Frame, Sink, Start, Stop
from livespt.stream.wire.event_history import StoredEvents
from livespt.stream.wire.publisher import Publisher
from livespt.tools.runs.compose import Chain

RETRY_S = 0.05  # interval between attempts to open a port that is still in use


class Outputs(NamedTuple):
    """A chain with everything that takes its updates, ready to run."""

    chain: Chain
    tables: TableWriter
    sinks: list[Sink]
    reanalysis: Reanalysis | None  # of a run that is continued

    def run(self, frames: Iterator[Frame], ending: Callable[[], tuple[str, str]]) -> Stop:
        """Analyze all frames; see `pipeline.run`.

        Parameters
        ----------
        frames : iterator of Frame
        ending : callable
            Returns status and reason of `Stop` when the frames have ended.
        """
        frames = self.tables.taking(frames)
        if self.reanalysis is not None:
            frames = after_reanalysis(self.chain.stages, self.reanalysis, frames)
        chain = self.chain
        return pipeline.run(
            frames, chain.analyzer, self.sinks, chain.start, chain.stages, ending=ending
        )


def open_outputs(
    chain: Chain,
    out: Path,
    store: Sink,
    tables: TableWriter,
    *,
    publisher: Publisher | None = None,
    reanalysis: Reanalysis | None = None,
    durability: Durability = "second",
    checkpoint_s: float = CHECKPOINT_S,
    say: Callable[[str], None] | None = None,
) -> Outputs:
    """Put the sinks of a run in the order in which they take an update.

    It is published first, so that subscribers do not wait for the disk, then stored; the checkpoint
    comes last, because it may only count what is stored.

    Parameters
    ----------
    chain : Chain
    out : Path
        The run, which exists.
    store : Sink
        Stores frames and tables, or tables alone.
    tables : TableWriter
        The writer behind `store`.
    publisher : Publisher, optional
    reanalysis : Reanalysis, optional
        Restores the state of the analyzer that started the run.
    durability : {"frame", "second", "end"}
        Of a new run; what differs from the default is noted in its `status`.
    checkpoint_s : float
        Least time between two checkpoints.
    say : callable, optional
        Is called with each notice about the sample.
    """
    if durability != "second" and reanalysis is None:
        tables.status("durability", -1, durability)
    sinks: list[Sink] = [] if publisher is None else [Published(publisher)]
    sinks += [store, Checkpoints(out, chain.analyzer, tables, checkpoint_s)]
    sinks += [] if say is None else [Said(say)]
    return Outputs(chain, tables, sinks, reanalysis)


def open_publisher(
    endpoint: str,
    start: Start,
    out: Path,
    *,
    keys: Path | None = None,
    epoch: int = 0,
    within_s: float = 0.0,
) -> Publisher:
    """Publish a run whose old events are read from its store.

    Parameters
    ----------
    endpoint : str
    start : Start
    out : Path
        The run; it may not exist yet.
    keys : Path, optional
        Folder of keys (stream/wire/keys.py): only subscribers with one of them are admitted.
    epoch : int
        Publishers of this run before this one.
    within_s : float
        Time for which to wait for a port that is in use, for instance by one that has just died.

    Raises
    ------
    WireError
        The endpoint is in use, or may not be used without keys.
    """
    deadline = time.monotonic() + within_s
    while True:
        try:
            return Publisher(endpoint, start, epoch=epoch, events=StoredEvents(out), folder=keys)
        except WireError:
            if time.monotonic() > deadline:
                raise
            time.sleep(RETRY_S)
