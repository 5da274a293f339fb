"""Frame times: the steps between the frames of each lane, and the interval, their median.

A lane is one channel at one position. The median makes the interval that of most frames: a pause, a
lost frame or a jump of the clock does not change it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.stream.types import CLOCKS

DIFFERENT = 0.1  # share by which two intervals differ that cannot both be right
PAUSE_S, PAUSE_STEPS = 1.0, 20.0  # a pause is longer than both
UNTIMED = CLOCKS.index("none")


def lane_steps(
    t: NDArray[np.int64], lane: NDArray[np.int64], time_s: NDArray[np.float64]
) -> list[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Of each lane: its time points but the first, and the mean step to each from the one before.

    Parameters
    ----------
    t, lane : (n,)
        Time point of each frame, and a number that its lane has alone.
    time_s : (n,)
    """
    found = []
    for one in np.unique(lane):
        mine = np.flatnonzero(lane == one)
        mine = mine[np.argsort(t[mine], kind="stable")]
        points = np.diff(t[mine])
        if len(points):
            found.append((t[mine[1:]], np.diff(time_s[mine]) / np.maximum(points, 1)))
    return found


def median_step(
    t: NDArray[np.int64], lane: NDArray[np.int64], time_s: NDArray[np.float64]
) -> float | None:
    """Return the median time from one time point to the next, over all lanes; None: no step."""
    steps = [step for _, step in lane_steps(t, lane, time_s)]
    each = np.concatenate(steps) if steps else np.zeros(0)
    each = each[each > 0]
    return float(np.median(each)) if len(each) else None


def lanes(channel: NDArray[np.int64], position: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return a number for each frame (n,) that its channel and position have alone."""
    wide = np.asarray(position, np.int64) << 32
    return wide + np.asarray(channel, np.int64)


def interval_of(columns: Mapping[str, NDArray[Any]] | NDArray[np.void]) -> float | None:
    """Return the interval of frames from columns of their table; None: they have no times.

    Parameters
    ----------
    columns
        `frame, channel, position, time_s, clock` (n,).
    """
    timed = columns["clock"] != UNTIMED
    frame, channel, position, time_s = (
        columns[name][timed] for name in ("frame", "channel", "position", "time_s")
    )
    return median_step(frame, lanes(channel, position), time_s)


def differ(one: float, other: float) -> bool:
    """Whether two intervals differ by more than rounding and jitter explain."""
    return abs(one - other) > DIFFERENT * max(one, other)
