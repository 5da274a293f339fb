"""Following: what is carried of a track is of that track alone, to the bit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from livespt.models.motion import features, intensity_features
from livespt.models.motion.features import of_tracks
from livespt.models.motion.follower import Network, TrackFollower
from livespt.models.networks import motion_graph
from livespt.models.networks.motion import Follow
from livespt.models.runtime.card import write_card
from livespt.models.runtime.session import open_session, shipped
from livespt.stream.errors import ModelError

LAG = 12
AGES = (0, 1, 5, LAG)
LENGTH = 40  # points of a track
Floats = NDArray[np.float64]


@pytest.fixture(scope="module")
def pair(networks: Path) -> list[Network]:
    """A network of four answers and one of one."""
    names = ("segmenter", "uncoating")
    return [Network(open_session(networks / f"{name}.onnx", "cpu")) for name in names]


def walks(n: int, seed: int = 0) -> Floats:
    """Positions (LENGTH, n, 3) of tracks that differ in size and shape."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(size=(LENGTH, n, 3)) * rng.uniform(0.1, 5, (1, n, 1))
    steps += rng.normal(size=(1, n, 3)) * rng.choice([0, 2], (1, n, 1))
    return np.cumsum(steps, axis=0)


def follow(
    following: TrackFollower, slots: Sequence[int], points: Floats, intensity: Floats | None = None
) -> NDArray[np.float32]:
    """Readings (LENGTH, n, 1 + len(AGES), 5): of each point at once, and of those before it."""
    at = np.array(slots, np.int32)
    told = []
    for t, some in enumerate(points):
        frames = np.full(len(at), 2 * t)
        seen = None if intensity is None else intensity[t]
        now = following.push(at, frames, some, seen)
        then = [following.read(at, np.full(len(at), min(age, t))) for age in AGES]
        told.append(np.stack([now, *then], axis=1))
    return np.array(told)


def test_readings_are_probabilities(pair: list[Network]) -> None:
    told = follow(TrackFollower(pair, LAG), range(30), walks(30))
    assert told.shape == (LENGTH, 30, 1 + len(AGES), 5) and told.dtype == np.float32
    np.testing.assert_allclose(told[..., :4].sum(-1), 1, atol=1e-6)
    assert told.min() >= 0 and told.max() <= 1
    assert told[-1, :, 0].std(axis=0).min() > 0.01, "tracks differ"


@pytest.mark.parametrize(("outputs", "light"), [(4, False), (1, True), (1, False)])
def test_point_by_point_is_what_torch_says_of_whole_tracks(
    tmp_path: Path, outputs: int, light: bool
) -> None:
    """Traits, what is carried, what is told and asked: all of it beside the definition."""
    torch.manual_seed(3)
    net = Follow(outputs, 16, features.COUNT + (intensity_features.COUNT if light else 0))
    net.temperature[:] = torch.rand(len(net.temperature)) + 0.7
    path = motion_graph.save(net, tmp_path / "net.onnx")
    nothing: dict[str, Any] = {"input": {}, "training": {}, "metrics": {}, "provenance": {}}
    write_card(path, task="segment", seed=0, **nothing)
    points = walks(3)
    intensity = np.exp(np.random.default_rng(4).normal(size=(LENGTH, 3)))  # told to every network
    network = Network(open_session(path, "cpu"))
    assert network.reads_intensity == light
    seen = follow(TrackFollower([network], LAG, 0.1), [2, 0, 1], points, intensity)
    offset, frame = LENGTH * np.arange(4), np.tile(2 * np.arange(LENGTH), 3)
    told = of_tracks(offset, frame, points.swapaxes(0, 1).reshape(-1, 3), np.full(3, 0.1))
    if light:
        told = np.concatenate(
            [told, intensity_features.of_tracks(offset, intensity.T.ravel())], axis=1
        )
    x = torch.from_numpy(told.reshape(3, LENGTH, -1)).swapaxes(0, 1)
    for k, age in enumerate((0, *AGES)):
        ages = torch.arange(LENGTH)[:, None].expand(LENGTH, 3).clamp(max=age)
        with torch.no_grad():
            scores = net(x, ages)
        expected = scores.softmax(-1) if outputs > 1 else scores.sigmoid()
        np.testing.assert_allclose(seen[:, :, k], expected.numpy(), atol=1e-5)


