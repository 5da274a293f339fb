"""The overlay: a scene drawn by vispy, in a window or off screen."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.stream.store.run import open_run
from livespt.tools.overlay import layers
from livespt.tools.overlay.drawing import LAYERS, Visibility, make_drawing
from livespt.tools.overlay.layers import Label, Marks
from livespt.tools.overlay.opengl import PACKAGES, opengl
from livespt.tools.overlay.picture import picture, write_png
from livespt.tools.overlay.player import scene_at
from livespt.tools.overlay.primitives import BACK, ImagePlace, Sheet, Text
from livespt.tools.overlay.scene import Scene
from livespt.tools.overlay.sheet import view
from livespt.tools.overlay.visuals import corners, visuals

SIZE = (1280, 760)  # size of the canvas, pixels
SMALLEST = (640, 420)  # least size of the window; vispy fails on a view without pixels
SMOOTH = 2  # factor by which a picture is rendered finer, and then averaged

Draw = Callable[[Scene], NDArray[np.uint8]]  # to RGB (height, width, 3)


class Overlay:
    """A vispy canvas that draws scenes.

    Parameters
    ----------
    scene : Scene
        The first scene; later ones must have tails of the same capacity.
    size : (int, int)
        Canvas width and height, pixels.
    app : str
        vispy's backend: "pyside6", "egl" or "osmesa".
    show : bool
        Whether to open a window.
    smooth : int
        Off screen: factor by which to render finer, and then average.
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

        set_log_level("error")  # vispy warns about its environment although pictures are correct
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
        self._fonts = FontManager()  # shared by all texts, because it renders letters slowly
        self.visibility = Visibility()
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
        # in vispy the first pixel begins at 0; here its centre is 0
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
        """Upload changes; they become visible when the canvas is drawn next."""
        self._frame(scene)
        drawing = make_drawing(scene, self.canvas.size, self.place(scene), self.visibility)
        if drawing.image is not self._shown:
            self.image.set_data(_drawable(drawing.image))
            self._shown = drawing.image
        self.image.clim = drawing.levels
        self.tails.visible = drawing.tails is not None
        if drawing.tails is not None:
            self.tails.show(drawing.tails, drawing.tail_width)
        _fill_markers(self.marks, drawing.marks)
        for node, labels in zip((self.shadows, self.labels), drawing.labels, strict=True):
            _fill_text(node, labels)
        self._fill_sheet(drawing.sheet)
        self.canvas.update()

    def toggle(self, key: str) -> None:
        """Show or hide the layer of a key."""
        if key == "p":
            self.visibility = self.visibility._replace(panel=not self.visibility.panel)
        elif key in LAYERS:
            self.visibility = self.visibility._replace(hidden=self.visibility.hidden ^ {key})

    def switch_key_map(self, shown: bool) -> None:
        """Show or hide the key map."""
        self.visibility = self.visibility._replace(keys=shown)

    def shown(self) -> tuple[bool, ...]:
        """Return which of panel, key map and layers are shown."""
        visibility = self.visibility
        return (visibility.panel, visibility.keys, *(key in visibility.hidden for key in LAYERS))

    def set_view(self, scene: Scene) -> None:
        """Show the whole image."""
        rows, columns = scene.image.shape
        self.view.camera.rect = (-0.5, -0.5, columns, rows)

    def place(self, scene: Scene) -> ImagePlace:
        """Return the position and zoom of the image on the canvas."""
        transform = self.image.get_transform("visual", "canvas")
        (left, top), (right, _) = transform.map([(0, 0), (scene.image.shape[1], 0)])[:, :2]
        return ImagePlace(float(left), float(top), float(right - left) / scene.image.shape[1])

    def picture(self) -> NDArray[np.uint8]:
        """Return the canvas as RGB (height, width, 3), reduced by the factor `smooth`."""
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
        x, y, width, height = view(scene, self.canvas.size, self.visibility.panel)
        self.view.pos, self.view.size = (x, y), (width, height)
        if scene.image.shape != self._shape:
            self._shape = scene.image.shape
            self.set_view(scene)

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
            _fill_text(self._texts[key], texts)

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


def _fill_text(node: Any, texts: Sequence[Label | Text]) -> None:
    node.visible = len(texts) > 0
    if node.visible:
        strings = [text.text for text in texts]
        if node.text != strings:
            node.text = strings
        node.color = [text.colour for text in texts]
        node.pos = np.array([(text.x, text.y) for text in texts])


def render_run(run_path: Path | str, out_png: Path | str, frame: int | None = None) -> str:
    """Draw a stored run into a PNG; return the renderer: 'vispy egl', or 'matplotlib: REASON'."""
    return render_scene(scene_at(open_run(run_path), frame), Path(out_png))


def render_scene(scene: Scene, path: Path) -> str:
    """Draw a scene into a PNG; return the renderer."""
    with drawer(scene, SMOOTH) as (draw, how):
        write_png(path, draw(scene))
    return how


@contextmanager
def drawer(scene: Scene, smooth: int) -> Iterator[tuple[Draw, str]]:
    """Yield the best renderer on this computer and its name: vispy, or matplotlib and why."""
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
