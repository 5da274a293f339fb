"""Simulate: movies of virus entry that agree with their truth, in any order of frames."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from livespt.acquisition.simulated import Scenario, SimulatedMovie, virus_entry
from livespt.models.optics.spots import photons_for_snr
from livespt.stream.errors import SettingError

SMALL = Scenario(
    seed=3, n_frames=240, shape=(128, 160), viruses=12, uncoating=9, visitors=8, spacing_px=15
)


@pytest.fixture(scope="module")
def movie() -> SimulatedMovie:
    return virus_entry(SMALL)


@pytest.fixture(scope="module")
def default() -> SimulatedMovie:
    return virus_entry(Scenario())


def test_frames_are_the_same_in_any_order(movie: SimulatedMovie) -> None:
    again = virus_entry(SMALL)
    for frame in again:
        if frame.number in (0, 7, 8, 200):
            np.testing.assert_array_equal(frame.image, movie.frame(frame.number))
    np.testing.assert_array_equal(again.truth, movie.truth)
    assert not np.array_equal(movie.frame(7), movie.frame(8))
    assert not np.array_equal(virus_entry(replace(SMALL, seed=4)).frame(7), movie.frame(7))


def test_a_frame_that_does_not_exist_is_refused(movie: SimulatedMovie) -> None:
    assert len(movie) == 240 and movie.frame(0).shape == movie.shape == (128, 160)
    for number in (-1, 240):
        with pytest.raises(IndexError, match="240 frames"):
            movie.frame(number)


def test_the_image_shows_the_truth(movie: SimulatedMovie) -> None:
    """The mean of the light at the true places is that of spots on the background."""
    far = near = n = 0.0
    for i in range(0, 240, 8):
        light = movie.frame(i) - 100.0 - movie.background
        for row in movie.truth[movie.truth["frame"] == i]:
            y, x = round(row["y"]), round(row["x"])
            if row["visible"] and 8 < y < 119 and 8 < x < 151:
                near += light[y - 4 : y + 5, x - 4 : x + 5].sum() / row["photons"]
                n += 1
            if not row["visible"]:
                far += abs(light[y - 1 : y + 2, x - 1 : x + 2].mean())
    assert near / n == pytest.approx(1, abs=0.05)
    assert far / n < 5


def test_truth_is_in_order_and_on_the_image(movie: SimulatedMovie) -> None:
    truth = movie.truth
    key = truth["frame"] * 1000 + truth["particle"]
    assert np.all(np.diff(key) > 0)
    assert truth["y"].min() >= -0.5 and truth["y"].max() < 127.5
    assert truth["x"].min() >= -0.5 and truth["x"].max() < 159.5
    assert np.all((truth["photons"] > 0) == (truth["visible"] == 1))
    low, high = photons_for_snr([8, 12], 100, 1.3)
    on = truth["photons"][truth["visible"] == 1]
    assert low <= on.min() and on.max() <= high


def test_the_default_movie_is_the_one_promised(default: SimulatedMovie) -> None:
    truth, scenario = default.truth, default.scenario
    assert (len(default), default.shape) == (1000, (336, 336))
    assert (default.pixel_size_um, default.frame_interval_s) == (0.1, 0.05)
    events = default.uncoatings
    assert len(events) == len(set(events["particle"])) == 64
    viruses = np.unique(truth["particle"][truth["particle"] < 84])
    assert len(viruses) == 84
    for event in events:
        mine = truth[truth["particle"] == event["particle"]]
        at = int(np.flatnonzero(mine["frame"] == event["frame"])[0])
        assert at >= 60 and len(mine) - at >= 60
        assert not mine["uncoated"][:at].any() and mine["uncoated"][at:].all()
        assert (event["y"], event["x"]) == (mine["y"][at], mine["x"][at])
        assert mine["y"].min() >= 8 and mine["x"].max() <= 327  # viruses stay in the field
    thirds = np.histogram(events["frame"], [0, 400, 600, 1000])[0]
    assert thirds.min() >= 2  # spread over the movie
    assert 0.01 < 1 - truth["visible"].mean() < 0.03
    assert np.bincount(truth["state"], minlength=4).min() > 0.1 * len(truth)
    assert scenario.entry.release[0] > 2


def test_particles_can_be_linked(default: SimulatedMovie) -> None:
    """Steps stay far below 5 pixels, gaps at two frames, and particles mostly apart."""
    truth = default.truth
    close = 0
    for i in range(0, 1000, 20):
        here = truth[truth["frame"] == i]
        apart = np.hypot(*(np.subtract.outer(here[k], here[k]) for k in "yx"))
        close += int(np.sum(apart + 99 * np.eye(len(here)) < 6))
    assert close / np.sum(truth["frame"] % 20 == 0) < 0.02
    for particle in np.unique(truth["particle"]):
        mine = truth[truth["particle"] == particle]
        together = np.diff(mine["frame"]) == 1
        step = np.hypot(np.diff(mine["y"]), np.diff(mine["x"]))[together]
        assert step.max(initial=0) < 4
        on = np.flatnonzero(mine["visible"][:-1])
        assert np.diff(on).max(initial=1) <= 3  # off for two frames at most


def test_visitors_come_and_go(default: SimulatedMovie) -> None:
    truth = default.truth
    guests = [truth[truth["particle"] == i] for i in range(84, 112)]
    guests = [mine for mine in guests if len(mine)]
    assert len(guests) >= 18
    assert all(len(mine) < 1000 and not mine["uncoated"].any() for mine in guests)
    edge = [min(mine["y"][0], mine["x"][0], 335 - mine["y"][0], 335 - mine["x"][0]) < 4
            for mine in guests]  # fmt: skip
    assert 4 <= sum(edge) <= 18  # half of 28, those that are seen, entered at the border


def test_steps_grow_when_viruses_uncoat(default: SimulatedMovie) -> None:
    truth = default.truth
    faster = []
    for event in default.uncoatings:
        mine = truth[truth["particle"] == event["particle"]]
        at = int(np.flatnonzero(mine["frame"] == event["frame"])[0])
        place = np.stack([mine["y"], mine["x"]], 1)
        step = np.sum(np.diff(place, axis=0) ** 2, 1)
        faster.append(np.median(step[at : at + 60]) / np.median(step[at - 60 : at - 1]))
    assert np.median(faster) > 3 and min(faster) > 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"uncoating": 20}, "cannot uncoat"),
        ({"n_frames": 5}, "20 or more"),
        ({"shape": (16, 200)}, "too small"),
        ({"seed": -1}, "negative"),
        ({"spacing_px": 200.0}, "no room for virus"),
    ],
)
def test_what_cannot_be_simulated_is_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(SettingError, match=words):
        virus_entry(replace(SMALL, **change))  # type: ignore[arg-type]


def test_a_movie_without_particles_is_background() -> None:
    movie = virus_entry(Scenario(n_frames=20, viruses=0, uncoating=0, visitors=0))
    assert len(movie.truth) == len(movie.uncoatings) == 0
    image = movie.frame(19)
    assert abs(image.mean() - 200) < 1
    assert np.abs(image - 100.0 - movie.background).max() < 80
