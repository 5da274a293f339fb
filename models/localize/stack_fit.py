"""Fit the particles of a stack, and their precision.

The model of a particle is that of optics/stacks.py: a Gaussian that fades out of focus (confocal,
light sheet) or spreads out of focus (wide field), integrated over pixels in y and x and sampled by
the planes in z, on a background with a slope. Intensities add up: each particle in turn is fitted
to the stack minus the other particles, until none moves. The weight of a voxel is the inverse
variance of its expected counts, noise^2 + gain (counts above the level at which the noise was
measured), updated in each step. This is Fisher scoring, which reaches the Cramer-Rao bound
`stack_bound` except for the cost of fitting slopes (4 % in y and x). The precision of a particle is
that of a joint fit with its neighbours.
"""

from __future__ import annotations

import math

import numpy as np

from livespt.models.localize.stack_model import (
    HALF_BOX_WIDTHS,
    INTENSITY,
    LEVEL,
    SIGMA,
    SIGMA_Z,
    SLOPE_X,
    SLOPE_Y,
    WIDTHS,
    Indices,
    Model,
    Stack,
    X,
    Y,
    Z,
    add_expected,
    box_of,
    expected_at,
    lines_of,
    slopes_of,
    weight_of,
)
from livespt.models.optics.spots import Floats
from livespt.stream.compiled import njit

NEIGHBOUR_WIDTHS = 5.0  # particles closer than this are neighbours
MAX_NEIGHBOURS = 16  # of a particle that are considered
MAX_JOINT = 6  # neighbours that are fitted jointly with a particle for its precision
CONVERGED_WIDTHS = 2e-3  # movement in one iteration


@njit()
def _solve(matrix: Floats, right: Floats) -> bool:
    """Solve by Cholesky in place: `right` (n, m) becomes the solution. False if not definite."""
    n = len(matrix)
    for j in range(n):
        whole = matrix[j, j]
        for k in range(j):
            matrix[j, j] -= matrix[j, k] ** 2
        if not matrix[j, j] > 1e-10 * whole:
            return False
        matrix[j, j] = math.sqrt(matrix[j, j])
        for i in range(j + 1, n):
            for k in range(j):
                matrix[i, j] -= matrix[i, k] * matrix[j, k]
            matrix[i, j] /= matrix[j, j]
    for m in range(right.shape[1]):
        for i in range(n):
            for k in range(i):
                right[i, m] -= matrix[i, k] * right[k, m]
            right[i, m] /= matrix[i, i]
        for i in range(n - 1, -1, -1):
            for k in range(i + 1, n):
                right[i, m] -= matrix[k, i] * right[k, m]
            right[i, m] /= matrix[i, i]
    return True


@njit()
def _score(
    stack: Stack, others: Stack, spot: Floats, free: int, model: Model
) -> tuple[Floats, Floats]:
    """Fisher information (free, free), lower half, and score (free, 1) of one particle."""
    box = box_of(spot, stack.shape, HALF_BOX_WIDTHS)
    axial, down, across = lines_of(spot, box, model.wide)
    information, right = np.zeros((free, free)), np.zeros((free, 1))
    own, slope = np.empty(6), np.ones(WIDTHS)
    for k in range(down.shape[0]):
        level = model.levels[box[0, 0] + k] + spot[LEVEL]
        for j in range(down.shape[2]):
            slope[SLOPE_Y] = box[1, 0] + j - spot[Y]
            for i in range(across.shape[2]):
                seen = stack[box[0, 0] + k, box[1, 0] + j, box[2, 0] + i]
                if not math.isfinite(seen):
                    continue
                slope[SLOPE_X] = box[2, 0] + i - spot[X]
                slopes_of(own, spot, axial[k], down[k, :, j], across[k, :, i])
                for m in range(4):
                    slope[m] = own[m]
                slope[SIGMA], slope[SIGMA_Z] = own[4], own[5]
                mean = level + others[box[0, 0] + k, box[1, 0] + j, box[2, 0] + i]
                mean += spot[INTENSITY] * own[INTENSITY]
                mean += spot[SLOPE_Y] * slope[SLOPE_Y] + spot[SLOPE_X] * slope[SLOPE_X]
                weight = weight_of(mean, model)
                for m in range(free):
                    part = weight * slope[m]
                    right[m, 0] += part * (seen - mean)
                    for n in range(m + 1):
                        information[m, n] += part * slope[n]
    return information, right


