"""Pixels of a frame that were never measured: borders of registered movies, masks, NaN.

They have one value, which differs from the pixels beside them by more than noise. They are filled
with the mirror image of what was measured, so that noise and light go on, and no spot counts there.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.stream.compiled import njit

TILE = 8  # side of a square of equal pixels that is looked for, pixels
CORNER = 4  # side of such a square in a corner of the frame, pixels
APART_NOISE = 4.0  # least difference of a measured pixel beside it, in units of its noise
APART_SHARE = 0.6  # of the pixels beside it that must differ so much
MIN_MEASURED = 64  # pixels: fewer are no frame

Mask = NDArray[np.bool_]


class Measured(NamedTuple):
    """A frame in which every pixel has a value, and which of these were not measured."""

    frame: NDArray[Any]  # (y, x)
    absent: Mask | None  # (y, x); None: all were measured


def fill_absent(frame: NDArray[Any]) -> Measured | None:
    """Find and fill the pixels of a frame (y, x) that were not measured; None: all of them."""
    if frame.dtype.kind == "f":
        holes = ~np.isfinite(frame)
        if holes.any():
            whole = np.where(holes, np.float32(0), frame)
            value = frame[~holes][0] if not holes.all() else np.float32(0)
            same = _constant(np.where(holes, value, whole).astype(frame.dtype))
            return _filled(whole, holes if same is None else holes | (same & ~holes))
    absent = _constant(frame)
    return Measured(frame, None) if absent is None else _filled(frame, absent)


def of_measured(spots: NDArray[np.void], absent: NDArray[np.bool_]) -> NDArray[np.void]:
    """The spots whose middle was measured."""
    last = np.array(absent.shape) - 1
    y, x = (
        np.clip(np.rint(spots[k]).astype(np.int64), 0, n)
        for k, n in zip(("y", "x"), last, strict=True)
    )
    kept: NDArray[np.void] = spots[~absent[y, x]]
    return kept


def _filled(frame: NDArray[Any], absent: Mask) -> Measured | None:
    if (~absent).sum() < MIN_MEASURED:
        return None
    return Measured(_mirror(frame, absent), absent)


def _constant(frame: NDArray[Any]) -> Mask | None:
    """Pixels of the areas of one value that differ from what is beside them; None: there are none.

    A dark background that the camera clips to 0 is no such area: spots fade into it.
    """
    at = _seeds(frame)
    if not len(at):
        return None
    absent, seen = np.zeros(frame.shape, np.bool_), np.zeros(frame.shape, np.bool_)
    for y, x in at:
        if not seen[y, x]:
            area = _area(frame, y, x)
            seen |= area
            if _stands_apart(frame, area):
                absent |= area
    return absent if absent.any() else None


@njit()
def _equal(frame: NDArray[Any], top: int, left: int, rows: int, columns: int) -> bool:
    value = frame[top, left]
    for i in range(top, top + rows):
        for j in range(left, left + columns):
            if frame[i, j] != value:
                return False
    return True


@njit()
def _seeds(frame: NDArray[Any]) -> NDArray[np.int64]:
    """A pixel (k, 2) of every tile, edge or corner of equal pixels."""
    height, width = frame.shape
    found = np.empty((height // TILE * (width // TILE) + 8, 2), np.int64)
    n = 0
    for i in range(0, height - TILE + 1, TILE):
        for j in range(0, width - TILE + 1, TILE):
            if frame[i, j] == frame[i, j + 1] and _equal(frame, i, j, TILE, TILE):
                found[n, 0], found[n, 1] = i, j
                n += 1
    last, end = height - 1, width - 1
    for top, left, rows, columns in (
        (0, 0, 1, width), (last, 0, 1, width), (0, 0, height, 1), (0, end, height, 1),
        (0, 0, CORNER, CORNER), (0, width - CORNER, CORNER, CORNER),
        (height - CORNER, 0, CORNER, CORNER), (height - CORNER, width - CORNER, CORNER, CORNER),
    ):  # fmt: skip
        if _equal(frame, top, left, rows, columns):
            found[n, 0], found[n, 1] = top, left
            n += 1
    return found[:n]


@njit()
def _area(frame: NDArray[Any], y: int, x: int) -> Mask:
    """The pixels with the value of (y, x) that are connected with it."""
    height, width = frame.shape
    area = np.zeros((height, width), np.bool_)
    todo = np.empty((height * width, 2), np.int64)
    todo[0, 0], todo[0, 1] = y, x
    area[y, x] = True
    n, value = 1, frame[y, x]
    while n:
        n -= 1
        i, j = todo[n]
        for a, b in ((i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)):
            inside = 0 <= a < height and 0 <= b < width
            if inside and not area[a, b] and frame[a, b] == value:
                area[a, b] = True
                todo[n, 0], todo[n, 1] = a, b
                n += 1
    return area


@njit()
def _stands_apart(frame: NDArray[Any], area: Mask) -> bool:
    """Whether most pixels beside an area differ from it by more than their own noise."""
    height, width = frame.shape
    y, x = np.nonzero(area)
    value = float(frame[y[0], x[0]])
    beside = np.empty(4 * len(y))
    steps = np.empty(4 * len(y))
    n = 0
    for k in range(len(y)):
        for down, across in ((-1, 0), (1, 0), (0, -1), (0, 1)):
            i, j = y[k] + down, x[k] + across
            a, b = i + 2 * down, j + 2 * across
            if 0 <= a < height and 0 <= b < width and not area[i, j]:
                beside[n] = abs(frame[i, j] - value)
                steps[n] = abs(2.0 * frame[i + down, j + across] - frame[i, j] - frame[a, b])
                n += 1
    if n == 0:
        return True  # the whole frame has one value
    noise = np.median(steps[:n]) / (0.6745 * math.sqrt(6.0))
    return bool((beside[:n] > APART_NOISE * noise).mean() >= APART_SHARE)


@njit()
def _mirror(frame: NDArray[Any], absent: Mask) -> NDArray[Any]:
    """Fill absent pixels from beyond the nearest measured one, in the opposite direction."""
    height, width = frame.shape
    far = height + width
    near = np.empty((height, width, 2), np.int64)  # offset to the nearest measured pixel, about
    for i in range(height):
        for j in range(width):
            near[i, j, 0] = near[i, j, 1] = far if absent[i, j] else 0
    for turn in range(2):
        for row in range(height):
            i = row if turn == 0 else height - 1 - row
            back = -1 if turn == 0 else 1
            for column in range(2 * width):
                # along the row in both directions, then from the row before
                j = column if column < width else 2 * width - 1 - column
                best = near[i, j, 0] ** 2 + near[i, j, 1] ** 2
                if best == 0:
                    continue
                side = -1 if column < width else 1
                for a, b in ((0, side), (back, 0), (back, side)):
                    if 0 <= i + a < height and 0 <= j + b < width:
                        u, v = near[i + a, j + b, 0] + a, near[i + a, j + b, 1] + b
                        if u * u + v * v < best:
                            best = u * u + v * v
                            near[i, j, 0], near[i, j, 1] = u, v
    out = frame.copy()
    for i in range(height):
        for j in range(width):
            if not absent[i, j]:
                continue
            u, v = near[i, j, 0], near[i, j, 1]
            a, b = i + 2 * u, j + 2 * v
            if not (0 <= a < height and 0 <= b < width) or absent[a, b]:
                a, b = i + u, j + v
            out[i, j] = frame[a, b]
    return out
