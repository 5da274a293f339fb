"""Drawing: everything that a renderer places for one scene, in drawing order.

`make_drawing` is the only place that knows which layers and panels there are. A renderer (vispy in
canvas.py, matplotlib in picture.py) places what it is given and decides nothing, so a new layer or
panel touches no renderer.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numpy.typing import NDArray

from livespt.tools.overlay import layers
from livespt.tools.overlay.layers import Label, Marks
from livespt.tools.overlay.primitives import BACK, ImagePlace, Sheet
from livespt.tools.overlay.scene import Scene
from livespt.tools.overlay.sheet import make_sheet, view

LAYERS = "tmul"  # keys of what can be hidden: tails, markers, uncoating, labels


class Visibility(NamedTuple):
    """What the user has switched on and off."""

    panel: bool = True
    keys: bool = False  # the key map
    hidden: frozenset[str] = frozenset()  # of LAYERS
    note: str = ""  # more for the status line


EVERYTHING = Visibility()


class Drawing(NamedTuple):
    """What to place; `tails`, `marks` and `labels` in image pixels, `view` and `sheet` in canvas
    pixels."""

    view: tuple[int, int, int, int]  # x, y, width, height of the image's part of the canvas
    image: NDArray[Any]  # (y, x)
    levels: tuple[float, float]  # values drawn black and white
    tails: Scene | None  # its `ring` holds the segments; a renderer may mirror it. None: hidden
    tail_width: float  # canvas pixels
    marks: Marks
    labels: tuple[list[Label], list[Label]]  # shadows, and the labels that stand on them
    sheet: Sheet


def make_drawing(
    scene: Scene, size: tuple[int, int], place: ImagePlace, visibility: Visibility = EVERYTHING
) -> Drawing:
    """Lay out a scene.

    Parameters
    ----------
    scene : Scene
    size : (int, int)
        Canvas width and height, pixels.
    place : ImagePlace
        Where the image lies on the canvas.
    visibility : Visibility
    """
    shown = [] if "l" in visibility.hidden else layers.labels(scene, place.zoom)
    shift = 1 / place.zoom
    shadows = [Label(label.x + shift, label.y + shift, label.text, BACK) for label in shown]
    return Drawing(
        view=view(scene, size, visibility.panel),
        image=scene.image,
        levels=scene.levels or (0.0, 1.0),
        tails=None if "t" in visibility.hidden else scene,
        tail_width=layers.tail_width(place.zoom),
        marks=layers.overlay(scene, place.zoom, "".join(visibility.hidden)),
        labels=(shadows, shown),
        sheet=make_sheet(
            scene, size, place, panel=visibility.panel, keys=visibility.keys, note=visibility.note
        ),
    )