@njit()
def _step(stack: Stack, others: Stack, spot: Floats, free: int, model: Model) -> float:
    """Move one particle by one step of Fisher scoring; how far, in widths; -1: it cannot."""
    information, right = _score(stack, others, spot, free, model)
    if not _solve(information, right):
        return -1.0
    far: float = 0.0
    for axis in range(3):
        width = spot[SIGMA_Z] if axis == 0 else spot[SIGMA]
        shift = min(max(right[axis, 0], -0.7 * width), 0.7 * width)
        spot[axis] += shift
        far = max(far, abs(shift) / width)
    change = max(right[INTENSITY, 0], -0.8 * spot[INTENSITY])  # so that it stays above 0
    far = max(far, 0.1 * abs(change) / spot[INTENSITY])
    spot[INTENSITY] += change
    for column in range(LEVEL, SIGMA):
        spot[column] += right[column, 0]
    for axis in range(SIGMA, free):
        factor = min(max(1.0 + right[axis, 0] / spot[axis], 0.7), 1.4)
        spot[axis] *= factor
        far = max(far, abs(factor - 1.0))
    return far


@njit()
def neighbors(spots: Floats, near: float) -> tuple[Indices, Indices]:
    """Neighbours within `near` widths, by distance; also the index (n + 1,) of each first entry."""
    n = len(spots)
    first, entries = np.zeros(n + 1, np.int64), np.empty(MAX_NEIGHBOURS * n, np.int64)
    apart = np.empty(MAX_NEIGHBOURS)
    for a in range(n):
        begin = end = first[a]
        for b in range(n):
            wide = near * 0.5 * (spots[a, SIGMA] + spots[b, SIGMA])
            dy = (spots[a, Y] - spots[b, Y]) / wide
            if a == b or abs(dy) >= 1.0:
                continue
            dx = (spots[a, X] - spots[b, X]) / wide
            tall = near * 0.5 * (spots[a, SIGMA_Z] + spots[b, SIGMA_Z])
            square = dy * dy + dx * dx + ((spots[a, Z] - spots[b, Z]) / tall) ** 2
            is_full = end - begin == MAX_NEIGHBOURS
            if not square < 1.0 or (is_full and square >= apart[-1]):
                continue
            at = end - 1 if is_full else end  # in a full list, it replaces the farthest
            end = at + 1
            while at > begin and apart[at - begin - 1] > square:
                entries[at], apart[at - begin] = entries[at - 1], apart[at - begin - 1]
                at -= 1
            entries[at], apart[at - begin] = b, square
        first[a + 1] = end
    return first, entries[: first[n]]


@njit()
def fit_particles(
    stack: Stack, expected: Stack, spots: Floats, free: int, model: Model, turns: int
) -> None:
    """Fit all particles, in place.

    Parameters
    ----------
    stack : (planes, y, x), counts; NaN where unknown
    expected : (planes, y, x), expected counts of all `spots`, which is updated
    spots : (n, 9)
    free : POSITION or WIDTHS
    turns : most iterations
    """
    first, entries = neighbors(spots, 2 * HALF_BOX_WIDTHS)
    moved = np.full(len(spots), np.inf)
    for _ in range(turns):
        for s in range(len(spots)):
            rests = moved[s] < CONVERGED_WIDTHS
            for other in entries[first[s] : first[s + 1]]:
                rests = rests and moved[other] < CONVERGED_WIDTHS
            if rests:
                continue
            add_expected(expected, spots[s], -1.0, model.wide)
            moved[s] = _step(stack, expected, spots[s], free, model)
            add_expected(expected, spots[s], 1.0, model.wide)
        if moved.size == 0 or moved.max() < CONVERGED_WIDTHS:
            break


@njit()
def variances(stack: Stack, expected: Stack, spots: Floats, model: Model) -> Floats:
    """Variances (n, 5) of z, y, x, intensity, level of each particle, fitted with neighbours."""
    first, entries = neighbors(spots, NEIGHBOUR_WIDTHS)
    out = np.empty((len(spots), 5))
    for s in range(len(spots)):
        others = entries[first[s] : first[s + 1]][:MAX_JOINT]
        group = np.empty((1 + len(others), WIDTHS))
        for column in range(WIDTHS):
            group[0, column] = spots[s, column]
            for k in range(len(others)):
                group[1 + k, column] = spots[others[k], column]
        joint = _joint_variances(stack, expected, group, model)
        for column in range(5):
            out[s, column] = joint[column]
    return out


