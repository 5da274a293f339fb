"""Simulated fluorescence intensities of particles whose motion and uncoating are known.

They serve for training, with ranges as broad as in practice. On uncoating, some labels are lost
completely or in part, at once or over some frames, and others stay. All labels bleach, are noisy,
and drift in and out of focus. Some intensities jump without uncoating (quenching, another particle,
a change of the laser), and some particles blink. The ranges are assumptions of this project, chosen
once. The networks use only ratios of the intensities of a track, so the level is arbitrary.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from livespt.models.simulate.tracks import Tracks
from livespt.stream.compiled import njit

Floats = NDArray[np.float64]
KEPT = 0.3  # share of the viruses whose label stays when they uncoat
LOST = (0.1, 0.7)  # share of the intensity that the others lose, uniform
RAMP = (1.0, 12.0)  # duration of that loss, frames
BLEACHED = (100.0, 30_000.0)  # frames of bleaching until 1/e of the intensity is left
NOISE = (0.03, 0.4)  # standard deviation of the logarithm, independent in each frame
DRIFT = (0.0, 0.3)  # standard deviation of the logarithm, of slow changes, uniform
DRIFTED = (5.0, 200.0)  # correlation time of slow changes, frames
JUMPS, JUMP = 0.35, 0.4  # mean number of jumps in a track; standard deviation of the logarithm
BLINKING = 0.2  # share of the tracks that blink
DARK, DARK_FRAMES = (0.001, 0.03), 5  # probability per point of going dark; greatest duration
LEFT = 0.3  # share of the intensity while dark


def with_intensities(tracks: Tracks, rng: Generator, share: float = 1.0) -> Tracks:
    """Add intensities to a `share` of the tracks; those of the others are unknown (NaN)."""
    n, total = len(tracks.uncoat), len(tracks.frame)
    count = np.diff(tracks.offset)
    known = rng.random(n) < share
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
    return tracks._replace(intensity=np.where(np.repeat(known, count), seen, np.nan))


def _broad(rng: Generator, between: tuple[float, float], n: int) -> Floats:
    """Draw n log-uniform values."""
    low, high = np.log(between)
    values: Floats = np.exp(rng.uniform(low, high, n))
    return values


@njit()
def _logarithm(
    offset: NDArray[np.int64],
    frame: NDArray[np.int64],
    uncoated: NDArray[np.bool_],
    level: Floats,  # (n,), as the six arguments that follow
    fall: Floats,  # logarithm of the share that is left after uncoating
    ramp: Floats,
    bleached: Floats,
    drift: Floats,
    drifted: Floats,
    dark: Floats,
    change: Floats,  # (total,) jumps
    normal: Floats,  # (total,)
    chance: Floats,  # (total, 2)
) -> Floats:
    """Logarithm (total,) of the intensity, without its noise."""
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
