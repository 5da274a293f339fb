"""Reanalysis: restore the state that an analyzer had when its run was cut.

It begins with the newest checkpoint, or with an empty state; the frames after it that the run holds
are analyzed again, and must give exactly the rows that are stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from livespt.stream.analyzer import Analyzer
from livespt.stream.descriptions import fitted
from livespt.stream.errors import InputError
from livespt.stream.recovery.checkpoints import read_checkpoint
from livespt.stream.recovery.snapshot import restore
from livespt.stream.store.frame_ledger import MARKED
from livespt.stream.store.table_writer import TableWriter
from livespt.stream.types import Frame, Update


class Reanalysis:
    """Knows which frames a cut run has analyzed, and compares what is analyzed again.

    Parameters
    ----------
    run : Path
    analyzer : Analyzer
        A new one with the same settings and models; it gets the state of the newest checkpoint
        that fits.
    tables : TableWriter
        Of the run, opened with `resume`.

    Attributes
    ----------
    last_known_frame : int
        Number of the last frame that the restored state includes; -1: none.
    reanalyzed : int
        Frames analyzed again.
    refused : str
        Why the newest checkpoint did not fit.
    """

    def __init__(self, run: Path, analyzer: Analyzer, tables: TableWriter) -> None:
        self._analyzer, self._tables = analyzer, tables
        self.last_known_frame, self.reanalyzed, self.refused = -1, 0, ""
        starts = dict.fromkeys(MARKED, 0)
        checkpoint = read_checkpoint(run)
        if checkpoint is not None and _fits(checkpoint.position.rows, tables):
            try:
                restore(analyzer, checkpoint.snapshot)
                self.last_known_frame, starts = checkpoint.position.number, checkpoint.position.rows
                tables.recall(checkpoint.position)
            except InputError as error:
                self.refused = str(error)
        self._left = {name: tables.rows(name, starts[name]) for name in MARKED}
        self._rows = tables.rows("frames")
        self._started, self._passed = tables.before["number"], 0
        self._levels = tables.before["level"]

    @property
    def newest(self) -> int:
        """Number of the last frame that the run says was analyzed; -1: none."""
        return int(self._rows["number"][self._rows["analyzed"] == 1].max(initial=-1))

    @property
    def pending(self) -> bool:
        """Whether the run holds rows that were not compared yet."""
        return any(len(rows) for rows in self._left.values())

    def wanted(self, number: int, default: bool = True) -> bool:
        """Whether a frame has to be analyzed; call it for each frame in turn.

        Of the frames after the restored state, those that the run had analyzed or started are;
        those that it skipped are not, nor any after the run was settled. For all others, the result
        is `default`.

        Raises
        ------
        InputError
            A frame before this one was analyzed but is stored nowhere.
        """
        if number <= self.last_known_frame:
            return False
        started, row = self._was_started(number), self._row(number)
        if row is not None:
            return bool(row["analyzed"])
        if len(self._started) and number <= self._started[-1]:
            return started
        return default and not self.pending

    def knows(self, number: int) -> bool:
        """Whether the run records whether and how this frame was analyzed."""
        last = int(self._started[-1]) if len(self._started) else -1
        return number <= last or self._row(number) is not None

    def graded(self, frame: Frame) -> Frame:
        """Return the frame with the level at which the run analyzed it, or had started to."""
        row = self._row(frame.number)
        at = int(np.searchsorted(self._started, frame.number))
        if row is not None:
            return frame._replace(level=int(row["level"]))
        if at < len(self._started) and self._started[at] == frame.number:
            return frame._replace(level=int(self._levels[at]))
        return frame

    def __call__(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        """Analyze the first of `frames` again, those that the run holds; yield the others.

        Raises
        ------
        InputError
            A frame gives other rows than those that the run holds.
        """
        for frame in frames:
            if not (self._has_row(frame.number) or self.pending):
                yield frame
                yield from frames
                return
            if self._analyzer.refuses(frame):  # out of order, as in the run itself
                continue
            update = self._analyzer(frame)
            self._compare(update)
            if not self._has_row(frame.number):
                self._tables.recall_early(update)
            self.reanalyzed += 1

    def finish(self, update: Update) -> bool:
        """Whether the rows that the end settles are in the run already.

        Raises
        ------
        InputError
            The run holds others.
        """
        if not self.pending:
            return False
        self._compare(update)
        return True

    def _row(self, number: int) -> np.void | None:
        """FRAME row of a frame, None if it has none."""
        at = int(np.searchsorted(self._rows["number"], number))
        found = at < len(self._rows) and self._rows["number"][at] == number
        return self._rows[at] if found else None

    def _has_row(self, number: int) -> bool:
        """Whether the row of a frame says that it was analyzed."""
        row = self._row(number)
        return row is not None and bool(row["analyzed"])

    def _was_started(self, number: int) -> bool:
        """Whether the run had started to analyze it; InputError if an earlier one was left out.

        A started frame that was neither recorded nor has rows in the run does not count.
        """
        while self._passed < len(self._started) and self._started[self._passed] <= number:
            started = int(self._started[self._passed])
            self._passed += 1
            if started == number:
                return True
            if started > self.last_known_frame and self.pending:
                raise InputError(
                    f"frame {started} was analyzed but never recorded, so the analysis cannot go "
                    "on from there: --close ends the run with what it has"
                )
        return False

    def _compare(self, update: Update) -> None:
        for name in MARKED:
            new, shared = getattr(update, name), self._tables.columns.shared(name)
            held, self._left[name] = np.split(self._left[name], [len(new)])
            if fitted(held, shared, {}).tobytes() != fitted(new, shared, {}).tobytes():
                raise InputError(
                    f"the {name} of frame {update.number}, analyzed again, are not those that the "
                    "run holds: another machine, program or model made them; replay the run into "
                    "a new one, or end it with what it has (--close)"
                )


def _fits(rows: dict[str, int], tables: TableWriter) -> bool:
    """Whether the tables have the rows that a position counts."""
    return rows.keys() == set(MARKED) and all(rows[name] <= tables.count(name) for name in MARKED)
