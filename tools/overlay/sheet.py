"""The panel: everything drawn in canvas pixels: legend, inspector, events, scale bar, status line.

`make_sheet` turns a scene into boxes, paths, marks and texts, which a renderer only has to draw.
The origin is the upper left corner of the canvas, y points down, and the y of a text is its base
line.
"""

from __future__ import annotations

import numpy as np

from livespt.tools.overlay.layers import rgba
from livespt.tools.overlay.panels.events import draw_events
from livespt.tools.overlay.panels.inspector import draw_track
from livespt.tools.overlay.panels.legend import draw_header, draw_motions, draw_rings
from livespt.tools.overlay.panels.status import draw_keys, draw_scale_bar, draw_stamp, draw_status
from livespt.tools.overlay.primitives import (
    LINE,
    NARROW,
    PAD,
    PLATE,
    STATUS,
    WIDE,
    Box,
    ImagePlace,
    Sheet,
)
from livespt.tools.overlay.scene import Scene


def view(scene: Scene, size: tuple[int, int], panel: bool = True) -> tuple[int, int, int, int]:
    """Return x, y, width and height of the part of the canvas for the image."""
    width, height = size[0], size[1] - STATUS
    if not panel:
        return 0, 0, max(width, 1), max(height, 1)
    rows, columns = scene.image.shape
    spare = width - round(height * columns / max(rows, 1))
    return 0, 0, max(width - int(np.clip(spare, NARROW, WIDE)), 1), max(height, 1)


def image_place(scene: Scene, size: tuple[int, int], panel: bool = True) -> ImagePlace:
    """Return the place of an image that fills its part of the canvas, centred."""
    x, y, width, height = view(scene, size, panel)
    rows, columns = scene.image.shape
    zoom = min(width / columns, height / rows)
    return ImagePlace(x + (width - zoom * columns) / 2, y + (height - zoom * rows) / 2, zoom)


def make_sheet(
    scene: Scene,
    size: tuple[int, int],
    place: ImagePlace,
    *,
    panel: bool = True,
    keys: bool = False,
    note: str = "",
) -> Sheet:
    """Return what to draw around and over the image.

    Parameters
    ----------
    size : (int, int)
        Canvas width and height, pixels.
    place : Place
        Position and zoom of the image.
    panel, keys : bool
        Whether to show the panel, and the key map.
    note : str
        Additional text for the status line.
    """
    out = Sheet([], [], [], [])
    _, _, width, height = view(scene, size, panel)
    rows, columns = scene.image.shape
    seen = (
        max(place.x, 0.0),
        max(place.y, 0.0),
        min(place.x + columns * place.zoom, width),
        min(place.y + rows * place.zoom, height),
    )
    draw_stamp(out, scene, seen)
    draw_scale_bar(out, scene, seen, place.zoom)
    draw_status(out, scene, size, note)
    if panel:
        left, span = width + PAD, size[0] - width - 2 * PAD
        out.boxes.append(Box(width, 0, size[0] - width, height, rgba(PLATE)))
        y = draw_header(out, scene, left, span)
        for draw, need in (
            (draw_motions, 150),
            (draw_rings, 92),
            (draw_track, 216),
            (draw_events, 70),
        ):
            if y + need <= height:
                out.boxes.append(Box(left, y, span, 1, rgba(LINE)))
                y = draw(out, scene, left, y + 26, span, height)
    if keys:
        draw_keys(out, width, height)
    return out
