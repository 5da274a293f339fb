"""Spots of a run without the drift of the sample, for exports of runs that are to be corrected."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from livespt.stream.types import Start


def is_corrected(start: Start) -> bool:
    """Whether the drift is to be taken off what leaves this run."""
    return bool(start.settings.get("drift") == "correct")


def undrifted(start: Start, spots: NDArray[np.void], frames: NDArray[np.void]) -> NDArray[np.void]:
    """Spots (n,) SPOT whose `y` and `x` have the drift of their frame taken off, where asked for.

    Parameters
    ----------
    start : Start
        Of the run; without the setting `drift = "correct"` the spots are returned as they are.
    spots : (n,) SPOT
    frames : (k,) FRAME
        They hold how far the sample had drifted, `drift_y` and `drift_x` (pixels). A frame that
        does not tell it has the drift of the one before.
    """
    if not is_corrected(start) or not len(spots):
        return spots
    moved = spots.copy()
    for channel, position in np.unique(spots[["channel", "position"]]).tolist():
        lane = (frames["channel"] == channel) & (frames["position"] == position)
        known = frames[lane & np.isfinite(frames["drift_y"]) & np.isfinite(frames["drift_x"])]
        mine = np.flatnonzero((spots["channel"] == channel) & (spots["position"] == position))
        if not len(known):
            continue
        known = known[np.argsort(known["frame"], kind="stable")]
        at = np.searchsorted(known["frame"], spots["frame"][mine], side="right") - 1
        for axis in "yx":
            moved[axis][mine] -= known[f"drift_{axis}"][np.maximum(at, 0)]
    return moved
