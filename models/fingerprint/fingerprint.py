"""Fingerprint: forty features that describe how a stretch of track moves, as in DeepSPT.

The table FEATURES (models/fingerprint/definitions.py) documents each of them. Three functions use
one kernel: `fingerprints` for a window of each of many tracks (live), `of_tracks` for segments of
any length, `rolling` for every window of whole tracks. Positions are given in pixels z, y, x;
lengths are returned in micrometres. No feature is ever NaN: a feature that is undefined, because
the stretch is too short or does not move, has the value stated in its definition.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.models.fingerprint import displacements as msd, step_hmm as hmm
from livespt.models.fingerprint.definitions import COUNT
from livespt.models.fingerprint.kernel import describe_all, fault
from livespt.stream.errors import InputError, SettingError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

WINDOW = 30  # points of a rolling window
MIN_FOURIER_POINTS = 400  # with more, Fourier transforms compute moments faster


class Units(NamedTuple):
    """Physical units of pixels and frames, and the absolute lengths that features use."""

    ndim: int = 2  # dimensions: 2 or 3
    pixel_size_um: float = 1.0  # for all axes: z must be given in units of a pixel as well
    frame_interval_s: float = 1.0
    slow_um: float = 0.1  # per frame: slower steps are counted
    fast_um: float = 0.4  # per frame: faster steps are counted
    step_um: float = 0.0  # unit of the states of steps; 0: the mean step of the stretch


def check_units(units: Units) -> None:
    """Raise SettingError for invalid units."""
    if units.ndim not in (2, 3):
        raise SettingError(f"a fingerprint has 2 or 3 dimensions, not {units.ndim}")
    for name, value in zip(units._fields[1:], units[1:], strict=True):
        least = value >= 0 if name in ("slow_um", "step_um") else value > 0
        if not (least and math.isfinite(value)):
            raise SettingError(f"{name} of a fingerprint must be positive, not {value}")


def fingerprints(
    points: Floats,
    frames: Ints,
    states: NDArray[np.float32] | None,
    units: Units,
    count: Ints | None = None,
) -> NDArray[np.float32]:
    """Features (n, 40) of a window of each of n tracks.

    Parameters
    ----------
    points : (n, W, 3)
        Positions z, y, x in pixels, oldest first.
    frames : (n, W)
        Their frames, increasing; a difference of more than 1 is a gap.
    states : (n, W, 4) or None
        Probabilities of the motions, in the order of `types.MOTIONS`; None if unknown.
    units : Units
    count : (n,), optional
        Number of points of each window, which are its last ones. Default: all.
    """
    check_units(units)
    if points.ndim != 3 or points.shape[2] != 3:
        raise InputError(f"points of windows must be (n, W, 3), not {points.shape}")
    n, width = points.shape[:2]
    if count is None:
        count = np.full(n, width)
    if count.shape != (n,) or (n and not (0 <= count.min() and count.max() <= width)):
        raise InputError(f"count of windows must be (n,) between 0 and {width}")
    begin = np.arange(1, n + 1, dtype=np.int64) * width
    rows = n * width
    return _features(points.reshape(rows, 3), frames, states, begin - count, begin, units)


def of_tracks(
    offset: Ints,
    points: Floats,
    frames: Ints,
    states: NDArray[np.float32] | None,
    units: Units,
) -> NDArray[np.float32]:
    """Features (n, 40) of whole segments: segment i is rows `offset[i]:offset[i + 1]`.

    `points` (total, 3), `frames` (total,), `states` (total, 4): as in `fingerprints`.
    """
    check_units(units)
    offset = np.asarray(offset, np.int64)
    if offset.ndim != 1 or len(offset) < 1 or (np.diff(offset) < 0).any():
        raise InputError("offset of segments must be an increasing list of rows")
    return _features(points, frames, states, offset[:-1], offset[1:], units)


def rolling(
    offset: Ints,
    points: Floats,
    frames: Ints,
    states: NDArray[np.float32] | None,
    units: Units,
    window: int = WINDOW,
) -> NDArray[np.float32]:
    """Features (total, 40) of the last `window` points up to each point, as in a live run.

    Arguments are those of `of_tracks`. A window does not extend beyond the start of its track.
    """
    check_units(units)
    if window < 1:
        raise SettingError(f"a window must have one point or more, not {window}")
    offset = np.asarray(offset, np.int64)
    end = np.arange(1, len(points) + 1)
    first = np.repeat(offset[:-1], np.diff(offset))
    if len(first) != len(end):
        raise InputError(f"offset ends at row {offset[-1]} but there are {len(points)} points")
    return _features(points, frames, states, np.maximum(end - window, first), end, units)


def _features(
    points: Floats,
    frames: Ints,
    states: NDArray[np.float32] | None,
    begin: Ints,
    end: Ints,
    units: Units,
) -> NDArray[np.float32]:
    """Check the input; return the features (n, 40) of rows `begin[i]:end[i]`."""
    points = np.ascontiguousarray(points, np.float64)
    frames = np.ascontiguousarray(frames, np.int64).reshape(-1)
    rows = len(points)
    if points.ndim != 2 or points.shape[1] != 3:
        raise InputError(f"points of a fingerprint are z, y, x: (rows, 3), not {points.shape}")
    if len(frames) != rows:
        raise InputError(f"{rows} points but {len(frames)} frames")
    if len(end) and (begin[0] < 0 or end[-1] > rows):
        raise InputError(f"segments reach to row {end[-1]} of {rows} points")
    share = np.zeros((0, 4), np.float32)
    if states is not None:
        share = np.ascontiguousarray(states, np.float32).reshape(-1, 4)
        if len(share) != rows:
            raise InputError(f"{rows} points but {len(share)} rows of probabilities")
    bad = fault(points, frames, share, begin, end)
    if bad >= 0:
        raise InputError(
            f"row {bad} of the tracks is invalid: positions and probabilities must be finite, and"
            " the frames of a track must increase"
        )
    out = np.empty((len(begin), COUNT), np.float32)
    chain = hmm.tables(*hmm.CHAIN)
    pixel_size_um, dt, slow, fast, step = (float(value) for value in units[1:])
    scale = (int(units.ndim), pixel_size_um, dt, slow, fast, step)
    size = end - begin
    span = np.zeros_like(size)
    span[size > 0] = frames[end[size > 0] - 1] - frames[begin[size > 0]] + 1
    by_fourier = (size >= MIN_FOURIER_POINTS) & (span == size)
    nothing = np.empty((2, 0))
    short = np.flatnonzero(~by_fourier)
    short_features = np.empty((len(short), COUNT), np.float32)
    describe_all(
        points, frames, share, begin[short], end[short], scale, chain, nothing, short_features
    )
    out[short] = short_features
    for i in np.flatnonzero(by_fourier):
        one = slice(i, i + 1)
        moments = _long_moments(points[begin[i] : end[i]], units)
        describe_all(points, frames, share, begin[one], end[one], scale, chain, moments, out[one])
    return out


def _long_moments(points: Floats, units: Units) -> Floats:
    """Second and fourth moments (2, K) of displacements of one long segment (n, 3), um2 and um4."""
    points_um = (points - points[0]) * units.pixel_size_um
    if units.ndim == 2:
        points_um[:, 0] = 0.0
    return np.stack(msd.fourier(points_um, msd.lags(len(points_um))))
