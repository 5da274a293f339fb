"""A scene drawn by matplotlib, for computers without OpenGL."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.tools.overlay import layers
from livespt.tools.overlay.drawing import Drawing, make_drawing
from livespt.tools.overlay.layers import Marks
from livespt.tools.overlay.primitives import BACK, Sheet
from livespt.tools.overlay.scene import Scene
from livespt.tools.overlay.sheet import image_place

# names of layers.SYMBOLS in matplotlib, and their size relative to the same marker in vispy
MARKERS = ("o", "^", "s", "D", "x")
SCALE = (1.0, 1.05, 0.9, 0.8, 0.8)
DPI = 100


def picture(scene: Scene, size: tuple[int, int] = (1280, 760)) -> NDArray[np.uint8]:
    """Return the scene as an RGB image (height, width, 3) of `size` (width, height)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(size[0] / DPI, size[1] / DPI), dpi=DPI, facecolor=BACK)
    canvas: Any = FigureCanvasAgg(figure)
    place = image_place(scene, size)
    drawing = make_drawing(scene, size, place)
    _draw_view(_axes(figure, drawing.view, size), drawing, place.zoom)
    axes = _axes(figure, (0, 0, *size), size)
    axes.set_xlim(0, size[0])
    axes.set_ylim(size[1], 0)
    _draw_sheet(axes, drawing.sheet)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def write_png(path: Path, image: NDArray[np.uint8]) -> None:
    """Write RGB (height, width, 3)."""
    from matplotlib.image import imsave

    imsave(path, image, format="png")


def _axes(figure: Any, box: tuple[int, int, int, int], size: tuple[int, int]) -> Any:
    x, y, width, height = box
    extent = (x / size[0], 1 - (y + height) / size[1], width / size[0], height / size[1])
    axes = figure.add_axes(extent)
    axes.set_axis_off()
    return axes


def _draw_view(axes: Any, drawing: Drawing, zoom: float) -> None:
    """Draw image, tails, marks and labels."""
    from matplotlib.collections import LineCollection

    rows, columns = drawing.image.shape
    wide, tall = drawing.view[2] / zoom, drawing.view[3] / zoom
    low, high = drawing.levels
    # data scaled here: matplotlib warns about levels that integers cannot hold
    shown = np.clip((drawing.image.astype(np.float32) - low) / (high - low), 0, 1)
    axes.imshow(shown, cmap="gray", vmin=0, vmax=1, interpolation="nearest", aspect="auto")
    if drawing.tails is not None:
        (ends, colour), width = layers.tails(drawing.tails), _pt(drawing.tail_width)
        lines = LineCollection(list(ends), colors=colour.mean(axis=1), linewidths=width)
        axes.add_collection(lines)
    _draw_marks(axes, drawing.marks)
    font = _font(layers.LABEL_PX, True)
    for labels in drawing.labels:
        for label in labels:
            axes.text(label.x, label.y, label.text, color=label.colour, **font)
    axes.set_xlim((columns - wide) / 2 - 0.5, (columns + wide) / 2 - 0.5)
    axes.set_ylim((rows + tall) / 2 - 0.5, (rows - tall) / 2 - 0.5)


def _draw_sheet(axes: Any, sheet: Sheet) -> None:
    from matplotlib.patches import Rectangle

    for box in sheet.boxes:
        corner = (box.x, box.y)
        shape = Rectangle(corner, box.width, box.height, facecolor=box.colour, linewidth=0)
        axes.add_patch(shape)  # below lines (2), marks (3) and texts (4)
    for path in sheet.paths:
        axes.plot(*path.points.T, color=path.colour, linewidth=_pt(path.width))
    for mark in sheet.marks:
        _draw_marks(axes, mark)
    for text in sheet.texts:
        font = _font(text.size, text.bold)
        axes.text(text.x, text.y, text.text, color=text.colour, ha=text.align, zorder=4, **font)


def _draw_marks(axes: Any, mark: Marks) -> None:
    for index, marker in enumerate(MARKERS):
        mine = mark.symbol == index
        if not mine.any():
            continue
        style: dict[str, Any] = {"edgecolors": mark.edge[mine], "facecolors": mark.face[mine]}
        if marker == "x":  # has no face
            style = {"c": mark.edge[mine]}
        axes.scatter(
            *mark.xy[mine].T,
            s=_pt(mark.size[mine] * SCALE[index]) ** 2,
            marker=marker,
            linewidths=_pt(mark.width[mine]),
            zorder=3,
            **style,
        )


def _pt(pixels: Any) -> Any:
    return pixels * 72 / DPI


def _font(pixels: float, bold: bool) -> dict[str, Any]:
    """Return the font of vispy, so that both pictures have the same layout."""
    from matplotlib.font_manager import FontProperties

    spec = importlib.util.find_spec("vispy")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        name = f"OpenSans-{'Bold' if bold else 'Regular'}.ttf"
        file = Path(folder) / "util" / "fonts" / "data" / name
        if file.exists():
            return {"fontproperties": FontProperties(fname=str(file), size=_pt(pixels))}
    weight = "bold" if bold else "normal"
    return {"fontproperties": FontProperties(size=_pt(pixels), weight=weight)}
