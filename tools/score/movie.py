"""Scores of the results for a simulated movie, compared with its truth.

Spots are matched to the truth frame by frame, one to one, nearest pairs first within a radius. (For
particles that are further apart than this, it is the optimal assignment.) A particle that is off
(blinking) is not part of the truth, so a spot there is false. Movies have one channel and position.
"""

from __future__ import annotations

from typing import NamedTuple, SupportsFloat

import numpy as np
from numpy.typing import ArrayLike, NDArray

from livespt.stream.types import KINDS, MOTIONS

Rows = NDArray[np.void]
Indices = NDArray[np.intp]
MARGIN_PX = 6.0  # within it, neither truth nor spots count


class Matched(NamedTuple):
    """Pairs: row `truth[k]` of the truth matches row `spot[k]` of the spots."""

    truth: Indices
    spot: Indices


def _pairs(truth: Rows, spots: Rows, radius: float) -> list[tuple[int, int]]:
    """Match nearest pairs first; each row is in at most one pair."""
    dy = np.subtract.outer(truth["y"], spots["y"].astype(np.float64))
    dx = np.subtract.outer(truth["x"], spots["x"].astype(np.float64))
    square = dy**2 + dx**2
    return nearest_first(square, square <= radius**2)


def nearest_first(square: NDArray[np.float64], near: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Pairs (row, column) where `near`, the least `square` first, each row and column once."""
    left, right = np.nonzero(near)
    pairs: list[tuple[int, int]] = []
    used: tuple[set[int], set[int]] = set(), set()
    for k in np.argsort(square[left, right], kind="stable"):
        i, j = int(left[k]), int(right[k])
        if i not in used[0] and j not in used[1]:
            used[0].add(i)
            used[1].add(j)
            pairs.append((i, j))
    return pairs


def match(truth: Rows, spots: Rows, radius: float = 2.0) -> Matched:
    """Match visible truth to spots.

    Parameters
    ----------
    truth : simulate.TRUTH (n,)
    spots : SPOT (m,)
    radius : float
        Pixels.
    """
    seen = np.flatnonzero(truth["visible"])
    seen = seen[np.argsort(truth["frame"][seen], kind="stable")]
    found = np.argsort(spots["frame"], kind="stable")
    frames = np.intersect1d(truth["frame"][seen], spots["frame"])
    ends = [
        np.searchsorted(table["frame"][rows], frames, side)
        for table, rows in ((truth, seen), (spots, found))
        for side in ("left", "right")
    ]
    pairs = []
    for a, b, c, d in zip(*ends, strict=True):
        here, there = seen[a:b], found[c:d]
        pairs += [(here[i], there[j]) for i, j in _pairs(truth[here], spots[there], radius)]
    both = np.array(pairs, np.intp).reshape(-1, 2)
    return Matched(both[:, 0], both[:, 1])


def _within(rows: Rows, shape: tuple[int, ...] | None, edge: float) -> NDArray[np.bool_]:
    """Which rows lie at least `edge` pixels from the border; all if there is no shape."""
    if shape is None:
        return np.ones(len(rows), np.bool_)
    height, width = shape[-2:]
    down = (rows["y"] >= edge) & (rows["y"] <= height - 1 - edge)
    across = (rows["x"] >= edge) & (rows["x"] <= width - 1 - edge)
    return np.asarray(down & across)


def _share(part: SupportsFloat, whole: SupportsFloat) -> float:
    return float(part) / float(whole) if float(whole) else 0.0


def detection(
    truth: Rows,
    spots: Rows,
    *,
    radius: float = 2.0,
    shape: tuple[int, ...] | None = None,
    edge: float = MARGIN_PX,
    frames: ArrayLike | None = None,
) -> dict[str, float]:
    """Recall, precision and error of the localizations.

    Parameters
    ----------
    truth : simulate.TRUTH (n,)
    spots : SPOT (m,)
    radius : float
        Pixels.
    shape : (int, int), optional
        Size of the image. After matching, truth within `edge` pixels of the border is left out
        together with its matches, and so are unmatched spots there. None: everything counts.
    frames : (k,), optional
        Analyzed frames; truth in others is left out. None: all.

    Returns
    -------
    dict
        "recall" and "precision" from 0 to 1 (0 if undefined), and "rmse_px" per axis over the
        matched pairs (NaN without pairs).
    """
    if frames is not None:
        truth = truth[np.isin(truth["frame"], frames)]
    matched = match(truth, spots, radius)
    inside = _within(truth, shape, edge)
    pair = inside[matched.truth]
    here, there = truth[matched.truth[pair]], spots[matched.spot[pair]]
    spare = _within(spots, shape, edge)
    spare[matched.spot] = False
    error = np.concatenate([here["y"] - there["y"], here["x"] - there["x"]])
    return {
        "recall": _share(len(here), np.count_nonzero(inside & (truth["visible"] > 0))),
        "precision": _share(len(here), len(here) + np.count_nonzero(spare)),
        "rmse_px": float(np.sqrt(np.mean(error**2))) if len(error) else float("nan"),
    }


def purity(truth: Rows, spots: Rows, *, radius: float = 2.0) -> float:
    """Share of the matched spots that belong to the most frequent particle of their track."""
    matched = match(truth, spots, radius)
    link = np.stack([spots["track"][matched.spot], truth["particle"][matched.truth]], axis=1)
    kinds, count = np.unique(link, axis=0, return_counts=True)
    most = np.zeros(len(kinds), np.int64)
    _, track = np.unique(kinds[:, 0], return_inverse=True)
    np.maximum.at(most, track, count)
    return _share(int(most.sum()), len(link))


def exchanges(truth: Rows, spots: Rows, *, radius: float = 2.0, apart: float = 4.0) -> int:
    """Count how often a track goes on with another particle than before.

    Spots of particles that have another one within `apart` pixels are left out, because there it is
    not certain whose they are.
    """
    matched = match(truth, spots, radius)
    alone = _alone(truth, apart)[matched.truth]
    rows, spot = truth[matched.truth[alone]], spots[matched.spot[alone]]
    order = np.lexsort((spot["frame"], spot["track"]))
    goes_on = np.diff(spot["track"][order]) == 0
    return int(np.count_nonzero(goes_on & (np.diff(rows["particle"][order]) != 0)))


def _alone(truth: Rows, apart: float) -> NDArray[np.bool_]:
    """Which rows have no other visible particle within `apart` pixels in their frame."""
    alone = np.ones(len(truth), np.bool_)
    for frame in np.unique(truth["frame"]):
        here = np.flatnonzero((truth["frame"] == frame) & (truth["visible"] > 0))
        y, x = truth["y"][here], truth["x"][here]
        near = np.hypot(np.subtract.outer(y, y), np.subtract.outer(x, x)) <= apart
        alone[here] = near.sum(axis=1) == 1
    return alone


def states(truth: Rows, spots: Rows, states: Rows, *, radius: float = 2.0) -> float:
    """Share of the settled states whose most probable motion is the true one.

    A settled row counts if the spot of its track in this frame is matched. Undecided states count
    as well, by their most probable motion.
    """
    matched = match(truth, spots, radius)
    key = ["frame", "track"]
    rows = states[states["settled"] > 0]
    row_of = {tuple(k): i for i, k in enumerate(spots[key][matched.spot].tolist())}
    at = np.array([row_of.get(tuple(k), -1) for k in rows[key].tolist()], np.intp)
    rows, at = rows[at >= 0], at[at >= 0]
    likely = np.argmax(np.stack([rows[f"p_{name}"] for name in MOTIONS], axis=-1), axis=-1)
    right = np.count_nonzero(likely == truth["state"][matched.truth[at]])
    return _share(right, len(rows))


def _final(events: Rows, kind: str) -> Rows:
    """Events of a kind that were neither revised nor retracted."""
    amended = events["amends"][events["amends"] >= 0]
    kept = (events["kind"] == KINDS.index(kind)) & ~np.isin(events["seq"], amended)
    final: Rows = events[kept]
    return final


def _true_uncoatings(
    truth: Rows, shape: tuple[int, ...] | None, edge: float, around: int
) -> tuple[dict[int, int], set[int]]:
    """Frame of the uncoating of each particle, and the particles in which it was observable.

    An uncoating is observable if the particle is not uncoated when it first appears, and if it is
    visible and not at the border in at least half of the `around` frames before and after.
    """
    plain = truth[np.argsort(truth["frame"], kind="stable")]
    good = _within(plain, shape, edge) & (plain["visible"] > 0)
    frame: dict[int, int] = {}
    seen: set[int] = set()
    for particle in np.unique(plain["particle"][plain["uncoated"] > 0]):
        mine = plain["particle"] == particle
        when = plain["frame"][mine]
        first = int(when[np.argmax(plain["uncoated"][mine] > 0)])
        frame[int(particle)] = first
        away = when[good[mine]] - first
        before = np.sum((away < 0) & (away >= -around))
        after = np.sum((away >= 0) & (away < around))
        if min(before, after) >= around / 2:
            seen.add(int(particle))
    return frame, seen


def _nearest(truth: Rows, event: np.void, radius: float) -> int:
    """Particle at the position of an event; -1 if none is within `radius` pixels."""
    there = truth[truth["frame"] == event["frame"]]
    apart = np.hypot(there["y"] - event["y"], there["x"] - event["x"])
    if not len(there) or apart.min() > radius:
        return -1
    return int(there["particle"][np.argmin(apart)])


def uncoating(
    truth: Rows,
    events: Rows,
    *,
    within: int = 20,
    radius: float = 3.0,
    shape: tuple[int, ...] | None = None,
    edge: float = MARGIN_PX,
) -> dict[str, int | float | None]:
    """Compare announced uncoatings with the true ones.

    An event belongs to the particle nearest to its position in its frame. It finds the uncoating of
    this particle if it is within `within` frames of it; of several events, the nearest in time
    does, and the others are false. Events of particles that do not uncoat, or of no particle, are
    false as well. An uncoating that was not observable (in half of the ten frames before or after
    it, the particle is off, at the border, or outside) is neither missed nor found.

    Parameters
    ----------
    truth : simulate.TRUTH (n,)
    events : EVENT (m,)
    within : int
        Greatest distance in time, frames.
    radius, edge : float
        Greatest distance, and width of the margin, pixels.
    shape : (int, int), optional
        Size of the image, for `edge`.

    Returns
    -------
    dict
        "true", "found", "missed", "false" are counts; "delay_frames" is the median number of frames
        from a true uncoating to its announcement, None if none was found.
    """
    true, seen = _true_uncoatings(truth, shape, edge, around=10)
    hits: dict[int, list[tuple[int, int]]] = {}
    false = 0
    for event in _final(events, "uncoating"):
        particle = _nearest(truth, event, radius)
        apart = int(event["frame"]) - true.get(particle, 0)
        if particle in true and abs(apart) <= within:
            hits.setdefault(particle, []).append((abs(apart), apart + int(event["delay"])))
        else:
            false += 1
    false += sum(len(hit) - 1 for hit in hits.values())
    delays = [min(hit)[1] for particle, hit in hits.items() if particle in seen]
    return {
        "true": len(seen),
        "found": len(delays),
        "missed": len(seen) - len(delays),
        "false": false,
        "delay_frames": float(np.median(delays)) if delays else None,
    }


def changepoints(
    truth: Rows,
    changes: NDArray[np.int64],
    events: Rows,
    *,
    within: int = 10,
    radius: float = 3.0,
) -> dict[str, int]:
    """Compare announced changepoints with the true changes of motion.

    An event belongs to the particle nearest to its position in its frame, and finds the change of
    this particle that is nearest in time. Other events at the same change are false, and so are
    those of particles without a change, or of no particle.

    Parameters
    ----------
    truth : simulate.TRUTH (n,)
    changes : int array (k, 2)
        Particle, and its first frame with another motion.
    events : EVENT (m,)
    within : int
        Greatest distance in time, frames.
    radius : float
        Greatest distance, pixels.

    Returns
    -------
    dict
        "true", "found" and "false" are counts.
    """
    found: set[int] = set()
    false = 0
    for event in _final(events, "changepoint"):
        apart = np.abs(changes[:, 1] - event["frame"])
        mine = (changes[:, 0] == _nearest(truth, event, radius)) & (apart <= within)
        nearest = int(np.argmin(np.where(mine, apart, within + 1))) if mine.any() else -1
        if nearest < 0 or nearest in found:
            false += 1
        else:
            found.add(nearest)
    return {"true": len(changes), "found": len(found), "false": false}
