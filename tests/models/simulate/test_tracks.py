"""Motion: tracks with truth, the same whatever batch they are made in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from livespt.models.simulate.steps import CONFINED, DIRECTED, NORMAL, SUBDIFFUSIVE
from livespt.models.simulate.tracks import Tracks, simulate_tracks
from livespt.models.simulate.virus_entry import Entry, simulate_entry
from livespt.stream.errors import SettingError
from livespt.stream.types import MOTIONS

VARIANTS = ["deepspt", "physical"]


def rows(tracks: Tracks, i: int) -> slice:
    return slice(int(tracks.offset[i]), int(tracks.offset[i + 1]))


def test_labels_are_in_the_order_of_the_vocabulary() -> None:
    names = [MOTIONS[k] for k in (NORMAL, DIRECTED, CONFINED, SUBDIFFUSIVE)]
    assert names == ["normal", "directed", "confined", "subdiffusive"]


@pytest.mark.parametrize(
    ("make", "kind"),
    [(simulate_tracks, {"variant": name}) for name in VARIANTS] + [(simulate_entry, {})],
    ids=[*VARIANTS, "entry"],
)
@pytest.mark.parametrize("ndim", [2, 3])
def test_a_track_does_not_depend_on_its_batch(make: Any, kind: dict[str, str], ndim: int) -> None:
    options = {**kind, "ndim": ndim, "gaps": 0.05}
    whole = make(12, 5, **options)
    again = make(12, 5, **options)
    for name in Tracks._fields:
        np.testing.assert_array_equal(getattr(again, name), getattr(whole, name))
    tail = make(4, 5, first=8, **options)
    start = whole.offset[8]
    np.testing.assert_array_equal(tail.point, whole.point[start:])
    np.testing.assert_array_equal(tail.label, whole.label[start:])
    np.testing.assert_array_equal(tail.uncoat, whole.uncoat[8:])
    other = make(12, 6, **options)
    assert not np.array_equal(other.point[:5], whole.point[:5])


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("ndim", [2, 3])
def test_rows_belong_together(variant: str, ndim: int) -> None:
    tracks = simulate_tracks(60, 1, ndim=ndim, variant=variant, lengths=(20, 90))
    total = tracks.offset[-1]
    assert tracks.point.shape == (total, 3)
    assert tracks.point.dtype == np.float64
    assert tracks.label.dtype == np.int8
    assert tracks.frame.dtype == np.int64
    assert len(tracks.label) == len(tracks.frame) == len(tracks.diffusion) == total
    assert np.all(tracks.point[:, 0] == 0) == (ndim == 2)
    assert not tracks.uncoated.any() and np.all(tracks.uncoat == -1)
    for i in range(60):
        frame = tracks.frame[rows(tracks, i)]
        assert np.array_equal(frame, np.arange(len(frame)))  # no gaps asked for
        assert 20 <= len(frame) <= (95 if variant == "deepspt" else 90)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_behaviour_gets_its_share(variant: str) -> None:
    tracks = simulate_tracks(500, 2, variant=variant, heterogeneous=0.8)
    share = np.bincount(tracks.label, minlength=4) / len(tracks.label)
    assert share.min() > 0.17
    pure = [len(set(tracks.label[rows(tracks, i)])) == 1 for i in range(500)]
    assert 0.15 < np.mean(pure) < (0.25 if variant == "deepspt" else 0.55)
    same = simulate_tracks(50, 2, variant=variant, heterogeneous=0.0)
    assert all(len(set(same.label[rows(same, i)])) == 1 for i in range(50))


def test_deepspt_ranges() -> None:
    tracks = simulate_tracks(600, 3)
    length = np.diff(tracks.offset)
    assert length.min() >= 6 and length.max() <= 605
    diffusion = tracks.diffusion[tracks.offset[:-1]]
    assert 1e-4 <= diffusion.min() < 2e-4 and 0.35 < diffusion.max() <= 0.5
    for i in range(600):
        part = tracks.label[rows(tracks, i)]
        switch = np.flatnonzero(np.diff(part)) + 1
        assert len(switch) <= 3
        stay = np.diff([0, *switch, len(part)])
        assert stay.min() >= 6 if len(switch) == 0 else stay.min() >= 5


def test_deepspt_noise_is_at_most_a_step() -> None:
    clean = simulate_tracks(300, 4, heterogeneous=0.0, noise=False)
    label, diffusion = clean.label, clean.diffusion
    step = np.full(len(label), np.nan)
    for i in range(300):
        part = rows(clean, i)
        step[part][1:] = np.sum(np.diff(clean.point[part], axis=0) ** 2, 1)
    ratio = step / (4 * diffusion)  # dt = 1 s
    assert np.nanmean(ratio[label == NORMAL]) == pytest.approx(1, abs=0.05)
    assert np.nanmean(ratio[label == SUBDIFFUSIVE]) == pytest.approx(1, abs=0.05)
    assert np.nanmean(ratio[label == DIRECTED]) > 1.05
    assert np.nanmean(ratio[label == CONFINED]) < 0.8


def test_physical_confinement_is_felt_at_any_speed() -> None:
    tracks = simulate_tracks(
        400, 5, variant="physical", heterogeneous=0.0, lengths=(100, 200), noise=False
    )
    reach: dict[int, list[float]] = {motion: [] for motion in range(4)}
    for i in range(400):
        part = rows(tracks, i)
        point = tracks.point[part, 1:]
        step = np.sqrt(2 * tracks.diffusion[part][0])
        reach[int(tracks.label[part][0])].append(float(np.ptp(point, axis=0).max() / step))
    assert max(reach[CONFINED]) <= 10 and min(reach[CONFINED]) > 1  # full axes: 2-10 steps
    assert np.median(reach[NORMAL]) > 10 < np.median(reach[DIRECTED]) / 2


@pytest.mark.parametrize("gaps", [0.0, 0.1])
def test_gaps_are_missing_frames(gaps: float) -> None:
    whole = simulate_entry(100, 6, n_frames=200)
    tracks = simulate_entry(100, 6, n_frames=200, gaps=gaps)
    assert 1 - len(tracks.frame) / len(whole.frame) == pytest.approx(gaps, abs=0.03)
    for i in range(100):
        frame = tracks.frame[rows(tracks, i)]
        assert frame[0] == 0 and frame[-1] == 199
        assert np.all(np.diff(frame) >= 1)
        points = whole.point[rows(whole, i)][frame]
        np.testing.assert_array_equal(tracks.point[rows(tracks, i)], points)


def test_entry_tells_the_story() -> None:
    tracks = simulate_entry(400, 7, n_frames=300, uncoating=0.7, midway=0.5)
    assert 0.6 < np.mean(tracks.uncoat >= 0) < 0.8
    membrane = 0
    for i in range(400):
        part = rows(tracks, i)
        label, uncoat = tracks.label[part], int(tracks.uncoat[i])
        assert len(label) == 300
        uncoated = tracks.uncoated[part]
        if uncoat < 0:
            assert not uncoated.any()
            uncoat = 300
        else:
            assert 30 <= uncoat <= 270
            assert np.array_equal(uncoated, np.arange(300) >= uncoat)
            assert len(set(label[uncoat:])) == 1 and label[-1] != DIRECTED
            engulfed = tracks.diffusion[part][:uncoat][np.isin(label[:uncoat], [2, 3])]
            if len(engulfed):
                assert tracks.diffusion[part][-1] > 2 * engulfed[-1]
        before = label[:uncoat]
        membrane += label[0] == NORMAL
        later = np.flatnonzero(before != NORMAL)
        assert NORMAL not in before[later[0] :]  # it does not go back to the membrane
    assert 0.4 < membrane / 400 < 0.6


def test_entry_ranges_can_be_set() -> None:
    entry = Entry(diffusion=(0.01, 0.01), release=(50.0, 50.0), diffusion_most=0.04)
    tracks = simulate_entry(30, 8, n_frames=(50, 60), uncoating=1.0, entry=entry, dt_s=0.02)
    length = np.diff(tracks.offset)
    assert 50 <= length.min() and length.max() <= 60
    assert np.all(tracks.diffusion[tracks.uncoated] == 0.04)
    clean = simulate_entry(
        30, 8, n_frames=(50, 60), uncoating=1.0, entry=entry, dt_s=0.02, noise=False
    )
    error = (tracks.point - clean.point)[:, 1:]
    sigma = [float(np.std(error[rows(tracks, i)])) for i in range(30)]
    step = np.sqrt(2 * 0.01 * 0.02)
    assert 0.03 * step < min(sigma) < 0.2 * step and 0.6 * step < max(sigma) < 1.2 * step


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ndim": 4}, "2 or 3 dimensions"),
        ({"lengths": (2, 10)}, "at least 5"),
        ({"lengths": (10, 9)}, "shortest, longest"),
        ({"variant": "brownian"}, "deepspt, physical"),
        ({"exposure": 0.5}, "need variant 'physical'"),
        ({"variant": "physical", "jitter": 2.0}, "jitter 2"),
        ({"wrong_links": 1.5}, "between 0 and 1"),
        ({"threads": 0}, "at least 1"),
        ({"variant": lambda *_: (np.zeros((3, 3)), np.zeros(3))}, r"give finite points \(n, 2\)"),
    ],
)
def test_what_cannot_be_made_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingError, match=words):
        simulate_tracks(1, 0, **options)


@pytest.mark.parametrize("variant", VARIANTS)
def test_threads_change_nothing(variant: str) -> None:
    one, two = (simulate_tracks(250, 9, variant=variant, threads=k) for k in (1, 3))
    for name in Tracks._fields:
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


LIVE: dict[str, Any] = {"variant": "physical", "heterogeneous": 0.0, "noise": False}


def of_class(tracks: Tracks, motion: int) -> list[slice]:
    return [
        rows(tracks, i) for i, at in enumerate(tracks.offset[:-1]) if tracks.label[at] == motion
    ]


@pytest.mark.parametrize("exposure", [0.0, 0.5, 1.0])
def test_an_open_shutter_blurs(exposure: float) -> None:
    tracks = simulate_tracks(600, 10, lengths=(50, 100), exposure=exposure, **LIVE)
    ratio = [
        np.mean(np.sum(np.diff(tracks.point[part, 1:], axis=0) ** 2, 1)) / tracks.diffusion[part][0]
        for part in of_class(tracks, NORMAL)
    ]
    # Berglund 2010, Phys. Rev. E 82:011917: 2 d D (dt - exposure / 3), in 8 steps a frame
    open_for = max(8 * exposure, 1)
    blur = (open_for**2 - 1) / (3 * 8 * open_for)
    assert np.mean(ratio) == pytest.approx(4 * (1 - blur), rel=0.03)


def test_uneven_frames_say_when_they_were() -> None:
    tracks = simulate_tracks(600, 11, lengths=(50, 100), jitter=0.3, dt_s=0.1, **LIVE)
    ratio, interval = [], []
    for part in of_class(tracks, NORMAL):
        wait = np.diff(tracks.time_s[part])
        step = np.sum(np.diff(tracks.point[part, 1:], axis=0) ** 2, 1)
        assert np.all(np.diff(tracks.frame[part]) == 1) and tracks.time_s[part][0] == 0
        ratio.append(step / (4 * tracks.diffusion[part][0] * wait))
        interval.append(wait)
    waits, ratios = np.concatenate(interval), np.concatenate(ratio)
    assert np.mean(waits) == pytest.approx(0.1, rel=0.02)
    assert np.std(waits) == pytest.approx(0.03, rel=0.15)
    for some in (waits < 0.08, waits > 0.12):
        assert np.mean(ratios[some]) == pytest.approx(1, abs=0.06)
    even = simulate_tracks(5, 11, dt_s=0.1)
    np.testing.assert_allclose(even.time_s, even.frame * 0.1)


def test_wrong_links_lead_to_another_particle() -> None:
    right = simulate_tracks(300, 12, lengths=(100, 200), **LIVE)
    wrong = simulate_tracks(300, 12, lengths=(100, 200), wrong_links=0.01, **LIVE)
    assert np.array_equal(wrong.offset, right.offset)
    back = 0
    for i in range(300):
        part = rows(right, i)
        same = np.all(wrong.point[part] == right.point[part], axis=1)
        assert same[0]
        assert np.array_equal(wrong.label[part][same], right.label[part][same])
        back += same[-1] and not same.all()
        if not same.all():  # as far as a linker may be led astray
            first = int(np.argmin(same))
            a, b = wrong.point[part][first - 1 : first + 1]
            typical = np.sqrt(np.mean(np.sum(np.diff(right.point[part], axis=0) ** 2, 1)))
            assert 0.99 <= np.linalg.norm(b - a) / typical <= 10.01
    assert back > 20


def test_behaviours_of_a_users_own() -> None:
    def blinker(
        rng: np.random.Generator, lengths: tuple[int, int], ndim: int, dt_s: float
    ) -> tuple[Any, Any]:
        n = int(rng.integers(lengths[0], lengths[1] + 1))
        label = np.arange(n) // 5 % 2
        return np.cumsum(rng.normal(0, dt_s * (1 + label[:, None]), (n, ndim)), axis=0), label

    how: dict[str, Any] = {"variant": blinker, "lengths": (20, 40), "gaps": 0.1, "ndim": 3}
    tracks = simulate_tracks(30, 1, **how)
    assert set(tracks.label) == {0, 1} and np.isnan(tracks.diffusion).all()
    assert 0.03 < 1 - len(tracks.frame) / np.sum(tracks.frame[tracks.offset[1:] - 1] + 1) < 0.2
    tail = simulate_tracks(10, 1, first=20, **how)
    np.testing.assert_array_equal(tail.point, tracks.point[tracks.offset[20] :])


def test_no_tracks_is_an_answer() -> None:
    tracks = simulate_tracks(0, 0)
    assert tracks.point.shape == (0, 3) and tracks.offset.tolist() == [0]
