"""Image stacks of point-like particles, and the Cramer-Rao bound of their positions.

A stack has one plane for each position of the focus. Pixels integrate light in y and x; planes
sample it in z. A spot of N photons at z (in planes) has N f(k - z) photons in plane k, spread over
the pixels by a Gaussian of width s(k - z):

    f(d) = exp(-d^2 / (2 sigma_z^2)),   s(d) = sigma sqrt(1 + (d / depth)^2)

A confocal or light-sheet microscope has a finite sigma_z and infinite depth. A wide-field
microscope loses no light out of focus (infinite sigma_z) but spreads it; at a distance of `depth`
the area has doubled. The signal-to-noise ratio of a spot is that of spots.py, in its focal plane.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from livespt.models.optics.spots import REACH_SIGMAS, Floats, as_columns, shares
from livespt.stream.compiled import njit
from livespt.stream.errors import SettingError


@njit()
def _add_spots(
    stack: NDArray[np.float32],
    at: Floats,
    photons: Floats,
    sigma: Floats,
    sigma_z: Floats,
    depth: Floats,
) -> None:
    planes, height, width = stack.shape
    for i in range(len(at)):
        for plane in range(planes):
            off = plane - at[i, 0]
            in_plane = photons[i] * math.exp(-0.5 * (off / sigma_z[i]) ** 2)
            if in_plane < 1e-4 * photons[i]:
                continue
            wide = sigma[i] * math.sqrt(1.0 + (off / depth[i]) ** 2)
            top = max(0, math.ceil(at[i, 1] - REACH_SIGMAS * wide - 0.5))
            left = max(0, math.ceil(at[i, 2] - REACH_SIGMAS * wide - 0.5))
            rows = min(height - 1, math.floor(at[i, 1] + REACH_SIGMAS * wide + 0.5)) - top + 1
            columns = min(width - 1, math.floor(at[i, 2] + REACH_SIGMAS * wide + 0.5)) - left + 1
            if rows < 1 or columns < 1:
                continue
            down = shares(at[i, 1], wide, top, rows)[0]
            across = shares(at[i, 2], wide, left, columns)[0]
            for j in range(rows):
                for k in range(columns):
                    stack[plane, top + j, left + k] += in_plane * down[j] * across[k]


def render_stack(
    at: ArrayLike,
    photons: ArrayLike,
    shape: tuple[int, int, int],
    sigma: ArrayLike,
    sigma_z: ArrayLike,
    background: ArrayLike = 0.0,
    *,
    depth: ArrayLike = math.inf,
) -> NDArray[np.float32]:
    """Expected photons of spots in a stack, on a background.

    Parameters
    ----------
    at : (n, 3)
        z, y, x: planes, pixels, pixels; centres at integers; spots may lie outside.
    photons : (n,) or one for all
        Photons of a spot in its focal plane.
    shape : (int, int, int)
        Number of planes, and of pixels in y and x.
    sigma, sigma_z, depth : (n,) or one for all
        Widths in pixels, planes and planes, as defined at the top of this module.
    background : shape or one for all
        Photons per voxel.

    Returns
    -------
    float32 array of `shape`
    """
    stack = np.empty(shape, np.float32)
    stack[...] = background
    points = np.array(at, np.float64).reshape(-1, 3)
    each = as_columns(photons, sigma, sigma_z, depth, np.ones(len(points)))[:4]
    _add_spots(stack, points, *each)
    return stack


@njit()
def _information(
    z: Floats, photons: Floats, background: Floats, widths: Floats, planes: int, variance: float,
    window: int,
) -> Floats:  # fmt: skip
    """Fisher information (n, 5, 5) of z, y, x, N, b; `widths` (n, 3): sigma, sigma_z, depth."""
    out = np.zeros((len(z), 5, 5))
    slope = np.empty(5)
    for i in range(len(z)):
        sigma, sigma_z, depth = widths[i]
        for plane in range(planes):
            off = plane - z[i]
            axial = photons[i] * math.exp(-0.5 * (off / sigma_z) ** 2)
            wide = sigma * math.sqrt(1.0 + (off / depth) ** 2)
            line = shares(0.0, wide, -(window // 2), window)
            grows = -off * (sigma / depth) ** 2 / wide  # derivative of the width by z
            for j in range(window):
                for k in range(window):
                    share = line[0, j] * line[0, k]
                    turned = line[2, j] * line[0, k] + line[0, j] * line[2, k]
                    slope[0] = axial * (share * off / sigma_z**2 + turned * grows)
                    slope[1] = axial * line[1, j] * line[0, k]
                    slope[2] = axial * line[0, j] * line[1, k]
                    slope[3] = axial * share / photons[i]
                    slope[4] = 1.0
                    weight = 1.0 / (axial * share + background[i] + variance)
                    for a in range(5):
                        for b in range(5):
                            out[i, a, b] += weight * slope[a] * slope[b]
    return out


def stack_bound(
    z: ArrayLike,
    photons: ArrayLike,
    background: ArrayLike,
    sigma: ArrayLike,
    sigma_z: ArrayLike,
    planes: int,
    *,
    depth: ArrayLike = math.inf,
    read_noise_e: float = 0.0,
    window: int = 15,
) -> Floats:
    """Cramer-Rao bound in a stack: least standard deviation of z, y, x, N and b of a spot.

    The Fisher information is that of independent Poisson voxels, sum (dmu/dtheta)^2 / mu over all
    planes and `window` pixels a side, with mu = N f(k - z) E_y E_x + b. E is the share of the
    pixel-integrated Gaussian of width s(k - z), as in `precision_bound`. Read noise is added to the
    variance mu. The widths are taken as known.

    Parameters
    ----------
    z : (n,) or one for all
        Position in planes; y and x are at the centre of a pixel.
    photons, background, sigma, sigma_z, depth : (n,) or one for all
        Photons of the spot in its focal plane; photons per voxel of the background; width in
        pixels; axial width and depth in planes.
    planes : int
        Planes of the stack.
    read_noise_e : float
        Standard deviation, electrons.
    window : int
        Side of the fitted square in pixels, an odd number.

    Returns
    -------
    array (n, 5)
        Bounds of z (planes), y and x (pixels), N (photons) and b (photons per voxel).

    Raises
    ------
    SettingError
        The window is even, there are fewer than 2 planes, or photons, background or a width are
        not above 0.
    """
    if window % 2 == 0:
        raise SettingError(f"a window of {window} pixels has no middle: give an odd number")
    if planes < 2:
        raise SettingError(f"{planes} planes do not determine z: give 2 or more")
    points, counts, level, *extents = as_columns(z, photons, background, sigma, sigma_z, depth)
    if min(part.min(initial=1.0) for part in (counts, level, *extents)) <= 0:
        raise SettingError("photons, background and widths of a spot must be above 0")
    widths = np.stack(extents, axis=1)
    information = _information(points, counts, level, widths, planes, read_noise_e**2, window)
    bound: Floats = np.sqrt(np.diagonal(np.linalg.inv(information), axis1=1, axis2=2))
    return bound