def test_the_newest_point_asked_for_again_is_the_same(pair: list[Network]) -> None:
    told = follow(TrackFollower(pair, LAG), range(5), walks(5))
    np.testing.assert_allclose(told[:, :, 0], told[:, :, 1], atol=1e-6)


@pytest.mark.parametrize("n", [2, 15, 16, 17, 100, 256, 257, 300])
def test_not_one_bit_depends_on_how_many_others_are_alive(pair: list[Network], n: int) -> None:
    mine = walks(1, seed=7)
    alone = follow(TrackFollower(pair, LAG), [0], mine)[:, 0]
    points = walks(n, seed=n)
    for place in sorted({0, n // 2, n - 1}):
        points[:, place] = mine[:, 0]
    together = follow(TrackFollower(pair, LAG), range(n), points)
    for place in sorted({0, n // 2, n - 1}):
        assert np.array_equal(together[:, place], alone)


def test_not_one_bit_depends_on_the_slots_or_on_their_order(pair: list[Network]) -> None:
    points = walks(40)
    plain = follow(TrackFollower(pair, LAG), range(40), points)
    rng = np.random.default_rng(1)
    slots = rng.permutation(700)[:40]  # also grows beyond the room there was
    small = TrackFollower(pair, LAG, capacity=1)
    seen = np.zeros_like(plain)
    for t in range(LENGTH):
        order = rng.permutation(40)
        at = slots[order].astype(np.int32)
        seen[t, order, 0] = small.push(at, np.full(40, 2 * t), points[t, order])
        for k, age in enumerate(AGES, 1):
            asked = rng.permutation(40)
            ages = np.full(40, min(age, t))
            seen[t, asked, k] = small.read(slots[asked].astype(np.int32), ages)
    assert np.array_equal(seen, plain)


def test_not_one_bit_depends_on_when_the_others_are_seen(pair: list[Network]) -> None:
    """Each track is pushed at frames of its own; different ages are asked for together."""
    points, rng = walks(20), np.random.default_rng(2)
    plain = follow(TrackFollower(pair, LAG), range(20), points)
    following, count = TrackFollower(pair, LAG), np.zeros(20, np.int64)
    while (count < LENGTH).any():
        at = np.flatnonzero((rng.random(20) < 0.6) & (count < LENGTH))
        slots = at.astype(np.int32)
        now = following.push(slots, 2 * count[at], points[count[at], at])
        assert np.array_equal(now, plain[count[at], at, 0])
        k = rng.integers(0, len(AGES), len(at))
        then = following.read(slots, np.minimum(np.array(AGES)[k], count[at]))
        assert np.array_equal(then, plain[count[at], at, 1 + k])
        count[at] += 1


def test_how_far_one_may_look_back_changes_no_answer(pair: list[Network]) -> None:
    points, slots = walks(3), np.arange(3, dtype=np.int32)
    near, far = TrackFollower(pair, 3), TrackFollower(pair, 30)
    for t in range(LENGTH):
        now = [some.push(slots, np.full(3, t), points[t]) for some in (near, far)]
        then = [some.read(slots, np.full(3, min(t, 3))) for some in (near, far)]
        assert np.array_equal(now[0], now[1]) and np.array_equal(then[0], then[1])


def test_one_network_answers_the_same_without_the_other(pair: list[Network]) -> None:
    points = walks(4)
    both = follow(TrackFollower(pair, LAG), range(4), points)
    for net, columns in zip(pair, (slice(4), slice(4, 5)), strict=True):
        alone = follow(TrackFollower([net], LAG), range(4), points)
        assert np.array_equal(alone, both[..., columns])


def test_a_cleared_slot_is_as_new(pair: list[Network]) -> None:
    fresh = follow(TrackFollower(pair, LAG), [0, 1], walks(2, seed=5))
    following = TrackFollower(pair, LAG)
    follow(following, [4, 9, 2], walks(3, seed=4))
    gone = walks(1, seed=3)
    gone[-3:] = np.nan
    following.clear(np.array([9], np.int32))
    follow(following, [9], gone)
    following.clear(np.array([9, 2], np.int32))
    assert np.array_equal(follow(following, [9, 2], walks(2, seed=5)), fresh)


def test_the_pixel_size_is_used_and_none_is_unknown(pair: list[Network]) -> None:
    points = walks(2)
    unknown, also = (follow(TrackFollower(pair, LAG, um), [0, 1], points) for um in (None, 0.0))
    known = follow(TrackFollower(pair, LAG, 0.1), [0, 1], points)
    assert np.array_equal(unknown, also) and np.abs(known - unknown).max() > 1e-3
    finer = follow(TrackFollower(pair, LAG, 0.05), [0, 1], 2 * points)
    np.testing.assert_allclose(finer, known, atol=1e-2)  # the same lengths in um


BLIND = {
    "nan": (20, np.nan),
    "nan, the first point": (0, np.nan),
    "nan, the second point": (1, np.nan),
    "inf": (20, np.inf),
    "-inf": (20, -np.inf),
    "1e12": (20, 1e12),
    "-1e9": (20, -1e9),
}


@pytest.mark.parametrize("name", BLIND)
def test_a_place_that_is_none_says_nothing(pair: list[Network], name: str) -> None:
    """Not then, not later; and the others go on as if it were not there."""
    bad, value = BLIND[name]
    points, slots = walks(3), np.arange(3, dtype=np.int32)
    spoilt = points.copy()
    spoilt[bad, 1, 2] = value
    following, clean, without = (TrackFollower(pair, LAG) for _ in range(3))
    unknown = np.array([0.25, 0.25, 0.25, 0.25, 0], np.float32)
    for t in range(bad + LAG + 3):
        frames = np.full(3, t)
        now, expected = (
            following.push(slots, frames, spoilt[t]),
            clean.push(slots, frames, points[t]),
        )
        if t == bad:
            expected[1] = unknown
        else:
            expected[1] = without.push(slots[1:2], frames[:1], points[t, 1:2])[0]
        assert np.array_equal(now, expected)
        for age in {0, min(t, 3), min(t, LAG), min(max(t - bad, 0), LAG)}:
            then = following.read(slots, np.full(3, age))
            assert np.array_equal(then[1], unknown) == (t - age == bad)
            np.testing.assert_allclose(then[:, :4].sum(1), 1, atol=1e-6)
            reference = clean.read(slots, np.full(3, age))
            assert np.array_equal(then[[0, 2]], reference[[0, 2]])


def test_a_track_of_nothing_but_such_places_knows_nothing(pair: list[Network]) -> None:
    points = np.full((LENGTH, 20, 3), np.nan)
    told = follow(TrackFollower(pair, LAG), range(20), points)
    assert (told[..., :4] == 0.25).all() and (told[..., 4] == 0).all()


ODD = {
    "never moves": np.zeros((LENGTH, 1, 3)),
    "teleports": walks(1) + 500.0 * (np.arange(LENGTH) == 20)[:, None, None],
    "is huge": 1e6 * walks(1),
    "is minute": 1e-6 * walks(1),
    "lies at the end of the world": walks(1) + 9e8,
}


@pytest.mark.parametrize("name", ODD)
def test_odd_tracks_have_readings(pair: list[Network], name: str) -> None:
    told = follow(TrackFollower(pair, LAG, 0.1), [0], ODD[name])
    assert np.isfinite(told).all()
    np.testing.assert_allclose(told[..., :4].sum(-1), 1, atol=1e-6)


def test_a_track_may_pause_for_long(pair: list[Network]) -> None:
    following, slot = TrackFollower(pair, LAG), np.zeros(1, np.int32)
    for frame, point in zip((0, 1, 10**9, 10**9 + 1), walks(1), strict=False):
        assert np.isfinite(following.push(slot, np.array([frame]), point)).all()


def test_nobody_is_pushed_and_nobody_is_asked(pair: list[Network]) -> None:
    following, none = TrackFollower(pair, LAG), np.zeros(0, np.int32)
    nothing = np.zeros(0, np.int64)
    assert following.push(none, nothing, np.zeros((0, 3))).shape == (0, 5)
    assert following.read(none, nothing).shape == (0, 5)
    following.clear(none)


def test_files_that_follow_no_tracks_are_refused(networks: Path) -> None:
    for path in (networks / "segmenter_whole.onnx", shipped("fast")):
        with pytest.raises(ModelError, match="does not follow tracks") as caught:
            Network(open_session(path, "cpu"))
        assert "\n" not in str(caught.value)


def test_a_network_of_other_traits_is_refused(
    networks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "COUNT", features.COUNT - 1)
    with pytest.raises(ModelError, match="other features of tracks: train it again"):
        Network(open_session(networks / "segmenter.onnx", "cpu"))
