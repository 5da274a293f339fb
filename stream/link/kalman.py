"""The two Kalman filters of a track: how they are predicted over an interval, and corrected.

One filter is for Brownian motion and holds a position. The other is for directed motion and holds a
position and a velocity. Axes are independent, but y and x share their variances. Filters may mix
before they are predicted, as interacting multiple models do (Blom and Bar-Shalom, IEEE Trans.
Autom. Control 33, 780 (1988)). Which of them a track follows is decided in `motion_model`.

Rows of tracks have the columns of `track_columns`. All functions are inlined where they are called,
because they take and return groups of many numbers.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.stream.compiled import njit
from livespt.stream.link import track_columns as c

Floats = NDArray[np.float64]

WANDER = 0.5  # variance of a velocity's change, in units of the noise of the directed motion


class Point(NamedTuple):
    """One point of a frame, as the filters take it."""

    z: float  # px
    y: float
    x: float
    noise: float  # lateral variance of the localization, px^2
    noise_z: float  # axial
    log_intensity: float
    clock: float  # time, in mean frame intervals


class Axis(NamedTuple):
    """State of both filters along one axis."""

    brownian: float  # position, px
    directed: float  # position, px
    velocity: float  # px a frame


class Variances(NamedTuple):
    """Variances of both filters, along one axis of a kind."""

    brownian: float  # of the position, px^2
    directed: float  # of the position, px^2
    covariance: float  # of position and velocity, directed
    velocity: float


class Filters(NamedTuple):
    """State of both filters."""

    z: Axis
    y: Axis
    x: Axis
    lateral: Variances
    axial: Variances


class Interval(NamedTuple):
    """What happens between two points of a track."""

    to_directed: float  # part of the directed state that was Brownian before
    to_brownian: float  # part of the Brownian state that was directed before
    dt: float  # frames
    step_variance: float  # what the variance of the Brownian position gains, px^2
    speed_variance: float  # of a track that becomes directed
    directed_noise: float  # what the variance of the directed position gains, px^2 a frame


class Errors(NamedTuple):
    """How far a point was from where both filters had predicted it."""

    brownian: float  # squared, in units of the variance expected, sum over the axes
    directed: float
    peak_brownian: float  # density expected at the prediction, but for a constant factor
    peak_directed: float
    lateral: float  # squared error of the Brownian filter, sum over y and x; px^2
    axial: float


@njit(nogil=True, error_model="numpy", forceinline=True)
def read(rows: Floats, i: int) -> Filters:
    """Take the filters from row `i`."""
    return Filters(
        Axis(rows[i, c.BROWNIAN_Z], rows[i, c.DIRECTED_Z], rows[i, c.VELOCITY_Z]),
        Axis(rows[i, c.BROWNIAN_Y], rows[i, c.DIRECTED_Y], rows[i, c.VELOCITY_Y]),
        Axis(rows[i, c.BROWNIAN_X], rows[i, c.DIRECTED_X], rows[i, c.VELOCITY_X]),
        Variances(
            rows[i, c.BROWNIAN_VAR], rows[i, c.DIRECTED_VAR],
            rows[i, c.DIRECTED_COV], rows[i, c.VELOCITY_VAR],
        ),
        Variances(
            rows[i, c.BROWNIAN_VAR_Z], rows[i, c.DIRECTED_VAR_Z],
            rows[i, c.DIRECTED_COV_Z], rows[i, c.VELOCITY_VAR_Z],
        ),
    )  # fmt: skip


@njit(nogil=True, error_model="numpy", forceinline=True)
def write(rows: Floats, i: int, filters: Filters) -> None:
    """Write the filters into row `i`."""
    z, y, x, lateral, axial = filters
    rows[i, c.BROWNIAN_Z], rows[i, c.DIRECTED_Z], rows[i, c.VELOCITY_Z] = z
    rows[i, c.BROWNIAN_Y], rows[i, c.DIRECTED_Y], rows[i, c.VELOCITY_Y] = y
    rows[i, c.BROWNIAN_X], rows[i, c.DIRECTED_X], rows[i, c.VELOCITY_X] = x
    rows[i, c.BROWNIAN_VAR], rows[i, c.BROWNIAN_VAR_Z] = lateral.brownian, axial.brownian
    rows[i, c.DIRECTED_VAR], rows[i, c.DIRECTED_VAR_Z] = lateral.directed, axial.directed
    rows[i, c.DIRECTED_COV], rows[i, c.DIRECTED_COV_Z] = lateral.covariance, axial.covariance
    rows[i, c.VELOCITY_VAR], rows[i, c.VELOCITY_VAR_Z] = lateral.velocity, axial.velocity


@njit(nogil=True, error_model="numpy", forceinline=True)
def predicted(before: Filters, interval: Interval, ndim: int) -> Filters:
    """Mix the filters and predict them to the end of the interval; z is left alone in 2-D."""
    z, axial = before.z, before.axial
    y, yy, yv, vy = _predict_axis(before.y, interval)
    x, xx, xv, vx = _predict_axis(before.x, interval)
    lateral = _predict_variances(
        before.lateral, 0.5 * (yy + xx), 0.5 * (yv + xv), 0.5 * (vy + vx), interval
    )
    if ndim == 3:
        z, zz, zv, vz = _predict_axis(before.z, interval)
        axial = _predict_variances(before.axial, zz, zv, vz, interval)
    return Filters(z, y, x, lateral, axial)


@njit(nogil=True, error_model="numpy", forceinline=True)
def corrected(ahead: Filters, point: Point, ndim: int) -> tuple[Filters, Errors]:
    """Correct the filters, predicted to the time of a point, by that point; z is 0 in 2-D."""
    z, axial, square_z = Axis(0.0, 0.0, 0.0), Variances(0.0, 0.0, 0.0, 0.0), 0.0
    gains, lateral, peak_b, peak_v = _gains(ahead.lateral, point.noise)
    y, by, vy = _correct_axis(ahead.y, point.y, gains)
    x, bx, vx = _correct_axis(ahead.x, point.x, gains)
    b, v = peak_b * (by + bx), peak_v * (vy + vx)
    if ndim == 3:
        gains, axial, sharp_b, sharp_v = _gains(ahead.axial, point.noise_z)
        z, square_z, vz = _correct_axis(ahead.z, point.z, gains)
        b, v = b + sharp_b * square_z, v + sharp_v * vz
        peak_b, peak_v = peak_b * math.sqrt(sharp_b), peak_v * math.sqrt(sharp_v)
    return Filters(z, y, x, lateral, axial), Errors(b, v, peak_b, peak_v, by + bx, square_z)


@njit(nogil=True, error_model="numpy", forceinline=True)
def _predict_axis(at: Axis, interval: Interval) -> tuple[Axis, float, float, float]:
    """Predict both filters along one axis.

    The last three are products before, by which mixing widens variances: of the distance of the two
    positions with itself, of that distance and the velocity, of the velocity with itself.
    """
    b, x, v = at
    off, slower = x - b, (1.0 - interval.to_directed) * v
    ahead = Axis(
        b + interval.to_brownian * off,
        x - interval.to_directed * off + slower * interval.dt,
        slower,
    )
    return ahead, off * off, off * v, v * v


@njit(nogil=True, error_model="numpy", forceinline=True)
def _predict_variances(
    before: Variances, distances: float, with_velocity: float, velocities: float, interval: Interval
) -> Variances:
    """Predict the variances of both filters; the products are those of `_predict_axis`, averaged.

    The directed motion gains noise along its way and in its velocity, both integrated over time.
    """
    b, x, xv, v = before
    to_v, to_b, dt = interval.to_directed, interval.to_brownian, interval.dt
    brownian = (1.0 - to_b) * b + to_b * x + to_b * (1.0 - to_b) * distances
    stay, spread = 1.0 - to_v, to_v * (1.0 - to_v)
    x = stay * x + to_v * b + spread * distances
    xv = stay * xv + spread * with_velocity
    v = stay * v + to_v * interval.speed_variance + spread * velocities
    turn = WANDER * interval.directed_noise * dt
    x += dt * (2.0 * xv + dt * v + interval.directed_noise + turn * dt / 3.0)
    return Variances(brownian + interval.step_variance, x, xv + dt * (v + turn / 2.0), v + turn)


@njit(nogil=True, error_model="numpy", forceinline=True)
def _gains(before: Variances, noise: float) -> tuple[Axis, Variances, float, float]:
    """Return the gains of the Kalman update, one for each number of an axis.

    Then the variances that the update leaves, and for each filter one over the variance of the
    predicted point.
    """
    b, x, xv, v = before
    sharp_b, sharp_v = 1.0 / (b + noise), 1.0 / (x + noise)
    gains = Axis(b * sharp_b, x * sharp_v, xv * sharp_v)
    left = Variances(
        gains.brownian * noise, gains.directed * noise, gains.velocity * noise,
        v - gains.velocity * xv,
    )  # fmt: skip
    return gains, left, sharp_b, sharp_v


@njit(nogil=True, error_model="numpy", forceinline=True)
def _correct_axis(at: Axis, seen: float, gains: Axis) -> tuple[Axis, float, float]:
    """Correct both filters along one axis; return their squared errors too."""
    off_b, off_v = seen - at.brownian, seen - at.directed
    left = Axis(
        at.brownian + gains.brownian * off_b,
        at.directed + gains.directed * off_v,
        at.velocity + gains.velocity * off_v,
    )
    return left, off_b * off_b, off_v * off_v
