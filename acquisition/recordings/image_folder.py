"""A folder of single images, one file a frame, in the order of the numbers in their names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.acquisition.recordings.grid import FileFacts, movie_of_array
from livespt.acquisition.recordings.movie import NOTHING, Movie, MovieUnits, Stated
from livespt.acquisition.recordings.png import is_png, read_png
from livespt.acquisition.recordings.tiff import open_tiff
from livespt.stream.errors import InputError

SUFFIXES = (".tif", ".tiff", ".png")
SPARSE = 1000  # numbers without an image for each with one, which no recording has


def image_files(folder: Path) -> list[Path]:
    """Return the images in a folder, hidden files left out."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )


def open_image_folder(path: Path, files: list[Path], stated: Stated = NOTHING) -> Movie:
    """Open the images of a folder as a movie; each file is read when its frame is requested.

    The last number in each name is its time point, counted from the least; a number that is missing
    is a lost exposure. The images hold one frame each, of the same kind.

    Raises
    ------
    InputError
        The names differ in more than their last number, or a file is no single image.
    """
    numbers = _numbers(path, files)
    image, units = _open(files[0])
    if image is None:
        raise InputError(
            f"{path} is a folder, not a movie: name a movie in it, such as {files[0].name}"
        )
    array = _Images(dict(zip(numbers, files, strict=True)), max(numbers) + 1, image)
    facts = FileFacts(units, units_origin=files[0].name, present=array.present)
    return movie_of_array(path, array, "tyx", facts, stated)


def _open(file: Path) -> tuple[NDArray[Any] | None, MovieUnits]:
    """The image (y, x) of a file and what the file says of its scale; None: it holds several."""
    if is_png(file):
        return read_png(file), MovieUnits()
    movie = open_tiff(file)
    units = MovieUnits(movie.pixel_size_um, None, movie.z_step_um, movie.exposure_s)
    return (movie.frame(0).image if len(movie) == 1 and movie.axes == "yx" else None), units


def _numbers(path: Path, files: list[Path]) -> list[int]:
    """Time points of files, from the last number in each name."""
    parts = [re.split(r"(\d+)", file.stem) for file in files]
    names = {(*part[::2], file.suffix) for part, file in zip(parts, files, strict=True)}
    every = [[int(number) for number in part[1::2]] for part in parts]
    numbers = [one[-1] for one in every if one]
    # further numbers stay the same, or count along with the last one (00007_t0007)
    ways = {(tuple(one[:-1]), tuple(k - one[-1] for k in one[:-1])) for one in every if one}
    alike = all(
        len({same[k] for same, _ in ways}) == 1 or len({along[k] for _, along in ways}) == 1
        for k in range(min(len(same) for same, _ in ways) if ways else 0)
    )
    if len(numbers) < len(files) or len(names) > 1 or len(set(numbers)) < len(numbers) or not alike:
        raise InputError(
            f"{path} is a folder, not a movie: its images are no series, whose names differ in "
            f"their last number alone; name a movie in it, such as {files[0].name}"
        )
    if max(numbers) - min(numbers) > SPARSE * len(numbers):
        raise InputError(
            f"{path} has images with numbers from {min(numbers)} to {max(numbers)}, too far apart "
            "for a movie: give them the numbers of their frames"
        )
    return [number - min(numbers) for number in numbers]


class _Images:
    """Images by time point, read when they are indexed."""

    def __init__(self, files: dict[int, Path], n: int, first: NDArray[Any]) -> None:
        self.shape, self.dtype = (n, *first.shape), first.dtype
        self.present = np.isin(np.arange(n), list(files))
        self._files = files

    def __getitem__(self, key: tuple[Any, ...]) -> NDArray[Any]:
        file = self._files[key[0]]
        image, _ = _open(file)
        if image is None:
            raise InputError(f"{file} holds several images in place of one")
        part: NDArray[Any] = image[key[1:]]
        return part
