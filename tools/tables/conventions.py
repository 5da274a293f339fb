"""Conventions: how programs name, count and scale what their tables of spots and tracks hold.

A table is recognised by column names that its program alone writes. docs/tables.md lists the same
table for people, with how each entry was found out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from livespt.stream.errors import InputError, SettingError

UM = {"um": 1.0, "nm": 1e-3}
SUFFIXES = {"_um": "um", "_nm": "nm", "_px": "pixel", " [nm]": "nm", " [um]": "um"}
PRECISION = ("dz", "dy", "dx")  # standard deviations of the localization along each axis
STATED = ("frame", "particle", "y", "x", "z", "time_s", "intensity", *PRECISION)  # by a user
# columns of other programs, in lower case: what they are here, and their unit where it is a length
MEASURED = {
    "intensity [photon]": (("intensity",), ""),  # ThunderSTORM
    "uncertainty [nm]": (("dy", "dx"), "nm"),
    "uncertainty_xy [nm]": (("dy", "dx"), "nm"),
    "uncertainty_z [nm]": (("dz",), "nm"),
    "photons": (("intensity",), ""),  # Picasso
    "lpy": (("dy",), "pixel"),
    "lpx": (("dx",), "pixel"),
    "lpz": (("dz",), "nm"),
    "phot": (("intensity",), ""),  # smappy
    "locprecnm": (("dy", "dx"), "nm"),
    "locprecznm": (("dz",), "nm"),
    "total_intensity_ch1": (("intensity",), ""),  # TrackMate, and before its version 7
    "total_intensity": (("intensity",), ""),
}


class Convention(NamedTuple):
    """What the tables of one program are like."""

    name: str
    marks: tuple[str, ...]  # column names, in lower case, that only this program writes together
    columns: Mapping[str, str]  # name here: name there, in lower case
    unit: str = "pixel"  # of positions: pixel, um or nm; "calibrated": of a line of units
    corner: float = 0.0  # coordinate of the centre of the first pixel, in pixels
    first_frame: int | None = 0  # None: any
    heads: int = 1  # lines before the first row
    refused: str = ""  # why the names of such a table cannot be believed, and what to do

    def said(self, unit: str) -> str:
        """Say what a table was taken for."""
        return told(self.name, unit, self.first_frame)


def told(name: str, unit: str, first_frame: int | None) -> str:
    """Line about a table: its name, the unit of its positions, how its frames count."""
    positions = {"pixel": "pixels"}.get(unit, unit)
    frames = "as they are" if first_frame is None else f"from {first_frame}"
    return f"{name}: positions in {positions}, frames {frames}"


def _xy(y: str, x: str, z: str, frame: str = "frame", particle: str = "particle") -> dict[str, str]:
    return {"frame": frame, "particle": particle, "y": y, "x": x, "z": z}


CONVENTIONS = (
    Convention(
        "TrackMate spots table", ("position_x", "position_y", "frame", "track_id"),
        _xy("position_y", "position_x", "position_z", particle="track_id"), "calibrated", heads=4,
    ),
    Convention(
        "ThunderSTORM table", ("x [nm]", "y [nm]", "frame"),
        _xy("y [nm]", "x [nm]", "z [nm]", particle="track_id"), "nm", 0.5, 1,
    ),
    Convention(
        "smappy table", ("xnm", "ynm", "frame"),
        _xy("ynm", "xnm", "znm", particle="track_id"), "nm",
    ),
    Convention(
        "FreeTrace table", ("traj_idx", "frame", "x", "y"),
        _xy("y", "x", "z", particle="traj_idx"), first_frame=1,
    ),
    Convention(
        "quot or saspt table", ("trajectory", "frame", "y", "x"),
        _xy("y", "x", "z", particle="trajectory"),
    ),
    Convention(
        "btrack table", ("id", "t", "x", "y", "root"), _xy("y", "x", "z", "t", "id"),
    ),
    Convention(
        "NIS table of Picasso", ("x", "y", "channel", "width", "bg", "length", "frame"), {}, "nm",
        refused="its writer (to 0.11 at least) puts the frame under Length, and 1 under Frame: "
        "give --columns frame=Length,y=Y,x=X,unit=nm",
    ),
    Convention(
        "table with y_um, x_um", ("frame", "y_um", "x_um"),
        _xy("y_um", "x_um", "z_um", particle="track_id"), "um", first_frame=None,
    ),
    Convention(
        "table with y_nm, x_nm", ("frame", "y_nm", "x_nm"),
        _xy("y_nm", "x_nm", "z_nm", particle="track_id"), "nm", first_frame=None,
    ),
    Convention(
        "napari tracks", ("track_id", "t", "y", "x"), _xy("y", "x", "z", "t", "track_id"),
    ),
    Convention(
        "table with track_id (gemspa, laptrack)", ("track_id", "frame", "x", "y"),
        _xy("y", "x", "z", particle="track_id"),
    ),
)  # fmt: skip
PLAIN = Convention("table", (), {})


class TableReading(NamedTuple):
    """How the columns of one table are read."""

    columns: dict[str, str]  # name here: name in the file
    convention: Convention
    unit: str  # of positions
    said: str  # what the table was taken for; empty: for one of our own
    units: Mapping[str, str] = {}  # name here: unit of a column that is not that of positions


def with_measured(found: TableReading) -> TableReading:
    """Add what `MEASURED` knows of the columns, where the table has no such column itself."""
    low = {name.lower(): name for name in found.columns.values()}
    columns, units = dict(found.columns), dict(found.units)
    for theirs, (meant, unit) in MEASURED.items():
        for ours in meant:
            if theirs in low and ours not in columns:
                columns[ours] = low[theirs]
                if unit:
                    units[ours] = unit
    return found._replace(columns=columns, units=units)


def reading(
    names: Sequence[str], stated: Mapping[str, str] | None = None, units: Sequence[str] = ()
) -> TableReading:
    """Find what the columns of a table are.

    Parameters
    ----------
    names
        Columns of the file.
    stated
        What the user states: name here to name in the file.
    units
        Of each column, where the file has a line of them.

    Raises
    ------
    InputError
        The program is known to put values under wrong names.
    SettingError
        The user names a column that is not in the file.
    """
    if stated:
        return _stated(names, stated)
    return with_measured(_recognised(names, units))


def _recognised(names: Sequence[str], units: Sequence[str]) -> TableReading:
    low = {name.lower(): name for name in reversed(names)}
    if {"frame", "y", "x"} <= set(names):
        own = {"particle", "trajectory", "track_id", "traj_idx"} & set(low)
        if own <= {"particle"} or "particle" in names:
            return TableReading({name: name for name in names}, PLAIN, "pixel", "")
    for convention in CONVENTIONS:
        if not set(convention.marks) <= set(low):
            continue
        if convention.refused:
            raise InputError(f"{convention.name}: {convention.refused}")
        columns = {ours: low[name] for ours, name in convention.columns.items() if name in low}
        if "particle" in names:  # of `link`, whose tracks rule over those that were there before
            columns["particle"] = "particle"
        unit, assumed = convention.unit, ""
        if unit == "calibrated":
            at = list(names).index(columns["x"])
            unit = calibrated(units[at]) if units else "um"
            assumed = "" if units else " (um is assumed: no line tells the units)"
        more = {name: low[name] for name in low if name not in columns.values()}
        return TableReading(more | columns, convention, unit, convention.said(unit) + assumed)
    upper = {name.lower(): name for name in names} if {"frame", "y", "x"} <= set(low) else {}
    if upper:
        return TableReading(upper, PLAIN, "pixel", told("table", "pixel", None))
    return TableReading({name: name for name in names}, PLAIN, "pixel", "")


def calibrated(text: str) -> str:
    """Unit in a line of units: "(micron)"."""
    word = text.strip().strip("()[]").lower().replace("µ", "u").replace("μ", "u")
    if word in ("pixel", "pixels", "px", ""):
        return "pixel"
    if word in ("micron", "microns", "um", "micrometer", "micrometre"):
        return "um"
    if word in ("nm", "nanometer", "nanometre"):
        return "nm"
    raise InputError(f"positions in {text.strip()!r:.30}: give them in pixels, um or nm")


def _stated(names: Sequence[str], stated: Mapping[str, str]) -> TableReading:
    stated = dict(stated)
    unit = stated.pop("unit", None)
    unknown = [name for name in stated if name not in STATED]
    if unknown:
        raise SettingError(
            f"columns cannot state {', '.join(unknown)}; they can state {', '.join(STATED)}, unit"
        )
    missing = [name for name in stated.values() if name not in names]
    if missing:
        raise SettingError(f"no column {', '.join(missing)}; there are {', '.join(names)}")
    if unit is None:
        found = {
            next((SUFFIXES[end] for end in SUFFIXES if stated[axis].lower().endswith(end)), "pixel")
            for axis in ("z", "y", "x")
            if axis in stated
        }
        if len(found) > 1:
            raise SettingError(f"positions in {' and '.join(sorted(found))}: give all in one unit")
        unit = found.pop() if found else "pixel"
    else:
        unit = calibrated(unit)
    columns = {name: name for name in names} | stated
    return TableReading(columns, PLAIN, unit, told("columns as you state", unit, None))


def parse_columns(text: str) -> dict[str, str]:
    """Read what the user states of columns: "frame=T,y=Y_um", and of their unit: "unit=um"."""
    pairs = [part.partition("=") for part in text.split(",")]
    if not all(name.strip() and equals and column.strip() for name, equals, column in pairs):
        raise SettingError(f"columns are {text!r:.60}: give them as frame=T,particle=ID,y=Y,x=X")
    return {name.strip(): column.strip() for name, _, column in pairs}
