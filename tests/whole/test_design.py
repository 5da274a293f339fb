"""The design, read from the files: arrows, rooms, light imports, a wheel that is whole."""

from __future__ import annotations

import ast
import graphlib
import importlib
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections import Counter
from pathlib import Path

import pytest

import livespt.stream
from livespt import tools
from livespt.tools.architecture import (
    FREE,
    ORDER,
    ROOT,
    imported,
    imports,
    module,
    modules,
    name_of,
    picture,
    room_of,
    rooms,
    sources,
    tree,
)

# all that stream may import beside Python and itself; numcodecs and google_crc32c are codecs that
# zarr itself uses
ENGINE = {"numpy", "numba", "zarr", "zmq", "numcodecs", "google_crc32c", "platformdirs"}
HEAVY = ("torch", "onnxruntime", "pycromanager", "vispy", "PySide6", "matplotlib", "pandas")
TOP = {
    "pyproject.toml", "README.md", "stream", "models", "acquisition", "tests", "tools", "docs",
    "LICENSE", "CHANGELOG.md", "CITATION.cff", "findings",
}  # fmt: skip
LONGEST = 350  # lines of a file, which is one noun
ROOM = range(3, 21)  # files of a room, its door aside
# Rooms, and files beside them, and what each may import: a top folder stands for all that is in it.
# What stands in FREE may be imported by everyone.
ARROWS: dict[str, set[str]] = {
    "stream/types": set(),
    "stream/errors": set(),
    "stream/compiled": set(),
    "stream/settings": set(),
    "stream/windows": set(),
    "stream/frame_times": set(),
    "stream/frame_quality": set(),
    "stream/descriptions": {"stream/frame_quality"},
    "stream/degradation": set(),
    "stream/states": {"stream/windows"},
    "stream/decisions": {"stream/settings", "stream/states", "stream/windows"},
    "stream/link": {"stream/settings", "stream/windows"},
    "stream/analyzer": {
        "stream/decisions", "stream/degradation", "stream/frame_quality", "stream/link",
        "stream/sample", "stream/settings", "stream/states",
    },
    "stream/timing": set(),
    "stream/pipeline": {"stream/analyzer", "stream/timing"},
    "stream/host": set(),
    "stream/ring": {"stream/host"},
    "stream/store": {"stream/descriptions", "stream/frame_times", "stream/host"},
    "stream/wire": {"stream/degradation", "stream/descriptions", "stream/store"},
    "stream/recovery": {
        "stream/analyzer", "stream/descriptions", "stream/link", "stream/store",
    },
    "stream/sample": {"stream/settings", "stream/windows"},
    "stream/notices": {"stream/degradation", "stream/frame_quality", "stream/frame_times"},
    "stream/sources": {
        "stream/degradation", "stream/frame_times", "stream/recovery", "stream/ring",
        "stream/timing",
    },
    "stream/sinks": {"stream/notices", "stream/recovery", "stream/store", "stream/wire"},
    "models/runtime": set(),
    "models/optics": set(),
    "models/simulate": {"models/optics"},
    "models/render": {"models/optics", "models/simulate"},
    "models/localize": {"models/optics", "models/runtime"},
    "models/motion": {"models/runtime", "stream/windows"},
    "models/fingerprint": {"models/motion", "models/runtime", "stream/windows"},
    "models/networks": {"models/motion", "models/optics", "models/runtime"},
    "models/infer": {"models/fingerprint", "models/motion"},
    "acquisition/microscope": {"stream"},
    "acquisition/recordings": {"stream/frame_times", "stream/store"},
    "acquisition/simulated": {"models/optics", "models/simulate"},
    "tools/overlay": {"stream", "tools/progress"},
    "tools/listen": {"stream"},
    "tools/score": {"acquisition/simulated", "models", "stream/link"},
    "tools/runs": {"acquisition", "models", "stream", "tools/progress"},
    "tools/chaos": {"acquisition", "models", "stream", "tools/runs"},
    "tools/tables": {"models", "stream", "tools/runs"},
    "tools/labels": {"models", "stream", "tools/tables"},
    "tools/train": {
        "models", "stream", "tools/labels", "tools/progress", "tools/runs", "tools/score",
        "tools/tables",
    },
    "tools/train_localizer": {
        "acquisition/recordings", "models", "tools/progress", "tools/score", "tools/train",
    },
    "tools/evaluate": {  # the whole chain, as runs are made, on recorded and simulated movies
        "acquisition/recordings", "acquisition/simulated", "models", "stream", "tools/progress",
        "tools/runs", "tools/score", "tools/tables", "tools/train",
    },
    "tools/evaluate_localizer": {
        "acquisition/recordings", "models", "stream", "tools/progress", "tools/score",
        "tools/train_localizer",
    },
    "tools/demo": {"acquisition", "models", "stream", "tools/overlay", "tools/runs", "tools/score"},
    "tools/doctor": {"acquisition", "models", "stream", "tools/overlay", "tools/runs"},
    "tools/architecture": set(),
    "tools/progress": set(),
    "tools/napari_reader": {"stream", "tools/tables"},
    "tools/warm_up": {"stream", "tools/runs", "tools/tables"},
    "tools/bench": {
        "acquisition", "models", "stream", "tools/overlay", "tools/progress", "tools/runs",
    },
    "tools/conformance": {"acquisition/recordings", "stream"},
    "tools/cli": {"acquisition", "models", "stream", "tools"},
}  # fmt: skip
# what the engine does between a frame and its update is pure: the same frames, the same bytes
PURE = {
    "stream/types", "stream/errors", "stream/windows", "stream/frame_quality",
    "stream/frame_times",
    "stream/descriptions", "stream/degradation", "stream/states", "stream/decisions",
    "stream/settings", "stream/link", "stream/analyzer", "stream/notices", "stream/sample",
}  # fmt: skip
EFFECTS = {
    "asyncio", "multiprocessing", "os", "pathlib", "random", "select", "shutil", "socket",
    "subprocess", "tempfile", "threading", "time", "zarr", "zmq",
}  # fmt: skip
# libraries that one room alone imports
OWNERS = {"click": "tools/cli", "vispy": "tools/overlay", "PySide6": "tools/overlay"}
SOURCES = sources()
MODULES = modules()


