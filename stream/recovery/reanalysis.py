"""Reanalysis: an analyzer's memory brought back to where a run was cut.

It begins with the newest checkpoint, or with nothing; the frames after it that the run holds are
analyzed again, and must give the very rows that are there.
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
        Of the same settings and models, that has seen nothing; it gets the memory of the newest
        checkpoint that fits.
    tables : TableWriter
        Of the run, opened with `resume`.

    Attributes
    ----------
    mark : int
        Number of the last frame that the memory knows of; -1: none.
    again : int
        Frames analyzed again.
    refused : str
        Why the newest checkpoint did not fit.
    """

    def __init__(self, run: Path, analyzer: Analyzer, tables: TableWriter) -> None:
        self._analyzer, self._tables = analyzer, tables
        self.mark, self.again, self.refused = -1, 0, ""
        starts = dict.fromkeys(MARKED, 0)
        checkpoint = read_checkpoint(run)
        if checkpoint is not None and _fits(checkpoint.mark.rows, tables):
            try:
                restore(analyzer, checkpoint.snapshot)
                self.mark, starts = checkpoint.mark.number, checkpoint.mark.rows
                tables.recall(checkpoint.mark)
            except InputError as error:
                self.refused = str(error)
        self._left = {name: tables.rows(name, starts[name]) for name in MARKED}
        self._rows = tables.rows("frames")
        self._taken, self._passed = tables.before["number"], 0
        self._levels = tables.before["level"]

    @property
    def newest(self) -> int:
        """Number of the last frame that the run says was analyzed; -1: none."""
        return int(self._rows["number"][self._rows["analyzed"] == 1].max(initial=-1))

    @property
    def pending(self) -> bool:
        """Whether the run holds rows that nothing was compared with yet."""
        return any(len(rows) for rows in self._left.values())

    def wanted(self, number: int, default: bool = True) -> bool:
        """Whether a frame has to be analyzed; to be asked of each frame in turn.

        Those that the run analyzed, or had begun to, are: after the frames that the memory knows.
        Those that it skipped are not, nor any when its last word was settled. `default` says it of
        the others.

        Raises
        ------
        InputError
            A frame before this one was analyzed but is stored nowhere.
        """
        if number <= self.mark:
            return False
        taken, row = self._is_taken(number), self._row(number)
        if row is not None:
            return bool(row["analyzed"])
        if len(self._taken) and number <= self._taken[-1]:
            return taken
        return default and not self.pending

    def knows(self, number: int) -> bool:
        """Whether the run tells whether and how this frame was analyzed."""
        last = int(self._taken[-1]) if len(self._taken) else -1
        return number <= last or self._row(number) is not None

    def graded(self, frame: Frame) -> Frame:
        """The frame with the level at which the run analyzed it, or had begun to."""
        row = self._row(frame.number)
        at = int(np.searchsorted(self._taken, frame.number))
        if row is not None:
            return frame._replace(level=int(row["level"]))
        if at < len(self._taken) and self._taken[at] == frame.number:
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
            if self._analyzer.refuses(frame):  # out of order, and so then
                continue
            update = self._analyzer(frame)
            self._compare(update)
            if not self._has_row(frame.number):
                self._tables.recall_early(update)
            self.again += 1

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

    def _is_taken(self, number: int) -> bool:
        """Whether the run had begun to analyze it; raises for one before it that was passed over.

        One that nobody recorded and whose rows are not in the run either was never there.
        """
        while self._passed < len(self._taken) and self._taken[self._passed] <= number:
            taken = int(self._taken[self._passed])
            self._passed += 1
            if taken == number:
                return True
            if taken > self.mark and self.pending:
                raise InputError(
                    f"frame {taken} was analyzed but never recorded, so the analysis cannot go on "
                    "from there: --close ends the run with what it has"
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
    """Whether the tables have what a mark counts."""
    return rows.keys() == set(MARKED) and all(rows[name] <= tables.count(name) for name in MARKED)
