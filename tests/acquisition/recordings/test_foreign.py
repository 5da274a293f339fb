"""Recordings of other makers: what their metadata say, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from foreign_files import frame_of_film, png, write_czi, write_film
from livespt.acquisition.recordings.movie import Stated
from livespt.acquisition.recordings.open_movie import open_movie
from livespt.stream.errors import InputError
from nd2_files import write_nd2

IMAGES = np.random.default_rng(1).integers(0, 250, (6, 16, 21)).astype(np.uint16)
WIDE = np.random.default_rng(1).integers(0, 250, (6, 2, 3, 2, 16, 21)).astype(np.uint16)


def test_the_package_nd2_reads_what_the_tests_write(tmp_path: Path) -> None:
    """The judge of the files by which the reader is tested."""
    nd2 = pytest.importorskip("nd2", reason="reading ND2 needs the package nd2")
    path = write_nd2(
        tmp_path / "a.nd2", WIDE, "tpzcyx", times_ms=50.0 * np.arange(36), pixel_size_um=0.107,
        z_step_um=0.3, exposure_ms=30.0, positions=("A1", "B2"), channels=("red", "green"),
    )  # fmt: skip
    with nd2.ND2File(path) as file:
        assert dict(file.sizes) == {"T": 6, "P": 2, "Z": 3, "C": 2, "Y": 16, "X": 21}
        assert np.array_equal(file.asarray(), WIDE)
        assert file.voxel_size() == (0.107, 0.107, 0.3)
        (red, green) = file.frame_metadata(7).channels
        assert (red.channel.name, green.channel.name) == ("red", "green")
        assert red.time.relativeTimeMs == 350.0
        assert file.events(orient="list")["Exposure Time [ms]"][7] == 30.0


def test_lanes_of_an_nd2_file_have_names_and_times_of_their_own(tmp_path: Path) -> None:
    pytest.importorskip("nd2", reason="reading ND2 needs the package nd2")
    path = write_nd2(
        tmp_path / "b.tif", WIDE, "tpzcyx", times_ms=5.0 * np.arange(36), period_ms=1.0,
        positions=("A1", "B2"), channels=("red", "green"),
    )  # fmt: skip
    movie = open_movie(path)  # whatever it is called
    assert movie.positions == ("A1", "B2") and movie.channels == ("red", "green")
    assert (movie.axes, movie.pixel_size_um, movie.exposure_s) == ("zyx", None, None)
    assert movie.frame_interval_s == pytest.approx(0.03)
    assert movie.origins["frame_interval_s"] == "the recorded time of each frame"
    assert "planned period states 1 ms" in movie.notices[0] and "30 ms is taken" in movie.notices[0]
    for frame in movie:
        image = WIDE[frame.t, frame.position, :, frame.channel]
        assert np.array_equal(frame.image, image)
        assert frame.time_s == pytest.approx(0.03 * frame.t + 0.015 * frame.position)
    assert len(open_movie(path, Stated(channel="green"))) == 12


ND2: dict[str, tuple[dict[str, Any], tuple[float | None, float | None, float | None]]] = {
    "times": ({"times_ms": [0, 50, 100, 150, 9000, 9050]}, (None, 0.05, None)),
    "a planned period": ({"period_ms": 50.0}, (None, 0.05, None)),
    "no period": ({}, (None, None, None)),
    "a calibration": ({"pixel_size_um": 0.1}, (0.1, None, None)),
    "settings of a camera": ({"facts": "Exposure: 20 ms\r\nGain: 1"}, (None, None, 0.02)),
    "settings that differ": ({"facts": "Exposure: 20 ms\r\nExposure: 3 ms"}, (None, None, None)),
    "a trigger": ({"facts": "Exposure: Triggered"}, (None, None, None)),
}


@pytest.mark.parametrize("case", ND2)
def test_what_an_nd2_file_does_not_tell_is_unknown(case: str, tmp_path: Path) -> None:
    pytest.importorskip("nd2", reason="reading ND2 needs the package nd2")
    options, values = ND2[case]
    movie = open_movie(write_nd2(tmp_path / "a.nd2", IMAGES, "tyx", **options))
    told = movie.pixel_size_um, movie.frame_interval_s, movie.exposure_s
    assert told == pytest.approx(values)
    assert any("pause" in notice for notice in movie.notices) == (case == "times")


def test_an_nd2_file_that_stopped_early_or_is_in_colour(tmp_path: Path) -> None:
    pytest.importorskip("nd2", reason="reading ND2 needs the package nd2")
    path = write_nd2(tmp_path / "a.nd2", IMAGES, "tyx", missing=(4, 5))
    movie = open_movie(path)
    assert len(movie) == 4 and "4 of 6 time points are there" in movie.notices[0]
    assert np.array_equal(movie.frame(3).image, IMAGES[3])
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="truncated, its map of images is missing"):
        open_movie(path)
    three = np.repeat(IMAGES[:, None], 3, axis=1)
    with pytest.raises(InputError, match="in colour"):
        open_movie(write_nd2(path, three, "tcyx", channels=("light",)))


def test_scenes_of_a_czi_file_are_positions(tmp_path: Path) -> None:
    pytest.importorskip("bioio_czi", reason="reading CZI needs bioio and bioio-czi")
    pixels = IMAGES[:, None, None]
    movie = open_movie(write_czi(tmp_path / "a.czi", pixels, 2).rename(tmp_path / "b.dat"))
    assert movie.counts() == {"time points": 6, "positions": 2}
    assert movie.positions == ("A1", "A2") and movie.frame_interval_s is None
    assert len(movie) == 11 and "have 5, 6 time points" in movie.notices[0]
    for frame in movie:
        assert np.array_equal(frame.image, IMAGES[frame.t] + frame.position)


def test_planes_of_a_czi_file_have_times(tmp_path: Path) -> None:
    """A frame has that of its first plane; a pause is no part of the interval."""
    pytest.importorskip("bioio_czi", reason="reading CZI needs bioio and bioio-czi")
    points = np.array([0, 0.05, 0.1, 0.15, 9, 9.05])
    movie = open_movie(
        write_czi(tmp_path / "a.czi", WIDE[:, 0, :, :].swapaxes(1, 2), 1, points.tolist())
    )
    assert [frame.time_s for frame in movie] == pytest.approx(np.repeat(points, 2), abs=1e-5)
    assert movie.frame_interval_s == pytest.approx(0.05, abs=1e-5)
    assert "a pause of 8.85 s before time point 4" in movie.notices[0]


FOREIGN = {
    "a Leica LIF file": (b"p\0\0\0\x10\0\0\0*" + bytes(90), "bioio-lif"),
    "an Olympus OIR file": (b"OLYMPUSRAWFORMAT" + bytes(90), "bioio-bioformats"),
    "a DeltaVision file": (bytes(96) + b"\xa0\xc0", "bioio-dv"),
    "an ND2 file before": (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(90), "bioio-nd2"),
    "a cellSens VSI file": (b"II*\0" + bytes(90), "bioio-bioformats"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_format_of_another_maker_names_what_reads_it(name: str, tmp_path: Path) -> None:
    content, plugin = FOREIGN[name]
    path = tmp_path / ("a.vsi" if "VSI" in name else "a.dat")
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"{name}.*{plugin}") as caught:
        open_movie(path)
    assert "\n" not in str(caught.value)


def test_a_damaged_czi_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.czi").write_bytes(b"ZISRAWFILE" + bytes(600))
    with pytest.raises(InputError, match="a Zeiss CZI file") as caught:
        open_movie(tmp_path / "a.czi")
    assert "bioio-czi" in str(caught.value) and "\n" not in str(caught.value)


def folder(path: Path, *images: bytes) -> Path:
    for number, image in enumerate(images):
        (path / f"a{number}.png").write_bytes(image)
    return path


def test_png_images_in_colour_or_of_another_shape_are_refused(tmp_path: Path) -> None:
    colored = png(IMAGES[1].astype("u1"), color=2)
    with pytest.raises(InputError, match=r"a1\.png is in colour"):
        list(open_movie(folder(tmp_path, png(IMAGES[0]), colored)))
    other = png(IMAGES[1, :8])
    with pytest.raises(InputError, match=r"frame 1 of .* but the first is"):
        list(open_movie(folder(tmp_path, png(IMAGES[0]), other)))


def test_a_film_that_cannot_be_decoded_whole_gives_no_made_up_images(tmp_path: Path) -> None:
    path, seen = tmp_path / "a.avi", list[NDArray[Any]]()
    write_film(path, IMAGES, "ffv1", "-level", "3")  # with a checksum for each frame
    data = bytearray(path.read_bytes())
    begin = frame_of_film(data, 3)
    data[begin + 8 : begin + 40] = bytes(32)
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"is damaged: .*CRC"):
        seen.extend(frame.image for frame in open_movie(path))
    assert all(np.array_equal(image, IMAGES[t]) for t, image in enumerate(seen)) and len(seen) < 4
