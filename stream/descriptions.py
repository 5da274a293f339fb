"""Descriptions: unit, codes and meaning of every column of every table, for people and programs.

They are stored with the run (attributes `columns` of each table's group) and published (`columns`
of `start` and `snapshot`). Columns may be added without a new format: a reader fills those that a
table lacks with their `fill` and passes on those that it does not know. Columns without a fill are
in every table.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.stream.frame_quality import NAMES
from livespt.stream.types import ABSTAIN, CLOCKS, KINDS, MOTIONS

NAN = math.nan


class Column(NamedTuple):
    """What one column holds."""

    meaning: str  # one sentence
    unit: str = ""  # "": an id, an index, a code, a share or a count of things
    fill: float | str | None = None  # its value where a table lacks it; None: every table has it
    codes: Mapping[str, int] = {}  # name -> value: a value is one of these
    bits: Mapping[str, int] = {}  # name -> bit: a value is a sum of these, 0: none


def _numbered(names: tuple[str, ...]) -> dict[str, int]:
    return {name: value for value, name in enumerate(names)}


_CHANNEL = Column("Channel of the microscope, from 0.", fill=0)
_POSITION = Column("Stage position, from 0.", fill=0)
_TRACK = Column("Track: an id from 0 that is never used again.")

SPOTS = {
    "frame": Column("Time point in which the particle was localized.", "frame"),
    "channel": _CHANNEL,
    "position": _POSITION,
    "track": _TRACK,
    "z": Column("Depth of the particle's centre; 0 in a two-dimensional frame.", "pixel", 0),
    "y": Column("Row of the particle's centre; pixel centres lie at integers.", "pixel"),
    "x": Column("Column of the particle's centre; pixel centres lie at integers.", "pixel"),
    "dz": Column("Localization precision along z; NaN: unknown.", "pixel", NAN),
    "dy": Column("Localization precision along y; NaN: unknown.", "pixel", NAN),
    "dx": Column("Localization precision along x; NaN: unknown.", "pixel", NAN),
    "intensity": Column("Counts of the particle above background, integrated.", "count", NAN),
    "background": Column("Background at the particle.", "count/pixel", NAN),
    "score": Column("How sure the localizer is, on a scale of its own.", fill=NAN),
    "sigma": Column("Standard deviation of the fitted spot; NaN: not measured.", "pixel", NAN),
    "variance": Column(
        "Variance of where the cells around see the particle; NaN: not measured.", "pixel^2", NAN
    ),
    "polarizability_um3": Column("Polarizability; NaN: not measured.", "um^3", NAN),
}
STATES = {
    "frame": Column("Time point that is described.", "frame"),
    "channel": _CHANNEL,
    "position": _POSITION,
    "track": _TRACK,
    "lag": Column("Look-ahead used: last point seen minus `frame`.", "frame", 0),
    "made": Column("Time point at which the state was produced.", "frame"),
    "settled": Column(
        "Whether it is final; each spot of a track gets one settled row.",
        codes={"provisional": 0, "settled": 1},
    ),
    "p_normal": Column("Probability of normal diffusion; the four motions sum to 1.", fill=NAN),
    "p_directed": Column("Probability of directed motion.", fill=NAN),
    "p_confined": Column("Probability of confined motion.", fill=NAN),
    "p_subdiffusive": Column("Probability of subdiffusion.", fill=NAN),
    "state": Column(
        "The motion that is likely enough, if one is.",
        fill=ABSTAIN,
        codes={"unsure": ABSTAIN, **_numbered(MOTIONS)},
    ),
    "p_uncoated": Column(
        "Probability that the virus has uncoated; NaN: nobody looked for it.", fill=NAN
    ),
    "p_task": Column("Probability of a user's classifier; NaN: none was asked.", fill=NAN),
}
EVENTS = {
    "seq": Column("Number of the event, from 0 without a gap."),
    "kind": Column("What happened.", codes=_numbered(KINDS)),
    "frame": Column("Time point at which it happened.", "frame"),
    "channel": _CHANNEL,
    "position": _POSITION,
    "track": _TRACK,
    "other": Column("Second track of a merge, split or relink; -1: none.", fill=-1),
    "z": Column("Depth of the track at `frame`.", "pixel", NAN),
    "y": Column("Row of the track at `frame`.", "pixel", NAN),
    "x": Column("Column of the track at `frame`.", "pixel", NAN),
    "probability": Column("How likely it is; NaN: not given.", fill=NAN),
    "delay": Column("Time from `frame` to the announcement.", "frame", 0),
    "amends": Column("`seq` of the event that it revises or retracts; -1: none.", fill=-1),
}
FRAMES = {
    "number": Column("Number of the exposure; a gap means lost frames."),
    "frame": Column("Time point.", "frame"),
    "channel": _CHANNEL,
    "position": _POSITION,
    "time_s": Column("Time since the first frame.", "s", NAN),
    "clock": Column("Where the time comes from.", fill=0, codes=_numbered(CLOCKS)),
    "analyzed": Column("Whether the frame was analyzed.", codes={"skipped": 0, "analyzed": 1}),
    "spots": Column("Particles localized in it."),
    "lost": Column("Exposures missing just before it.", fill=0),
    "degraded": Column("Spots linked in bounded time, perhaps not at the least cost.", fill=0),
    "localize_ms": Column("Time that localization took.", "ms", NAN),
    "infer_ms": Column("Time that the motion networks took.", "ms", NAN),
    "analyze_ms": Column("Time that the whole analysis took.", "ms", NAN),
    "latency_ms": Column(
        "Time from the microscope's hook to publication; NaN in a replay.", "ms", NAN
    ),
    "level": Column("What was given up for speed: 0 is nothing, 3 the most.", fill=0),
    "quality": Column(
        "What is the matter with the frame, which is analyzed all the same.",
        fill=0,
        bits={name: bit for bit, name in NAMES.items()},
    ),
    "drift_y": Column("Drift of the sample since the first frame, y; NaN: unknown.", "pixel", NAN),
    "drift_x": Column("Drift of the sample since the first frame, x; NaN: unknown.", "pixel", NAN),
}
STATUS = {
    "seq": Column("Number of the notice, from 0."),
    "kind": Column("What the notice is about, in a word."),
    "frame": Column("Time point at which it was given; -1: none.", "frame", -1),
    "text": Column("The notice."),
}
COLUMNS: dict[str, dict[str, Column]] = {
    "spots": SPOTS,
    "states": STATES,
    "events": EVENTS,
    "frames": FRAMES,
    "status": STATUS,
}
PUBLISHED = ("spots", "states", "events", "frames")


def described(table: str) -> dict[str, dict[str, Any]]:
    """The columns of a table as JSON: empty values are left out, and `fill` is null for NaN."""
    told: dict[str, dict[str, Any]] = {}
    for name, column in COLUMNS[table].items():
        told[name] = {key: value for key, value in column._asdict().items() if value or value == 0}
        if isinstance(column.fill, float) and math.isnan(column.fill):
            told[name]["fill"] = None
    return told


def fills(columns: Mapping[str, Column]) -> dict[str, float | str]:
    """The value of each column that a table may lack."""
    return {name: column.fill for name, column in columns.items() if column.fill is not None}


def completed(given: np.dtype[np.void], ours: np.dtype[np.void], table: str) -> np.dtype[np.void]:
    """The fields with which a reader returns rows whose fields are `given`.

    The fields of this version come first, in its order; those that it does not know follow. Fields
    that are given keep their type.

    Raises
    ------
    ValueError
        A column is missing that every such table has.
    """
    if given == ours:
        return ours
    types = {name: given[name] for name in given.names or ()}
    filled = fills(COLUMNS[table])
    for name in ours.names or ():
        if name not in types and name not in filled:
            raise ValueError(f"{table} has no column {name!r}, which all have")
    order = [*(ours.names or ()), *(name for name in types if name not in (ours.names or ()))]
    return np.dtype([(name, types[name] if name in types else ours[name]) for name in order])


def fitted(
    rows: NDArray[np.void], dtype: np.dtype[np.void], filled: Mapping[str, float | str]
) -> NDArray[np.void]:
    """Rows (n,) with the fields of `dtype`, by name: missing ones are filled, others left out.

    Rows that have exactly these fields are returned unchanged, without a copy.
    """
    if rows.dtype == dtype:
        return rows
    there = rows.dtype.names or ()
    new = np.empty(len(rows), dtype)
    for name in dtype.names or ():
        new[name] = rows[name] if name in there else filled[name]
    return new
