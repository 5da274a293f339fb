"""Two visuals that vispy does not have: fading tails, and flat boxes and lines.

Tails are one vertex buffer that mirrors `Scene.ring`. A frame uploads only its own segments, and
the shader fades all of them by age, so the cost does not depend on the length of the tails.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.tools.overlay import layers
from livespt.tools.overlay.primitives import Colour, Sheet
from livespt.tools.overlay.scene import Scene

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
def visuals() -> tuple[Any, Any]:
    """Return the node classes of tails and of flat triangles; made here, since vispy is heavy."""
    from vispy import gloo, scene
    from vispy.visuals import Visual

    class TailsVisual(Visual):
        def __init__(self, ring: NDArray[np.float32]) -> None:
            super().__init__(vcode=TAIL_VERTEX, fcode=TAIL_FRAGMENT)
            self.width = 1.0
            self.buffer = gloo.VertexBuffer(_vertices(ring))
            self.shared_program.bind(self.buffer)
            for i, colour in enumerate(layers.COLOURS):
                self.shared_program[f"u_pal{i}"] = tuple(map(float, colour))
            self.shared_program["u_now"], self.shared_program["u_len"] = 0.0, 1.0
            self._draw_mode = "lines"
            self.set_gl_state("translucent", depth_test=False)

        def show(self, tails: Scene, width: float) -> None:
            self.width = width
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

    class FlatVisual(Visual):
        def __init__(self) -> None:
            super().__init__(vcode=FLAT_VERTEX, fcode=TAIL_FRAGMENT)
            self.buffer: Any = None
            self.room = 0
            self._grow(3)
            self._draw_mode = "triangles"
            self.set_gl_state("translucent", depth_test=False, cull_face=False)

        def show(self, corners: NDArray[np.void]) -> None:
            if len(corners) > self.room:
                self._grow(2 * len(corners))
            padded = np.zeros(self.room, CORNER)  # triangles without area
            padded[: len(corners)] = corners
            self.buffer.set_subdata(padded)
            self.update()

        def _grow(self, room: int) -> None:
            """Bind a new buffer: a program keeps the length it was bound with."""
            self.room, self.buffer = room, gloo.VertexBuffer(np.zeros(room, CORNER))
            self.shared_program.bind(self.buffer)

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


def corners(sheet: Sheet) -> NDArray[np.void]:
    """Return boxes and paths as triangles: three CORNER rows each, in drawing order."""
    quads: list[NDArray[Any]] = []
    colours: list[Colour] = []
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
