"""What is told of a sample, when, and what it changes: drift taken off, motions not named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from livespt.stream.analyzer import Analyzer
from livespt.stream.sample import advice
from livespt.stream.sample.drift import Drift
from livespt.stream.sample.histogram import Histogram
from livespt.stream.sample.known import Known, LearnedRange
from livespt.stream.sample.shared_noise import SharedNoise
from livespt.stream.sample.survey import Survey
from livespt.stream.settings import Settings
from livespt.stream.types import ABSTAIN, KINDS, MOTIONS, SPOT, Frame, Update

SIDE = 300
PROBABILITIES = [f"p_{name}" for name in MOTIONS]
FAST = Known(localizer="fast", sigma_px=(0.95, 2.1), pixel_size_um=0.1, frame_interval_s=0.05)
Floats = NDArray[np.float64]


class Told:
    """A follower that is sure of everything, and keeps the points that it was given."""

    def __init__(self) -> None:
        self.points: list[Floats] = []

    def push(
        self, slots: NDArray[np.int32], frames: Any, points: Floats, intensity: Any = None
    ) -> NDArray[np.float32]:
        self.points.append(points.copy())
        return self.read(slots, slots)

    def read(self, slots: NDArray[np.int32], ages: Any) -> NDArray[np.float32]:
        return np.tile(np.array([0.1, 0.7, 0.1, 0.1, 0.99], np.float32), (len(slots), 1))

    def clear(self, slots: NDArray[np.int32]) -> None:
        pass


def walkers(
    n: int, frames: int, step: float, drift: tuple[float, float] = (0, 0), seed: int = 1
) -> Floats:
    """Positions (frames, n, 2) y, x, pixels."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(0, step, (frames, n, 2)) + drift
    start: Floats = rng.uniform(0, SIDE, (n, 2))
    return start + np.cumsum(steps, axis=0)


def analyzed(
    places: Floats, known: Known = FAST, *, sigma: float = 1.3, **settings: Any
) -> tuple[list[Update], Told]:
    """Analyze known positions, (frames, n, 2); the last update is that of the end."""
    told = Told()

    def localize(image: NDArray[Any]) -> NDArray[np.void]:
        here = places[int(image[0, 0])]
        spots = np.zeros(len(here), SPOT)
        spots["y"], spots["x"] = here.T
        spots["dz"] = spots["dy"] = spots["dx"] = 0.05
        spots["sigma"], spots["intensity"] = sigma, 100
        return spots

    analyzer = Analyzer(localize, lambda: told, Settings(lag=20, **settings), known)
    updates = []
    for t in range(len(places)):
        image = np.full((SIDE, SIDE), t, np.uint16)
        updates.append(analyzer(Frame(t, t, 0, 0, 0.05 * t, image, 1)))
    last = analyzer.finish()
    assert last is not None
    return [*updates, last], told


def notices(updates: list[Update]) -> dict[str, str]:
    """Texts by kind; each kind was given once."""
    found = [notice for update in updates for notice in update.notices]
    assert len(dict(found)) == len(found)
    return dict(found)


def test_an_ordinary_sample_is_not_commented_on() -> None:
    assert notices(analyzed(walkers(40, 200, 0.8))[0]) == {}


