"""Drawing: the one layout that every renderer places."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import livespt.tools.overlay.drawing as drawing
from build import make_start
from livespt.tools.overlay.drawing import LAYERS, Visibility, make_drawing
from livespt.tools.overlay.scene import Scene
from livespt.tools.overlay.sheet import image_place

SIZE = (900, 600)
RENDERERS = ("canvas", "picture")
# what decides what there is to see; a renderer may only ask where the image lies
DECIDING = {"make_sheet", "overlay", "labels", "heads", "rings", "flashes", "selection"}


@pytest.fixture
def scene() -> Scene:
    return Scene(make_start((64, 96)))


def test_what_is_hidden_is_not_in_the_drawing(scene: Scene) -> None:
    place = image_place(scene, SIZE)
    full = make_drawing(scene, SIZE, place)
    assert full.tails is scene and full.sheet.boxes and full.image is scene.image
    bare = make_drawing(scene, SIZE, place, Visibility(panel=False, hidden=frozenset(LAYERS)))
    assert bare.tails is None and bare.labels == ([], []) and not len(bare.marks.xy)
    assert bare.view[2] == SIZE[0] > full.view[2]
    noted = make_drawing(scene, SIZE, place, Visibility(note="no signal"))
    assert any("no signal" in text.text for text in noted.sheet.texts)
    assert len(make_drawing(scene, SIZE, place, Visibility(keys=True)).sheet.texts) > len(
        full.sheet.texts
    )


@pytest.mark.parametrize("name", RENDERERS)
def test_a_renderer_decides_nothing(name: str) -> None:
    path = Path(drawing.__file__).with_name(f"{name}.py")
    used = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            used |= {alias.name for alias in node.names}
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            used |= {node.attr} if node.value.id == "layers" else set()
    assert "make_drawing" in used and not used & DECIDING