@njit()
def _joint_variances(stack: Stack, expected: Stack, group: Floats, model: Model) -> Floats:
    """Variances (5,) of the first of a group with a common background; infinite if unknown."""
    members = len(group)
    n = 4 * members + 3
    box = box_of(group[0], stack.shape, HALF_BOX_WIDTHS if members == 1 else 1.5 * HALF_BOX_WIDTHS)
    parts = [lines_of(group[m], box, model.wide) for m in range(members)]
    information, slope, own = np.zeros((n, n)), np.ones(n), np.empty(6)
    for k in range(box[0, 1] - box[0, 0]):
        level = model.levels[box[0, 0] + k] + group[0, LEVEL]
        for j in range(box[1, 1] - box[1, 0]):
            slope[n - 2] = box[1, 0] + j - group[0, Y]
            for i in range(box[2, 1] - box[2, 0]):
                if not math.isfinite(stack[box[0, 0] + k, box[1, 0] + j, box[2, 0] + i]):
                    continue
                slope[n - 1] = box[2, 0] + i - group[0, X]
                for m in range(members):
                    axial, down, across = parts[m]
                    slopes_of(own, group[m], axial[k], down[k, :, j], across[k, :, i])
                    for c in range(4):
                        slope[4 * m + c] = own[c]
                mean = level + expected[box[0, 0] + k, box[1, 0] + j, box[2, 0] + i]
                weight = weight_of(mean, model)
                for a in range(n):
                    part = weight * slope[a]
                    for b in range(a + 1):
                        information[a, b] += part * slope[b]
    right, out = np.zeros((n, 5)), np.full(5, np.inf)
    for c in range(5):
        right[c if c < LEVEL else n - 3, c] = 1.0  # the level comes after all members
    if _solve(information, right):
        for c in range(5):
            out[c] = right[c if c < LEVEL else n - 3, c]
    return out


@njit()
def width_variances(stack: Stack, expected: Stack, spots: Floats, model: Model) -> Floats:
    """Variances (n, 2) of both widths of particles that were fitted with free widths."""
    out = np.full((len(spots), 2), np.inf)
    for s in range(len(spots)):
        add_expected(expected, spots[s], -1.0, model.wide)
        information, _ = _score(stack, expected, spots[s], spots.shape[1], model)
        add_expected(expected, spots[s], 1.0, model.wide)
        right = np.zeros((WIDTHS, 2))
        right[SIGMA, 0] = right[SIGMA_Z, 1] = 1.0
        if _solve(information, right):
            out[s, 0], out[s, 1] = right[SIGMA, 0], right[SIGMA_Z, 1]
    return out


@njit()
def gains(stack: Stack, expected: Stack, spots: Floats, model: Model) -> Floats:
    """Gain estimated from the squared residuals of each particle, and its weight: (n, 2)."""
    out = np.zeros((len(spots), 2))
    for s in range(len(spots)):
        box = box_of(spots[s], stack.shape, HALF_BOX_WIDTHS)
        top, bottom = 0.0, 0.0
        for k in range(box[0, 0], box[0, 1]):
            for j in range(box[1, 0], box[1, 1]):
                for i in range(box[2, 0], box[2, 1]):
                    mean = expected_at(expected, spots[s], model, k, j, i)
                    bright = mean - model.reference
                    gap = stack[k, j, i] - mean
                    # the residuals of dimmer voxels depend on the noise alone
                    if math.isfinite(gap) and bright > 0.5 * math.sqrt(model.variance):
                        weight = bright * weight_of(mean, model) ** 2
                        top += weight * (gap * gap - model.variance)
                        bottom += weight * bright
        if bottom > 0:
            out[s, 0], out[s, 1] = top / bottom, bottom
    return out


@njit()
def misfits(stack: Stack, expected: Stack, spots: Floats, boxed: Floats, model: Model) -> Floats:
    """Sum (n,) of squared normalized residuals of each particle over the box around `boxed`."""
    out = np.zeros(len(spots))
    for s in range(len(spots)):
        box = box_of(boxed[s], stack.shape, HALF_BOX_WIDTHS)
        for k in range(box[0, 0], box[0, 1]):
            for j in range(box[1, 0], box[1, 1]):
                for i in range(box[2, 0], box[2, 1]):
                    gap = stack[k, j, i] - expected_at(expected, spots[s], model, k, j, i)
                    if math.isfinite(gap):
                        out[s] += gap * gap / model.variance
    return out
