"""Run columns: converts rows between the columns of a run and those of this version.

A run keeps the columns of the version that began it. Columns that it lacks are filled when it is
read, and left out when it is resumed. Columns that this version does not know follow behind the
others when the run is read, and get the fill that the run itself states when it is resumed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.stream.descriptions import COLUMNS, completed, fills, fitted
from livespt.stream.errors import InputError
from livespt.stream.store.attributes import Attributes
from livespt.stream.store.columns import TABLES, read_fills


class RunColumns:
    """The columns of the tables of one run.

    Parameters
    ----------
    run : Path
    attributes : Attributes
        Those of the run.

    Attributes
    ----------
    attributes : Attributes
    stored : dict of dtype
        Of every table, as it is stored in journal and columns, in their order.
    given : dict of dtype
        Of the tables that this version knows, as a reader returns them.

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
        """Rows (n,) as a reader returns them, from `rows` as they are stored."""
        if table in self._same:
            return rows
        return fitted(rows.view(self._named[table]), self.given[table], fills(COLUMNS[table]))

    def put(self, table: str, rows: NDArray[np.void] | None) -> NDArray[np.void]:
        """A copy of `rows` (n,) as they are stored; None means no rows."""
        if rows is None:
            return np.empty(0, self.stored[table])
        if rows.dtype == self.stored[table]:
            return rows.copy()
        return fitted(rows, self.stored[table], self._fills[table]).copy()

    def shared(self, table: str) -> np.dtype[np.void]:
        """The columns of a table that both the run and this version have."""
        ours, there = TABLES[table], self.stored[table].names or ()
        return np.dtype([(name, ours[name]) for name in ours.names or () if name in there])

    def check(self) -> None:
        """Make sure that the run can be resumed; call this before the first `put`.

        Raises
        ------
        InputError
            It lacks a table, or has columns of another type or without a usable fill.
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
    """Whether the fill of a column can be stored in it."""
    try:
        np.full(1, filled[name], dtype)
    except (KeyError, ValueError, TypeError, OverflowError):
        return False
    return True
