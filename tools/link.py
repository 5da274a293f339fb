"""`livespt link`: the linker alone, for a table of localizations from any program."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.stream.link import Linker
from livespt.stream.refine import Moves
from livespt.stream.relink import rename
from livespt.tools.tables import check_out, read_table, write_table


def link_table(
    src: Path | str,
    out: Path | str,
    *,
    search_range: float = 5.0,
    memory: int = 0,
    motion: str = "none",
    refine: int = 0,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Add `particle` to a CSV of localizations (frame, y, x[, z]; other columns are kept).

    Rows may have any order and keep it; frames may be missing. Ids count from 0, by frame and then
    by row.

    Parameters
    ----------
    src, out : Path
    search_range : float
        Largest distance of a link, in the unit of the coordinates, which `z` has as well.
    memory : int
        Frames for which a particle may be missed and keep its id (gap closing).
    motion : str
        "none" minimizes squared distances within the range, as trackpy does. "brownian", "velocity"
        and "auto" predict the motion of each track (stream/link/motion_model.py).
    refine : int
        Frames after which each link is reconsidered (stream/link/relinker.py); 0: never.

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
    Linker(
        search_range, memory, motion=motion, refine=refine
    )  # checks the values before a large file is read
    check_out(Path(out), overwrite=overwrite)
    table = read_table(src, ("frame", "y", "x"), optional=("z",), adds=("particle",))
    axes = [name for name in ("z", "y", "x") if name in table.values]
    points = np.stack([table.values[name] for name in axes], axis=1)
    frames = table.values["frame"]
    particle = link_points(frames, points, search_range, memory, motion=motion, refine=refine)
    write_table(out, table, {"particle": particle}, overwrite=overwrite)
    return {
        "rows": len(table),
        "frames": len(np.unique(table.values["frame"])),
        "tracks": len(np.unique(particle)),
        "out": str(out),
    }


def link_points(
    frames: NDArray[np.int64],
    points: NDArray[np.float64],
    search_range: float,
    memory: int = 0,
    **settings: Any,
) -> NDArray[np.int64]:
    """Track ids (n,) of points in any order, from frame numbers (n,) and coordinates (n, 2 or 3).

    `settings` are further arguments of `Linker`.
    """
    linker = Linker(search_range, memory, points.shape[1], **settings)
    order = np.argsort(frames, kind="stable")
    when, place = frames[order], points[order]
    found = np.empty(len(frames), np.int64)
    cuts = np.flatnonzero(np.diff(when)) + 1
    for begin, end in zip([0, *cuts], [*cuts, len(frames)], strict=True) if len(order) else ():
        linked = linker.link(int(when[begin]), place[begin:end])
        _correct(found[:begin], when, linked.moves)
        found[begin:end] = linked.track
    _correct(found, when, linker.finish())
    track = np.empty(len(frames), np.int64)
    track[order] = found
    return track


def _correct(track: NDArray[np.int64], frames: NDArray[np.int64], moves: Iterable[Moves]) -> None:
    """Apply corrections of links to the ids of the points so far."""
    for move in moves:
        tail = track[np.searchsorted(frames, move.frame) :]
        tail[:] = rename(tail, move.track, move.other)
