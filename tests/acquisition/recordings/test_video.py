"""Films: what ffmpeg decodes, in any order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from foreign_files import write_film
from livespt.acquisition.recordings.movie import Stated
from livespt.acquisition.recordings.open_movie import open_movie
from livespt.stream.errors import InputError

IMAGES = np.random.default_rng(1).integers(0, 250, (12, 32, 48)).astype(np.uint8)


def test_a_film_without_loss_is_what_was_written(tmp_path: Path) -> None:
    movie = open_movie(write_film(tmp_path / "a.avi", IMAGES, "ffv1"))
    assert (movie.shape, movie.dtype, len(movie)) == ((32, 48), np.dtype("u1"), 12)
    for i in (*range(12), 3, 11, 0):  # in order, and back
        assert np.array_equal(movie.frame(i).image, IMAGES[i])
    assert movie.frame_interval_s is None
    assert movie.notices == (
        "25 frames per second are the speed at which a.avi plays, no interval",
    )
    movie = open_movie(tmp_path / "a.avi", Stated(frame_interval_s=0.1))
    assert [frame.time_s for frame in movie] == pytest.approx(0.1 * np.arange(12))


def test_a_compressed_film_is_told(tmp_path: Path) -> None:
    path = write_film(tmp_path / "a.avi", IMAGES, "ffv1").rename(tmp_path / "no_suffix")
    assert len(open_movie(path)) == 12, "the content decides, not the name"
    movie = open_movie(write_film(tmp_path / "b.mp4", IMAGES, "libx264"))
    assert len(movie) == 12 and any("compression correlates" in text for text in movie.notices)


def test_what_is_no_film_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"\0\0\0\x18ftypisom" + bytes(200))
    with pytest.raises(InputError, match="cannot be read as a film") as caught:
        open_movie(tmp_path / "a.mp4")
    assert "\n" not in str(caught.value)


def test_frames_larger_than_a_pipe_do_not_hold_up_ffmpeg(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its first process ends by itself, instead of being killed after ten seconds."""
    large = np.tile(IMAGES[:4], (1, 16, 16))
    movie = open_movie(write_film(tmp_path / "a.avi", large))
    assert np.array_equal(movie.frame(3).image, large[3])
    assert not caplog.records
