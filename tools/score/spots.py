"""Scores of localizations of simulated spots: detection, error and precision.

Found and true positions are matched one to one within a radius, with as many pairs as possible, and
among these with the least distances (the Hungarian method). Errors are per axis, in pixels.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.stream.link.assignment import assign
from livespt.tools.score.movie import MARGIN_PX

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

MATCH_PX = 2.0  # greatest distance of a pair
ISOLATION_PX = 8.0  # an isolated spot has no neighbour within it
UNMATCHED_COST = 1e6  # px^2, of a position without a partner; greater than that of any pair


class SpotTally(NamedTuple):
    """Result of matching the spots of one or many frames; m is the number of matched ones."""

    which: Indices  # (m, 2) frame and row of the true position
    error: Floats  # (m, 2) found minus true position, y and x, pixels
    claimed: Floats  # (m, 2) precision reported by the localizer; NaN: none
    isolated: NDArray[np.bool_]  # (m,) whether no true neighbour is within APART
    true: int  # number of true spots
    false: int  # number of detections that match no true spot


def pair(truth: Floats, found: Floats, radius: float = MATCH_PX) -> tuple[Indices, Indices]:
    """Match `truth` (n, 2) and `found` (m, 2); return the rows of the pairs."""
    square = ((truth[:, None, :2] - found[None, :, :2]) ** 2).sum(axis=2)
    near = square <= radius**2
    first = np.concatenate([[0], np.cumsum(near.sum(axis=1))]).astype(np.int64)
    column = np.nonzero(near)[1].astype(np.int32)
    alone, capped = np.full(len(truth), UNMATCHED_COST), np.zeros(len(truth), np.bool_)
    row, _ = assign(first, column, square[near], alone, capped, len(found))
    there = np.flatnonzero(row >= 0)
    return np.asarray(row[there]), there


def isolated(truth: Floats, apart: float = ISOLATION_PX) -> NDArray[np.bool_]:
    """Which of the positions (n, 2) have no other within `apart` pixels."""
    alone = np.ones(len(truth), np.bool_)
    for k, point in enumerate(truth):
        square = ((truth - point) ** 2).sum(axis=1)
        square[k] = np.inf
        alone[k] = not (square <= apart**2).any()
    return alone


def compare(
    truth: Floats,
    found: Floats,
    shape: tuple[int, int],
    *,
    frame: int = 0,
    radius: float = MATCH_PX,
) -> SpotTally:
    """Match the spots of one frame.

    Parameters
    ----------
    truth : (n, 2)
        y, x of the spots, pixels.
    found : (m, 4)
        y, x and their reported precision, pixels.
    shape : (int, int)
        Size of the frame. After matching, true positions within EDGE pixels of its border are left
        out together with their matches, and so are unmatched detections there.
    """
    i, j = pair(truth, found, radius)
    inside, spare = _inside(truth, shape), _inside(found, shape)
    spare[j] = False
    kept = inside[i]
    i, j = i[kept], j[kept]
    which = np.column_stack([np.full(len(i), frame), i])
    return SpotTally(
        which=which,
        error=found[j, :2] - truth[i],
        claimed=found[j, 2:4],
        isolated=isolated(truth)[i],
        true=int(inside.sum()),
        false=int(spare.sum()),
    )


def together(tallies: list[SpotTally]) -> SpotTally:
    """Combine the results of several frames."""
    return SpotTally(
        which=np.concatenate([t.which for t in tallies]),
        error=np.concatenate([t.error for t in tallies]),
        claimed=np.concatenate([t.claimed for t in tallies]),
        isolated=np.concatenate([t.isolated for t in tallies]),
        true=sum(t.true for t in tallies),
        false=sum(t.false for t in tallies),
    )


def jaccard(tally: SpotTally) -> float:
    """Jaccard index: matched pairs divided by all that are true or found."""
    return _share(len(tally.error), tally.true + tally.false)


def rmse(error: Floats) -> float:
    """Root mean square; NaN without values."""
    return float(np.sqrt(np.mean(error**2))) if error.size else float("nan")


def figures(tally: SpotTally, bound: float) -> dict[str, Any]:
    """Figures of one line of a table.

    `rmse_px` and `isolated_px` are the root mean square errors of all matched spots and of isolated
    ones. `robust_px` is the median absolute error of all divided by 0.6745. `ratio` is
    `isolated_px` divided by the bound. `claimed` is the root mean square of the reported precision
    divided by that of the error, for isolated spots, and `claimed_all` for all spots; both ignore
    spots without a reported precision. A figure is None if there are no spots for it.
    """
    alone = tally.error[tally.isolated]
    found = len(tally.error)
    return {
        "jaccard": round(jaccard(tally), 4),
        "recall": round(_share(found, tally.true), 4),
        "precision": round(_share(found, found + tally.false), 4),
        "rmse_px": _rounded(rmse(tally.error), 4),
        "isolated_px": _rounded(rmse(alone), 4),
        "robust_px": round(float(np.median(np.abs(tally.error))) / 0.6745, 4) if found else None,
        "bound_px": _rounded(bound, 4),
        "ratio": _rounded(rmse(alone) / bound, 3),
        "claimed": _claimed(alone, tally.claimed[tally.isolated]),
        "claimed_all": _claimed(tally.error, tally.claimed),
    }


def common(ours: SpotTally, theirs: SpotTally) -> tuple[float, float]:
    """Errors of both localizers over the spots that both found."""
    keys = [{tuple(key): k for k, key in enumerate(t.which.tolist())} for t in (ours, theirs)]
    both = sorted(keys[0].keys() & keys[1].keys())
    rows = [[key[name] for name in both] for key in keys]
    return rmse(ours.error[rows[0]]), rmse(theirs.error[rows[1]])


def _claimed(error: Floats, claimed: Floats) -> float | None:
    stated = np.isfinite(claimed)
    real = rmse(error[stated])
    return round(rmse(claimed[stated]) / real, 3) if real > 0 else None


def _inside(points: Floats, shape: tuple[int, int]) -> NDArray[np.bool_]:
    at, last = points[:, :2], np.array(shape) - 1
    return np.asarray(((at >= MARGIN_PX) & (at <= last - MARGIN_PX)).all(axis=1))


def _rounded(value: float, digits: int) -> float | None:
    """Round; None in place of NaN, which a card cannot hold."""
    return round(value, digits) if math.isfinite(value) else None


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
