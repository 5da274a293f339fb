"""Recall: what is analyzed once more is compared with what the run holds of it, byte for byte."""

from __future__ import annotations

import numpy as np

from livespt.stream.columns import TABLES
from livespt.stream.errors import InputError
from livespt.stream.tables import MARKED, Mark, TableWriter
from livespt.stream.types import Update


class Recall:
    """Tells updates that were committed before from new ones.

    A run that is resumed brings the memory of its analyzer back by analyzing frames again, from the
    start or from a mark. Their rows are in the tables already.

    Parameters
    ----------
    tables : TableWriter
        Opened with `resume`.
    mark : Mark, optional
        Where the tables were when the memory was that with which one begins.
    """

    def __init__(self, tables: TableWriter, mark: Mark | None = None) -> None:
        self._tables = tables
        self._rows = {name: tables.rows(name, mark.rows[name] if mark else 0) for name in MARKED}
        self._at = dict.fromkeys(MARKED, 0)
        frames = tables.rows("frames")
        self._with_row = set(frames["number"][frames["analyzed"] == 1].tolist())
        if mark is not None:
            tables.recall(mark)

    @property
    def pending(self) -> bool:
        """Whether there are rows that no update has been compared with."""
        return any(self._at[name] < len(self._rows[name]) for name in MARKED)

    def __call__(self, update: Update) -> bool:
        """Whether this update is in the run; of an update of many frames, see `finish`.

        Raises
        ------
        InputError
            It differs from what the run holds.
        """
        with_row = update.number in self._with_row
        if not with_row and not self.pending:
            return False
        self._compare(update)
        if not with_row:
            self._tables.recall_early(update)
        return True

    def finish(self, update: Update) -> bool:
        """Whether the rows that the end of the run settles are in it.

        Raises
        ------
        InputError
            They differ.
        """
        if not self.pending:
            return False
        self._compare(update)
        return True

    def _compare(self, update: Update) -> None:
        for name in MARKED:
            new = np.array(getattr(update, name), TABLES[name])
            at = self._at[name]
            self._at[name] = at + len(new)
            if self._rows[name][at : at + len(new)].tobytes() != new.tobytes():
                raise InputError(
                    f"the {name} of frame {update.number}, analyzed again, are not those that the "
                    "run holds: another machine, program or model made them, or they are damaged; "
                    "nothing was changed, replay the run instead"
                )
