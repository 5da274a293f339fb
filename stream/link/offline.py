"""Link a whole table of points in one call."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.stream.link.corrections import rename
from livespt.stream.link.linker import Linker
from livespt.stream.link.relinker import Moves


def link_points(
    frames: NDArray[np.int64],
    points: NDArray[np.float64],
    search_range: float,
    memory: int = 0,
    *,
    time_s: NDArray[np.float64] | None = None,
    precision: NDArray[np.float64] | None = None,
    **settings: Any,
) -> NDArray[np.int64]:
    """Track ids (n,) of points in any order.

    Parameters
    ----------
    frames : (n,)
    points : (n, 2 or 3)
        px
    search_range, memory
        As for `Linker`, as further `settings` are.
    time_s : (n,), optional
        Of the frame of each point; NaN: unknown.
    precision : (n, 2 or 3), optional
        Standard deviation of each coordinate, px; NaN: unknown.
    """
    linker = Linker(search_range, memory, points.shape[1], **settings)
    order = np.argsort(frames, kind="stable")
    when = frames[order]
    found = np.empty(len(frames), np.int64)
    cuts = np.flatnonzero(np.diff(when)) + 1
    for begin, end in zip([0, *cuts], [*cuts, len(frames)], strict=True) if len(order) else ():
        rows = order[begin:end]
        linked = linker.link(
            int(when[begin]),
            points[rows],
            time_s=None if time_s is None else _time(time_s[rows]),
            precision=None if precision is None else precision[rows],
        )
        _correct(found[:begin], when, linked.moves)
        found[begin:end] = linked.track
    _correct(found, when, linker.finish())
    track = np.empty(len(frames), np.int64)
    track[order] = found
    return track


def _time(time_s: NDArray[np.float64]) -> float | None:
    """Time of a frame, from those of its points; None: unknown."""
    known = time_s[np.isfinite(time_s)]
    return float(known[0]) if len(known) else None


def _correct(track: NDArray[np.int64], frames: NDArray[np.int64], moves: Iterable[Moves]) -> None:
    """Apply corrections of links to the ids of the points so far."""
    for move in moves:
        tail = track[np.searchsorted(frames, move.frame) :]
        tail[:] = rename(tail, move.track, move.other)
