"""Motion models of the linker: what they foresee, what they bridge, what they store."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings as examples, strategies as st
from numpy.typing import NDArray

from livespt.models.simulate.crowds import scene, steps
from livespt.stream.errors import SettingError
from livespt.stream.link.linker import Linker
from livespt.stream.link.offline import link_points
from livespt.stream.settings import MOTION_MODELS
from livespt.tools.score.tracks import TrackPoints, mistakes, score, without_short

Points = NDArray[np.float64]
MOVING = MOTION_MODELS[1:]


@pytest.mark.parametrize("motion", MOTION_MODELS)
@pytest.mark.parametrize("ndim", [2, 3])
@given(seed=st.integers(0, 2**31), cut=st.integers(0, 12))
@examples(max_examples=15, deadline=None)
def test_restored_is_never_stopped(motion: str, ndim: int, seed: int, cut: int) -> None:
    rng = np.random.default_rng(seed)
    through = Linker(4.0, 2, ndim, 5, 2, motion=motion, intensity_weight=0.5)
    stopped = Linker.restore(through.snapshot())
    points, frame, time_s = rng.uniform(0, 40, (rng.integers(0, 30), ndim)), 0, 0.0
    for index in range(14):
        if index == cut:
            stopped = Linker.restore(stopped.snapshot())
        frame, time_s = frame + int(rng.integers(1, 3)), time_s + rng.uniform(0.02, 0.06)
        seen = points[rng.random(len(points)) < 0.9]
        given_too = {
            "time_s": time_s if index % 5 else None,
            "precision": rng.uniform(0.1, 0.3, seen.shape),
            "intensity": rng.uniform(50, 100, len(seen)),
        }
        one = through.link(frame, seen, **given_too)
        two = stopped.link(frame, seen, **given_too)
        for a, b in zip(one, two, strict=True):
            np.testing.assert_array_equal(a, b)
        assert through.snapshot() == stopped.snapshot()
        points = points + rng.normal(0, 1, points.shape)
    assert (stopped.motion, stopped.intensity_weight) == (motion, 0.5)


def test_goes_on_in_another_process() -> None:
    code = (
        "import sys\n"
        "import numpy as np\n"
        "from livespt.stream.link.linker import Linker\n"
        "data = sys.stdin.buffer.read()\n"
        "linker = Linker.restore(data) if data else Linker(4.0, 2, motion='auto')\n"
        "for frame in range(*map(int, sys.argv[1:])):\n"
        "    rng = np.random.default_rng(frame)\n"
        "    points = np.mgrid[:10, :10].reshape(2, -1).T * 6.0 + frame\n"
        "    points = points + rng.normal(0, 1, (100, 2))\n"
        "    linker.link(frame, points[rng.random(100) < 0.9], time_s=0.1 * frame)\n"
        "sys.stdout.buffer.write(linker.snapshot())\n"
    )

    def run(data: bytes, first: int, end: int) -> bytes:
        command = [sys.executable, "-c", code, str(first), str(end)]
        return subprocess.run(command, input=data, capture_output=True, check=True).stdout

    assert run(run(b"", 0, 9), 9, 20) == run(b"", 0, 20)


def straight(n: int, frames: int, speed: float, seed: int) -> list[Points]:
    rng = np.random.default_rng(seed)
    at, angle = rng.uniform(0, 150, (n, 2)), rng.uniform(0, 2 * np.pi, n)
    step = speed * np.stack([np.sin(angle), np.cos(angle)], 1)
    return [at + step * k + rng.normal(0, 0.2, at.shape) for k in range(frames)]


@pytest.mark.parametrize("motion", ["velocity", "auto"])
def test_particles_that_cross_keep_their_names(motion: str) -> None:
    movie = straight(60, 30, 3.0, 1)
    wrong = {}
    for name in (motion, "none"):
        linker = Linker(5.0, motion=name)
        ids = np.array([linker.link(frame, points).track for frame, points in enumerate(movie)])
        wrong[name] = int((np.diff(ids, axis=0) != 0).sum())
    assert wrong[motion] < 0.35 * wrong["none"]


@pytest.mark.parametrize("motion", MOVING)
def test_a_slow_track_does_not_take_a_far_point(motion: str) -> None:
    rng = np.random.default_rng(2)
    linker = Linker(10.0, memory=2, motion=motion)
    at = np.mgrid[:5, :5].reshape(2, -1).T * 30.0
    for frame in range(30):
        track = linker.link(frame, at + rng.normal(0, 0.2, at.shape)).track
    moved = at + rng.normal(0, 0.2, at.shape)
    moved[0] += 8
    linked = linker.link(30, moved)
    assert linked.track[1:].tolist() == track[1:].tolist()
    assert linked.born.tolist() == [linked.track[0]]


@pytest.mark.parametrize("clock", ["frames", "seconds"])
def test_a_longer_wait_widens_the_gate(clock: str) -> None:
    """Steps of 1 px a frame; after a pause of 16 frames they lie 4 px away, say 6."""
    for pause, linked in ((1, False), (16, True)):
        rng = np.random.default_rng(3)
        linker = Linker(8.0, memory=20, motion="brownian")
        at, frame, time_s = np.mgrid[:6, :6].reshape(2, -1).T * 60.0, 0, 0.0
        for _ in range(40):
            first = linker.link(frame, at, time_s=time_s if clock == "seconds" else None).track
            at, frame, time_s = at + rng.normal(0, 1, at.shape), frame + 1, time_s + 0.05
        at[0] += 7.0
        if clock == "frames":
            frame, later = frame + pause - 1, None
        else:
            later = time_s + 0.05 * (pause - 1)
        track = linker.link(frame, at, time_s=later).track
        assert track[1:].tolist() == first[1:].tolist()
        assert (track[0] == first[0]) == linked


def test_intensity_tells_neighbours_apart() -> None:
    rng = np.random.default_rng(4)
    right = {}
    for weight in (0.0, 1.0):
        linker, names = Linker(5.0, motion="brownian", intensity_weight=weight), []
        at, bright = rng.uniform(0, 60, (80, 2)), np.exp(rng.normal(5, 1, 80))
        for frame in range(30):
            seen = bright * np.exp(rng.normal(0, 0.1, 80))
            names.append(linker.link(frame, at, intensity=seen).track)
            at = np.clip(at + rng.normal(0, 1, at.shape), 0, 60)
        right[weight] = float((np.diff(names, axis=0) == 0).mean())
    assert right[1.0] > 0.5 * (1 + right[0.0])


@pytest.mark.parametrize("motion", MOVING)
@pytest.mark.parametrize("side", [0.0, 1.0])
def test_particles_in_a_heap_go_on(motion: str, side: float) -> None:
    rng = np.random.default_rng(5)
    linker, at = Linker(4.0, memory=1, motion=motion), rng.uniform(0, 1, (500, 2)) * side
    linker.link(0, at)
    for frame in (1, 2, 3):
        assert not len(linker.link(frame, at).born)


@pytest.mark.parametrize("motion", MOVING)
def test_what_never_changes_is_linked_for_ever(motion: str) -> None:
    """Averages of zeros fade: after 15 000 frames they would be no numbers any more."""
    linker, at = Linker(4.0, memory=1, motion=motion), np.mgrid[:2, :2].reshape(2, -1).T * 20.0
    for frame in range(16_000):
        linker.link(frame, at)
    assert linker.next_id == 4
    assert not len(linker.link(16_000, at + 0.1).born)


@pytest.mark.parametrize("motion", MOVING)
def test_a_moved_stage_costs_one_name_each(motion: str) -> None:
    rng = np.random.default_rng(6)
    linker, at = Linker(4.0, memory=1, motion=motion), rng.uniform(0, 200, (100, 2))
    for frame in range(200):
        at = at + 30.0 * (frame == 150) + rng.normal(0, 0.5, at.shape)
        linker.link(frame, at)
    assert 150 < linker.next_id < 250


@pytest.mark.parametrize("motion", MOVING)
def test_odd_input_goes_through(motion: str) -> None:
    linker = Linker(3.0, memory=1, motion=motion)
    one = np.array([[1.0, 1.0]])
    for frame, points in enumerate([np.empty((0, 2)), one, one, *[np.zeros((300, 2))] * 4, one]):
        linker.link(frame, points, precision=np.full(points.shape, np.nan))
    for frame in range(100, 2000):
        linker.link(frame, np.empty((0, 2)), time_s=0.0)  # a clock that stands still
    far = np.array([[1e99, -1e99], [5.0, 5.0]])
    assert linker.link(10**9, far).track.tolist() == linker.link(10**9 + 1, far).track.tolist()
    Linker.restore(linker.snapshot()).link(10**12, far, time_s=-5.0, intensity=[0, -1])


@pytest.mark.parametrize(
    "bad", [{"motion": "straight"}, {"intensity_weight": -1.0}, {"intensity_weight": np.nan}]
)
def test_bad_settings_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(SettingError):
        Linker(3.0, **bad)


@pytest.mark.parametrize("scenario", ["vesicles", "receptors", "viruses", "microtubules"])
def test_better_than_no_model(scenario: str) -> None:
    movie = scene(scenario, 300, 77, missed=0.1, false=0.1, frames=30)
    reach = 1.25 * float(np.quantile(np.linalg.norm(steps(movie), axis=1), 0.999))
    true = TrackPoints(movie.true_frame, movie.true_point, movie.true_particle)
    found, switches = {}, {}
    for motion in ("none", "auto"):
        track = without_short(link_points(movie.frame, movie.point, reach, 2, motion=motion))
        found[motion] = score(true, TrackPoints(movie.frame, movie.point, track)).jsc_theta
        switches[motion] = mistakes(movie.frame, movie.particle, track).switches
    assert found["auto"] > found["none"] + 0.03
    assert switches["auto"] < switches["none"]
