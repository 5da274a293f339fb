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
    **settings: Any,
) -> NDArray[np.int64]:
    """Track ids (n,) of points in any order, from frame numbers (n,) and coordinates (n, 2 or 3).

    `settings` are further arguments of `Linker`.
    """
    linker = Linker(search_range, memory, points.shape[1], **settings)
    order = np.argsort(frames, kind="stable")
    when, place = frames[order], points[order]
    found = np.empty(len(frames), np.int64)
    cuts = np.flatnonzero(np.diff(when)) + 1
    for begin, end in zip([0, *cuts], [*cuts, len(frames)], strict=True) if len(order) else ():
        linked = linker.link(int(when[begin]), place[begin:end])
        _correct(found[:begin], when, linked.moves)
        found[begin:end] = linked.track
    _correct(found, when, linker.finish())
    track = np.empty(len(frames), np.int64)
    track[order] = found
    return track


def _correct(track: NDArray[np.int64], frames: NDArray[np.int64], moves: Iterable[Moves]) -> None:
    """Apply corrections of links to the ids of the points so far."""
    for move in moves:
        tail = track[np.searchsorted(frames, move.frame) :]
        tail[:] = rename(tail, move.track, move.other)
