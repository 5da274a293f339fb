"""Frame ledger: which exposures are stored and which were analyzed; makes the rows of `frames`."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.stream.store.frame_log import LogReader, log_record
from livespt.stream.types import FRAME, Frame, Timings, Update

MAX_EARLY = 1 << 14  # updates stored before their frame: no ring lets a recorder fall so far back

MARKED = ("spots", "states", "events")  # tables whose rows follow from the frames analyzed


class TablePosition(NamedTuple):
    """Where the tables of a run were after some frame, kept with a snapshot of the analyzer."""

    number: int  # of the frame
    rows: dict[str, int]  # of the `MARKED` tables
    analyzed: int  # frames, those among them that the recorder lost included
    # by number: counts of those stored before their frame
    early: Mapping[int, tuple[int, int]] = {}
    record: int = 0  # of the journal, by which all of it was committed


class Counts(NamedTuple):
    """What a frame's row tells of its update."""

    spots: int
    degraded: int
    timings: Timings = Timings()
    level: int = 0
    quality: int = 0
    drift: tuple[float, float] | None = None

    @classmethod
    def of(cls, update: Update) -> Counts:
        """Those of an update."""
        return cls(
            len(update.spots),
            update.degraded,
            update.timings,
            update.level,
            update.quality,
            update.drift,
        )


class FrameLedger:
    """Stored exposures without a row in `frames` yet, and what is known of those analyzed.

    Attributes
    ----------
    log : LogReader or None
        Of the movie; None: the run has none, and is told of frames by `note`.
    stored : deque of LOG records
        Exposures without a row, in order.
    early : dict
        By number: counts of the updates that were committed before their frame was stored.
    previous : int
        Number of the last row.
    analyzed : int
        Updates committed.
    """

    def __init__(self, run: Path) -> None:
        self.log = LogReader(run) if (run / "movie").is_dir() else None
        self.stored: deque[np.void] = deque()
        self.early: dict[int, Counts] = {}
        self.previous = -1
        self.analyzed = 0

    def poll(self) -> None:
        """Take in what the recorder has stored since."""
        if self.log is not None:
            new = self.log.poll()  # of a run that is resumed, many have their row
            self.stored.extend(new[new["number"] > self.previous])

    def note(self, frame: Frame) -> None:
        """Take in a frame of a run without a movie; once is enough."""
        newest = int(self.stored[-1]["number"]) if self.stored else self.previous
        if self.log is None and frame.number > newest:
            self.stored.append(log_record(0, frame)[0])

    def note_early(self, number: int, counts: Counts) -> None:
        """An update was committed whose frame is not stored yet, if it ever is."""
        self.early[number] = counts
        if len(self.early) > MAX_EARLY:
            del self.early[next(iter(self.early))]
        self.analyzed += 1

    def rows(self, number: int | None = None, counts: Counts | None = None) -> NDArray[np.void]:
        """FRAME rows, (n,), of exposures stored up to `number` (None: all); `counts` are of it."""
        rows, previous = [], self.previous
        for record in self.stored:
            found = int(record["number"])
            if number is not None and found > number:
                break
            own = counts if found == number else self.early.get(found)
            rows.append(_row(record, own, max(found - previous - 1, 0)))
            previous = found
        return np.array(rows, FRAME)

    def written(self, rows: NDArray[np.void]) -> None:
        """Forget the exposures that now have these rows."""
        for row in rows:
            self.stored.popleft()
            self.previous = int(row["number"])
        # frames are stored in order: what is not there by now never comes
        while self.early and next(iter(self.early)) <= self.previous:
            del self.early[next(iter(self.early))]

    def reopen(self, frames: NDArray[np.void]) -> None:
        """Go on after these FRAME rows, (n,), of a writer that died."""
        self.previous = int(frames["number"].max(initial=-1))
        self.analyzed = int((frames["analyzed"] == 1).sum())

    def recall(self, analyzed: int, early: Mapping[int, tuple[int, int]]) -> None:
        """Take in early commits of a writer that died: `analyzed` of them have no row as such."""
        self.analyzed += analyzed
        self.early |= {n: Counts(*counts) for n, counts in early.items() if n > self.previous}


def _row(record: np.void, counts: Counts | None, lost: int) -> NDArray[np.void]:
    """FRAME row of a stored frame; without counts it was not analyzed."""
    spots, degraded, timings, level, quality, drift = counts or Counts(0, 0)
    row = np.zeros((), FRAME)
    row["number"], row["frame"], row["time_s"] = record["number"], record["t"], record["time_s"]
    row["channel"], row["position"] = record["channel"], record["position"]
    row["clock"], row["analyzed"] = record["clock"], counts is not None
    row["spots"], row["lost"] = spots, lost
    row["degraded"], row["level"], row["quality"] = degraded, level, quality
    row["drift_y"], row["drift_x"] = drift or (math.nan, math.nan)
    for name, value in timings._asdict().items():
        row[name] = value
    return row
