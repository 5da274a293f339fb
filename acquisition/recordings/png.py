"""PNG images of a folder: grey values of 8 or 16 bits, through Pillow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.stream.errors import InputError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
DEPTH, COLOR = 24, 25  # bytes of the header: bits of a sample, and what the samples are
GRAY = 0
PIXELS = {8: np.uint8, 16: np.uint16}


def is_png(path: Path) -> bool:
    """Whether a file begins as a PNG image does."""
    with path.open("rb") as file:
        return file.read(len(SIGNATURE)) == SIGNATURE


def read_png(path: Path) -> NDArray[Any]:
    """Read an image (y, x) of uint8 or uint16.

    Raises
    ------
    InputError
        The image is in colour, has other pixels than 8 or 16 bits, is truncated or damaged.
    """
    from PIL import Image

    with path.open("rb") as file:
        header = file.read(COLOR + 1)
    if len(header) <= COLOR:
        raise InputError(f"{path} is truncated: copy it again")
    if header[COLOR] != GRAY:
        raise InputError(f"{path} is in colour: convert it to grey values, or split its channels")
    if header[DEPTH] not in PIXELS:
        raise InputError(f"{path} has pixels of {header[DEPTH]} bits: convert it to 8 or 16 bits")
    try:
        with Image.open(path) as image:
            return np.asarray(image).astype(PIXELS[header[DEPTH]])
    except (OSError, SyntaxError, ValueError) as error:  # Pillow calls a damaged PNG broken syntax
        line = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"{path} cannot be read as PNG: {line}") from error
