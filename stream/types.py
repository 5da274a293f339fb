"""Vocabulary: the values that pass between stages.

A value is a NamedTuple, a frozen dataclass or a NumPy record array with explicit little-endian
fields; one row a particle, never one Python object. Coordinates are pixels with pixel centres at
integers, `y` before `x`; other units stand in a field's name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

FORMAT = 5  # version of the run store and of the wire

MOTIONS = ("normal", "directed", "confined", "subdiffusive")  # order of the p_ fields below
ABSTAIN = -1  # `STATE["state"]` when no motion is likely enough
KINDS = ("born", "lost", "merged", "split", "relinked", "changepoint", "uncoating", "rule")
CLOCKS = ("none", "camera", "core", "host", "file")  # where `Frame.time_s` comes from

# Columns of the tables. `descriptions.py` says what each holds; new ones go to the end.

# One localized particle in one frame.
SPOT = np.dtype(
    [
        ("frame", "<i8"),
        ("channel", "<i2"),
        ("position", "<i2"),
        ("track", "<i8"),
        ("z", "<f4"),
        ("y", "<f4"),
        ("x", "<f4"),
        ("dz", "<f4"),
        ("dy", "<f4"),
        ("dx", "<f4"),
        ("intensity", "<f4"),
        ("background", "<f4"),
        ("score", "<f4"),
        ("sigma", "<f4"),
        ("variance", "<f4"),
        ("polarizability_um3", "<f4"),
    ]
)

# The state of one track at one past frame, as it was known when it was made.
STATE = np.dtype(
    [
        ("frame", "<i8"),
        ("channel", "<i2"),
        ("position", "<i2"),
        ("track", "<i8"),
        ("lag", "<i4"),
        ("made", "<i8"),
        ("settled", "u1"),
        ("p_normal", "<f4"),
        ("p_directed", "<f4"),
        ("p_confined", "<f4"),
        ("p_subdiffusive", "<f4"),
        ("state", "i1"),
        ("p_uncoated", "<f4"),
        ("p_task", "<f4"),
    ]
)

# Something that happened. `seq` counts from 0 without a gap.
EVENT = np.dtype(
    [
        ("seq", "<i8"),
        ("kind", "u1"),
        ("frame", "<i8"),
        ("channel", "<i2"),
        ("position", "<i2"),
        ("track", "<i8"),
        ("other", "<i8"),
        ("z", "<f4"),
        ("y", "<f4"),
        ("x", "<f4"),
        ("probability", "<f4"),
        ("delay", "<i4"),
        ("amends", "<i8"),
    ]
)

# One exposure. Wall-clock measurements live here alone: the other tables replay to the same bytes.
FRAME = np.dtype(
    [
        ("number", "<i8"),
        ("frame", "<i8"),
        ("channel", "<i2"),
        ("position", "<i2"),
        ("time_s", "<f8"),
        ("clock", "u1"),
        ("analyzed", "u1"),
        ("spots", "<i4"),
        ("lost", "<i8"),
        ("degraded", "<i4"),
        ("localize_ms", "<f4"),
        ("infer_ms", "<f4"),
        ("analyze_ms", "<f4"),
        ("latency_ms", "<f4"),
        ("level", "u1"),
        ("quality", "u1"),
        ("drift_y", "<f4"),
        ("drift_x", "<f4"),
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
    level: int = 0  # of `stream.degradation`: what the loop gives up for it


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
    quality: int = 0  # what is the matter with the frame: bits of `stream.frame_quality`
    # y, x, pixels: how far the sample has drifted since the first frame; None: not measured
    drift: tuple[float, float] | None = None
    # kind and text of what a person is to be told of the sample; goes to the status of the run
    notices: tuple[tuple[str, str], ...] = ()

    @property
    def nbytes(self) -> int:
        """Bytes of its rows."""
        return int(self.spots.nbytes + self.states.nbytes + self.events.nbytes)


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
    exposure_s: float | None = None  # time for which the shutter is open; None: unknown
    time_zero_utc: str = ""  # ISO 8601: when the live run was opened, just before its first frame
    # offset (counts), gain_e_per_count, read_noise_e; known: "measured", "estimated" or "unknown"
    camera: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)  # of the analysis
    # role -> name, sha256, file; replaces: SHA-256 of what the replayed run had in its place
    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    software: dict[str, str] = field(default_factory=dict)
    # provider, threads, hardware class, instruction sets that change how results are rounded
    machine: dict[str, Any] = field(default_factory=dict)
    source_run: str = ""  # id of the run that is replayed
    # of a recorded movie: `stated`, what the user stated of it; `origins`, where its axes, units
    # and times were taken from
    recording: dict[str, Any] = field(default_factory=dict)
    all_frames: bool = False  # of that run also the frames that it had skipped
    format: int = FORMAT


@dataclass(frozen=True)
class Stop:
    """Last word of a run."""

    run: str
    status: str  # "complete", "aborted" or "failed"
    reason: str = ""
    # frames by what became of them; recorded + lost counts the exposures up to the last one stored
    # or analyzed
    recorded: int = 0  # stored
    analyzed: int = 0
    skipped: int = 0  # recorded, not analyzed
    lost: int = 0  # exposed, never received
    spots: int = 0
    states: int = 0
    events: int = 0
    frame_interval_s: float | None = None  # median step of the times of all frames; None: no times


# The five callables that a run is made of. Whatever has their methods is one.

Source = Iterable[Frame]
"""Yields the frames of a run, in the order of `Frame.number`; its end is the end of the run."""

Localize = Callable[[NDArray[Any]], NDArray[np.void]]
"""Returns the particles of an image (y, x) or (z, y, x) as SPOT rows (n,), positions in pixels.

The same image gives the same rows. `frame`, `channel`, `position` and `track` are filled in later.
"""


class Follower(Protocol):
    """Reads the tracks of one channel and position, and keeps what it knows of each by its slot.

    A slot is a small number that a track has while it lives; it is used again afterwards. A reading
    is a row of probabilities: of the four motions, in the order of MOTIONS, of having uncoated,
    and, where a user's classifier runs, of what it looks for.
    """

    def push(
        self,
        slots: NDArray[np.int32],
        frames: NDArray[np.int64],
        points: NDArray[np.float64],
        intensity: NDArray[np.float64] | None,
    ) -> NDArray[np.float32]:
        """Take the newest point of each of some tracks; return a reading of it.

        Parameters
        ----------
        slots : (n,)
        frames : (n,)
            Time point of each.
        points : (n, 3)
            z, y, x in pixels.
        intensity : (n,), optional
            Counts; NaN, or None for all, if it is unknown.

        Returns
        -------
        (n, 5) or (n, 6)
        """

    def read(self, slots: NDArray[np.int32], ages: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return readings of the points that lie `ages` (n,) points before the newest one."""

    def clear(self, slots: NDArray[np.int32]) -> None:
        """Forget the tracks in `slots`."""


Infer = Callable[[], Follower]
"""Makes a follower; called once for each channel and position."""


class Sink(Protocol):
    """Takes the updates of a run: publishes, stores or reacts.

    A sink may also have `leave_out(frame, reason)`. It is called with a frame that is not analyzed,
    because it cannot follow those before it; whoever stores frames stores it all the same.
    """

    def __call__(self, frame: Frame, update: Update) -> Update | None:
        """Take one analyzed frame; a sink that measures returns the update with its measurement."""

    def finish(self, update: Update) -> object:
        """Take the rows that the end of the run settles. Called once, unless the run failed."""

    def close(self, stop: Stop) -> object:
        """Take the last word. Always called, and last, also after a failure of this sink."""