def floor(path: Path) -> str:
    """Return the top folder of a file."""
    return path.relative_to(ROOT).parts[0]


def at_module_level(path: Path) -> set[str]:
    """Packages that importing a file imports: neither in functions nor for the type checker."""
    return {
        name.split(".")[0]
        for node in tree(path).body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else
                     [alias.name for alias in node.names])
    }  # fmt: skip


def for_types_only(path: Path) -> set[tuple[str, str]]:
    """Modules, and names of them, that a file imports for the type checker alone."""
    return {
        (node.module or "", alias.name)
        for block in tree(path).body
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def classes(path: Path) -> list[str]:
    """Public classes that a file defines."""
    body = tree(path).body
    return [n.name for n in body if isinstance(n, ast.ClassDef) and not n.name.startswith("_")]


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_imports_point_down(path: Path) -> None:
    allowed = ORDER[: ORDER.index(floor(path)) + 1]
    for name in imports(path):
        parts = name.split(".")
        assert parts[0] not in ORDER, f"{name_of(path)} imports {name}: only livespt.* exists"
        if parts[0] == "livespt":
            assert parts[1] in allowed, f"{name_of(path)} imports {name}: arrows point down"
        elif floor(path) == "stream":
            known = parts[0] in ENGINE or parts[0] in sys.stdlib_module_names
            assert known, f"{name_of(path)} imports {name}"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_file_says_what_it_owns(path: Path) -> None:
    assert ast.get_docstring(tree(path)), f"{path} has no docstring"
    assert len(path.read_text().splitlines()) <= LONGEST, f"{path} is more than one noun"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_rooms_import_along_the_arrows(path: Path) -> None:
    here = room_of(module(path))
    if here in ORDER:  # the door of a folder; that of tools shows the type checker what it loads
        shown = {name for name, _ in for_types_only(path)} if here == "tools" else set()
        assert imported(path) == {name.removeprefix("livespt.") for name in shown}
        assert at_module_level(path) <= {"__future__", "importlib", "typing"}
        return
    assert here in ARROWS, f"{here} is new: add what it may import to ARROWS"
    for name in imported(path):
        there = room_of(name)
        allowed = {here} | FREE | ARROWS[here]
        assert allowed & {there, there.split("/")[0]}, f"{here} imports {there}: see ARROWS"


def test_the_arrows_are_of_rooms_that_exist_and_turn_no_circle() -> None:
    rooms = {room_of(name) for name in MODULES} - set(ORDER)
    assert set(ARROWS) == rooms
    graph = {
        here: {there for there in rooms if allowed & {there, there.split("/")[0]}} - {here}
        for here, allowed in ARROWS.items()
        if here != "tools/cli"  # imports all, and nobody imports it
    }
    list(graphlib.TopologicalSorter(graph).static_order())


def test_the_picture_in_the_docs_is_that_of_the_code() -> None:
    found = rooms()
    assert {one.name for one in found} == set(ARROWS)
    for index, one in enumerate(found):
        assert one.imports <= {below.name for below in found[index + 1 :]}, f"{one.name} climbs"
    shown = picture()
    assert (
        len(shown.splitlines()) <= 60 and "  pipeline                1  analyzer, timing " in shown
    )
    text = (ROOT / "docs" / "architecture.md").read_text()
    block = text.split("<!-- rooms -->\n")[1].split("<!-- /rooms -->")[0]
    command = "python -m livespt.tools.architecture"
    assert block == f"```\n{shown}\n```\n", f"put in the block what `{command}` prints"


def test_files_import_each_other_in_no_circle() -> None:
    graph = {name: imported(path) - {name} for name, path in MODULES.items()}
    list(graphlib.TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_effects_and_heavy_libraries_stand_where_they_belong(path: Path) -> None:
    here = room_of(module(path))
    packages = {name.split(".")[0] for name in imports(path)}
    if here in PURE:
        assert not packages & EFFECTS, f"{name_of(path)} is pure: {packages & EFFECTS}"
    if here != "models/networks":
        assert "torch" not in at_module_level(path), f"{name_of(path)} loads torch"
    for package, owner in OWNERS.items():
        assert package not in packages or here == owner, f"{name_of(path)} imports {package}"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_names_are_imported_from_where_they_are_made(path: Path) -> None:
    for node in ast.walk(tree(path)):
        if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("livespt."):
            continue
        source = MODULES[(node.module or "").removeprefix("livespt.")]
        if source.stem == "__init__":
            continue
        others = [n for n in tree(source).body if isinstance(n, ast.ImportFrom)]
        borrowed = {alias.asname or alias.name for other in others for alias in other.names}
        again = borrowed & {alias.name for alias in node.names}
        assert not again, f"{name_of(path)}: {again} of {node.module} are another's"


def test_rooms_are_neither_closets_nor_halls() -> None:
    counts = Counter(path.parent for path in SOURCES if path.stem not in ("__init__", "__main__"))
    for folder, count in counts.items():
        if folder.parent != ROOT:
            assert count in ROOM, f"{name_of(folder)} has {count} files: split it by noun"


def test_every_room_has_a_door() -> None:
    for path in SOURCES:
        if path.stem != "__init__" or path.parent.parent == ROOT:
            continue
        doors = [node for node in tree(path).body if isinstance(node, ast.Assign)]
        (shown,) = [ast.literal_eval(node.value) for node in doors]
        inside = {p.stem for p in path.parent.glob("*.py") if not p.stem.startswith("__")}
        inside |= {p.parent.name for p in path.parent.glob("*/__init__.py")}
        assert shown == sorted(shown) and inside <= set(shown), f"{name_of(path)}: {inside}"


def test_a_class_has_one_meaning() -> None:
    counts = Counter(name for path in SOURCES for name in classes(path))
    assert [name for name, count in counts.items() if count > 1] == []


def test_every_room_is_listed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = project["tool"]["setuptools"]["packages"]
    rooms = {
        f"livespt.{name_of(p.parent).replace('/', '.')}" for p in SOURCES if p.stem == "__init__"
    }
    assert len(listed) == len(set(listed))
    assert set(listed) == rooms, "a room that is not listed would be missing from the wheel"
    assert {p.parent / "__init__.py" for p in SOURCES} <= set(SOURCES), "a room without a door"


def test_files_that_the_docs_name_exist() -> None:
    pattern = re.compile(r"`((?:stream|models|acquisition|tools|tests|docs)/[\w/]+\.\w+)`")
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        text = page.read_text("utf-8")
        named = {ROOT / name for name in pattern.findall(text) if "NAME" not in name}
        linked = {page.parent / name for name in re.findall(r"\]\((?!http)([^)#]+)", text)}
        gone = [path for path in named | linked if not path.exists()]
        assert not gone, f"{page.name} names {gone}"


def named_paths(text: str) -> set[str]:
    """Return what stands in backticks in running text and is a file (.py) or a folder of ours.

    A folder is a path below a top folder, `tests/suites`, or a word with a slash at its end,
    `link/`. NAME stands for a name of the reader.
    """
    prose = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    words = [word for word in re.findall(r"`([^`\n]+)`", prose) if "NAME" not in word]
    folders = "|".join((*ORDER, "tests", "docs", "findings"))
    shape = re.compile(rf"[\w/]+\.py|(?:{folders})(?:/\w+)*|\w+/")
    return {word for word in words if shape.fullmatch(word)}


def is_there(name: str) -> bool:
    """Whether a path is there; a file or folder without its path may be anywhere in the code."""
    if "/" in name.rstrip("/") or name in TOP or name in (*ORDER, "findings"):
        return (ROOT / name).exists()
    names = {path.name for path in SOURCES} | {f"{path.parent.name}/" for path in SOURCES}
    return name in names


def test_every_file_and_room_that_the_docs_name_is_there() -> None:
    assert is_there("stream/link") and is_there("link/") and is_there("replay.py")
    assert not any(map(is_there, ("stream/lynk", "lynk/", "replays.py", "models/motion/fast.py")))
    found: set[str] = set()
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        named = named_paths(page.read_text("utf-8"))
        gone = sorted(name for name in named if not is_there(name))
        assert not gone, f"{page.name} names {gone}"
        found |= named
    assert {"link/", "grid.py", "tests/suites", "models/infer.py"} <= found


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) < 150


def test_what_the_docs_import_exists() -> None:
    pattern = re.compile(r"^from (livespt[\w.]*) import (\w+)|`(livespt\.[\w.]+)\.(\w+)\(", re.M)
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for one, name, other, function in pattern.findall(page.read_text("utf-8")):
            module = importlib.import_module(one or other)
            assert hasattr(module, name or function), f"{page.name}: {name or function}"


def test_nothing_else_lies_at_the_top() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.splitlines()
    top = {name.split("/")[0] for name in listed if not name.startswith(".")}
    assert top <= TOP, top - TOP


def test_importing_a_folder_imports_nothing_heavy() -> None:
    names = [
        name_of(p.with_suffix("")) for p in SOURCES if floor(p) != "models" and p.stem != "__main__"
    ]
    modules = [f"livespt.{n.replace('/', '.')}".removesuffix(".__init__") for n in names]
    code = f"import sys\nfor m in {modules!r}: __import__(m)\n"
    code += f"print([h for h in {HEAVY!r} if h in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_door_for_notebooks_loads_a_name_when_it_is_used() -> None:
    shown = for_types_only(ROOT / "tools" / "__init__.py")
    assert tools.__all__ == sorted(name for _, name in shown) == dir(tools)
    assert not {path.parent.name for path in SOURCES} & set(tools.__all__), "a room has the name"
    for place, name in shown:
        assert getattr(tools, name) is getattr(importlib.import_module(place), name)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        tools.nothing  # noqa: B018
    code = "import sys; from livespt import tools; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert [name for name in loaded if name.startswith("livespt.")] == ["livespt.tools"]
    assert not {"numpy", "numba", "zarr", "zmq", "click", *HEAVY} & set(loaded)


def test_the_tests_run_on_this_checkout() -> None:
    assert Path(next(iter(livespt.stream.__path__))).resolve() == ROOT / "stream"


def test_no_pickle_and_no_code_from_models() -> None:
    for path in SOURCES:
        text = path.read_text()
        assert "pickle" not in {name.split(".")[0] for name in imports(path)}, path
        assert "weights_only=False" not in text and "allow_pickle=True" not in text, path


def test_the_wheel_contains_everything(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for folder in ORDER:
        shutil.copytree(
            ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q"]
    subprocess.run([*command, "-w", str(tmp_path), str(source)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    for folder in ORDER:
        for path in (source / folder).rglob("*"):
            name = f"livespt/{path.relative_to(source)}"
            assert path.is_dir() or name in held, f"{name} is missing from the wheel"
