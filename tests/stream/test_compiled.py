"""Compiled code that is kept: never stale, and no more compiled than is needed."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest

from livespt.stream import compiled

INNER = """
from livespt.stream.compiled import njit
from livespt.stream.constants import OFFSET

@njit()
def scale(x):
    return {factor} * x + OFFSET
"""
OUTER = """
from livespt.stream.compiled import njit
from livespt.stream import (
    inner,
)

@njit()
def twice(x):
    return inner.scale(x) + inner.scale(x)
"""
ASK = """
from livespt.stream.outer import twice
answer = twice(1.0)
print(answer, sum(twice.stats.cache_hits.values()))
"""


def build(root: Path, factor: float, offset: float = 0.0) -> Path:
    """Write a small livespt: a function that calls one of another file, which reads a third."""
    stream = root / "livespt" / "stream"
    stream.mkdir(parents=True, exist_ok=True)
    shutil.copy(compiled.__file__, stream / "compiled.py")
    (stream / "__init__.py").touch()
    (stream / "constants.py").write_text(f"OFFSET = {offset}\n")
    (stream / "inner.py").write_text(INNER.format(factor=factor))
    if not (stream / "outer.py").exists():  # an upgrade that changes the callee only
        (stream / "outer.py").write_text(OUTER)
    return root


def answer(root: Path, cache: Path) -> tuple[float, int]:
    """Result of the compiled function in a process of its own, and cache hits."""
    environment = os.environ | {"PYTHONPATH": str(root), "NUMBA_CACHE_DIR": str(cache)}
    done = subprocess.run(
        [sys.executable, "-c", ASK], env=environment, capture_output=True, text=True, check=True
    )
    value, hits = done.stdout.split()
    return float(value), int(hits)


def test_an_upgrade_that_changes_a_callee_changes_the_answer(tmp_path: Path) -> None:
    root, cache = build(tmp_path / "build", 2.0), tmp_path / "cache"
    assert answer(root, cache) == (4.0, 0)
    assert answer(root, cache) == (4.0, 1)
    build(root, 3.0)
    assert answer(root, cache) == (6.0, 0)
    build(root, 3.0, offset=1.0)  # a number that is compiled in
    assert answer(root, cache) == (8.0, 0)
    build(root, 2.0)
    assert answer(root, cache) == (4.0, 1)  # two builds in turns do not recompile


def test_the_import_statements_are_all_found() -> None:
    for path in compiled.ROOT.glob("*/**/*.py"):
        if path.relative_to(compiled.ROOT).parts[0] not in ("stream", "models", "tools"):
            continue
        names = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names |= {f"{node.module}.{alias.name}" for alias in node.names}
                names.add(str(node.module))
        bases = [
            compiled.ROOT.joinpath(*name.split(".")[1:])
            for name in names
            if name.startswith("livespt.")
        ]
        wanted = {base.with_suffix(".py") for base in bases} | {b / "__init__.py" for b in bases}
        assert {file for file in wanted if file.is_file()} <= compiled.imported_files(path)


def test_every_compiled_function_is_made_by_the_door_that_keeps_it() -> None:
    for folder in ("stream", "models", "acquisition", "tools"):
        for path in (compiled.ROOT / folder).rglob("*.py"):
            if path != Path(compiled.__file__).resolve():
                text = path.read_text()
                assert "from numba import njit" not in text and "numba.njit" not in text, path


def test_folders_of_old_builds_are_removed(tmp_path: Path) -> None:
    names = [f"stream.link-{i:016x}" for i in range(6)] + ["stream.link2-0", "models.gauss-0"]
    for age, name in enumerate(names):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (time.time() - 3 * age * 86400,) * 2)
    (tmp_path / "models.gone-0").mkdir()
    os.utime(tmp_path / "models.gone-0", (0, 0))
    compiled.clear_old(tmp_path, "stream.link")
    left = [*names[: compiled.KEPT_BUILDS], "stream.link2-0", "models.gauss-0"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(left)


def test_folders_that_a_running_process_may_use_stay(tmp_path: Path) -> None:
    names = {f"stream.link-{i:016x}" for i in range(compiled.KEPT_BUILDS + 3)}
    for name in names:
        (tmp_path / name).mkdir()
    compiled.clear_old(tmp_path, "stream.link")
    assert {path.name for path in tmp_path.iterdir()} == names


def test_a_folder_that_another_process_makes_at_the_same_time_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    make = Path.mkdir

    def later(path: Path, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        make(path, parents=True, exist_ok=True)  # the other one is first
        make(path, mode, parents, exist_ok)

    monkeypatch.setattr(Path, "mkdir", later)
    folder = compiled._folder_of.__wrapped__("stream.here", Path(compiled.__file__))
    assert folder is not None and folder.is_dir()


def test_a_folder_that_cannot_be_written_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file"))

    def double(x: float) -> float:
        return 2 * x

    double.__module__ = "livespt.stream.nowhere"
    with pytest.warns(UserWarning, match="NUMBA_CACHE_DIR"):
        assert compiled.njit()(double)(2.0) == 4.0
    double.__module__ = "livespt.stream.elsewhere"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert compiled.njit()(double)(2.0) == 4.0
