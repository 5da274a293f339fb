"""The frames and marked particles on which a localizer is trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.models.localize.localizer import DTYPES
from livespt.models.render import composed_frames
from livespt.models.render.spot_movies import training_frame
from livespt.stream.errors import InputError, SettingError
from livespt.tools.train_localizer import centre, measure

if TYPE_CHECKING:
    from torch import Tensor

SIMULATED = "simulated"  # in place of the path of a movie
COLUMNS = ("frame", "y", "x")  # columns of a file of clicks


class Click(NamedTuple):
    """Position of a particle marked by the user, pixels."""

    frame: int
    y: float
    x: float


class Source(NamedTuple):
    """Clicks, and their frames."""

    name: str
    clicks: list[Click]
    images: dict[int, NDArray[Any]]  # (y, x) by frame

    @property
    def image(self) -> NDArray[Any]:
        """The frame of the first click."""
        return self.images[self.clicks[0].frame]

    @property
    def centres(self) -> list[tuple[float, float]]:
        """Clicks (y, x) in that frame."""
        first = self.clicks[0].frame
        return [(click.y, click.x) for click in self.clicks if click.frame == first]


def read(movie: str | Path, clicks: list[Click], seed: int) -> Source:
    """Read the frames of `clicks`; `movie` may be SIMULATED, one frame of bright spots.

    Raises
    ------
    InputError : a frame does not exist, or is not (y, x).
    """
    if str(movie) == SIMULATED:
        image = training_frame(seed)
        return Source(SIMULATED, clicks, {click.frame: image for click in clicks})
    from livespt.acquisition.recordings.open_movie import open_movie

    opened = open_movie(movie)
    images = {}
    for number in sorted({click.frame for click in clicks}):
        if not 0 <= number < opened.n_frames:
            raise InputError(f"{movie} has frames 0 to {opened.n_frames - 1}, not {number}")
        image = np.asarray(opened.frame(number).image)
        if image.ndim != 2:
            raise InputError(f"{movie} has frames {opened.axes}: a localizer learns from yx frames")
        if image.dtype.name not in DTYPES:
            raise InputError(f"{movie} holds {image.dtype.name}: a localizer takes {DTYPES}")
        if not np.isfinite(image).all():
            raise InputError(f"frame {number} of {movie} holds NaN or infinity: choose another")
        images[number] = image
    return Source(Path(movie).name, clicks, images)


def read_clicks(path: str | Path) -> list[Click]:
    """Rows of a CSV file with the columns frame, y, x (pixels, in any order).

    Raises
    ------
    InputError : the file or a column does not exist, or a cell is not a number.
    """
    import pandas

    try:
        table = pandas.read_csv(path, dtype=str)  # which numpy reads to the last bit
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} is not a table of clicks: {str(error).splitlines()[0]}"
        ) from error
    missing = [name for name in COLUMNS if name not in table]
    if missing or not len(table):
        lacks = f"lacks {', '.join(missing)}" if missing else "has no rows"
        raise InputError(f"{path} {lacks}: a table of clicks has the columns {', '.join(COLUMNS)}")
    try:
        rows = table[list(COLUMNS)].to_numpy(np.float64)
    except ValueError as error:
        raise InputError(f"{path} has a cell that is not a number: {error}") from error
    if not np.isfinite(rows).all():
        raise InputError(f"{path} has an empty cell: fill it or drop the row")
    return [Click(int(frame), float(y), float(x)) for frame, y, x in rows]


def corner(image: NDArray[Any], at: tuple[float, float], size: int) -> tuple[int, int]:
    """First pixel of the crop around `at`.

    Raises
    ------
    SettingError : the crop extends beyond the frame, or all its pixels are equal.
    """
    height, width = image.shape
    if not (0 <= at[0] <= height - 1 and 0 <= at[1] <= width - 1):
        raise SettingError(f"{at[0]:g},{at[1]:g} lies outside the frame of {height} x {width}")
    y, x = (round(v) - size // 2 for v in at)
    if y < 0 or x < 0 or y + size > height or x + size > width:
        raise SettingError(
            f"a crop of {size} pixels around {at[0]:g},{at[1]:g} extends beyond the frame of "
            f"{height} x {width}: choose a particle further inside or a smaller size"
        )
    crop = image[y : y + size, x : x + size]
    if crop.min() == crop.max():
        raise SettingError(f"nothing to see at {at[0]:g},{at[1]:g}: all pixels are {crop.min():g}")
    return y, x


def cut_crop(image: NDArray[Any], at: tuple[float, float], size: int) -> NDArray[Any]:
    """The crop (size, size) around `at`."""
    y, x = corner(image, at, size)
    return image[y : y + size, x : x + size]


def without_noise(
    crops: list[Tensor], particle: measure.Particle
) -> tuple[list[composed_frames.Pattern], list[Tensor]]:
    """Patterns of the isolated crops (s, s), and the crops without noise.

    With the noise of the crop, a brighter copy would have more noise than any frame, and the noise
    itself would be learned as part of the particle, which frames with other noise do not show.
    """
    import torch

    ones, clean = [], []
    for crop in crops:
        at = centre.find(crop.numpy(), particle, np.zeros(2)).at
        middle = (float(at[0]), float(at[1]))
        one = composed_frames.pattern(crop.numpy(), middle, particle.fwhm_px, particle.shot)
        ones.append(one)
        clean.append(torch.from_numpy(composed_frames.without_noise(one, middle, len(crop))))
    return ones, clean
