"""Overlay: a scene drawn by vispy, in a window or off screen.

Tails are one vertex buffer that mirrors `Scene.ring`: a frame uploads its own segments only, and
the shader fades them by age, so the cost does not grow with the length of the tails.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.tools import layers, panel
from livespt.tools.layers import Marks
from livespt.tools.scene import Scene

SMALLEST = (640, 420)  # window; vispy fails on a view without pixels

# One declaration a line: vispy reads no others. Both ends of a segment leave together (a_end).
TAIL_VERTEX = """
attribute vec2 a_pos;
attribute float a_frame;
attribute float a_state;
attribute float a_end;
uniform float u_now;
uniform float u_len;
uniform vec4 u_pal0;
uniform vec4 u_pal1;
uniform vec4 u_pal2;
uniform vec4 u_pal3;
uniform vec4 u_pal4;
varying vec4 v_col;
void main() {
    float age = clamp(1.0 - (u_now - a_frame) / u_len, 0.0, 1.0);
    vec4 c = u_pal4;
    if (a_state < 0.5) c = u_pal0;
    else if (a_state < 1.5) c = u_pal1;
    else if (a_state < 2.5) c = u_pal2;
    else if (a_state < 3.5) c = u_pal3;
    v_col = vec4(c.rgb, c.a * age);
    gl_Position = $transform(vec4(a_pos, 0.0, 1.0));
    if (u_now - a_end >= u_len) gl_Position = vec4(2.0, 2.0, 2.0, 1.0);
}
"""
TAIL_FRAGMENT = """
varying vec4 v_col;
void main() {
    if (v_col.a <= 0.01) discard;
    gl_FragColor = v_col;
}
"""
FLAT_VERTEX = """
attribute vec2 a_pos;
attribute vec4 a_colour;
varying vec4 v_col;
void main() {
    v_col = a_colour;
    gl_Position = $transform(vec4(a_pos, 0.0, 1.0));
}
"""
VERTEX = np.dtype([("a_pos", "f4", 2), ("a_frame", "f4"), ("a_state", "f4"), ("a_end", "f4")])
CORNER = np.dtype([("a_pos", "f4", 2), ("a_colour", "f4", 4)])


@lru_cache(maxsize=1)
def _visuals() -> tuple[Any, Any]:
    """Return the node classes of tails and of flat triangles; made here, since vispy is heavy."""
    from vispy import gloo, scene, visuals

    class TailsVisual(visuals.Visual):
        def __init__(self, ring: NDArray[np.float32], width: float) -> None:
            super().__init__(vcode=TAIL_VERTEX, fcode=TAIL_FRAGMENT)
            self.width = width
            self.buffer = gloo.VertexBuffer(_vertices(ring))
            self.shared_program.bind(self.buffer)
            for i, colour in enumerate(layers.COLOURS):
                self.shared_program[f"u_pal{i}"] = tuple(map(float, colour))
            self.shared_program["u_now"], self.shared_program["u_len"] = 0.0, 1.0
            self._draw_mode = "lines"
            self.set_gl_state("translucent", depth_test=False)

        def show(self, tails: Scene) -> None:
            for first, n in tails.changed:
                rows = tails.ring[2 * first : 2 * (first + n)]
                self.buffer.set_subdata(_vertices(rows), offset=2 * first)
            tails.changed.clear()
            self.shared_program["u_now"] = float(tails.frame)
            self.shared_program["u_len"] = float(tails.tail)
            self.update()

        def _prepare_transforms(self, view: Any) -> None:
            view.view_program.vert["transform"] = view.get_transform()

        def _prepare_draw(self, view: Any) -> None:
            self.update_gl_state(line_width=self.width * view.transforms.pixel_scale)

        def _compute_bounds(self, axis: int, view: Any) -> None:
            return None

    class FlatVisual(visuals.Visual):
        def __init__(self) -> None:
            super().__init__(vcode=FLAT_VERTEX, fcode=TAIL_FRAGMENT)
            self.room, self.buffer = 0, None
            self._draw_mode = "triangles"
            self.set_gl_state("translucent", depth_test=False, cull_face=False)

        def show(self, corners: NDArray[np.void]) -> None:
            if len(corners) > self.room:  # a program keeps the length it was bound with
                self.room = 2 * len(corners)
                self.buffer = gloo.VertexBuffer(np.zeros(self.room, CORNER))
                self.shared_program.bind(self.buffer)
            padded = np.zeros(self.room, CORNER)  # triangles without area
            padded[: len(corners)] = corners
            self.buffer.set_subdata(padded)
            self.update()

        def _prepare_transforms(self, view: Any) -> None:
            view.view_program.vert["transform"] = view.get_transform()

        def _prepare_draw(self, view: Any) -> None:
            return None

        def _compute_bounds(self, axis: int, view: Any) -> None:
            return None

    node = scene.visuals.create_visual_node
    return node(TailsVisual), node(FlatVisual)


def _vertices(rows: NDArray[np.float32]) -> NDArray[np.void]:
    return np.ascontiguousarray(rows).view(VERTEX)[:, 0]


class Overlay:
    """A vispy canvas that draws scenes.

    Parameters
    ----------
    scene : Scene
        The first one; later ones have tails of the same capacity.
    size : (int, int)
        Canvas width and height, pixels.
    app : str
        vispy's backend: "pyside6", "egl" or "osmesa".
    show : bool
        Whether to open a window.
    smooth : int
        Off screen, render so many times finer and average.
    """

    def __init__(
        self,
        scene: Scene,
        size: tuple[int, int] = (1280, 760),
        app: str = "egl",
        *,
        show: bool = False,
        smooth: int = 1,
    ) -> None:
        from vispy import scene as vispy_scene
        from vispy import use

        use(app=app)
        nodes = vispy_scene.visuals
        tails, flat = _visuals()
        self.canvas = vispy_scene.SceneCanvas(
            title="livespt overlay", size=size, bgcolor=panel.BACK, show=show, keys=None, px_scale=smooth
        )
        self.smooth = smooth
        if show:
            self.canvas.native.setMinimumSize(*SMALLEST)
        self.panel, self.keys, self.note = True, False, ""
        self.view = vispy_scene.ViewBox(parent=self.canvas.scene)
        self.view.camera = vispy_scene.PanZoomCamera(aspect=1)
        self.view.camera.flip = (False, True, False)
        inside = self.view.scene
        self.image = nodes.Image(
            np.zeros(scene.image.shape, np.float32),
            parent=inside,
            cmap="grays",
            interpolation="nearest",
            texture_format="auto",
        )
        self.image.set_gl_state("translucent", depth_test=False)
        self.tails = tails(scene.ring, layers.TAIL_PX, parent=inside)
        self.marks = [self._markers(nodes, inside) for _ in range(len(layers.OVER))]
        self.shadows = self._text(nodes, inside, layers.LABEL_PX, "left", True)
        self.labels = self._text(nodes, inside, layers.LABEL_PX, "left", True)
        self.flat = flat(parent=self.canvas.scene)
        self.legend = self._markers(nodes, self.canvas.scene)
        self._texts: dict[tuple[float, str, bool], Any] = {}
        self._nodes = nodes
        order = [self.image, self.tails, *self.marks, self.shadows, self.labels]
        for i, node in enumerate([*order, self.flat, self.legend]):
            node.order = i
        self._shown: NDArray[Any] | None = None
        self._shape = (0, 0)

    def draw(self, scene: Scene) -> None:
        """Upload what changed; the picture follows at the canvas' next draw."""
        self._frame(scene)
        if scene.image is not self._shown:
            self.image.set_data(_drawable(scene.image))
            self._shown = scene.image
        self.image.clim = scene.levels or (0.0, 1.0)
        self.tails.show(scene)
        place = self.place(scene)
        for node, marks in zip(self.marks, layers.overlay(scene, place.zoom), strict=True):
            _fill_markers(node, marks)
        shown = layers.labels(scene, place.zoom)
        shift = 1 / place.zoom
        where = np.array([(label.x, label.y) for label in shown]).reshape(-1, 2)
        words = [label.text for label in shown]
        _fill_text(self.shadows, words, where + shift, [panel.BACK] * len(shown))
        _fill_text(self.labels, words, where, [label.colour for label in shown])
        self._fill_sheet(
            panel.sheet(
                scene, self.canvas.size, place, panel=self.panel, keys=self.keys, note=self.note
            )
        )
        self.canvas.update()

    def fit(self, scene: Scene) -> None:
        """Show the whole image."""
        rows, columns = scene.image.shape
        self.view.camera.rect = (-0.5, -0.5, columns, rows)

    def place(self, scene: Scene) -> panel.Place:
        """Return where the image lies on the canvas."""
        transform = self.image.get_transform("visual", "canvas")
        (left, top), (right, _) = transform.map([(0, 0), (scene.image.shape[1], 0)])[:, :2]
        return panel.Place(float(left), float(top), float(right - left) / scene.image.shape[1])

    def picture(self) -> NDArray[np.uint8]:
        """Return the canvas as RGB (height, width, 3), physical pixels over `smooth`."""
        fine, n = self.canvas.render(alpha=False), self.smooth
        height, width = fine.shape[0] // n, fine.shape[1] // n
        blocks = fine[: height * n, : width * n].reshape(height, n, width, n, 3)
        mean: NDArray[np.uint8] = (blocks.sum(axis=(1, 3), dtype=np.uint16) // n**2).astype(np.uint8)
        return mean

    def close(self) -> None:
        """Close the canvas."""
        self.canvas.close()

    def _frame(self, scene: Scene) -> None:
        """Place the view; fit an image of a new shape."""
        x, y, width, height = panel.view(scene, self.canvas.size, self.panel)
        self.view.pos, self.view.size = (x, y), (width, height)
        if scene.image.shape != self._shape:
            self._shape = scene.image.shape
            self.fit(scene)

    def _fill_sheet(self, sheet: panel.Sheet) -> None:
        self.flat.show(_corners(sheet))
        stacked = [np.concatenate(parts) for parts in zip(*sheet.marks, strict=True)]
        _fill_markers(self.legend, Marks(*stacked) if stacked else layers.NONE)
        groups: dict[tuple[float, str, bool], list[panel.Text]] = {k: [] for k in self._texts}
        for text in sheet.texts:
            groups.setdefault((text.size, text.align, text.bold), []).append(text)
        for key, texts in groups.items():
            if key not in self._texts:
                self._texts[key] = self._text(self._nodes, self.canvas.scene, *key)
                self._texts[key].order = 100
            where = np.array([(text.x, text.y) for text in texts]).reshape(-1, 2)
            words = [text.text for text in texts]
            _fill_text(self._texts[key], words, where, [text.colour for text in texts])

    def _markers(self, nodes: Any, parent: Any) -> Any:
        node = nodes.Markers(pos=np.zeros((1, 2)), size=0)  # data before parent: bounds need them
        node.set_gl_state("translucent", depth_test=False)
        node.parent = parent
        return node

    def _text(self, nodes: Any, parent: Any, pixels: float, align: str, bold: bool) -> Any:
        points = pixels * 72 / self.canvas.dpi
        return nodes.Text(
            [], font_size=points, bold=bold, anchor_x=align, anchor_y="baseline", parent=parent
        )


def _drawable(image: NDArray[Any]) -> NDArray[Any]:
    """Return the image in a type that a texture holds."""
    return image if image.dtype in (np.uint8, np.uint16) else image.astype(np.float32)


def _fill_markers(node: Any, marks: Marks) -> None:
    node.visible = len(marks.xy) > 0
    if node.visible:
        cross = marks.symbol == layers.SYMBOLS.index("x")  # vispy outlines the strokes of an x
        width = np.where(cross, 0, marks.width)
        face = np.where(cross[:, None], marks.edge, marks.face)
        symbols = np.array(layers.SYMBOLS)[marks.symbol]
        node.set_data(marks.xy, marks.size, width, None, marks.edge, face, symbols)


def _fill_text(node: Any, words: list[str], where: NDArray[Any], colours: list[str]) -> None:
    node.visible = len(words) > 0
    if node.visible:
        if node.text != words:
            node.text = words
        node.color, node.pos = colours, where


def _corners(sheet: panel.Sheet) -> NDArray[np.void]:
    """Return boxes and paths as triangles: three CORNER rows each, in drawing order."""
    quads: list[NDArray[Any]] = []
    colours: list[panel.Colour] = []
    for box in sheet.boxes:
        right, bottom = box.x + box.width, box.y + box.height
        quads.append(np.array([(box.x, box.y), (right, box.y), (right, bottom), (box.x, bottom)]))
        colours.append(box.colour)
    for path in sheet.paths:
        for quad in _strokes(path.points, path.width):
            quads.append(quad)
            colours.append(path.colour)
    out = np.zeros(6 * len(quads), CORNER)
    if quads:
        out["a_pos"] = np.stack(quads)[:, (0, 1, 2, 0, 2, 3)].reshape(-1, 2)
        out["a_colour"] = np.repeat(np.array(colours, np.float32), 6, axis=0)
    return out


def _strokes(points: NDArray[np.float32], width: float) -> Iterable[NDArray[Any]]:
    """Return a quad (4, 2) for each piece of a line, lengthened to close the joints."""
    step = np.diff(points.astype(np.float64), axis=0)
    along = step / np.maximum(np.hypot(*step.T), 1e-9)[:, None] * width / 2
    across = np.stack([-along[:, 1], along[:, 0]], axis=1)
    begin, end = points[:-1] - along / 2, points[1:] + along / 2
    quads: NDArray[Any] = np.stack(
        [begin + across, end + across, end - across, begin - across], axis=1
    )
    return quads
