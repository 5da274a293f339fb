"""Overlay: the picture itself, by vispy (one canvas for all tests) and by matplotlib."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from build import make_frame, make_start, make_update
from livespt.stream.types import EVENT, KINDS, MOTIONS, SPOT, STATE
from livespt.tools.overlay import layers, sheet
from livespt.tools.overlay.canvas import Overlay, render_scene
from livespt.tools.overlay.drawing import Visibility
from livespt.tools.overlay.opengl import (
    FORCE,
    PACKAGES,
    OpenGL,
    _try,
    no_screen,
    opengl,
    opengl_backend,
)
from livespt.tools.overlay.picture import picture
from livespt.tools.overlay.primitives import STATUS
from livespt.tools.overlay.scene import Scene

SIZE = (1000, 600)
START = make_start((100, 120), run="run1", mode="live")
TAIL, CAPACITY = 20, 512


def build(
    frames: int, *, shape: tuple[int, int] = (100, 120), p: float = 0.0, flash: bool = False
) -> Scene:
    """Four tracks on black, one in each motion, that go right by a pixel a frame for 60 frames."""
    scene = Scene(START, tail=TAIL, capacity=CAPACITY)
    ids = np.arange(len(MOTIONS))
    for t in range(frames):
        spots = np.zeros(len(ids), SPOT)
        spots["track"] = ids + 4 * (t // 60)  # new tracks: nothing joins the end to the beginning
        spots["frame"], spots["y"], spots["x"] = t, 20 + 20 * ids, 20 + t % 60
        states = np.zeros(len(ids), STATE)
        states["track"], states["frame"], states["state"] = spots["track"], t, ids
        states["p_uncoated"] = p
        events = np.zeros(int(flash and t == frames - 3), EVENT)
        events["kind"], events["track"] = KINDS.index("uncoating"), spots["track"][1]
        frame = make_frame(t, image=np.zeros(shape, np.uint16))
        scene.add(make_update(frame, spots, states, events), frame.image)
    return scene


@pytest.fixture(scope="module")
def overlay() -> Iterator[Overlay]:
    """The one canvas: each costs memory that is never given back."""
    way = opengl()
    if way.backend is None:
        pytest.skip(f"no OpenGL ({way.reason}); Debian: apt-get install {PACKAGES}")
    made = Overlay(Scene(START, tail=TAIL, capacity=CAPACITY), SIZE, way.prepare())
    yield made
    made.close()


def drawn(overlay: Overlay, scene: Scene) -> NDArray[np.uint8]:
    """What the shared canvas shows of a scene it has not seen before."""
    scene.changed = [(0, scene.capacity)]
    overlay.draw(scene)
    overlay.set_view(scene)
    overlay.draw(scene)
    return overlay.picture()


def at(image: NDArray[np.uint8], scene: Scene, y: float, x: float, reach: int = 2) -> NDArray:
    """The brightest colour (3,) around an image position."""
    place = sheet.image_place(scene, SIZE)
    row = round(place.y + (y + 0.5) * place.zoom)
    column = round(place.x + (x + 0.5) * place.zoom)
    near = image[row - reach : row + reach + 1, column - reach : column + reach + 1].reshape(-1, 3)
    return near[near.sum(axis=1).argmax()].astype(int)


def hue_is(seen: NDArray, colour: str) -> bool:
    """Whether a colour on black is a shade of `colour`."""
    want = np.array(layers.rgba(colour)[:3])
    length = np.linalg.norm(seen) * np.linalg.norm(want)
    return bool(seen.max() > 40 and seen @ want > 0.985 * length)


@pytest.mark.parametrize("renderer", ["vispy", "matplotlib"])
def test_tails_lie_over_the_image_in_the_colour_of_their_state(
    renderer: str, overlay: Overlay
) -> None:
    scene = build(50)
    image = drawn(overlay, scene) if renderer == "vispy" else picture(scene, SIZE)
    for i, y in enumerate((20, 40, 60, 80)):
        near, far = at(image, scene, y, 62), at(image, scene, y, 53)
        assert hue_is(near, layers.PALETTE[i])
        assert near.sum() > 1.3 * far.sum() > 60  # fades
        assert at(image, scene, y, 45).sum() < 30  # gone after TAIL frames


def test_nothing_is_drawn_where_nothing_is(overlay: Overlay) -> None:
    """Half-expired segments would leave faint diagonals."""
    scene = build(150)  # the ring went round: tails of ended tracks expired
    image = drawn(overlay, scene).astype(int)
    place = sheet.image_place(scene, SIZE)
    top, bottom = round(place.y + 26 * place.zoom), round(place.y + 35 * place.zoom)
    left, right = round(place.x + 30 * place.zoom), round(place.x + 80 * place.zoom)
    assert image[top:bottom, left:right].max() <= 2
    assert at(image, scene, 20, 44).sum() > 60  # while the tails are there


def test_both_renderers_draw_the_same_picture(overlay: Overlay) -> None:
    scene = build(50, p=0.9, flash=True)
    scene.selected = 2
    ours, theirs = (
        image.astype(float).mean(axis=2) for image in (drawn(overlay, scene), picture(scene, SIZE))
    )
    assert ours.shape == theirs.shape == (SIZE[1], SIZE[0])

    def coarse(image: NDArray[np.float64]) -> NDArray[np.float64]:
        return image.reshape(SIZE[1] // 10, 10, SIZE[0] // 10, 10).mean(axis=(1, 3))

    assert np.corrcoef(coarse(ours).ravel(), coarse(theirs).ravel())[0, 1] > 0.97


@pytest.mark.parametrize("renderer", ["vispy", "matplotlib"])
def test_uncoating_shows_as_a_ring_and_an_event_as_a_larger_one(
    renderer: str, overlay: Overlay
) -> None:
    def yellow(scene: Scene) -> int:
        image = drawn(overlay, scene) if renderer == "vispy" else picture(scene, SIZE)
        part = image[:, : sheet.view(scene, SIZE)[2]].astype(int)
        want = np.array(layers.rgba(layers.UNCOATED)[:3]) * 255
        return int((np.abs(part - want).max(axis=2) < 60).sum())

    none, ring, event = yellow(build(50)), yellow(build(50, p=0.95)), yellow(build(50, flash=True))
    assert none < 20 < 100 < ring
    assert event > 50


def test_layers_can_be_hidden(overlay: Overlay) -> None:
    scene = build(50, p=0.9, flash=True)
    full = drawn(overlay, scene)
    width = sheet.view(scene, SIZE)[2]
    light = [int(full[:, :width].sum())]
    try:
        for key in ("t", "u", "m", "l"):
            overlay.toggle(key)
            overlay.draw(scene)
            light.append(int(overlay.picture()[:, :width].sum()))
        assert all(np.diff(light) < 0)
        overlay.toggle("p")
        overlay.draw(scene)
        assert overlay.view.size[0] == SIZE[0]
        overlay.switch_key_map(True)
        overlay.draw(scene)
        assert overlay.picture().shape == (SIZE[1], SIZE[0], 3)
    finally:
        overlay.visibility = Visibility()
    assert np.array_equal(drawn(overlay, scene), full)


def test_an_empty_scene_and_images_of_any_kind_draw(overlay: Overlay) -> None:
    drawn(overlay, Scene(START, tail=TAIL, capacity=CAPACITY))
    ramp = np.linspace(0, 200, 90 * 40).reshape(90, 40)
    means = []
    for dtype in ("u1", "<u2", "<f4"):
        scene = build(1)
        scene.heads, scene.levels = scene.heads[:0], None
        scene.add(make_update(make_frame(1)), ramp.astype(dtype))
        image = drawn(overlay, scene)
        x, y, zoom = sheet.image_place(scene, SIZE)
        assert abs(overlay.place(scene).zoom - zoom) < 0.01 * zoom
        inside = image[round(y) + 60 : round(y + 90 * zoom) - 80, round(x) : round(x + 40 * zoom)]
        means.append(inside.mean())
        assert inside[-20:].mean() > inside[:20].mean() + 60
    assert np.ptp(means) < 3


@pytest.mark.parametrize("renderer", ["vispy", "matplotlib"])
def test_a_pixel_is_drawn_around_its_integer_place(renderer: str, overlay: Overlay) -> None:
    scene, black = Scene(START, tail=TAIL, capacity=CAPACITY), np.zeros((60, 60), np.uint8)
    black[40, 33] = 255
    scene.add(make_update(make_frame(0)), black)
    scene.levels = (0.0, 255.0)
    image = drawn(overlay, scene) if renderer == "vispy" else picture(scene, SIZE)
    part = image[: SIZE[1] - STATUS, : sheet.view(scene, SIZE)[2]].min(axis=2) > 250
    x, y, zoom = sheet.image_place(scene, SIZE)
    part[: round(y + 10 * zoom)] = part[round(y + 45 * zoom) :] = False  # time stamp, scale bar
    rows, columns = np.nonzero(part)
    assert len(rows) == pytest.approx(zoom**2, rel=0.25)
    assert rows.mean() + 0.5 == pytest.approx(y + 40.5 * zoom, abs=0.6)
    assert columns.mean() + 0.5 == pytest.approx(x + 33.5 * zoom, abs=0.6)


def test_zoom_changes_the_place_and_not_the_panel(overlay: Overlay) -> None:
    scene = build(50)
    before = drawn(overlay, scene)
    fitted = overlay.place(scene)
    width = sheet.view(scene, SIZE)[2]
    overlay.view.camera.zoom(0.5, center=(60, 50))
    overlay.draw(scene)
    place = overlay.place(scene)
    assert place.zoom == pytest.approx(2 * fitted.zoom, rel=1e-3)
    after = overlay.picture()
    assert np.array_equal(before[:, width + 5 :], after[:, width + 5 :])
    assert not np.array_equal(before[:, :width], after[:, :width])


def test_a_scene_without_opengl_is_drawn_by_matplotlib_which_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FORCE, "none")
    assert opengl_backend() is None
    how = render_scene(build(5), tmp_path / "a.png")
    assert how.startswith("matplotlib: no OpenGL") and f"{FORCE}=none" in how
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_a_backend_that_fails_says_why() -> None:
    assert "nonsense" in _try("nonsense", {}).lower()


def test_no_window_without_a_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    if not no_screen():
        pytest.skip("this system has a screen without DISPLAY")
    assert opengl(window=True) == OpenGL(None, {}, no_screen())
