"""Columns of an export: what they mean, their names in other programs, tracks cut at gaps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from livespt.stream.descriptions import COLUMNS, Column
from livespt.stream.types import Start
from livespt.tools.tables.undrifted import is_corrected

if TYPE_CHECKING:
    import pandas as pd


# columns of other programs, in the order in which they want them; others follow unchanged
PROGRAMS = {
    "trackpy": {"frame": "frame", "particle": "particle", "y": "y", "x": "x"},
    "saspt": {"frame": "frame", "particle": "trajectory", "y": "y", "x": "x"},
    "gemspa": {"particle": "track_id", "frame": "frame", "x": "x", "y": "y"},
    "locan": {"frame": "frame", "x": "position_x", "y": "position_y", "z": "position_z"},
    "napari": {"particle": "track_id", "frame": "t", "z": "z", "y": "y", "x": "x"},
}
OWN = {
    "particle": COLUMNS["spots"]["track"],
    "track": COLUMNS["spots"]["track"],
    "time_s": COLUMNS["frames"]["time_s"],
}


PIECE = Column("Piece of a track without a missing frame, counted from 0.")


def facts(start: Start, table: pd.DataFrame) -> dict[str, Any]:
    """Return scale of a run, and unit and meaning of each column, as JSON has them.

    Parameters
    ----------
    start : Start
    table : DataFrame
        Result of `spot_table`, before columns are renamed.
    """
    columns = {}
    own = OWN | {"particle": PIECE} if "track" in table else OWN
    for name in map(str, table.columns):
        column = next(
            (held[name] for held in (own, COLUMNS["spots"], COLUMNS["states"]) if name in held),
            None,
        )
        if column is not None:
            columns[name] = {"unit": column.unit, "meaning": column.meaning}
    if is_corrected(start):
        for name in ("y", "x"):
            columns[name]["meaning"] += " The drift of the sample is taken off."
    scale = {name: getattr(start, name) for name in ("pixel_size_um", "z_step_um")}
    scale["frame_interval_s"] = start.frame_interval_s
    return {"run": start.run, "source": start.source, "scale": scale, "columns": columns}


def renamed(table: pd.DataFrame, program: str) -> pd.DataFrame:
    """Return a table with the columns that a program wants first, under its names."""
    names = {ours: theirs for ours, theirs in PROGRAMS[program].items() if ours in table}
    others = [name for name in table.columns if name not in names]
    return table[[*names, *others]].rename(columns=names)


def cut_at_gaps(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose tracks have a point in each frame from their first to their last one.

    `particle` counts the pieces, and `track`, at the end, is the track that a piece is of.
    """
    frame, particle = table["frame"].to_numpy(), table["particle"].to_numpy()
    order = np.lexsort((frame, particle))
    new = (np.diff(particle[order], prepend=-1) != 0) | (np.diff(frame[order], prepend=0) != 1)
    piece = np.empty(len(table), np.int64)
    piece[order] = np.cumsum(new) - 1
    return table.assign(particle=piece, track=particle)
