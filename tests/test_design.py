"""The design, read from the files: arrows, flat folders, light imports, a wheel that is whole."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import livespt.stream

ROOT = Path(__file__).resolve().parents[1]
ORDER = ("stream", "models", "acquisition", "tools")  # each may import what stands before it
# all that stream may import beside Python and itself; the last two are codecs that zarr itself uses
ENGINE = {"numpy", "numba", "zarr", "zmq", "numcodecs", "google_crc32c"}
HEAVY = ("torch", "onnxruntime", "pycromanager", "vispy", "PySide6", "matplotlib", "pandas")
TOP = {
    "pyproject.toml", "README.md", "stream", "models", "acquisition", "tests", "tools", "docs",
    "LICENSE", "CHANGELOG.md", "CITATION.cff",
}  # fmt: skip
ROOMS = {"tools/bench"}  # folders inside the four
SOURCES = sorted(p for folder in ORDER for p in (ROOT / folder).rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Dotted names that a file imports anywhere."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_imports_point_down(path: Path) -> None:
    folder = path.relative_to(ROOT).parts[0]
    allowed = ORDER[: ORDER.index(folder) + 1]
    for name in imports(path):
        parts = name.split(".")
        assert parts[0] not in ORDER, f"{path.name} imports {name}: only livespt.* exists"
        if parts[0] == "livespt":
            assert parts[1] in allowed, f"{path.name} imports {name}: arrows point down"
        elif folder == "stream":
            known = parts[0] in ENGINE or parts[0] in sys.stdlib_module_names
            assert known, f"stream/{path.name} imports {name}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_a_file_says_what_it_owns(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), f"{path} has no docstring"
    assert len(path.read_text().splitlines()) <= 400, f"{path} is more than one noun"


def test_folders_are_flat_and_nothing_else_lies_at_the_top() -> None:
    for folder in ORDER:
        inner = [p for p in (ROOT / folder).rglob("*") if p.is_dir() and p.name != "__pycache__"]
        rooms = {p.relative_to(ROOT).as_posix() for p in inner}
        assert rooms <= ROOMS, f"{rooms - ROOMS}: a subfolder would be missing from the wheel"
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.splitlines()
    top = {name.split("/")[0] for name in listed if not name.startswith(".")}
    assert top <= TOP, top - TOP


def test_importing_a_folder_imports_nothing_heavy() -> None:
    paths = [p.relative_to(ROOT).with_suffix("").parts for p in SOURCES if p.stem != "__init__"]
    modules = [".".join(("livespt", *parts)) for parts in paths if parts[0] != "models"]
    code = f"import sys\nfor m in {modules!r}: __import__(m)\n"
    code += f"print([h for h in {HEAVY!r} if h in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


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
