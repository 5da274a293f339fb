"""Intensities: simulated intensities of particles whose motion and uncoating are known.

Truth to learn from, as broad as a laboratory may be: some labels are lost with the coat, wholly or
in part, at once or over some frames, and many are not; all of them bleach, are noisy and drift in
and out of focus; some jump without any uncoating (quenching, another particle, a change of the
laser), and some blink. The ranges are ours, set once. Only ratios of a track's intensities matter
to who reads them (`intensity_features`), so the level is any.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.random import Generator
from numpy.typing import NDArray

from livespt.models.simulate.tracks import Tracks

Floats = NDArray[np.float64]
KEPT = 0.3  # share of the viruses whose label stays when they uncoat
LOST = (0.1, 0.7)  # share of the light that the others lose, uniform
RAMP = (1.0, 12.0)  # frames that takes
BLEACHED = (100.0, 30_000.0)  # frames until 1/e is left
NOISE = (0.03, 0.4)  # standard deviation of the logarithm, frame by frame
DRIFT = (0.0, 0.3)  # likewise of what lasts, uniform
DRIFTED = (5.0, 200.0)  # frames that it lasts
JUMPS, JUMP = 0.35, 0.4  # of a track on average; standard deviation of the logarithm of each
BLINKING = 0.2  # share of the tracks
DARK, DARK_FRAMES = (0.001, 0.03), 5  # chance a point to go dark; at most so long
LEFT = 0.3  # of the light while dark


def lit(tracks: Tracks, rng: Generator, share: float = 1.0) -> Tracks:
    """The tracks with intensities, this `share` of them; of the others nobody knows them (NaN)."""
    n, total = len(tracks.uncoat), len(tracks.frame)
    count = np.diff(tracks.offset)
    told = rng.random(n) < share
    lost = np.where(rng.random(n) < KEPT, 0.0, rng.uniform(*LOST, n))
    ramp, bleached, noise, drifted = (_broad(rng, r, n) for r in (RAMP, BLEACHED, NOISE, DRIFTED))
    drift = rng.uniform(*DRIFT, n)
    dark = np.where(rng.random(n) < BLINKING, _broad(rng, DARK, n), 0.0)
    jumps = rng.random(total) < np.repeat(JUMPS / np.maximum(count, 1), count)
    change = np.where(jumps, rng.normal(0, JUMP, total), 0.0)
    level = rng.normal(7, 1, n)
    logarithm = _logarithm(
        tracks.offset, tracks.frame, tracks.uncoated, level, np.log1p(-lost), ramp, bleached,
        drift, drifted, dark, change, rng.normal(size=total), rng.random((total, 2)),
    )  # fmt: skip
    seen = np.exp(logarithm + np.repeat(noise, count) * rng.normal(size=total))
    return tracks._replace(intensity=np.where(np.repeat(told, count), seen, np.nan))


def _broad(rng: Generator, between: tuple[float, float], n: int) -> Floats:
    """Log-uniform."""
    low, high = np.log(between)
    values: Floats = np.exp(rng.uniform(low, high, n))
    return values


@njit(cache=True)
def _logarithm(
    offset: NDArray[np.int64],
    frame: NDArray[np.int64],
    uncoated: NDArray[np.bool_],
    level: Floats,  # (n,) as the next six
    fall: Floats,  # logarithm of what is left
    ramp: Floats,
    bleached: Floats,
    drift: Floats,
    drifted: Floats,
    dark: Floats,
    change: Floats,  # (total,) jumps
    normal: Floats,  # (total,)
    chance: Floats,  # (total, 2)
) -> Floats:
    """Logarithm (total,) of the light that reaches the camera, but for its noise."""
    out = np.empty(len(frame))
    for i in range(len(offset) - 1):
        now, wandered, since, left = level[i], 0.0, -1, 0
        for row in range(offset[i], offset[i + 1]):
            gone = frame[row] - frame[max(row - 1, offset[i])]
            kept = np.exp(-gone / drifted[i])
            wandered = kept * wandered + drift[i] * np.sqrt(1 - kept**2) * normal[row]
            now += change[row] - gone / bleached[i]
            if row > offset[i] and uncoated[row] and not uncoated[row - 1]:
                since = frame[row] - 1
            left = max(left - max(gone, 1), 0)
            if left == 0 and chance[row, 0] < dark[i]:
                left = 1 + int(chance[row, 1] * DARK_FRAMES)
            out[row] = now + wandered + (np.log(LEFT) if left > 0 else 0.0)
            if since >= 0:
                out[row] += fall[i] * min((frame[row] - since) / ramp[i], 1.0)
    return out
