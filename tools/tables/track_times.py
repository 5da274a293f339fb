"""Track times: the interval of tracks, as the user states it or as their times tell it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.stream.frame_times import differ


def interval_of_tracks(
    values: Mapping[str, NDArray[Any]], stated: float | None, say: Callable[[str], None]
) -> float | None:
    """Interval of the frames of tracks, seconds: as stated, or the median step of their times.

    Parameters
    ----------
    values
        `frame, particle`, and `time_s` if there are times: (n,).
    stated : float, optional
        What the user states rules over the times.
    say : callable
        Is called with a line of text if the two differ.

    Returns
    -------
    float, optional
        None: neither is there.
    """
    timed = _median_step(values)
    if stated is not None and timed is not None and differ(stated, timed):
        say(f"frame interval {stated:g} s as you state it; the steps of time_s are {timed:g} s")
    return timed if stated is None else stated


def _median_step(values: Mapping[str, NDArray[Any]]) -> float | None:
    """Median time from one frame to the next within tracks; None: there are no times."""
    if "time_s" not in values:
        return None
    frame, particle, time = (values[name] for name in ("frame", "particle", "time_s"))
    order = np.lexsort((frame, particle))
    follows = np.diff(particle[order]) == 0
    step = np.diff(time[order])[follows] / np.diff(frame[order])[follows]
    step = step[step > 0]
    return float(np.median(step)) if len(step) else None
