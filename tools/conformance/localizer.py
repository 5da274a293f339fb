"""What every localizer must do: an image in, the SPOT rows of its particles out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cache, partial
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from livespt.stream.errors import InputError
from livespt.stream.types import SPOT
from livespt.tools.conformance.refusal import refusal

Points = NDArray[np.float64]
# of an image without particles: its values, by type of pixels
EMPTY: dict[str, tuple[float, ...]] = {
    "uint8": (0, 7, 255),
    "uint16": (0, 65535),
    "float32": (0, -3.5, 1e30, np.nan, np.inf, -np.inf),
}


class AnyLocalizer(Protocol):
    """Finds particles, and says beforehand what it cannot analyze."""

    def __call__(self, image: NDArray[Any], /) -> NDArray[np.void]:
        """Return the SPOT rows (n,) of an image."""

    def refuses(self, axes: str, shape: tuple[int, ...], dtype: str, /) -> str | None:
        """Return why images of this kind cannot be analyzed; None if they can."""


class LocalizerTests(ABC):
    """Tests of a localizer; inherit them, and override `made`, and the rest where it differs.

    Attributes
    ----------
    axes : str
        Of an image: "yx", "zyx" or "cyx".
    dtypes : tuple of str
        Types of pixels that it takes.
    shape : tuple of int
        Of the images in which particles are found, pixels.
    places : tuple
        Positions (y, x) or (z, y, x) of the particles in them, sorted by y; pixels with pixel
        centres at integers. They are far from each other and from the borders.
    sigma_px : tuple of float
        Standard deviations of a spot in the images that `image` draws, pixels.
    tolerance_px : tuple of float
        Largest error of a position, pixels.
    refused : tuple
        Axes, shapes and pixel types that it cannot analyze.

    Examples
    --------
    >>> class TestMyLocalizer(LocalizerTests):
    ...     def made(self):
    ...         return MyLocalizer(threshold=5)
    """

    axes: ClassVar[str] = "yx"
    dtypes: ClassVar[tuple[str, ...]] = ("uint8", "uint16", "float32")
    shape: ClassVar[tuple[int, ...]] = (64, 96)
    places: ClassVar[tuple[tuple[float, ...], ...]] = (
        (14.3, 70.8), (25.0, 21.6), (38.7, 48.2), (47.4, 80.1),
    )  # fmt: skip
    sigma_px: ClassVar[tuple[float, ...]] = (1.3, 1.3)
    tolerance_px: ClassVar[tuple[float, ...]] = (0.3, 0.3)
    refused: ClassVar[tuple[tuple[str, tuple[int, ...], str], ...]] = (
        ("zyx", (5, 64, 64), "uint16"),
        ("yx", (64,), "uint16"),
        ("yx", (64, 64), "float64"),
        ("yx", (64, 64), "int32"),
        ("yx", (1, 1), "uint8"),
        ("yx", (0, 64), "uint8"),
    )

    @abstractmethod
    def made(self) -> AnyLocalizer:
        """Hook: make a localizer."""

    def image(self, places: Points) -> NDArray[np.float64]:
        """Hook: draw particles at `places`: spots of light on noise, in counts below 255."""
        at = np.indices(self.shape).astype(np.float64)
        counts = np.random.default_rng(5).normal(40.0, 2.5, self.shape)
        for place in places:
            square = np.zeros(self.shape)
            for axis, sigma in enumerate(self.sigma_px):
                square += ((at[axis] - place[axis]) / sigma) ** 2
            counts += 120.0 * np.exp(-square / 2)
        return counts

    @classmethod
    @cache
    def _localizer(cls) -> AnyLocalizer:
        """The localizer of most tests: none may change it."""
        return cls().made()

    def _image(self, dtype: str = "") -> NDArray[Any]:
        """The image with particles, by default of the last type of pixels."""
        counts, dtype = self.image(np.array(self.places)), dtype or self.dtypes[-1]
        return counts.astype(dtype) if dtype == "float32" else counts.round().astype(dtype)

    def _found(self, spots: NDArray[np.void]) -> Points:
        axes = [axis for axis in self.axes if axis in "zyx"]
        return np.stack([spots[axis] for axis in axes], axis=1).astype(np.float64)

    def test_particles_are_found_where_they_are(self) -> None:
        """All, and nothing else, for each type of pixels; y before x, centres at integers."""
        for dtype in self.dtypes:
            found = self._found(self._localizer()(self._image(dtype)))
            assert len(found) == len(self.places), dtype
            assert (np.abs(found - self.places) < self.tolerance_px).all(), dtype

    def test_rows_are_complete_and_in_order(self) -> None:
        """SPOT rows by y, then x; frame and track are not theirs to say; what is told is finite."""
        spots = self._localizer()(self._image())
        assert spots.dtype == SPOT and spots.ndim == 1 and spots.flags.writeable
        assert (np.lexsort((spots["x"], spots["y"])) == np.arange(len(spots))).all()
        assert not spots["frame"].any() and (spots["track"] == -1).all()
        assert not spots["channel"].any() and not spots["position"].any()
        for name in ("z", "y", "x", "intensity", "background", "score"):
            assert np.isfinite(spots[name]).all(), name
        for name in ("dz", "dy", "dx", "sigma"):  # NaN: it does not tell
            assert not (spots[name] <= 0).any(), name
        if self.axes == "yx":
            assert not spots["z"].any()

    def test_a_shifted_image_shifts_the_spots(self) -> None:
        """By whole pixels, along each axis alone."""
        for axis in (-2, -1):
            moved = np.roll(self._image(), 5, axis)
            found, true = self._found(self._localizer()(moved)), np.array(self.places)
            true[:, axis] += 5
            assert len(found) == len(true)
            assert (np.abs(found - true) < self.tolerance_px).all(), self.axes[axis]

    def test_the_same_image_gives_the_same_bytes(self) -> None:
        """After other images, by another of its kind, in memory of any layout and byte order."""
        image, localizer = self._image(), self._localizer()
        rows = localizer(image).tobytes()
        localizer(np.zeros_like(image))
        again = localizer(image)
        assert again.tobytes() == rows
        again["y"] = -1.0  # rows are the caller's
        assert self.made()(image).tobytes() == rows
        backward = np.ascontiguousarray(image[::-1])[::-1]
        swapped = image.astype(image.dtype.newbyteorder())
        for same in (np.asfortranarray(image), swapped, backward):
            assert localizer(same).tobytes() == rows

    def test_the_image_stays_as_it_was(self) -> None:
        """It goes on to the store and to the overlay."""
        for dtype in self.dtypes:
            image = self._image(dtype)
            before = image.tobytes()
            self._localizer()(image)
            assert image.tobytes() == before, dtype

    def test_nothing_is_found_where_nothing_is(self) -> None:
        """Images of one value, whether or not it is a number."""
        for dtype in self.dtypes:
            for value in EMPTY[dtype]:
                spots = self._localizer()(np.full(self.shape, value, dtype))
                assert len(spots) == 0 and spots.dtype == SPOT, f"{dtype} {value}"

    def test_pixels_that_are_no_numbers_hide_nothing_else(self) -> None:
        """Some NaN or infinite pixels far from the particles."""
        for value in (np.nan, np.inf, -np.inf):
            image = self._image("float32")
            image[..., 3, 4], image[..., 58, 5] = value, value
            found = self._found(self._localizer()(image))
            assert len(found) == len(self.places), value
            assert (np.abs(found - self.places) < self.tolerance_px).all(), value

    def test_what_it_cannot_analyze_is_refused(self) -> None:
        """Before the run by `refuses`, with a reason in one line; and when it is called."""
        localizer = self._localizer()
        for dtype in self.dtypes:
            for name in (dtype, np.dtype(dtype).str):  # "uint16", "<u2"
                assert localizer.refuses(self.axes, self.shape, name) is None, name
        for axes, shape, dtype in self.refused:
            reason = localizer.refuses(axes, shape, dtype)
            assert reason and "\n" not in reason, (axes, shape, dtype)
            if len(axes) == len(shape) and axes != self.axes:
                continue  # as long as an image says no axes
            refusal(InputError, partial(localizer, np.zeros(shape, dtype)))
