"""Canvas: a scene drawn by vispy, in a window or off screen."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.stream.store.run import open_run
from livespt.tools.overlay import layers
from livespt.tools.overlay.layers import Marks
from livespt.tools.overlay.opengl import PACKAGES, opengl
from livespt.tools.overlay.picture import picture, write_png
from livespt.tools.overlay.player import scene_at
from livespt.tools.overlay.primitives import BACK, ImagePlace, Sheet, Text
from livespt.tools.overlay.scene import Scene
from livespt.tools.overlay.sheet import make_sheet, view
from livespt.tools.overlay.visuals import corners, visuals

SIZE = (1280, 760)  # canvas, pixels
SMALLEST = (640, 420)  # window; vispy fails on a view without pixels
SMOOTH = 2  # a picture is rendered so many times finer

LAYERS = "tmul"  # keys of what can be hidden: tails, markers, uncoating, labels

Draw = Callable[[Scene], NDArray[np.uint8]]  # to RGB (height, width, 3)


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
        size: tuple[int, int] = SIZE,
        app: str = "egl",
        *,
        show: bool = False,
        smooth: int = 1,
    ) -> None:
        from vispy import scene as vispy_scene, set_log_level, use
        from vispy.visuals.text.text import FontManager
        from vispy.visuals.transforms import STTransform

        set_log_level("error")  # warnings of its own surroundings, which the picture disproves
        use(app=app)
        nodes = vispy_scene.visuals
        tails, flat = visuals()
        self.canvas = vispy_scene.SceneCanvas(
            title="livespt overlay",
            size=size,
            bgcolor=BACK,
            show=show,
            keys=None,
            px_scale=smooth,
        )
        self.smooth = smooth
        if show:
            self.canvas.native.setMinimumSize(*SMALLEST)
        self._fonts = FontManager()  # one for all texts: it draws every letter once, slowly
        self.panel, self.keys, self.note = True, False, ""
        self.hidden: set[str] = set()
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
        # vispy begins the first pixel at 0; here its centre is 0
        self.image.transform = STTransform(translate=(-0.5, -0.5))
        self.tails = tails(scene.ring, parent=inside)
        self.marks = self._markers(nodes, inside)
        self.shadows = self._text(nodes, inside, layers.LABEL_PX, "left", True)
        self.labels = self._text(nodes, inside, layers.LABEL_PX, "left", True)
        self.flat = flat(parent=self.canvas.scene)
        self.legend = self._markers(nodes, self.canvas.scene)
        self._texts: dict[tuple[float, str, bool], Any] = {}
        self._nodes = nodes
        order = [self.image, self.tails, self.marks, self.shadows, self.labels]
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
        place = self.place(scene)
        self.tails.show(scene, layers.tail_width(place.zoom))
        self.tails.visible = "t" not in self.hidden
        _fill_markers(self.marks, layers.overlay(scene, place.zoom, "".join(self.hidden)))
        shown = [] if "l" in self.hidden else layers.labels(scene, place.zoom)
        shift = 1 / place.zoom
        where = np.array([(label.x, label.y) for label in shown]).reshape(-1, 2)
        words = [label.text for label in shown]
        _fill_text(self.shadows, words, where + shift, [BACK] * len(shown))
        _fill_text(self.labels, words, where, [label.colour for label in shown])
        self._fill_sheet(
            make_sheet(
                scene, self.canvas.size, place, panel=self.panel, keys=self.keys, note=self.note
            )
        )
        self.canvas.update()

    def toggle(self, key: str) -> None:
        """Show or hide the layer that a key stands for."""
        if key == "p":
            self.panel = not self.panel
        elif key in LAYERS:
            self.hidden ^= {key}

    def shown(self) -> tuple[bool, ...]:
        """Return what can be switched: panel, key map and layers."""
        return (self.panel, self.keys, *(key in self.hidden for key in LAYERS))

    def fit(self, scene: Scene) -> None:
        """Show the whole image."""
        rows, columns = scene.image.shape
        self.view.camera.rect = (-0.5, -0.5, columns, rows)

    def place(self, scene: Scene) -> ImagePlace:
        """Return where the image lies on the canvas."""
        transform = self.image.get_transform("visual", "canvas")
        (left, top), (right, _) = transform.map([(0, 0), (scene.image.shape[1], 0)])[:, :2]
        return ImagePlace(float(left), float(top), float(right - left) / scene.image.shape[1])

    def picture(self) -> NDArray[np.uint8]:
        """Return the canvas as RGB (height, width, 3), physical pixels over `smooth`."""
        fine, n = self.canvas.render(alpha=False), self.smooth
        height, width = fine.shape[0] // n, fine.shape[1] // n
        fine = fine[: height * n, : width * n].astype(np.uint16)
        parts = [fine[i::n, j::n] for i in range(n) for j in range(n)]
        mean: NDArray[np.uint8] = (sum(parts[1:], parts[0]) // n**2).astype(np.uint8)
        return mean

    def close(self) -> None:
        """Close the canvas."""
        self.canvas.close()

    def _frame(self, scene: Scene) -> None:
        """Place the view; fit an image of a new shape."""
        x, y, width, height = view(scene, self.canvas.size, self.panel)
        self.view.pos, self.view.size = (x, y), (width, height)
        if scene.image.shape != self._shape:
            self._shape = scene.image.shape
            self.fit(scene)

    def _fill_sheet(self, sheet: Sheet) -> None:
        self.flat.show(corners(sheet))
        if sheet.marks:
            _fill_markers(self.legend, layers.stack(sheet.marks))
        self.legend.visible = bool(sheet.marks)
        groups: dict[tuple[float, str, bool], list[Text]] = {k: [] for k in self._texts}
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
            [],
            font_size=points,
            bold=bold,
            anchor_x=align,
            anchor_y="baseline",
            font_manager=self._fonts,
            parent=parent,
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


def render_run(run_path: Path | str, out_png: Path | str, frame: int | None = None) -> str:
    """Draw a stored run into a PNG; return how: 'vispy egl', or 'matplotlib: why'."""
    return render_scene(scene_at(open_run(run_path), frame), Path(out_png))


def render_scene(scene: Scene, path: Path) -> str:
    """Draw a scene into a PNG; return how."""
    with drawer(scene, SMOOTH) as (draw, how):
        write_png(path, draw(scene))
    return how


@contextmanager
def drawer(scene: Scene, smooth: int) -> Iterator[tuple[Draw, str]]:
    """Give the best way to draw here, and its name: vispy, or matplotlib and the reason."""
    way = opengl()
    if way.backend is None:
        advice = f"; the vispy overlay needs {PACKAGES} (apt)" if sys.platform == "linux" else ""
        yield (lambda scene: picture(scene, SIZE)), f"matplotlib: no OpenGL: {way.reason}{advice}"
        return
    backend = way.prepare()
    overlay = Overlay(scene, SIZE, backend, smooth=smooth)

    def draw(scene: Scene) -> NDArray[np.uint8]:
        overlay.draw(scene)
        return overlay.picture()

    try:
        yield draw, f"vispy {backend}"
    finally:
        overlay.close()
