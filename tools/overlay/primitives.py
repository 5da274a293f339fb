"""Primitives: what a sheet is made of, in canvas pixels, and the colours and measures it shares."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.tools.overlay.layers import Marks

Colour = tuple[float, float, float, float]
STATUS = 30  # pixels high
NARROW, WIDE = 300, 470  # pixels, the panel
PAD = 18
BACK, PLATE, LINE = "#0C0F12", "#1B2128", "#39434E"
INK, DIM = "#F1F3F5", "#A3AEB9"
EM = 0.56  # mean width of a character, of its size


class Text(NamedTuple):
    x: float
    y: float
    text: str
    size: float  # pixels
    colour: str
    align: str = "left"  # or "center", "right"
    bold: bool = False


class Box(NamedTuple):
    x: float
    y: float
    width: float
    height: float
    colour: Colour


class Path(NamedTuple):
    points: NDArray[np.float32]  # (n, 2) x, y
    width: float
    colour: Colour


class ImagePlace(NamedTuple):
    """Where the image lies on the canvas."""

    x: float  # of the outer corner of its first pixel
    y: float
    zoom: float  # canvas pixels an image pixel


class Sheet(NamedTuple):
    """What to draw, in this order."""

    boxes: list[Box]
    paths: list[Path]
    marks: list[Marks]
    texts: list[Text]


def clip(text: str, pixels: float, size: float) -> str:
    """Return the text, shortened in its middle to fit."""
    most = max(int(pixels / (EM * size)), 5)
    if len(text) <= most:
        return text
    return text[: (most - 1) // 2] + "…" + text[-(most // 2) :]


def title(out: Sheet, x: float, y: float, text: str) -> None:
    out.texts.append(Text(x, y, text, 14, INK, bold=True))
