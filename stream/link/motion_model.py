"""Motion model: where each track is expected next, how surely, and what each link is worth.

Two models of motion compete for every track: Brownian (the particle stays, but for steps whose
variance is learned) and directed (it keeps its velocity, whose direction wanders). Each is one of
the filters of `kalman`. Their probabilities follow from how well each predicted the track's points.

The cost of a link is -2 log of the density that the models expect at the point. The cost of no link
is -2 log of the density of new points times the odds that a track like this one is not seen. What
all tracks have in common is in `population`.

The functions work on rows of tracks, whose columns are named in `track_columns`. They take a table
and the number of a row: a view of each row would cost as much as a tenth of the arithmetic.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.stream.compiled import njit
from livespt.stream.link import kalman, track_columns as c
from livespt.stream.link.kalman import Interval, Point
from livespt.stream.link.population import STEADY, Step, Typical, share_directed

Floats = NDArray[np.float64]

BROWNIAN, VELOCITY, AUTO = 1, 2, 3  # models with filters, as numbered by `settings.MOTION_MODELS`

OWN = 0.95  # part of a track's own average that is kept from point to point
PRIOR = 6.0  # steps that the average of all tracks counts for, in the average of one track
SWITCH = 0.05  # probability to change the way of moving within a frame
FLOOR = 0.02  # least step variance of a track, in units of the average
LOG_TURN = math.log(2.0 * math.pi)
FAR = 1e250  # no table has numbers so large from positions up to 1e99 px; products overflow


class LinkSettings(NamedTuple):
    """What a linker with a motion model was made with."""

    model: int  # number in `settings.MOTION_MODELS`
    ndim: int
    search_range: float  # px
    memory: int  # frames that a track may be missing
    intensity_weight: float  # of changes of intensity in the costs


class Points(NamedTuple):
    """The points of a frame."""

    position: Floats  # (n, 3) z, y, x; px
    noise: Floats  # (n, 2) variance of the localization, lateral and axial; px^2
    log_intensity: Floats  # (n,)
    clock: float  # time of the frame, in mean frame intervals


def sound(rows: Floats, population: Floats | None = None) -> bool:
    """Whether rows of tracks and the sums over all tracks are such as these models make.

    Compiled loops trust them. Intensities may be anything.

    Parameters
    ----------
    rows : (n, TRACK_WIDTH)
    population : (POPULATION_WIDTH,), optional
    """
    positive = [c.BROWNIAN_VAR, c.DIRECTED_VAR, c.P_DIRECTED, c.OWN_STEP_COUNT, c.POINTS]
    good = (np.abs(rows[:, : c.LOG_INTENSITY]) < FAR).all() and (rows[:, c.P_DIRECTED] <= 1).all()
    good &= (rows[:, positive] >= 0).all()
    if population is not None:
        box = [*range(c.LOWEST, c.HIGHEST + 3)]
        sums = np.delete(population, [*box, c.INTENSITY_SUM])
        counts = [c.STEP_COUNT, c.SPEED_COUNT, c.SURPRISE_COUNT, c.TRACK_COUNT, c.INTENSITY_COUNT]
        good &= (sums >= 0).all() and (sums < FAR).all() and not np.isnan(population[box]).any()
        good &= (population[counts] > 0).all()
    return bool(good)


@njit(nogil=True, error_model="numpy")
def point_of(position: Floats, noise: Floats, log_intensity: Floats, clock: float, j: int) -> Point:
    """Point number `j` of a frame; the other arguments are the fields of `Points`."""
    return Point(
        position[j, 0], position[j, 1], position[j, 2],
        noise[j, 0], noise[j, 1], log_intensity[j], clock,
    )  # fmt: skip


@njit(nogil=True, error_model="numpy")
def begin(
    rows: Floats, j: int, point: Point, speed_variance: float, population: Floats, model: int
) -> None:
    """Write row `j`: of a track that starts with a point."""
    for k in range(c.TRACK_WIDTH):
        rows[j, k] = 0.0
    rows[j, c.BROWNIAN_Z] = rows[j, c.DIRECTED_Z] = point.z
    rows[j, c.BROWNIAN_Y] = rows[j, c.DIRECTED_Y] = point.y
    rows[j, c.BROWNIAN_X] = rows[j, c.DIRECTED_X] = point.x
    rows[j, c.BROWNIAN_VAR] = rows[j, c.DIRECTED_VAR] = point.noise
    rows[j, c.BROWNIAN_VAR_Z] = rows[j, c.DIRECTED_VAR_Z] = point.noise_z
    rows[j, c.VELOCITY_VAR] = rows[j, c.VELOCITY_VAR_Z] = speed_variance
    share = share_directed(population)
    rows[j, c.P_DIRECTED] = 0.0 if model == BROWNIAN else 1.0 if model == VELOCITY else share
    rows[j, c.POINTS], rows[j, c.LAST_SEEN] = 1.0, point.clock
    rows[j, c.LOG_INTENSITY] = point.log_intensity


@njit(nogil=True, error_model="numpy")
def advance(
    rows: Floats, ahead: Floats, i: int, clock: float, typical: Typical, settings: LinkSettings
) -> float:
    """Predict the track of row `i` to the time `clock`, into row `i` of `ahead`.

    Returns the squared distance between the positions of both filters, px^2.
    """
    p_directed, share = rows[i, c.P_DIRECTED], typical.p_directed
    dt = max(clock - rows[i, c.LAST_SEEN], 1e-3)
    to_directed = to_brownian = 0.0
    if settings.model == AUTO:
        change = SWITCH * dt / (1.0 + SWITCH * dt)
        later = p_directed + change * (share - p_directed)
        to_directed = (1.0 - p_directed) * change * share / later
        to_brownian = p_directed * change * (1.0 - share) / (1.0 - later)
        p_directed = later
    gained = dt * _step_variance(rows, i, typical.step_variance)
    interval = Interval(
        to_directed, to_brownian, dt, gained, typical.speed_variance, typical.directed_noise
    )
    filters = kalman.predicted(kalman.read(rows, i), interval, settings.ndim)
    kalman.write(ahead, i, filters)
    ahead[i, c.P_DIRECTED] = p_directed
    for column in (c.OWN_STEP_SUM, c.OWN_STEP_COUNT, c.POINTS, c.LAST_SEEN, c.LOG_INTENSITY):
        ahead[i, column] = rows[i, column]
    z, y, x = filters.z, filters.y, filters.x
    off_z, off_y, off_x = z.directed - z.brownian, y.directed - y.brownian, x.directed - x.brownian
    return off_z**2 + off_y**2 + off_x**2


@njit(nogil=True, error_model="numpy")
def link_cost(
    ahead: Floats, i: int, point: Point, weight: float, intensity_variance: float, ndim: int
) -> float:
    """-2 log of the density that a track expects at a point, and what its intensity costs.

    Parameters
    ----------
    ahead : (m, TRACK_WIDTH)
        Predicted rows; that of the track is number `i`.
    point
        The point.
    weight
        Of the change of the logarithm of the intensity, whose variance is `intensity_variance`.
    """
    p_directed = ahead[i, c.P_DIRECTED]
    w_b = 1.0 / (ahead[i, c.BROWNIAN_VAR] + point.noise)
    w_v = 1.0 / (ahead[i, c.DIRECTED_VAR] + point.noise)
    b = w_b * ((point.y - ahead[i, c.BROWNIAN_Y]) ** 2 + (point.x - ahead[i, c.BROWNIAN_X]) ** 2)
    v = w_v * ((point.y - ahead[i, c.DIRECTED_Y]) ** 2 + (point.x - ahead[i, c.DIRECTED_X]) ** 2)
    if ndim == 3:
        deep_b = ahead[i, c.BROWNIAN_VAR_Z] + point.noise_z
        deep_v = ahead[i, c.DIRECTED_VAR_Z] + point.noise_z
        off_b, off_v = point.z - ahead[i, c.BROWNIAN_Z], point.z - ahead[i, c.DIRECTED_Z]
        b, v = b + off_b * off_b / deep_b, v + off_v * off_v / deep_v
        w_b, w_v = w_b / math.sqrt(deep_b), w_v / math.sqrt(deep_v)
    w_b, w_v = (1.0 - p_directed) * w_b, p_directed * w_v
    # w_b exp(-b / 2) + w_v exp(-v / 2), the larger exponential taken out
    nearer = min(b, v)
    less = math.exp(0.5 * (nearer - max(b, v)))
    total = w_b + w_v * less if b < v else w_v + w_b * less
    brighter = point.log_intensity - ahead[i, c.LOG_INTENSITY]
    dearer = min(brighter * brighter / max(intensity_variance, STEADY), 25.0)
    cost: float = nearer + ndim * LOG_TURN - 2.0 * math.log(max(total, 1e-300)) + weight * dearer
    return cost


@njit(nogil=True, error_model="numpy")
def update(
    rows: Floats,
    j: int,
    ahead: Floats,
    i: int,
    point: Point,
    typical_variance: float,
    settings: LinkSettings,
) -> Step:
    """Correct both filters by a point, and weigh them by how well each had predicted it.

    Parameters
    ----------
    rows : (n, TRACK_WIDTH)
        The row after the point is written into row `j`.
    ahead : (m, TRACK_WIDTH)
        Rows predicted to the time of the point; that of the track is number `i`.
    point
        The point.
    typical_variance
        Of the Brownian steps of all tracks, px^2 a frame.
    settings
        What the linker was made with.

    Returns
    -------
    Step
        What the population may learn from the point.
    """
    ndim, p_directed = settings.ndim, ahead[i, c.P_DIRECTED]
    filters = kalman.read(ahead, i)
    left, errors = kalman.corrected(filters, point, ndim)
    dt = max(point.clock - ahead[i, c.LAST_SEEN], 1e-3)
    own = dt * _step_variance(ahead, i, typical_variance)
    variance = errors.lateral - 2.0 * (filters.lateral.brownian + point.noise - own)
    if ndim == 3:
        variance += errors.axial - (filters.axial.brownian + point.noise_z - own)
    variance /= ndim * dt
    if settings.model == AUTO:
        less = math.exp(min(0.5 * (errors.directed - errors.brownian), 700.0))
        directed = p_directed * errors.peak_directed
        p_directed = directed / (directed + (1.0 - p_directed) * errors.peak_brownian * less)
        p_directed = min(max(p_directed, 1e-3), 1.0 - 1e-3)
    points, before = ahead[i, c.POINTS], ahead[i, c.LOG_INTENSITY]
    change = point.log_intensity - before
    kalman.write(rows, j, left)
    rows[j, c.P_DIRECTED] = p_directed
    rows[j, c.OWN_STEP_SUM] = OWN * ahead[i, c.OWN_STEP_SUM] + (1.0 - p_directed) * variance
    rows[j, c.OWN_STEP_COUNT] = OWN * ahead[i, c.OWN_STEP_COUNT] + (1.0 - p_directed)
    rows[j, c.POINTS], rows[j, c.LAST_SEEN] = points + 1.0, point.clock
    rows[j, c.LOG_INTENSITY] = before + 0.3 * change
    z, y, x = left.z.velocity, left.y.velocity, left.x.velocity
    known, speed = p_directed if points >= 3.0 else 0.0, z * z + y * y + x * x
    return Step(p_directed, variance, known, speed, errors.directed, change)


@njit(nogil=True, error_model="numpy")
def _step_variance(rows: Floats, i: int, typical: float) -> float:
    """Variance of the Brownian steps of the track of row `i` along an axis, px^2 a frame."""
    own = (PRIOR * typical + rows[i, c.OWN_STEP_SUM]) / (PRIOR + rows[i, c.OWN_STEP_COUNT])
    variance: float = max(own, FLOOR * typical)
    return variance
