"""Recordings of other makers give back what was written: films, PNG, ND2, CZI through bioio."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from foreign_files import frame_of_film, png, write_czi, write_film
from livespt.acquisition.recordings.movie import MovieUnits
from livespt.tools.conformance.recording import RecordingTests
from nd2_files import write_nd2


class TestPngFolder(RecordingTests):
    """Images written by hand, since the reader's own library is no judge of 16 bits."""

    dtypes = ("uint8", "uint16")

    def write(self, folder: Path, pixels: NDArray[Any]) -> Path:
        for t, image in enumerate(pixels):
            (folder / f"frame_{t + 7}.png").write_bytes(png(image))
        return folder

    def truncate(self, path: Path) -> None:
        last = max(path.iterdir(), key=lambda file: int(file.stem.rpartition("_")[2]))
        last.write_bytes(last.read_bytes()[:-100])

    def damage(self, path: Path, pixels: NDArray[Any], i: int) -> None:
        (path / f"frame_{i + 7}.png").unlink()


class TestFilm(RecordingTests):
    """A film without loss; its rate is a speed of play."""

    dtypes = ("uint8", "uint16")

    def write(self, folder: Path, pixels: NDArray[Any]) -> Path:
        return write_film(folder / "a.avi", pixels)

    def damage(self, path: Path, pixels: NDArray[Any], i: int) -> None:
        data = path.read_bytes()
        path.write_bytes(data[: frame_of_film(data, i)])


class TestNd2(RecordingTests):
    """An image whose part of the file is overwritten."""

    axes = "tpzyx"
    units = MovieUnits(0.107, 0.05, 0.3, 0.03)

    def write(self, folder: Path, pixels: NDArray[Any]) -> Path:
        pytest.importorskip("nd2", reason="reading ND2 needs the package nd2")
        return self.written(folder / "a.nd2", pixels)

    def written(self, path: Path, pixels: NDArray[Any], **options: Any) -> Path:
        t, p, z = pixels.shape[:3]
        return write_nd2(
            path, pixels, self.axes, times_ms=100 + 50.0 * np.repeat(np.arange(t), p * z),
            pixel_size_um=0.107, z_step_um=0.3, exposure_ms=30.0, positions=("A1", "A2"), **options,
        )  # fmt: skip

    def damage(self, path: Path, pixels: NDArray[Any], i: int) -> None:
        data = bytearray(path.read_bytes())
        begin = data.index(b"ImageDataSeq|%d!" % (i * pixels.shape[2]))
        data[begin : begin + 12] = b"SomethingNew"
        path.write_bytes(data)


class TestNd2Hole(TestNd2):
    """An image that the file does not hold, which the package nd2 itself reads as zeros."""

    def damage(self, path: Path, pixels: NDArray[Any], i: int) -> None:
        self.written(path, pixels, missing=[i * pixels.shape[2] + 1])


class TestCzi(RecordingTests):
    """Through bioio and its plugin, from files of Zeiss's own library."""

    axes = "tczyx"
    units = MovieUnits(0.107, 0.05, 0.3)

    def write(self, folder: Path, pixels: NDArray[Any]) -> Path:
        pytest.importorskip("bioio_czi", reason="reading CZI needs bioio and bioio-czi")
        return write_czi(folder / "a.czi", pixels, times_s=self.times(len(pixels)) or ())

    def damage(self, path: Path, pixels: NDArray[Any], i: int) -> None:
        data = bytearray(path.read_bytes())
        begin = data.index(pixels.reshape(-1, *pixels.shape[2:])[i, 0].tobytes(), len(data) // 2)
        begin = data.rindex(b"ZISRAWSUBBLOCK", 0, begin)  # in its second half are the parts in use
        data[begin : begin + 14] = b"SOMETHING ELSE"
        path.write_bytes(data)
