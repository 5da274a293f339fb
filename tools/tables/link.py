"""`livespt link`: the linker alone, for a table of localizations from any program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.stream.errors import SettingError
from livespt.stream.link.linker import Linker
from livespt.stream.link.offline import link_points
from livespt.tools.tables import doubts
from livespt.tools.tables.conventions import PRECISION, parse_columns
from livespt.tools.tables.link_lineage import KinTable, LinkedPoints, by_distance, by_light
from livespt.tools.tables.out_file import check_text_out, whole_file
from livespt.tools.tables.user_table import UserTable, read_table, write_table

LINEAGE = ("off", "light", "distance")  # what merges and splits are found by


def link_table(
    src: Path | str,
    out: Path | str,
    *,
    search_range: float = 5.0,
    memory: int = 0,
    motion: str = "none",
    refine: int = 0,
    lineage: str = "off",
    lineage_range: float | None = None,
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
        and "auto" predict the motion of each track (stream/link/motion_model.py), from the times
        and the localization precision that the table has (`time_s`, `dy, dx[, dz]`).
    refine : int
        Frames after which each link is reconsidered (stream/link/relinker.py); 0: never.
    lineage : str
        "light" finds tracks that merge and split by the column `intensity`, "distance" finds them
        by distance alone. They are written to `OUT_lineage.csv` beside `out`.
    lineage_range : float, optional
        Greatest distance of two tracks that merge or split, pixels; default: `search_range`.
    pixel_size_um : float, optional
        For positions that are not in pixels.
    columns : str, optional
        Columns of a table that no convention names: "frame=T,y=Y_um,x=X_um".
    say : callable
        Is called with a line of text about the table.

    Returns
    -------
    dict
        rows, frames, tracks, out; with lineage also merged, split (how many) and events (the file).

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
    reach = _reach(lineage, lineage_range, search_range)
    out = Path(out)
    beside = out.with_name(f"{out.stem}_lineage.csv")
    for path in (out, beside) if lineage != "off" else (out,):
        check_text_out(path, overwrite=overwrite)
    measured = () if motion == "none" else ("time_s", *PRECISION)  # what motion models read
    table = read_table(
        src,
        ("frame", "y", "x", *(("intensity",) if lineage == "light" else ())),
        optional=("z", *measured),
        adds=("particle",),
        blanks=measured,
        stated=parse_columns(columns) if columns else None,
        pixel_size_um=pixel_size_um,
    )
    if table.said:
        say(table.said)
    axes = [name for name in ("z", "y", "x") if name in table.values]
    points = np.stack([table.values[name] for name in axes], axis=1)
    frames = table.values["frame"]
    particle = link_points(
        frames,
        points,
        search_range,
        memory,
        time_s=table.values.get("time_s"),
        precision=_precision(table, axes),
        motion=motion,
        refine=refine,
    )
    if table.unit == "pixel":
        plane = np.stack([points[:, 0], points[:, -2], points[:, -1]], axis=1)
        for text in doubts.of_unit(frames, particle, plane, pixel_size_um):
            say(f"note: {text}")
    told = {
        "rows": len(table),
        "frames": len(np.unique(frames)),
        "tracks": len(np.unique(particle)),
        "out": str(out),
    }
    if lineage == "off":
        write_table(out, table, {"particle": particle}, overwrite=overwrite)
        return told
    linked = LinkedPoints(frames, particle, np.pad(points, ((0, 0), (3 - len(axes), 0))))
    kin = _kin(linked, table.values.get("intensity"), reach, memory)
    with whole_file(beside, overwrite=overwrite) as partial:  # gets its name after the other
        kin.write(partial, linked)
        write_table(out, table, {"particle": particle}, overwrite=overwrite)
    count = {kind: int((kin.kind == kind).sum()) for kind in ("merged", "split")}
    return {**told, **count, "events": str(beside)}


def _precision(table: UserTable, axes: Sequence[str]) -> NDArray[np.float64] | None:
    """Localization precision (n, axes), pixels, NaN where unknown; None: of no axis."""
    if not any(f"d{axis}" in table.values for axis in axes):
        return None
    unknown = np.full(len(table), np.nan)
    return np.stack([table.values.get(f"d{axis}", unknown) for axis in axes], axis=1)


def _reach(lineage: str, lineage_range: float | None, search_range: float) -> float:
    """Greatest distance of tracks that merge or split, of values that are checked."""
    if lineage not in LINEAGE:
        raise SettingError(f"lineage is {lineage!r:.40}; choose one of {', '.join(LINEAGE)}")
    if lineage_range is None:
        return search_range
    if lineage == "off":
        raise SettingError("--lineage-range needs --lineage light or --lineage distance")
    if not 0 < lineage_range < float("inf"):
        raise SettingError(f"lineage_range must be above 0 pixels, not {lineage_range:g}")
    return lineage_range


def _kin(
    linked: LinkedPoints, intensity: NDArray[np.float64] | None, reach: float, memory: int
) -> KinTable:
    """Merges and splits by light if it is given, otherwise by distance."""
    if intensity is None:
        return by_distance(linked, reach, memory)
    return by_light(linked, intensity, reach, memory)
