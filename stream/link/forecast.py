"""Forecast of a frame: tracks are predicted, links priced, and the points learned from.

The motion models are those of `motion_model`; here they are applied to all tracks of a frame.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.stream.compiled import njit
from livespt.stream.link import track_columns as c
from livespt.stream.link.candidates import Candidates
from livespt.stream.link.motion_model import (
    LinkSettings,
    Points,
    advance,
    begin,
    link_cost,
    point_of,
    update,
)
from livespt.stream.link.population import (
    birth_density,
    chances_of,
    fade,
    learn_frame,
    learn_step,
    return_class,
    typical_of,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class TrackFilters(NamedTuple):
    """What is known of m tracks before a frame."""

    filters: Floats  # (m, TRACK_WIDTH) rows
    last_frame: Ints  # (m,) frames in which they were last seen


class Moment(NamedTuple):
    """The frame whose points are looked for."""

    frame: int
    clock: float  # its time, in mean frame intervals
    oldest: int  # tracks last seen before this frame are not looked for
    kept: int  # tracks last seen before this frame are given up


class Forecast(NamedTuple):
    """What is expected of m tracks in a frame."""

    filters: Floats  # (m, TRACK_WIDTH) predicted rows
    position: Floats  # (m, 3) centre of the ball that holds every point worth a link
    radius: Floats  # (m,) of the ball, px; -1: no point is worth one
    cost_of_none: Floats  # (m,) cost of no link
    cell: float  # side of the cells to search in, px


@njit(nogil=True, error_model="numpy")
def expect(
    tracks: TrackFilters, moment: Moment, noise: Floats, population: Floats, settings: LinkSettings
) -> Forecast:
    """Predict every track, and where to look for its point.

    Parameters
    ----------
    tracks
        Tracks that may go on.
    moment
        The frame that they are predicted to.
    noise : (n, 2)
        Variances of the points of the frame, lateral and axial; px^2.
    population : (POPULATION_WIDTH,)
        Sums over all tracks.
    settings
        What the linker was made with.
    """
    filters, last_frame = tracks.filters, tracks.last_frame
    m, ndim, reach = len(last_frame), settings.ndim, settings.search_range
    ahead, position = np.empty((m, c.TRACK_WIDTH)), np.zeros((m, 3))
    radius, cost_of_none = np.empty(m), np.zeros(m)
    max_noise, max_noise_z = 0.0, 0.0
    for j in range(len(noise)):
        max_noise, max_noise_z = max(max_noise, noise[j, 0]), max(max_noise_z, noise[j, 1])
    least, none = _odds(population, settings)
    typical = typical_of(population)
    cell = 0.0
    for i in range(m):
        radius[i] = -1.0
        if last_frame[i] < moment.oldest:
            continue
        distance = math.sqrt(advance(filters, ahead, i, moment.clock, typical, settings))
        dt = max(moment.clock - ahead[i, c.LAST_SEEN], 1e-3)
        kind = return_class(ahead[i, c.POINTS], moment.frame - last_frame[i] - 1)
        cost_of_none[i] = none[kind]
        max_radius = reach * math.sqrt(max(dt, 1.0))
        p_directed, floor = ahead[i, c.P_DIRECTED], least[kind]
        b = v = -1.0
        if p_directed < 1.0:
            lateral, axial = (
                ahead[i, c.BROWNIAN_VAR] + max_noise,
                ahead[i, c.BROWNIAN_VAR_Z] + max_noise_z,
            )
            b = _radius((1.0 - p_directed) / floor, lateral, axial, ndim, max_radius)
        if p_directed > 0.0:
            lateral, axial = (
                ahead[i, c.DIRECTED_VAR] + max_noise,
                ahead[i, c.DIRECTED_VAR_Z] + max_noise_z,
            )
            v = _radius(p_directed / floor, lateral, axial, ndim, max_radius)
        radius[i], part = _ball(distance, b, v)
        for axis in range(3 - ndim, 3):
            way = ahead[i, c.DIRECTED_Z + axis] - ahead[i, c.BROWNIAN_Z + axis]
            position[i, axis] = ahead[i, c.BROWNIAN_Z + axis] + part * way
        cell += max(radius[i], 0.0)
    return Forecast(ahead, position, radius, cost_of_none, max(cell / max(m, 1), 0.1 * reach))


@njit(nogil=True, error_model="numpy")
def _odds(population: Floats, settings: LinkSettings) -> tuple[Floats, Floats]:
    """For each class of tracks, the density at which a link pays, and the cost of none."""
    back = chances_of(population)
    least = birth_density(population, settings.ndim, settings.search_range) * (1.0 - back) / back
    return least * (2.0 * math.pi) ** (0.5 * settings.ndim), -2.0 * np.log(least)


@njit(nogil=True, error_model="numpy")
def _radius(odds: float, lateral: float, axial: float, ndim: int, max_radius: float) -> float:
    """How far from its prediction one model alone may pay for a link; -1: nowhere."""
    odds, widest = 2.0 * odds / lateral, lateral
    if ndim == 3:
        odds, widest = odds / math.sqrt(axial), max(lateral, axial)
    return min(math.sqrt(2.0 * math.log(odds) * widest), max_radius) if odds > 1.0 else -1.0


@njit(nogil=True, error_model="numpy")
def _ball(distance: float, b: float, v: float) -> tuple[float, float]:
    """Smallest ball around the balls of both models.

    Returns its radius, and where its centre lies on the way from the Brownian to the directed one.
    """
    if b < 0.0 or v >= distance + b:
        return v, 1.0
    if v < 0.0 or b >= distance + v:
        return b, 0.0
    radius = 0.5 * (distance + b + v)
    return radius, (radius - b) / distance


@njit(nogil=True, error_model="numpy")
def price(
    filters: Floats,
    candidates: Candidates,
    points: Points,
    population: Floats,
    settings: LinkSettings,
) -> None:
    """Replace the squared distances of the candidates by the costs of their links.

    Parameters
    ----------
    filters : (m, TRACK_WIDTH)
        Predicted rows of the tracks.
    """
    variance = population[c.INTENSITY_SUM] / population[c.INTENSITY_COUNT]
    weight, ndim = settings.intensity_weight, settings.ndim
    first, col, cost, _ = candidates
    position, noise, log_intensity, clock = points
    for i in range(len(filters)):
        for e in range(first[i], first[i + 1]):
            point = point_of(position, noise, log_intensity, clock, col[e])
            cost[e] = link_cost(filters, i, point, weight, variance, ndim)


@njit(nogil=True, error_model="numpy")
def learn(
    tracks: TrackFilters,
    ahead: Floats,
    row_of: Ints,
    points: Points,
    moment: Moment,
    living: int,
    population: Floats,
    settings: LinkSettings,
) -> Floats:
    """Correct the filters by the points of a frame, and learn from them for all tracks.

    Parameters
    ----------
    tracks
        As they were given to `expect`.
    ahead : (m, TRACK_WIDTH)
        Their predicted rows.
    row_of : (n,)
        The track that each point continues; -1: none.
    points, moment
        The frame.
    living
        Number of tracks that live on, those that start included.
    population : (POPULATION_WIDTH,)
        Sums over all tracks, changed in place.
    settings
        What the linker was made with.

    Returns
    -------
    (living, TRACK_WIDTH)
        Rows of the tracks that live on: those of the points, then those without one.
    """
    filters, last_frame = tracks.filters, tracks.last_frame
    new = np.empty((living, c.TRACK_WIDTH))
    linked = np.zeros(len(last_frame), np.bool_)
    fade(population)
    typical = typical_of(population)
    for i in range(len(last_frame)):
        if last_frame[i] >= moment.oldest:
            kind = return_class(ahead[i, c.POINTS], moment.frame - last_frame[i] - 1)
            population[c.RETURNS + 2 * kind + 1] += 1.0
    position, noise, log_intensity, clock = points
    births = 0.0
    for j in range(len(row_of)):
        point, i = point_of(position, noise, log_intensity, clock, j), row_of[j]
        for axis in range(3):
            low, high = c.LOWEST + axis, c.HIGHEST + axis
            population[low] = min(population[low], position[j, axis])
            population[high] = max(population[high], position[j, axis])
        if i < 0:
            births += 1.0
            begin(new, j, point, typical.speed_variance, population, settings.model)
            continue
        linked[i] = True
        kind = return_class(ahead[i, c.POINTS], moment.frame - last_frame[i] - 1)
        population[c.RETURNS + 2 * kind] += 1.0
        step = update(new, j, ahead, i, point, typical.step_variance, settings)
        learn_step(population, step, settings.ndim)
    learn_frame(population, births)
    k = len(row_of)
    for i in range(len(last_frame)):
        if last_frame[i] >= moment.kept and not linked[i]:
            new[k] = filters[i]
            k += 1
    return new
