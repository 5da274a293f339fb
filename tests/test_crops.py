"""Crops are what the live path would have handed to the networks."""

from __future__ import annotations

import numpy as np

from livespt.models import crops
from livespt.models.motion import Tracks, simulate_entry, simulate_tracks
from livespt.stream.window import Windows

PIXEL = 0.1  # um


def live(tracks: Tracks, which: int, seen: int, length: int) -> np.ndarray:
    """The window that stream/window.py holds after `seen` points of a track."""
    windows, slot = Windows(length), np.zeros(1, np.int32)
    for row in range(tracks.offset[which], tracks.offset[which] + seen):
        windows.push(slot, int(tracks.frame[row]), tracks.point[row : row + 1] / PIXEL)
    return windows.batch(slot)[0]


def test_a_crop_is_the_live_window() -> None:
    tracks = simulate_tracks(6, 1, ndim=3, variant="physical", gaps=0.2, lengths=(30, 80))
    for which, seen in ((0, 1), (1, 7), (2, 24), (3, 25), (5, 30)):
        cut = crops.cut(tracks, np.array([which]), np.array([seen]), 24, PIXEL).windows[0]
        assert np.allclose(cut, live(tracks, which, seen, 24), atol=1e-4)


def test_truth_stands_beside_its_point() -> None:
    tracks = simulate_entry(20, 3, n_frames=60, uncoating=1.0)
    for i, uncoat in enumerate(tracks.uncoat):
        some = crops.cut(tracks, np.array([i]), np.array([60]), 80)
        assert not some.uncoated[0, : 20 + uncoat].any()
        assert some.uncoated[0, 20 + uncoat :].all()
        assert np.array_equal(some.label[0, 20:], tracks.label[60 * i : 60 * (i + 1)])


def test_draw_takes_every_point_alike() -> None:
    tracks = simulate_tracks(3, 4, lengths=(5, 200))
    count = np.diff(tracks.offset)
    some = crops.draw(np.random.default_rng(0), tracks, 6000, int(count.max()))
    seen = some.windows[:, :, 4].sum(1)
    for n in count:  # moments are uniform over points, hence over tracks by their length
        assert np.isclose(np.mean(seen <= n), np.minimum(count, n).sum() / count.sum(), atol=0.03)


def test_a_teleport_moves_one_point_within_the_plane() -> None:
    tracks = simulate_tracks(40, 5, lengths=(40, 60))
    some = crops.draw(np.random.default_rng(0), tracks, 200, 30)
    moved = crops.teleport(np.random.default_rng(1), some, 1.0).windows
    changed = (moved != some.windows).any(2).sum(1)
    assert set(np.unique(changed)) <= {0, 1} and changed.mean() > 0.8
    assert not moved[:, :, 1].any()


def test_a_broken_track_forgets_what_was_before() -> None:
    tracks = simulate_entry(60, 6, n_frames=50, uncoating=1.0)
    parts = crops.broken(np.random.default_rng(2), tracks, 0.5)
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
    both = crops.join([a, b])
    assert len(both.uncoat) == 7
    last = slice(both.offset[3], both.offset[7])
    assert np.array_equal(both.point[last], b.point) and np.array_equal(both.label[last], b.label)
