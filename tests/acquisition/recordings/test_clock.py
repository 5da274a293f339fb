"""The clock of a movie: times of its frames before what its header states."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tifffile

from livespt.acquisition.recordings.clock import MovieClock, StatedInterval, movie_clock, pauses
from livespt.acquisition.recordings.movie import Movie, Stated
from livespt.acquisition.recordings.open_movie import open_movie
from livespt.stream.types import CLOCKS

IMAGES = np.random.default_rng(1).integers(0, 200, (8, 16, 21)).astype(np.uint16)
OME = (
    '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
    '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16" SizeX="21" '
    'SizeY="16" SizeC="1" SizeZ="1" SizeT="8" {more}><Channel ID="Channel:0:0" '
    'SamplesPerPixel="1"/><TiffData/>{planes}</Pixels></Image></OME>'
)


def clock(
    times: Sequence[float] | None, stated: float | None = None, user: float | None = None
) -> MovieClock:
    n = 8 if times is None else len(times)
    t, lane = np.arange(n), np.zeros(n, np.int64)
    measured = None if times is None else np.array(times, np.float64)
    return movie_clock(t, lane, measured, "the planes", StatedInterval(stated, "the header"), user)


def ome_movie(folder: Path, deltas: Sequence[float], unit: str = "s", more: str = "") -> Movie:
    planes = "".join(
        f'<Plane TheT="{t}" TheC="0" TheZ="0" DeltaT="{delta}" DeltaTUnit="{unit}" '
        'ExposureTime="20" ExposureTimeUnit="ms"/>'
        for t, delta in enumerate(deltas)
    )
    xml = OME.format(more=more, planes=planes)
    tifffile.imwrite(folder / "a.ome.tif", IMAGES, description=xml, metadata=None)
    return open_movie(folder / "a.ome.tif")


def test_times_of_the_frames_come_before_the_header() -> None:
    found = clock([0.5 + 0.05 * i for i in range(8)], stated=0.01)
    assert found.interval_s == pytest.approx(0.05)
    assert found.time_s == pytest.approx(0.05 * np.arange(8))
    (notice,) = found.notices
    assert "10 ms" in notice and "50 ms is taken" in notice
    assert clock([0.05 * i for i in range(8)], stated=0.052).notices == ()  # within 10 %


def test_a_pause_or_a_lost_frame_does_not_change_the_interval() -> None:
    times = 0.05 * np.arange(8)
    times[5:] += 8.0
    found = clock([*times])
    assert found.interval_s == pytest.approx(0.05)
    assert found.notices == ("a pause of 8.05 s before time point 5",)
    assert found.time_s[-1] == pytest.approx(8.35)
    t = np.array([0, 1, 3, 4, 7, 8])  # two holes, whose steps count as several
    assert movie_clock(t, t * 0, t * 0.05, "x", StatedInterval()).interval_s == pytest.approx(0.05)
    assert pauses(t, t * 0, t * 0.05, 0.05) == []


def test_an_interval_that_the_user_states_rules_the_times() -> None:
    found = clock([0.05 * i for i in range(8)], stated=0.05, user=0.2)
    assert found.interval_s == 0.2 and found.time_s[-1] == pytest.approx(1.4)
    (notice,) = found.notices
    assert "50 ms" in notice and "200 ms is taken" in notice
    assert clock(None, user=0.2).time_s[-1] == pytest.approx(1.4)


def test_times_that_nobody_measured_are_none() -> None:
    assert clock([0.0] * 8, stated=0.05).interval_s == 0.05
    assert clock([0.0] * 8).interval_s is None and not clock([0.0] * 8).known
    backwards = clock([0.0, 0.05, 0.1, 0.02, 0.2, 0.25, 0.3, 0.35], stated=0.04)
    assert backwards.interval_s == 0.04 and "does not rise" in backwards.notices[0]
    assert clock(None).time_s.tolist() == [0.0] * 8


def test_a_frame_without_a_time_is_placed_between_its_neighbours_and_told() -> None:
    found = clock([0.0, 0.05, np.nan, 0.15, 0.2, 0.25, np.nan, np.nan])
    assert found.time_s == pytest.approx(0.05 * np.arange(8))
    assert found.notices[0].startswith("3 of 8 frames have no time of their own")


def test_lanes_have_times_of_their_own() -> None:
    """Two positions, taken in turns: the step is the one within a position."""
    t, lane = np.repeat(np.arange(4), 2), np.tile([0, 1], 4)
    found = movie_clock(t, lane, t * 1.0 + lane * 0.3, "x", StatedInterval())
    assert found.interval_s == pytest.approx(1.0)
    assert found.time_s.tolist() == pytest.approx([0, 0.3, 1, 1.3, 2, 2.3, 3, 3.3])


@pytest.mark.parametrize(("unit", "factor"), [("s", 1.0), ("ms", 1e3), ("min", 1 / 60)])
def test_planes_of_ome_tell_the_time_in_any_unit(unit: str, factor: float, tmp_path: Path) -> None:
    times = [0, 0.05, 0.1, 0.4, 0.45, 0.5, 0.55, 0.6]
    header = 'TimeIncrement="10" TimeIncrementUnit="ms"'
    movie = ome_movie(tmp_path, [time * factor for time in times], unit, header)
    assert [frame.time_s for frame in movie] == pytest.approx(times)
    assert movie.frame_interval_s == pytest.approx(0.05) and movie.exposure_s == pytest.approx(0.02)
    assert movie.origins["frame_interval_s"] == "DeltaT of the planes"
    assert any("10 ms" in notice for notice in movie.notices)


def test_the_speed_of_play_is_no_interval(tmp_path: Path) -> None:
    facts = {"axes": "TYX", "fps": 7.0}
    tifffile.imwrite(tmp_path / "a.tif", IMAGES, imagej=True, metadata=facts)
    movie = open_movie(tmp_path / "a.tif")
    assert movie.frame_interval_s is None and "fps = 7" in movie.notices[0]
    movie = open_movie(tmp_path / "a.tif", Stated(frame_interval_s=0.05))
    assert [frame.time_s for frame in movie] == pytest.approx(0.05 * np.arange(8))
    assert CLOCKS[movie.frame(0).clock] == "file"


def test_units_in_the_plural_and_unknown_ones(tmp_path: Path) -> None:
    facts = {"axes": "TYX", "unit": "micrometers", "tunit": "minutes", "finterval": 0.5}
    how = {"imagej": True, "resolution": (10.0, 10.0)}
    tifffile.imwrite(tmp_path / "a.tif", IMAGES, metadata=facts, **how)
    movie = open_movie(tmp_path / "a.tif")
    assert movie.pixel_size_um == pytest.approx(0.1)
    assert movie.frame_interval_s == pytest.approx(30.0)
    tifffile.imwrite(tmp_path / "b.tif", IMAGES, metadata=facts | {"unit": "furlong"}, **how)
    movie = open_movie(tmp_path / "b.tif")
    assert movie.pixel_size_um is None and "'furlong'" in movie.notices[0]
    inch = {"imagej": True, "resolution": (72.0, 72.0), "metadata": facts | {"unit": "inch"}}
    tifffile.imwrite(tmp_path / "c.tif", IMAGES, **inch)
    assert "352.8 um" in open_movie(tmp_path / "c.tif").notices[0]
    assert open_movie(tmp_path / "c.tif", Stated(pixel_size_um=0.1)).notices == ()
