"""Other linkers are asked the same question: each finds the tracks of an easy scene."""

from __future__ import annotations

import numpy as np
import pytest

from livespt.models.simulate.crowds import scene
from livespt.stream.errors import MissingError
from livespt.stream.link.offline import link_points
from livespt.tools.evaluate import other_linkers
from livespt.tools.evaluate.other_linkers import available, by_trackpy, missing, versions
from livespt.tools.score.tracks import mistakes


@pytest.mark.filterwarnings("ignore")  # theirs
@pytest.mark.parametrize("name", ["trackpy", "laptrack", "btrack", "btrack_brownian"])
def test_an_easy_scene_is_linked(name: str) -> None:
    if name not in available():
        pytest.skip(str(missing(name.split("_")[0])))
    movie = scene("receptors", 12, 3, missed=0.03, false=0.03, frames=20)
    track = available()[name](movie.frame, movie.point, 9.0, 2)
    assert track.shape == movie.frame.shape
    wrong = mistakes(movie.frame, movie.particle, track)
    assert wrong.links > 180
    assert wrong.wrong < 0.03 * wrong.links
    for number in np.unique(track[track >= 0]):
        frames = movie.frame[track == number]
        assert len(np.unique(frames)) == len(frames)
        if not name.startswith("btrack"):  # whose optimizer bridges more than it was asked to
            assert np.diff(np.sort(frames)).max(initial=1) <= 3


def test_trackpys_links_are_ours_without_a_motion_model() -> None:
    movie = scene("vesicles", 60, 4, frames=15)
    mine = link_points(movie.frame, movie.point, 6.0, 2)
    theirs = by_trackpy(movie.frame, movie.point, 6.0, 2)
    assert renamed(mine) == renamed(theirs)


def renamed(track: np.ndarray) -> list[int]:
    """Row of the first point of each point's track: equal for equal links."""
    _, first, inverse = np.unique(track, return_index=True, return_inverse=True)
    return first[inverse].tolist()


def test_frames_without_points_count() -> None:
    frame = np.array([0, 2, 6])
    points = np.zeros((3, 2))
    track = by_trackpy(frame, points, 3.0, 1)
    assert track[0] == track[1] != track[2]


def test_what_is_not_installed_is_left_out_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(other_linkers, "find_spec", lambda name: None)
    assert available() == {}
    assert "pip install laptrack" in versions()["laptrack"]
    with pytest.raises(MissingError, match="pip install trackpy"):
        by_trackpy(np.array([0]), np.zeros((1, 2)), 3.0, 0)
