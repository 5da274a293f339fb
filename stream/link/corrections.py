"""Corrections: the rule by which readers apply corrections of links that were published.

`spots` and `states` keep the ids under which they were published; `relinked` events tell what
hindsight (`relinker`) made of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from livespt.stream.types import KINDS

RELINKED = KINDS.index("relinked")


def rename(
    ids: NDArray[np.int64], track: NDArray[np.int64], other: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Ids (n,) with each of `track` (k,) replaced by its `other` (k,), all at once."""
    order = np.argsort(track, kind="stable")
    place = order[np.minimum(np.searchsorted(track, ids, sorter=order), len(track) - 1)]
    return np.where(track[place] == ids, other[place], ids)


def corrected(rows: NDArray[np.void], events: NDArray[np.void]) -> NDArray[np.void]:
    """Rows with the ids that they belong to, after all corrections.

    A `relinked` event says: of the rows of `track` that were made before it was announced (at
    `frame` + `delay`), those from `frame` on belong to `other`. Events of one announcement and one
    `frame` count at once (an exchange is two), others in the order of `seq`.

    Parameters
    ----------
    rows : (n,) SPOT or STATE
        With ids as they were published; they are left as they are.
    events : (m,) EVENT
        All of the run, or more of it than the rows.
    """
    told = events[events["kind"] == RELINKED]
    if not len(told) or not len(rows):
        return rows
    told = told[np.argsort(told["seq"], kind="stable")]
    ids, order = rows["track"].astype(np.int64), np.argsort(rows["frame"], kind="stable")
    frame, made = (
        rows["frame"][order],
        rows["made" if "made" in (rows.dtype.names or ()) else "frame"],
    )
    keys = [told["channel"], told["position"], told["frame"], told["frame"] + told["delay"]]
    when = np.stack(keys, axis=1).astype(np.int64)
    for group in np.split(np.arange(len(told)), np.flatnonzero((when[1:] != when[:-1]).any(1)) + 1):
        channel, position, cut, now = when[group[0]]
        at = order[slice(*np.searchsorted(frame, (cut, now)))]
        lane = (rows["channel"][at] == channel) & (rows["position"][at] == position)
        at = at[lane & (made[at] < now)]
        ids[at] = rename(ids[at], told["track"][group], told["other"][group])
    rows = rows.copy()
    rows["track"] = ids
    return rows
