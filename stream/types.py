"""Vocabulary: the values that pass between stages.

A value is a NamedTuple, a frozen dataclass or a NumPy record array with explicit little-endian
fields; one row a particle, never one Python object. Coordinates are pixels with pixel centres at
integers, `y` before `x`; other units stand in a field's name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

FORMAT = 4  # version of the run store and of the wire

MOTIONS = ("normal", "directed", "confined", "subdiffusive")  # order of the p_ fields below
ABSTAIN = -1  # `STATE["state"]` when no motion is likely enough
KINDS = ("born", "lost", "merged", "split", "relinked", "changepoint", "uncoating", "rule")
CLOCKS = ("none", "camera", "core", "host", "file")  # where `Frame.time_s` comes from

# One localized particle in one frame.
SPOT = np.dtype(
    [
        ("frame", "<i8"),  # time point
        ("channel", "<i2"),
        ("position", "<i2"),  # stage position
        ("track", "<i8"),  # id, >= 0, never reused
        ("z", "<f4"),  # pixels (0 in a two-dimensional frame)
        ("y", "<f4"),
        ("x", "<f4"),
        ("dz", "<f4"),  # localization precision, pixels; NaN: unknown
        ("dy", "<f4"),
        ("dx", "<f4"),
        ("intensity", "<f4"),  # integrated counts above background
        ("background", "<f4"),  # counts per pixel
        ("score", "<f4"),  # the localizer's own
        # NaN in the rest: this localizer does not measure it
        ("sigma", "<f4"),  # standard deviation of the fitted spot, pixels
        ("variance", "<f4"),  # self-consistency: of where the cells around see it, pixels^2
        ("polarizability_um3", "<f4"),
    ]
)

# The state of one track at one past frame, as it was known when it was made.
STATE = np.dtype(
    [
        ("frame", "<i8"),  # the frame described
        ("channel", "<i2"),
        ("position", "<i2"),
        ("track", "<i8"),
        ("lag", "<i4"),  # look-ahead used, frames: last point seen minus `frame`
        ("made", "<i8"),  # frame at which it was produced
        ("settled", "u1"),  # 1: final; each spot of a track gets one settled row
        ("p_normal", "<f4"),  # the four sum to 1
        ("p_directed", "<f4"),
        ("p_confined", "<f4"),
        ("p_subdiffusive", "<f4"),
        ("state", "i1"),  # index into MOTIONS, or ABSTAIN
        ("p_uncoated", "<f4"),
        ("p_task", "<f4"),  # of what a user's classifier looks for; NaN: none was asked
    ]
)

# Something that happened. `seq` counts from 0 without a gap.
EVENT = np.dtype(
    [
        ("seq", "<i8"),
        ("kind", "u1"),  # index into KINDS
        ("frame", "<i8"),  # when it happened
        ("channel", "<i2"),
        ("position", "<i2"),
        ("track", "<i8"),
        ("other", "<i8"),  # second track of a merge, split or relink; else -1
        ("z", "<f4"),  # pixels, where the track was at `frame`
        ("y", "<f4"),
        ("x", "<f4"),
        ("probability", "<f4"),
        ("delay", "<i4"),  # frames from `frame` to the announcement
        ("amends", "<i8"),  # seq it revises or retracts; else -1
    ]
)

# One exposure. Wall-clock measurements live here alone: the other tables replay to the same bytes.
FRAME = np.dtype(
    [
        ("number", "<i8"),  # counts exposures: a gap means lost frames
        ("frame", "<i8"),  # time point
        ("channel", "<i2"),
        ("position", "<i2"),
        ("time_s", "<f8"),
        ("clock", "u1"),  # index into CLOCKS
        ("analyzed", "u1"),  # 0: stored, but skipped by the analyzer
        ("spots", "<i4"),
        ("lost", "<i8"),  # exposures missing just before this one
        ("degraded", "<i4"),  # spots linked in bounded time, perhaps not at the least cost
        ("localize_ms", "<f4"),
        ("infer_ms", "<f4"),
        ("analyze_ms", "<f4"),  # whole step
        ("latency_ms", "<f4"),  # hook to published; NaN in a replay
        ("level", "u1"),  # of `stream.ladder`: what was given up for it, 0: nothing
        ("odd", "u1"),  # what was the matter with it: bits of `stream.odd`
    ]
)


def joined(dtype: np.dtype[np.void], parts: Iterable[NDArray[np.void]]) -> NDArray[np.void]:
    """Rows of several tables of one dtype, in one (`np.concatenate` promotes field by field)."""
    tables = list(parts)
    rows = np.empty(sum(map(len, tables)), dtype)
    end = 0
    for table in tables:
        rows[end : end + len(table)] = table
        end += len(table)
    return rows


class Frame(NamedTuple):
    """One exposure: `image` is (y, x) or (z, y, x), uint8, uint16 or float32."""

    number: int  # counts exposures
    t: int  # time point: the tables' `frame`
    channel: int
    position: int
    time_s: float  # since the first frame
    image: NDArray[Any]
    clock: int = 0  # index into CLOCKS
    captured_ns: int = 0  # monotonic clock at the hook; 0: not live
    level: int = 0  # of `stream.ladder`: what the loop gives up for it


class Timings(NamedTuple):
    """Wall-clock measurements of one analyzed frame, milliseconds: the loop's."""

    localize_ms: float = 0.0
    infer_ms: float = 0.0
    analyze_ms: float = 0.0
    latency_ms: float = float("nan")  # hook to published


class Update(NamedTuple):
    """What one frame produced."""

    number: int
    t: int
    channel: int
    position: int
    time_s: float
    lost: int  # exposures missing since the previous analyzed frame
    spots: NDArray[np.void]  # SPOT
    states: NDArray[np.void]  # STATE
    events: NDArray[np.void]  # EVENT
    timings: Timings = Timings()
    degraded: int = 0  # spots in crowds too dense to be linked at the least cost in bounded time
    level: int = 0  # of the frame
    odd: int = 0  # what was the matter with the frame: bits of `stream.odd`


@dataclass(frozen=True)
class Start:
    """First word of a run: everything needed to read it and to replay it."""

    run: str  # id
    mode: str  # "live" or "replay"
    source: str  # what the frames came from: a file name, a run id, "micromanager"
    axes: str  # of one frame: "yx" or "zyx"
    shape: tuple[int, ...]  # of one frame
    dtype: str  # of one frame: "uint8", "<u2", "<f4"
    pixel_size_um: float | None
    frame_interval_s: float | None
    z_step_um: float | None = None
    time_zero_utc: str = ""  # ISO 8601: when the live run was opened, just before its first frame
    # offset (counts), gain_e_per_count, read_noise_e; known: "measured", "estimated" or "unknown"
    camera: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)  # of the analysis
    # role -> name, sha256, file; replaces: SHA-256 of what the replayed run had in its place
    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    software: dict[str, str] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)  # provider, threads, hardware class
    source_run: str = ""  # id of the run that is replayed
    all_frames: bool = False  # of that run also the frames that it had skipped
    format: int = FORMAT


@dataclass(frozen=True)
class Stop:
    """Last word of a run."""

    run: str
    status: str  # "complete", "aborted" or "failed"
    reason: str = ""
    frames: int = 0  # stored
    analyzed: int = 0
    # exposures the camera made that were not analyzed: of the numbers from 0 to the last one stored
    # (or analyzed, where the recorder lost it), so that analyzed + lost counts them all
    lost: int = 0
    spots: int = 0
    states: int = 0
    events: int = 0
