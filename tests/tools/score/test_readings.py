"""Readings of whole sets of tracks: as each would have been known alone, point by point."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from livespt.models.motion.follower import Network, TrackFollower
from livespt.models.motion.whole_tracks import WholeReader
from livespt.models.runtime.session import open_session
from livespt.models.simulate.tracks import Tracks, simulate_tracks
from livespt.tools.score import readings
from livespt.tools.score.readings import as_known, both_ways

LAGS = (0, 1, 7, 30)


@pytest.fixture(scope="module")
def network(networks: Path) -> Network:
    return Network(open_session(networks / "segmenter.onnx", "cpu"))


@pytest.fixture(scope="module")
def tracks() -> Tracks:
    """Some tracks shorter than the lags and some longer, with gaps."""
    return simulate_tracks(12, 3, lengths=(5, 90), gaps=0.1)


def alone(network: Network, tracks: Tracks, which: int, lag: int) -> NDArray[np.float32]:
    """Readings of one track as they were `lag` points later, or at its end."""
    rows = np.arange(tracks.offset[which], tracks.offset[which + 1])
    following, slot = TrackFollower([network], 30, 0.5), np.zeros(1, np.int32)
    told = np.zeros((len(rows), network.outputs), np.float32)
    for t, row in enumerate(rows):
        now = following.push(slot, tracks.frame[row : row + 1], tracks.point[row : row + 1])
        told[t] = now[0]
        if lag:
            newest = t == len(rows) - 1
            for age in range(min(lag, t) + 1) if newest else [lag] if t >= lag else []:
                told[t - age] = following.read(slot, np.array([age]))[0]
    return told


@pytest.mark.parametrize("together", [512, 5])
def test_readings_come_from_the_moment_they_were_known(
    network: Network, tracks: Tracks, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readings, "BATCH_TRACKS", together)
    told = as_known(network, tracks, LAGS, 0.5)
    assert tuple(told) == LAGS
    for lag, answer in told.items():
        assert answer.shape == (len(tracks.frame), 4)
        for i in (0, 3, 7, 11):
            mine = slice(tracks.offset[i], tracks.offset[i + 1])
            expected = alone(network, tracks, i, lag)
            assert np.array_equal(answer[mine][:-1], expected[:-1])
            np.testing.assert_allclose(answer[mine][-1], expected[-1], atol=1e-6)


def test_the_lags_asked_for_do_not_change_each_other(network: Network, tracks: Tracks) -> None:
    together = as_known(network, tracks, LAGS)
    for lag in LAGS:
        assert np.array_equal(as_known(network, tracks, (lag,))[lag], together[lag])
    known = as_known(network, tracks, (7,), 0.5)[7]
    assert np.abs(known - together[7]).max() > 1e-3, "the pixel size is passed on"


def test_both_ways_each_track_has_what_it_has_alone(networks: Path, tracks: Tracks) -> None:
    whole = WholeReader(networks / "segmenter_whole.onnx", "segment_whole", provider="cpu")
    told = both_ways(whole, tracks, 0.5)
    np.testing.assert_allclose(told.sum(1), 1, atol=1e-6)
    for low, high in zip(tracks.offset[:-1], tracks.offset[1:], strict=True):
        mine = np.array([0, high - low]), tracks.frame[low:high], tracks.point[low:high]
        assert np.array_equal(whole(*mine, 0.5), told[low:high])
    assert np.abs(both_ways(whole, tracks) - told).max() > 1e-3
