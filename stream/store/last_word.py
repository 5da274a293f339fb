"""The last word of a run, counted from what its tables hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import zarr

from livespt.stream.frame_times import interval_of
from livespt.stream.types import Stop

COLUMNS = ("frame", "channel", "position", "time_s", "clock", "analyzed")


def counted(run: Path, stop: Stop, analyzed: int, last: int, count: Callable[[str], int]) -> Stop:
    """Return the last word with the counts of what is stored, and the interval of all frames.

    Parameters
    ----------
    run : Path
        All rows of its frames are in columns.
    stop : Stop
    analyzed : int
        Updates committed, also of frames that the recorder lost.
    last : int
        Number of the last exposure stored or analyzed.
    count : callable
        Returns the number of rows of a table.
    """
    held = {name: np.asarray(zarr.open_array(run / "frames" / name)[:]) for name in COLUMNS}
    recorded = count("frames")
    return replace(
        stop,
        recorded=recorded,
        analyzed=analyzed,
        skipped=int((held["analyzed"] == 0).sum()),
        lost=last + 1 - recorded,
        spots=count("spots"),
        states=count("states"),
        events=count("events"),
        frame_interval_s=interval_of(held),
    )
