"""What all tracks have in common: step variance, speed, births, and how often a track is missed.

It is learned while linking, as sums that fade, so that averages have a memory of some ten frames.
They start from values that follow from the search range. The columns of the sums are named in
`track_columns`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.stream.compiled import njit
from livespt.stream.link import track_columns as c

Floats = NDArray[np.float64]

FADE = 0.95  # what a sum over all tracks keeps from frame to frame
FADING = (
    c.STEP_SUM, c.SPEED_SUM, c.SURPRISE_SUM, c.BIRTH_SUM, c.DIRECTED_SUM, c.INTENSITY_SUM,
)  # fmt: skip
CROWD = 0.1  # largest density of new points, in units of that of a point one Brownian step away
# probabilities in percent that a track comes back, before any was seen: a row for tracks of 1, 2
# and more points, a column for the number of frames missed
RETURN = ((50, 20, 10, 5), (80, 40, 20, 10), (93, 55, 30, 15))
GUESSES = 20.0  # observations that each starting value counts for
# least variance of the logarithm of an intensity, and of a step (px^2): averages of nothing but
# zeros fade to 0
STEADY = 1e-6


class Typical(NamedTuple):
    """Averages over all tracks, as the motion models need them."""

    step_variance: float  # of a Brownian step along an axis, px^2 a frame
    speed_variance: float  # of a velocity along an axis, px^2 a squared frame
    directed_noise: float  # of the directed motion, px^2 a frame
    p_directed: float  # probability of directed motion
    intensity_variance: float  # of the change of the logarithm of an intensity


class Step(NamedTuple):
    """What a new point says about the last step of its track."""

    p_directed: float
    variance: float  # of a Brownian step along an axis, px^2 a frame
    speed_weight: float  # what the two numbers below count for
    squared_speed: float  # sum over the axes
    surprise: float  # squared error of the directed filter in units of its variance, sum over axes
    intensity_change: float  # of the logarithm


def start_population(search_range: float) -> Floats:
    """Return the sums (POPULATION_WIDTH,) before any track was seen."""
    population = np.zeros(c.POPULATION_WIDTH)
    for column, value in (
        (c.STEP_SUM, GUESSES * (search_range / 4) ** 2),
        (c.SPEED_SUM, GUESSES * (search_range / 3) ** 2),
        (c.SURPRISE_SUM, GUESSES),
        (c.DIRECTED_SUM, GUESSES / 2),
        (c.INTENSITY_SUM, GUESSES * 0.1),
    ):
        population[column], population[column + 1] = value, GUESSES
    population[c.DIRECTED_NOISE] = (search_range / 10) ** 2
    for age in range(c.AGES):
        for gap in range(c.GAPS):
            at = c.RETURNS + 2 * (age * c.GAPS + gap)
            population[at], population[at + 1] = GUESSES * RETURN[age][gap] / 100, GUESSES
    population[c.LOWEST : c.LOWEST + 3] = np.inf
    population[c.HIGHEST : c.HIGHEST + 3] = -np.inf
    return population


@njit(nogil=True, error_model="numpy")
def typical_of(population: Floats) -> Typical:
    """Averages from the sums over all tracks."""
    return Typical(
        population[c.STEP_SUM] / population[c.STEP_COUNT],
        population[c.SPEED_SUM] / population[c.SPEED_COUNT],
        population[c.DIRECTED_NOISE],
        share_directed(population),
        population[c.INTENSITY_SUM] / population[c.INTENSITY_COUNT],
    )


@njit(nogil=True, error_model="numpy")
def share_directed(population: Floats) -> float:
    """Share of the tracks that move directed, never quite none or all."""
    share: float = min(max(population[c.DIRECTED_SUM] / population[c.TRACK_COUNT], 0.05), 0.95)
    return share


@njit(nogil=True, error_model="numpy")
def return_class(points: float, missed: int) -> int:
    """Class of a track with so many points that was missed in so many frames.

    `chances_of` gives a probability for each class. The population has two columns for each.
    """
    age = 0 if points < 2.0 else 1 if points < 3.0 else 2
    return age * c.GAPS + min(missed, c.GAPS - 1)


@njit(nogil=True, error_model="numpy")
def chances_of(population: Floats) -> Floats:
    """Probability (GAPS * AGES,) that a track of each class is seen."""
    seen = np.empty(c.GAPS * c.AGES)
    for k in range(c.GAPS * c.AGES):
        at = c.RETURNS + 2 * k
        seen[k] = min(max(population[at] / population[at + 1], 0.01), 0.98)
    return seen


@njit(nogil=True, error_model="numpy")
def birth_density(population: Floats, ndim: int, search_range: float) -> float:
    """Density of new points in a frame, px^-ndim.

    It has an upper bound, however small the field is that the points fill: a point where a track is
    expected rather continues that track.
    """
    volume = 1.0
    for axis in range(3 - ndim, 3):
        volume *= max(population[c.HIGHEST + axis] - population[c.LOWEST + axis], search_range)
    turn = 2.0 * math.pi * population[c.STEP_SUM] / population[c.STEP_COUNT]
    births = max(population[c.BIRTH_SUM] / max(population[c.FRAME_COUNT], 1.0), 0.5)
    density: float = min(births / volume, CROWD * turn ** (-0.5 * ndim))
    return density


@njit(nogil=True, error_model="numpy")
def fade(population: Floats) -> None:
    """Let the sums fade, and the numbers of cases that they count for."""
    for k in range(c.POPULATION_WIDTH):
        if k in FADING or (k >= c.RETURNS and (k - c.RETURNS) % 2 == 0):
            if population[k + 1] > 1.0:
                population[k] *= FADE
                population[k + 1] *= FADE


@njit(nogil=True, error_model="numpy")
def learn_step(population: Floats, step: Step, ndim: int) -> None:
    """Learn from a point that continues a track."""
    still, known = 1.0 - step.p_directed, step.speed_weight
    steps = population[c.STEP_SUM] + still * step.variance
    population[c.STEP_SUM] = max(steps, STEADY * population[c.STEP_COUNT])
    population[c.STEP_COUNT] += still
    population[c.DIRECTED_SUM] += step.p_directed
    population[c.TRACK_COUNT] += 1.0
    population[c.SPEED_SUM] += known * step.squared_speed / ndim
    population[c.SPEED_COUNT] += known
    population[c.SURPRISE_SUM] += known * step.surprise / ndim
    population[c.SURPRISE_COUNT] += known
    population[c.INTENSITY_SUM] += step.intensity_change * step.intensity_change
    population[c.INTENSITY_COUNT] += 1.0


@njit(nogil=True, error_model="numpy")
def learn_frame(population: Floats, births: float) -> None:
    """Learn from a frame how many points start tracks, and how much the directed motion varies."""
    if population[c.FRAME_COUNT] == 0.0:  # all are new in the first frame: a tenth is usual
        population[c.BIRTH_SUM], population[c.FRAME_COUNT] = 0.5 * births, 5.0
    else:
        population[c.BIRTH_SUM] += births
        population[c.FRAME_COUNT] += 1.0
    surprise = population[c.SURPRISE_SUM] / population[c.SURPRISE_COUNT]
    noise = population[c.DIRECTED_NOISE] * min(max(surprise, 0.5), 2.0) ** 0.1
    population[c.DIRECTED_NOISE] = max(noise, STEADY)
