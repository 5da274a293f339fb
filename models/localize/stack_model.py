"""The model of a stack that fits refer to: the light of particles in it, and the noise."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.models.optics.spots import Floats, shares
from livespt.stream.compiled import njit

Stack = NDArray[np.float32]
Indices = NDArray[np.int64]

# columns of a table of particles: planes, pixels, pixels, counts in its plane, counts, counts per
# pixel, counts per pixel, pixels, planes (of a wide field the depth of `optics.stacks`)
Z, Y, X, INTENSITY, LEVEL, SLOPE_Y, SLOPE_X, SIGMA, SIGMA_Z = range(9)
POSITION, WIDTHS = 7, 9  # how many columns are fitted: up to the slopes, or the widths too
HALF_BOX_WIDTHS = 3.0  # of the box in which a particle is fitted
EXTENT_WIDTHS = 4.0  # beyond, the intensity of a particle counts as 0


class Model(NamedTuple):
    """Background and noise of a stack."""

    levels: Floats  # counts, the usual background of each plane
    variance: float  # counts^2, of a voxel at the level `reference`
    reference: float  # counts
    gain: float = 0.0  # counts per photo-electron
    wide: bool = False  # a wide field: light spreads out of focus


@njit()
def box_of(spot: Floats, shape: tuple[int, int, int], reach: float) -> Indices:
    """First and end (3, 2) of the voxels within `reach` widths of a particle."""
    out = np.empty((3, 2), np.int64)
    for axis in range(3):
        half = max(math.ceil(reach * (spot[SIGMA_Z] if axis == 0 else spot[SIGMA])), 2)
        middle = math.floor(spot[axis] + 0.5)
        out[axis, 0] = min(max(middle - half, 0), shape[axis])
        out[axis, 1] = max(min(middle + half + 1, shape[axis]), out[axis, 0])
    return out


@njit()
def lines_of(spot: Floats, box: Indices, wide: bool) -> tuple[Floats, Floats, Floats]:
    """Axial (planes, 6), vertical and horizontal (planes, 3, n) factors of a particle.

    Axial: light and lateral width of a plane, each with derivatives to z and to the axial width;
    at 2 and 5. The others: share of each pixel, its derivatives to centre and to lateral width.
    """
    planes = box[0, 1] - box[0, 0]
    axial = np.zeros((planes, 6))
    down = np.empty((planes, 3, box[1, 1] - box[1, 0]))
    across = np.empty((planes, 3, box[2, 1] - box[2, 0]))
    for k in range(planes):
        u = (box[0, 0] + k - spot[Z]) / spot[SIGMA_Z]
        if wide:
            grown = math.sqrt(1.0 + u * u)
            axial[k, 0], axial[k, 3] = 1.0, spot[SIGMA] * grown
            axial[k, 4] = -spot[SIGMA] * u / (grown * spot[SIGMA_Z])
            axial[k, 5] = axial[k, 4] * u
        else:
            axial[k, 0], axial[k, 3] = math.exp(-0.5 * u * u), spot[SIGMA]
            axial[k, 1] = axial[k, 0] * u / spot[SIGMA_Z]
            axial[k, 2] = axial[k, 1] * u
        _fill(down, k, spot[Y], axial[k, 3], box[1, 0], wide or k == 0)
        _fill(across, k, spot[X], axial[k, 3], box[2, 0], wide or k == 0)
    return axial, down, across


@njit()
def _fill(out: Floats, plane: int, centre: float, width: float, first: int, is_new: bool) -> None:
    """Write the shares of a plane, or copy those of the first plane unless `is_new`."""
    line = shares(centre, width, first, out.shape[2]) if is_new else out[0]
    for row in range(3):
        for i in range(out.shape[2]):
            out[plane, row, i] = line[row, i]


@njit()
def add_expected(expected: Stack, spot: Floats, times: float, wide: bool) -> None:
    """Add the expected counts of a particle, multiplied by `times`, to `expected`."""
    box = box_of(spot, expected.shape, EXTENT_WIDTHS)
    axial, down, across = lines_of(spot, box, wide)
    for k in range(down.shape[0]):
        for j in range(down.shape[2]):
            part = times * spot[INTENSITY] * axial[k, 0] * down[k, 0, j]
            for i in range(across.shape[2]):
                expected[box[0, 0] + k, box[1, 0] + j, box[2, 0] + i] += part * across[k, 0, i]


@njit()
def expected_of(spots: Floats, shape: tuple[int, int, int], wide: bool) -> Stack:
    """Expected counts of all `spots` (n, 9), without background."""
    expected = np.zeros(shape, np.float32)
    for s in range(len(spots)):
        add_expected(expected, spots[s], 1.0, wide)
    return expected


@njit()
def weight_of(mean: float, model: Model) -> float:
    """One over the variance of a voxel that expects `mean` counts."""
    variance: float = model.variance + model.gain * (mean - model.reference)
    return 1.0 / max(variance, 0.1 * model.variance)


@njit()
def slopes_of(slope: Floats, spot: Floats, axial: Floats, down: Floats, across: Floats) -> None:
    """Derivatives of a voxel's counts to z, y, x and intensity of a particle, and to its widths.

    `axial` (6,) of the plane, `down` (3,) of the row, `across` (3,) of the column.
    """
    share = down[0] * across[0]
    wider = spot[INTENSITY] * axial[0] * (down[2] * across[0] + down[0] * across[2])
    slope[0] = spot[INTENSITY] * axial[1] * share + axial[4] * wider
    slope[1] = spot[INTENSITY] * axial[0] * down[1] * across[0]
    slope[2] = spot[INTENSITY] * axial[0] * down[0] * across[1]
    slope[3] = axial[0] * share
    slope[4] = axial[3] / spot[SIGMA] * wider
    slope[5] = spot[INTENSITY] * axial[2] * share + axial[5] * wider


@njit()
def expected_at(expected: Stack, spot: Floats, model: Model, k: int, j: int, i: int) -> float:
    """Counts that a voxel near a particle expects, `expected` that of all."""
    mean: float = model.levels[k] + spot[LEVEL] + expected[k, j, i]
    return mean + float(spot[SLOPE_Y] * (j - spot[Y]) + spot[SLOPE_X] * (i - spot[X]))
