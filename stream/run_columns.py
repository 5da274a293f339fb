"""Run columns: those that a run has, and how rows of this version are read from and put into them.

A run keeps the columns it was begun with, by whichever version. What it lacks is filled when it is
read and left out when it is gone on with; what is not known here is given to the reader behind what
is, and filled as the run itself says when it is gone on with.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.stream.attributes import Attributes
from livespt.stream.columns import TABLES, read_fills
from livespt.stream.descriptions import COLUMNS, completed, fills, fitted
from livespt.stream.errors import InputError


class RunColumns:
    """The columns of the tables of one run.

    Parameters
    ----------
    run : Path
    attributes : Attributes
        Of it.

    Attributes
    ----------
    attributes : Attributes
    stored : dict of dtype
        Of every table, as it lies in journal and columns, in their order.
    given : dict of dtype
        Of the tables that are known here, as a reader gives them.

    Raises
    ------
    InputError
        A table lacks a column that every such table has.
    """

    def __init__(self, run: Path, attributes: Attributes) -> None:
        self._run, self.attributes = run, attributes
        self.stored = attributes.tables
        self._named = attributes.named
        self._fills: dict[str, dict[str, float | str]] = {}
        try:
            self.given = {
                name: completed(dtype, TABLES[name], name)
                for name, dtype in self._named.items()
                if name in TABLES
            }
        except ValueError as error:
            raise InputError(f"{run} cannot be read: its table of {error}") from error
        self._same = {name for name, dtype in self.given.items() if dtype == self.stored[name]}

    def read(self, table: str, rows: NDArray[np.void]) -> NDArray[np.void]:
        """Rows (n,) as a reader gives them, of `rows` as they are stored."""
        if table in self._same:
            return rows
        return fitted(rows.view(self._named[table]), self.given[table], fills(COLUMNS[table]))

    def put(self, table: str, rows: NDArray[np.void] | None) -> NDArray[np.void]:
        """A copy of `rows` (n,), None for none, as they are stored."""
        if rows is None:
            return np.empty(0, self.stored[table])
        return fitted(rows, self.stored[table], self._fills[table]).copy()

    def shared(self, table: str) -> np.dtype[np.void]:
        """Those that the run has and this version makes."""
        ours, there = TABLES[table], self.stored[table].names or ()
        return np.dtype([(name, ours[name]) for name in ours.names or () if name in there])

    def check(self) -> None:
        """Make sure that the run can be gone on with; to be called before the first `put`.

        Raises
        ------
        InputError
            It lacks a table, or has columns of another type, or such as cannot be filled.
        """
        told = f"{self._run} was begun by another livespt: its table of"
        for table, ours in TABLES.items():
            theirs = self.stored.get(table)
            if theirs is None:
                raise InputError(f"{told} {table} is missing; replay it into a new run")
            unknown = [name for name in theirs.names or () if name not in (ours.names or ())]
            said = read_fills(self._run / table) if unknown else {}
            self._fills[table] = said | fills(COLUMNS[table])
            for name in theirs.names or ():
                known = name not in unknown
                if not (theirs[name] == ours[name] if known else _fits(said, name, theirs[name])):
                    raise InputError(
                        f"{told} {table} has a column {name} that this one does not make; replay "
                        "it into a new run"
                    )


def _fits(filled: dict[str, float | str], name: str, dtype: np.dtype[Any]) -> bool:
    """Whether there is something to fill a column with."""
    try:
        np.full(1, filled[name], dtype)
    except (KeyError, ValueError, TypeError, OverflowError):
        return False
    return True
