"""Crops: what the way to a network does to tracks, and what it leaves as it was."""

from __future__ import annotations

import numpy as np
import pytest

from livespt.models.simulate import tracking_errors
from livespt.models.simulate.tracks import simulate_tracks
from livespt.models.simulate.virus_entry import simulate_entry


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_wrong_link_moves_one_point_within_the_plane(ndim: int) -> None:
    tracks = simulate_tracks(200, 5, ndim=ndim, lengths=(30, 60))
    before = tracks.point.copy()
    moved = tracking_errors.teleported(np.random.default_rng(1), tracks, 0.5)
    assert np.array_equal(tracks.point, before), "the tracks given are left alone"
    changed = np.add.reduceat((moved.point != before).any(1), tracks.offset[:-1])
    assert set(np.unique(changed)) == {0, 1} and 0.4 < changed.mean() < 0.6
    assert (moved.point[:, 0] != before[:, 0]).any() == (ndim == 3)
    for name in set(tracks._fields) - {"point"}:
        assert np.array_equal(getattr(moved, name), getattr(tracks, name))


def test_a_wrong_link_is_one_to_twenty_steps_long() -> None:
    tracks = simulate_tracks(300, 6, lengths=(30, 60))
    moved = tracking_errors.teleported(np.random.default_rng(2), tracks, 1.0)
    away = np.linalg.norm(moved.point - tracks.point, axis=1)
    for i, (low, high) in enumerate(zip(tracks.offset[:-1], tracks.offset[1:], strict=True)):
        steps = np.linalg.norm(np.diff(tracks.point[low:high], axis=0), axis=1)
        assert 0.99 < away[low:high].max() / np.median(steps) < 20.01, i


def test_no_share_and_short_tracks_are_left_alone() -> None:
    tracks = simulate_tracks(50, 7, lengths=(5, 60))
    same = tracking_errors.teleported(np.random.default_rng(0), tracks, 0.0)
    assert np.array_equal(same.point, tracks.point)
    whole = tracking_errors.broken(np.random.default_rng(0), tracks, 0.0)
    assert np.array_equal(whole.offset, tracks.offset)


def test_a_broken_track_forgets_what_was_before() -> None:
    tracks = simulate_entry(60, 6, n_frames=50, uncoating=1.0)
    parts = tracking_errors.broken(np.random.default_rng(2), tracks, 0.5)
    assert 75 < len(parts.uncoat) < 105
    assert parts.offset[-1] == tracks.offset[-1] and np.diff(parts.offset).min() >= 5
    for i, uncoat in enumerate(parts.uncoat):
        rows = slice(parts.offset[i], parts.offset[i + 1])
        flags, frames = parts.uncoated[rows], parts.frame[rows]
        changes = bool(flags.any() and not flags.all())
        assert (uncoat >= 0) == changes
        if changes:
            assert frames[np.argmax(flags)] == uncoat


def test_joined_sets_keep_their_tracks() -> None:
    a, b = simulate_tracks(3, 1), simulate_tracks(4, 2)
    both = tracking_errors.join([a, b])
    assert len(both.uncoat) == 7
    last = slice(both.offset[3], both.offset[7])
    assert np.array_equal(both.point[last], b.point) and np.array_equal(both.label[last], b.label)