BLINKS = np.random.default_rng(2).uniform(0, SIDE, (80, 30, 2))
CASES = {
    "nothing": ("nothing", np.zeros((60, 0, 2)), {}, "no particles were found in 50 frames"),
    "blinking": ("short", BLINKS, {}, "30.0 spots a frame, half of them in tracks of at most 1"),
    "too fast": ("range", walkers(30, 60, 2.8), {}, "more than half of the search range of 5 px"),
    "crowded": ("range", walkers(300, 60, 0.1), {}, "--search-range 1 is enough"),
    "wide": ("width", walkers(30, 60, 0.8), {"sigma": 3.1}, "are 3.1 px wide (sigma); fast was"),
    "shapeless": ("width", walkers(30, 60, 0.8), {"sigma": np.nan}, "hardly any of these has such"),
    "pixel size": (
        "units",
        walkers(30, 60, 0.8),
        {"known": FAST._replace(pixel_size_um=100.0)},
        "a pixel of 100 um, where microscopes have 0.01 to 5: state it with --pixel-size-um",
    ),
    "interval": (
        "units",
        walkers(30, 60, 0.8),
        {"known": FAST._replace(frame_interval_s=1e-5)},
        "1e-05 s from frame to frame",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_seen_is_told_once_with_what_to_do(name: str) -> None:
    kind, places, how, text = CASES[name]
    updates, _ = analyzed(places, **how)
    found = notices(updates)
    assert set(found) == {kind} and text in found[kind]
    given = next(update.number for update in updates if update.notices)
    assert given == {"units": 0, "short": 19}.get(kind, 49), "the first frames are enough"


def test_a_short_run_is_judged_at_its_end() -> None:
    updates, _ = analyzed(walkers(30, 30, 0.8), sigma=3.1)
    assert [len(update.notices) for update in updates] == [0] * 30 + [1]


def test_without_a_card_widths_are_not_judged() -> None:
    assert notices(analyzed(walkers(30, 60, 0.8), Known(), sigma=9.0)[0]) == {}


def test_few_false_spots_among_many_long_tracks_are_no_short_tracks() -> None:
    places = walkers(5, 200, 0.8)
    false = np.random.default_rng(4).uniform(0, SIDE, (200, 3, 2))
    assert notices(analyzed(np.concatenate([places, false], axis=1))[0]) == {}


# ------------------------------------------------------------------------------------------ drift


@pytest.mark.parametrize("drift", [(0.3, 0.0), (-0.2, 0.25), (0.0, -0.15)])
def test_a_drift_is_measured_told_and_stored(drift: tuple[float, float]) -> None:
    updates, _ = analyzed(walkers(60, 200, 0.5, drift))
    text = notices(updates)["drift"]
    assert f"by {np.hypot(*drift):.1f}" in text and "--drift correct takes it off" in text
    offset = np.array([update.drift for update in updates[:-1]])
    rate = (offset[199] - offset[100]) / 99
    np.testing.assert_allclose(rate, drift, atol=0.02)


@pytest.mark.parametrize("seed", range(8))
def test_without_drift_none_is_told(seed: int) -> None:
    """Half of the tracks are driven, each in a direction of its own."""
    angle = np.random.default_rng(seed).uniform(0, 2 * np.pi, 12)
    driven = np.arange(150)[:, None, None] * 0.6 * np.stack([np.sin(angle), np.cos(angle)], axis=1)
    places = walkers(24, 150, 0.5, seed=seed)
    places[:, :12] += driven
    updates, _ = analyzed(places)
    assert "drift" not in notices(updates)


def test_drift_is_taken_off_what_motion_is_read_from_and_off_nothing_else() -> None:
    places = walkers(60, 200, 0.5, (0.3, 0.0))
    plain, reported = analyzed(places)
    corrected, told = analyzed(places, drift="correct")
    off, _ = analyzed(places, drift="off")
    for one, two, three in zip(plain, corrected, off, strict=True):
        assert one.spots.tobytes() == two.spots.tobytes() == three.spots.tobytes()
        assert one.events.tobytes() == two.events.tobytes() == three.events.tobytes()
        assert one.states.tobytes() == three.states.tobytes(), "a report changes nothing"
        assert three.drift is None and one.drift == two.drift
    for update, raw, read in zip(plain, reported.points, told.points, strict=False):
        assert update.drift is not None
        np.testing.assert_allclose(raw[:, 1:] - read[:, 1:], [update.drift] * len(raw), atol=1e-12)
    step = np.median(told.points[199] - told.points[120], axis=0) / 79
    assert abs(step[1]) < 0.03


def test_links_that_are_corrected_are_read_again_without_drift() -> None:
    """With hindsight, points are read anew: each with the drift that was taken off it before."""
    rng = np.random.default_rng(5)
    places = walkers(250, 120, 1.5, (0.4, 0.0)) % 150  # crowded enough to be relinked
    places += rng.normal(0, 0.05, places.shape)
    updates, told = analyzed(places, drift="correct", motion="brownian", refine=3)
    kinds = np.concatenate([update.events["kind"] for update in updates])
    assert (kinds == KINDS.index("relinked")).any()
    offsets = {update.t: np.array(update.drift) for update in updates[:-1]}
    raw = {tuple(p) for t, places_t in enumerate(places) for p in
           np.float32(places_t).astype(float) - offsets[t]}  # fmt: skip
    seen = [tuple(p) for points in told.points for p in points[:, 1:]]
    rounded = {tuple(np.round(p, 6)) for p in raw}
    assert all(tuple(np.round(p, 6)) in rounded for p in seen)
    assert len(seen) > 250 * 120, "some points were read more than once"


def test_a_skipped_frame_does_not_hide_a_drift() -> None:
    drift = Drift()
    rng = np.random.default_rng(3)
    for t in range(0, 200, 2):  # velocities are by frame, whatever was skipped
        drift.add(t, rng.normal((0.3, 0), 0.3, (50, 2)))
        drift.is_sure = True
    np.testing.assert_allclose(drift.rate, (0.3, 0), atol=0.02)
    assert drift.offset[0] == pytest.approx(0.3 * 198, abs=3)


# --------------------------------------------------------------------------------- unlike training


LEARNED = (LearnedRange("step_um", 0.01, 1.0), LearnedRange("turn", -0.6, 0.6))


def test_tracks_unlike_the_training_get_no_name_and_uncoat_not() -> None:
    places = walkers(40, 150, 0.8)
    like, _ = analyzed(places, FAST._replace(learned=LEARNED, segmenter="segmenter"))
    unlike, _ = analyzed(
        places, FAST._replace(learned=LEARNED, segmenter="segmenter", pixel_size_um=3.0)
    )
    assert "unlike" not in notices(like)
    text = notices(unlike)["unlike"]
    assert "unlike those that segmenter learned from (root mean square step" in text
    assert "learned 0.01 to 1)" in text
    after = [update for update in unlike if update.t > 100]
    states = np.concatenate([update.states for update in after])
    assert (states["state"] == ABSTAIN).all()
    same = np.concatenate([update.states for update in like if update.t > 100])
    for name in (*PROBABILITIES, "p_uncoated"):
        np.testing.assert_array_equal(states[name], same[name])
    uncoating = KINDS.index("uncoating")
    assert sum((update.events["kind"] == uncoating).sum() for update in like) > 30
    assert not any((update.events["kind"] == uncoating).any() for update in after)


def test_a_decision_depends_on_the_frames_so_far_alone() -> None:
    places = walkers(40, 150, 0.8)
    known = FAST._replace(learned=LEARNED, pixel_size_um=3.0)
    whole, part = analyzed(places, known)[0], analyzed(places[:90], known)[0]
    for one, two in zip(whole[:90], part[:90], strict=True):
        assert one.states.tobytes() == two.states.tobytes() and one.notices == two.notices


# ---------------------------------------------------------------------------------- what it counts


def test_a_histogram_knows_its_median_to_two_percent() -> None:
    values = np.random.default_rng(1).lognormal(0, 1, 5000)
    counts = Histogram()
    for part in np.split(values, 50):
        counts.add(np.append(part, np.nan))
    assert len(counts) == 5000
    assert counts.median() == pytest.approx(float(np.median(values)), rel=0.03)
    assert np.isnan(Histogram().median())


def test_a_lifetime_is_that_of_points_not_of_tracks() -> None:
    survey = Survey()
    survey.add_ended(np.array([1] * 50 + [100] * 2))
    assert survey.lifetime(np.zeros(4, np.int64)) == 100
    assert survey.lifetime(np.array([1] * 200)) == 1
    assert np.isnan(Survey().lifetime(np.zeros(0, np.int64)))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.5])
def test_the_noise_of_neighbours_is_measured_beside_spots(share: float) -> None:
    """A filter (1, a) along y has the correlation a / (1 + a^2)."""
    rng = np.random.default_rng(5)
    a = (1 - np.sqrt(1 - 4 * share**2)) / (2 * share) if share else 0.0
    y, x = np.mgrid[:200, :200]
    noise = SharedNoise()
    for _ in range(25):
        white = rng.normal(0, 10, (201, 200))
        image = 300 + 0.4 * x + (white[1:] + a * white[:-1]) / np.sqrt(1 + a * a)
        for at in rng.uniform(5, 195, (60, 2)):
            image += 120 * np.exp(-((y - at[0]) ** 2 + (x - at[1]) ** 2) / (2 * 1.3**2))
        noise.add(image.astype(np.uint16))
    assert noise.correlation == pytest.approx(share, abs=0.05)
    assert bool(list(advice.of_noise(noise.correlation))) == (share > 0.2)


def test_an_image_without_noise_has_no_correlation() -> None:
    noise = SharedNoise()
    noise.add(np.full((40, 40), 7, np.uint8))
    assert np.isnan(noise.correlation) and not list(advice.of_noise(noise.correlation))
