"""Brightness: each number is what its formula says, live as over whole tracks; ratios count."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from livespt.models.motion import intensity_features
from livespt.models.motion.intensity_features import (
    COUNT,
    LEVEL_POINTS,
    LOG_SCALE,
    MEMORIES,
    MIN_SHARE,
    IntensityState,
    of_tracks,
)
from livespt.models.simulate import tracking_errors
from livespt.models.simulate.intensities import with_intensities
from livespt.models.simulate.tracks import Tracks
from livespt.models.simulate.virus_entry import simulate_entry

Floats = NDArray[np.float64]


def told(intensity: Floats, backwards: bool = False) -> NDArray[np.float32]:
    return of_tracks(np.array([0, len(intensity)]), intensity, backwards)


def glow(n: int, seed: int) -> Floats:
    """Intensities that are noisy and fall."""
    rng = np.random.default_rng(seed)
    return np.exp(6 - 0.01 * np.arange(n) + rng.normal(0, 0.2, n))


def plainly(intensity: Floats) -> list[float]:
    """Brightness of the last point, by its formula."""
    x: list[float] = []
    level = 0.0
    for k, value in enumerate(intensity):
        now = (
            math.log(value)
            if not x
            else max(math.log(max(value, 1e-300)), level + math.log(MIN_SHARE))
        )
        level += (now - level) / min(k + 1, LEVEL_POINTS)
        x.append(now)
    means = []
    for memory in (*MEMORIES, LEVEL_POINTS):
        mean, before = 0.0, []
        for k, now in enumerate(x, 1):
            before.append(mean if k > 1 else now)
            mean += (now - mean) / min(k, memory)
        means.append((mean, before))
    noise = 0.0
    for k, (now, expected) in enumerate(zip(x, means[0][1], strict=True), 1):
        noise += ((now - expected) ** 2 - noise) / min(k, MEMORIES[1])
    falls = [a[0] - b[0] for a, b in itertools.pairwise(means)]
    last = x[-1] - means[0][1][-1]
    return [1.0, *(LOG_SCALE * d for d in (last, *falls)), 0.5 * math.log(noise + 1e-4) + 2.0]


@pytest.mark.parametrize("n", [1, 2, 3, 17, 200, 900])
def test_each_number_is_its_formula(n: int) -> None:
    intensity = glow(n, n)
    intensity[n // 2 :: 7] *= 0.01  # darker than what is believed
    if n > 5:
        intensity[5] = -40.0  # the background was brighter
    np.testing.assert_allclose(told(intensity)[-1], plainly(intensity), rtol=1e-5, atol=1e-5)


def test_gain_does_not_matter_and_a_third_less_light_is_about_minus_one() -> None:
    intensity = glow(100, 1)
    np.testing.assert_allclose(told(intensity), told(intensity * 31.0), atol=2e-5)
    dimmed = np.where(np.arange(100) < 90, 100.0, 100 * math.exp(-1 / LOG_SCALE))
    assert told(dimmed)[90, 1] == pytest.approx(-1)


def test_live_is_as_over_whole_tracks_whatever_else_lives() -> None:
    tracks = [glow(n, n) for n in (40, 25, 40)]
    tracks[1][7] = np.nan
    memory = IntensityState(capacity=2)
    memory.reserve(9)
    live: list[list[NDArray[np.float32]]] = [[], [], []]
    for t in range(40):
        alive = [k for k in (2, 0, 1) if t < len(tracks[k])]
        slots = np.array([3 * k for k in alive], np.int32)
        rows = memory.push(slots, np.array([tracks[k][t] for k in alive]), rows=8)
        assert rows.shape == (8, COUNT) and not rows[len(alive) :].any()
        for k, row in zip(alive, rows, strict=False):
            live[k].append(row)
    for mine, intensity in zip(live, tracks, strict=True):
        assert np.array(mine).tobytes() == told(intensity).tobytes()
    memory.clear(np.array([0], np.int32))
    again = memory.push(np.array([0], np.int32), tracks[0][:1])
    assert again.tobytes() == told(tracks[0][:1]).tobytes(), "a slot begins anew"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_nobody_knows_is_as_if_it_were_not_there(bad: float) -> None:
    intensity = glow(30, 3)
    spoilt = np.insert(intensity, 12, bad)
    assert not told(spoilt)[12].any()
    assert np.delete(told(spoilt), 12, axis=0).tobytes() == told(intensity).tobytes()
    assert not told(np.full(4, bad)).any() and not told(np.array([-1.0, 0.0])).any()
    assert not IntensityState().push(np.arange(3, dtype=np.int32), None).any()


@pytest.fixture(scope="module")
def viruses() -> Tracks:
    return simulate_entry(400, 5, n_frames=200, uncoating=1.0)


def test_the_light_of_most_falls_at_uncoating(viruses: Tracks) -> None:
    tracks = with_intensities(viruses, np.random.default_rng(1))
    assert tracks.intensity is not None and np.isfinite(tracks.intensity).all()
    light, changed = np.log(tracks.intensity), []
    for i, when in enumerate(tracks.uncoat):
        mine = light[tracks.offset[i] : tracks.offset[i + 1]]
        changed.append(np.median(mine[when + 12 : when + 24]) - np.median(mine[when - 12 : when]))
    fallen = np.array([x for x in changed if np.isfinite(x)]) < -0.2
    assert 0.4 < fallen.mean() < 0.85, "70 % lose 10 to 70 %"


def test_a_share_is_told_and_tracks_keep_their_places(viruses: Tracks) -> None:
    tracks = with_intensities(viruses, np.random.default_rng(2), 0.5)
    assert tracks.intensity is not None
    known = np.isfinite(tracks.intensity)
    whole = np.add.reduceat(known, tracks.offset[:-1])
    assert set(whole) == {0, 200} and 0.4 < known.mean() < 0.6
    again = with_intensities(viruses, np.random.default_rng(2), 0.5)
    assert again.intensity is not None
    assert again.intensity.tobytes() == tracks.intensity.tobytes()
    assert tracks.point is viruses.point


def test_joined_tracks_know_what_each_knew(viruses: Tracks) -> None:
    both = tracking_errors.join([viruses, with_intensities(viruses, np.random.default_rng(3))])
    half = len(viruses.frame)
    assert both.intensity is not None and np.isnan(both.intensity[:half]).all()
    assert np.isfinite(both.intensity[half:]).all()
    assert tracking_errors.join([viruses, viruses]).intensity is None
    assert (
        intensity_features.of_tracks(both.offset, tracking_errors.intensities(both))[:half].any()
        == 0
    )
