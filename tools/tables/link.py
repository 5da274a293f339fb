"""`livespt link`: the linker alone, for a table of localizations from any program."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from livespt.stream.link.linker import Linker
from livespt.stream.link.offline import link_points
from livespt.tools.tables import doubts
from livespt.tools.tables.conventions import parse_columns
from livespt.tools.tables.out_file import check_out
from livespt.tools.tables.user_table import read_table, write_table


def link_table(
    src: Path | str,
    out: Path | str,
    *,
    search_range: float = 5.0,
    memory: int = 0,
    motion: str = "none",
    refine: int = 0,
    pixel_size_um: float | None = None,
    columns: str | None = None,
    overwrite: bool = False,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Add `particle` to a table of localizations (frame, y, x[, z]; other columns are kept).

    Rows may have any order and keep it; frames may be missing. Ids count from 0, by frame and then
    by row.

    Parameters
    ----------
    src, out : Path
    search_range : float
        Largest distance of a link, pixels; `z` has the unit of `y` and `x`.
    memory : int
        Frames for which a particle may be missed and keep its id (gap closing).
    motion : str
        "none" minimizes squared distances within the range, as trackpy does. "brownian", "velocity"
        and "auto" predict the motion of each track (stream/link/motion_model.py).
    refine : int
        Frames after which each link is reconsidered (stream/link/relinker.py); 0: never.
    pixel_size_um : float, optional
        For positions that are not in pixels.
    columns : str, optional
        Columns of a table that no convention names: "frame=T,y=Y_um,x=X_um".
    say : callable
        Is called with a line of text about the table.

    Returns
    -------
    dict
        rows, frames, tracks, out.

    Raises
    ------
    InputError
        The table cannot be used.
    SettingError
        A value is out of range.
    StoreError
        `out` exists or cannot be written.
    """
    # checks the values before a large file is read
    Linker(search_range, memory, motion=motion, refine=refine)
    check_out(Path(out), overwrite=overwrite)
    table = read_table(
        src,
        ("frame", "y", "x"),
        optional=("z",),
        adds=("particle",),
        stated=parse_columns(columns) if columns else None,
        pixel_size_um=pixel_size_um,
    )
    if table.said:
        say(table.said)
    axes = [name for name in ("z", "y", "x") if name in table.values]
    points = np.stack([table.values[name] for name in axes], axis=1)
    frames = table.values["frame"]
    particle = link_points(frames, points, search_range, memory, motion=motion, refine=refine)
    write_table(out, table, {"particle": particle}, overwrite=overwrite)
    if table.unit == "pixel":
        plane = np.stack([points[:, 0], points[:, -2], points[:, -1]], axis=1)
        for text in doubts.of_unit(frames, particle, plane, pixel_size_um):
            say(f"note: {text}")
    return {
        "rows": len(table),
        "frames": len(np.unique(table.values["frame"])),
        "tracks": len(np.unique(particle)),
        "out": str(out),
    }
