"""Colocalization of two colours: which tracks move together, and when they separate.

This gives labels for the uncoating classifier without manual annotation, as in DeepSPT
(Kaestel-Hansen et al., Nat. Methods 2025): a particle in one colour (in rotavirus the inner capsid,
DLP) that loses its partner in the other colour (the outer layer, VP7) has uncoated. The defaults
are those of the code of that paper. If a particle has several partners one after another, because
the track of the partner was broken, the last one decides, not the best one: a lost coat does not
return.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.models.motion.contacts import Floats, Ints, Paths, contacts
from livespt.stream.compiled import njit

# Outcome of a particle, from its best stretch of contact. Only the last two become labels.
OUTCOMES = ("short track", "no contact", "short contact", "far", "uncorrelated", "partner taken",
            "handed over", "control", "changes")  # fmt: skip
(SHORT_TRACK, NO_CONTACT, SHORT_CONTACT, FAR, UNCORRELATED, PARTNER_TAKEN,
 HANDED_OVER, CONTROL, CHANGES) = range(9)  # fmt: skip
CONVERGED_UM = 1e-3  # change of the offset
MAX_OFFSET_ROUNDS = 10


class Limits(NamedTuple):
    """Criteria for moving together."""

    contact_um: float = 0.4  # a pair nearer than this is in contact
    contact_frames: int = 4  # least number of frames in contact
    bridge_frames: int = 2  # longest interruption of a stretch of contact
    stretch_frames: int = 20  # least length of a stretch, including interruptions
    median_um: float = 0.6  # greatest median distance in a stretch
    correlation: float = 0.9  # least Pearson correlation of the positions, on each axis


COARSE_LIMITS = Limits(contact_um=0.75, contact_frames=5, bridge_frames=3, median_um=0.5)


class Stretches(NamedTuple):
    """Stretches of contact, one row each."""

    a: Ints  # index of the particle
    b: Ints  # index of its partner
    first: Ints  # first row of the particle in contact
    last: Ints  # last row of the particle in contact
    contacts: Ints  # frames of contact of the pair, in all stretches
    median_um: Floats  # median distance
    correlation: Floats  # (n, 3) of z, y, x; 1 for z in two dimensions
    apart_um: Floats  # (n, 3) median position of the particle minus that of its partner


class Labels(NamedTuple):
    """Result for each particle."""

    outcome: Ints  # (n,) index into OUTCOMES
    change: Ints  # (n,) row of its first point without the partner; -1: none
    partner: Ints  # (n,) index of the last partner; -1: none


def stretches(a: Paths, b: Paths, limits: Limits) -> Stretches:
    """Find and measure all stretches of contact of all pairs.

    Of the criteria, only contact and interruption apply here. A frame in which the particle itself
    was missed neither counts as contact nor as an interruption.
    """
    row_a, row_b = contacts(a, b, limits.contact_um)
    pair = a.track[row_a] * len(b.name) + b.track[row_b]
    order = np.lexsort((row_a, pair))
    row, pair = row_a[order], pair[order]
    new = np.ones(len(pair), bool)
    new[1:] = (np.diff(pair) != 0) | (np.diff(row) > limits.bridge_frames + 1)
    begin = np.flatnonzero(new)
    end = np.append(begin[1:], len(pair))[: len(begin)] - 1
    _, of_pair, count = np.unique(pair, return_inverse=True, return_counts=True)
    kept = pair[begin]
    track_a, track_b = kept // max(len(b.name), 1), kept % max(len(b.name), 1)
    median, correlation, apart = _measured(a, b, track_b, row[begin], row[end])
    return Stretches(
        track_a, track_b, row[begin], row[end], count[of_pair[begin]], median, correlation, apart
    )


def _measured(
    a: Paths, b: Paths, partner: Ints, first: Ints, last: Ints
) -> tuple[Floats, Floats, Floats]:
    """Median distance (n,), correlation (n, 3), median difference (n, 3) of stretches."""
    n = len(first)
    which, x, y = _together(a, b, partner, first, last)
    distance = _medians(which, np.linalg.norm(x - y, axis=1), n)
    correlation, apart = np.ones((n, 3)), np.zeros((n, 3))
    flat = _flat(a, b)
    for axis in range(1 if flat else 0, 3):
        correlation[:, axis] = _pearson(which, x[:, axis], y[:, axis], n)
        apart[:, axis] = _medians(which, x[:, axis] - y[:, axis], n)
    return distance, correlation, apart


def _together(
    a: Paths, b: Paths, partner: Ints, first: Ints, last: Ints
) -> tuple[Ints, Floats, Floats]:
    """Points of rows `first` to `last` of `a` whose partner is in the same frame.

    Returns
    -------
    which (total,), x (total, 3), y (total, 3)
        Index of the stretch, position of the particle, and position of the partner.
    """
    count = last - first + 1
    which = np.repeat(np.arange(len(first)), count)
    row_a = first[which] + _ramp(count)
    low = min(a.frame.min(initial=0), b.frame.min(initial=0))
    span = max(a.frame.max(initial=0), b.frame.max(initial=0)) - low + 1
    known = b.track * span + b.frame - low  # increasing: rows are sorted by track, then frame
    wanted = partner[which] * span + a.frame[row_a] - low
    row_b = np.minimum(np.searchsorted(known, wanted), max(len(known) - 1, 0))
    both = known[row_b] == wanted
    return which[both], a.point[row_a[both]], b.point[row_b[both]]


def _flat(a: Paths, b: Paths) -> bool:
    """Whether all points have the same z."""
    return not any(np.ptp(some.point[:, 0]) for some in (a, b) if len(some.point))


def _ramp(count: Ints) -> Ints:
    """Concatenated ranges 0, 1, ... of each length in `count`."""
    ends = np.cumsum(count)
    ramp: Ints = np.arange(count.sum()) - np.repeat(ends - count, count)
    return ramp


def _medians(which: Ints, value: Floats, n: int) -> Floats:
    """Median of `value` in each of n groups, none of which is empty."""
    ordered = value[np.lexsort((value, which))]
    count = np.bincount(which, minlength=n)
    begin = np.cumsum(count) - count
    middle: Floats = (ordered[begin + (count - 1) // 2] + ordered[begin + count // 2]) / 2
    return middle


def _pearson(which: Ints, x: Floats, y: Floats, n: int) -> Floats:
    """Correlation in each of n groups; 0 if one of the two is constant."""
    count = np.bincount(which, minlength=n)
    x = x - (np.bincount(which, x, n) / count)[which]
    y = y - (np.bincount(which, y, n) / count)[which]
    product = np.bincount(which, x * y, n)
    size = np.sqrt(np.bincount(which, x * x, n) * np.bincount(which, y * y, n))
    r: Floats = np.divide(product, size, out=np.zeros(n), where=size > 1e-12)
    return r


def alike(tracks: Paths, within_um: float = 0.6) -> Ints:
    """Groups (n,) of tracks that almost coincide, named by the least index of each group.

    Two tracks belong to one group if the root mean square of their distance, over their common
    frames, is less than `within_um`. They are the same particle detected twice, and must not be in
    both training and evaluation. The default of 0.6 um is that of the DeepSPT code.
    """
    rows = contacts(tracks, tracks, within_um)
    pair = np.unique(np.stack([tracks.track[row] for row in rows]), axis=1)
    one, other = pair[:, pair[0] < pair[1]]
    which, x, y = _together(tracks, tracks, other, tracks.offset[one], tracks.offset[one + 1] - 1)
    count = np.bincount(which, minlength=len(one))
    square = np.bincount(which, ((x - y) ** 2).sum(1), len(one))
    near = square < count * within_um**2
    one, other = one[near], other[near]
    group = np.arange(len(tracks.name))
    while True:
        least = np.minimum(group[one], group[other])
        merged = group.copy()
        np.minimum.at(merged, one, least)
        np.minimum.at(merged, other, least)
        if np.array_equal(merged, group):
            return group
        group = merged


def _grade(found: Stretches, a: Paths, limits: Limits) -> Ints:
    """Outcome of each stretch by itself; TAKEN means that it meets all criteria."""
    frames = a.frame[found.last] - a.frame[found.first] + 1
    short = (found.contacts < limits.contact_frames) | (frames < limits.stretch_frames)
    loose = (found.correlation < limits.correlation).any(1)
    faults = [short, found.median_um > limits.median_um, loose]
    grade: Ints = np.select(faults, [SHORT_CONTACT, FAR, UNCORRELATED], PARTNER_TAKEN)
    return grade


def chromatic_offset(a: Paths, b: Paths, limits: Limits = COARSE_LIMITS) -> tuple[Floats, int]:
    """Offset (3,) to add to the positions of `b`, and the number of pairs that it was found from.

    It is the median over pairs of the median difference of each. The distance limit of contacts
    biases it towards zero, so it is iterated: contacts are found again with the last offset.
    """
    offset, pairs = np.zeros(3), 0
    for _ in range(MAX_OFFSET_ROUNDS):
        found = stretches(a, b._replace(point=b.point + offset), limits)
        good = _grade(found, a, limits) == PARTNER_TAKEN
        pairs = int(good.sum())
        if not pairs:
            break
        more = np.median(found.apart_um[good], axis=0)
        offset = offset + more
        if np.abs(more).max() < CONVERGED_UM:
            break
    return offset, pairs


@njit()
def _resolved(order: Ints, a: Ints, b: Ints, begin: Ints, end: Ints) -> NDArray[np.bool_]:
    """Which stretches are kept, so that at any time each particle has one partner and vice versa.

    Stretches are considered in this `order`. `begin` and `end` are their first and last frames.
    """
    kept = np.zeros(len(order), np.bool_)
    for k in range(len(order)):
        i = order[k]
        free = True
        for m in range(k):
            j = order[m]
            meets = begin[i] <= end[j] and begin[j] <= end[i]
            if kept[j] and meets and (a[i] == a[j] or b[i] == b[j]):
                free = False
                break
        kept[i] = free
    return kept


def _handed_over(
    found: Stretches, change: Ints, partner: Ints, limits: Limits
) -> NDArray[np.bool_]:
    """Particles (n,) with another, possibly short contact when their partner disappears.

    Most likely the track of the partner broke, and its rest is too short to meet the criteria.
    """
    gone = change[found.a]
    near = (found.first - gone <= limits.bridge_frames) & (found.last >= gone)
    other = (found.b != partner[found.a]) & (found.contacts >= limits.contact_frames)
    handed = np.zeros(len(change), bool)
    handed[found.a[near & other & (gone >= 0)]] = True
    return handed


def label(
    a: Paths, b: Paths, limits: Limits, *, track_frames: int = 20, end_frames: int = 2
) -> Labels:
    """Find the particles of `a` that lose their partner in `b`, and when.

    Parameters
    ----------
    a, b : Paths
        The chromatic offset of `b` must be corrected.
    limits : Limits
    track_frames : int
        Particles with fewer points are not considered.
    end_frames : int
        A change nearer than this to either end of its track does not count. Neither does a change
        after which `b` has no points at all while the track continues: that colour was not
        recorded.
    """
    count = np.diff(a.offset)
    found = stretches(a, b, limits)
    outcome = np.where(count < track_frames, SHORT_TRACK, NO_CONTACT).astype(np.int64)
    change, partner = np.full(len(count), -1), np.full(len(count), -1)
    grade = _grade(found, a, limits)
    able = outcome[found.a] != SHORT_TRACK
    np.maximum.at(outcome, found.a[able], grade[able])

    good = np.flatnonzero((grade == PARTNER_TAKEN) & able)
    begin, end = a.frame[found.first[good]], a.frame[found.last[good]]
    flat = _flat(a, b)
    score = (found.correlation[good].sum(1) - flat) * (end - begin + 1)
    order = np.argsort(-score, kind="stable")  # of equal scores, the first
    good = good[_resolved(order, found.a[good], found.b[good], begin, end)]
    good = good[np.argsort(found.last[good], kind="stable")]

    mine = found.a[good]
    outcome[mine] = CONTROL
    partner[mine] = found.b[good]  # if there are several, the last in time, written last, stays
    change[mine] = found.last[good] + 1
    rest = a.offset[1:] - 1 - change
    loses = (change >= 0) & (change - a.offset[:-1] >= end_frames) & (rest >= max(end_frames, 0))
    loses[loses] = _watched(a, b, change[loses])
    handed = loses & _handed_over(found, change, partner, limits)
    outcome[loses] = CHANGES
    outcome[handed] = HANDED_OVER
    return Labels(outcome, np.where(loses & ~handed, change, -1), partner)


def _watched(a: Paths, b: Paths, change: Ints) -> NDArray[np.bool_]:
    """Whether `b` has any point after each of the rows `change`, while that track continues."""
    frames = np.append(np.unique(b.frame), np.iinfo(np.int64).max)
    after = frames[np.searchsorted(frames, a.frame[change])]
    seen: NDArray[np.bool_] = after <= a.frame[a.offset[a.track[change] + 1] - 1]
    return seen
