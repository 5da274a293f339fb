"""Compiled functions, and the folder that keeps their machine code between runs.

numba keys what it keeps by the content of the file that holds a function, not by what that function
calls or reads in other files, so after an upgrade it would go on with old machine code. Here each
module that holds compiled functions has a folder of its own in the cache directory of the user,
named by a digest of that module and of every module of livespt that it imports, directly or
through others. A change in any of them means another folder, hence newly compiled code.

The folders lie in `livespt/compiled` of the user's cache directory, or of `NUMBA_CACHE_DIR` where
that is set. Programs, worker processes and tests use the same ones.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba.core import config
from platformdirs import user_cache_path

Function = TypeVar("Function", bound=Callable[..., Any])

ROOT = Path(__file__).resolve().parents[1]  # the folder of stream, models, acquisition and tools
KEPT_BUILDS = 4  # folders kept of one module: builds that are used in turns do not recompile
UNUSED_DAYS = 90.0  # a folder that nobody has used for so long is removed
IN_USE_DAYS = 2.0  # a folder that was used within that time may belong to a process that still runs
IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+livespt\.([\w.]+)[ \t]+import[ \t]+(\([^)]*\)|[^\n#]*)"
    r"|import[ \t]+livespt\.([\w.]+))",
    re.MULTILINE,
)


def njit(**options: Any) -> Callable[[Function], Function]:
    """Compile a function with `numba.njit`, and keep its machine code in the user's cache.

    Parameters
    ----------
    **options
        As of `numba.njit`, without `cache`.

    Returns
    -------
    callable
        The decorator. It gives back a function with the signature of the decorated one.
    """

    def compile_later(function: Function) -> Function:
        folder = _folder_of(function.__module__, Path(function.__code__.co_filename))
        if folder is None:
            return numba.njit(**options)(function)  # type: ignore[no-any-return]
        # numba reads this setting once, when it decorates a function. Others get their own back.
        settings: Any = config
        before, settings.CACHE_DIR = settings.CACHE_DIR, str(folder)
        try:
            return numba.njit(cache=True, **options)(function)  # type: ignore[no-any-return]
        finally:
            settings.CACHE_DIR = before

    return compile_later


def cache_folder() -> Path:
    """Return the folder that holds the compiled code of all builds of livespt."""
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    base = Path(chosen) if chosen else user_cache_path("livespt", appauthor=False)
    return base / ("livespt/compiled" if chosen else "compiled")


def imported_files(path: Path, root: Path = ROOT) -> set[Path]:
    """Return a source file with all files of livespt that it imports, directly or through others.

    Parameters
    ----------
    path : Path
        A Python file below `root`.
    root : Path
        The folder of `stream`, `models`, `acquisition` and `tools`.
    """
    found, todo = {path}, [path]
    while todo:
        for other in _imports(todo.pop(), root):
            if other not in found:
                found.add(other)
                todo.append(other)
    return found


def digest(path: Path, root: Path = ROOT) -> str:
    """Return 16 hexadecimal digits that stand for all that the code in `path` can depend on."""
    total = hashlib.sha256(f"{_version()} {sys.version} {numba.__version__}".encode())
    for file in sorted(imported_files(path, root)):
        total.update(file.relative_to(root).as_posix().encode() + b"\0")
        total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()[:16]


def clear_old(folder: Path, module: str) -> None:
    """Remove folders of earlier builds of `module`, and whatever nobody used for a long time."""
    now, own = time.time(), []
    for other in folder.iterdir():
        with suppress(OSError):  # another process removes it at the same time
            used = other.stat().st_mtime
            if used < now - UNUSED_DAYS * 86400:
                shutil.rmtree(other, ignore_errors=True)
            elif other.name.rpartition("-")[0] == module:
                own.append((used, other))
    for used, other in sorted(own)[:-KEPT_BUILDS]:
        if used < now - IN_USE_DAYS * 86400:
            shutil.rmtree(other, ignore_errors=True)


@functools.cache
def _folder_of(module: str, path: Path) -> Path | None:
    """Return the folder for the compiled functions of a module; None: it cannot be written."""
    short = module.removeprefix("livespt.")
    folder = cache_folder() / f"{short}-{digest(path.resolve())}"
    try:
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)  # another process may just have made it
            clear_old(folder.parent, short)
        os.utime(folder)
    except OSError as error:
        _warn_once(f"{error.strerror}: {cache_folder()}")
        return None
    return folder


@functools.cache
def _warn_once(reason: str) -> None:
    warnings.warn(
        f"compiled code cannot be kept ({reason}): every start compiles it again; set "
        "NUMBA_CACHE_DIR to a folder that can be written",
        stacklevel=2,
    )


@functools.cache
def _imports(path: Path, root: Path) -> tuple[Path, ...]:
    """Return the files of livespt that one file names in its import statements."""
    files = []
    for package, names, plain in IMPORT.findall(path.read_text(encoding="utf-8")):
        parts = (package or plain).split(".")
        inside = re.findall(r"[A-Za-z_]\w*", names)  # some may be modules of that package
        for candidate in (parts, *([*parts, name] for name in inside)):
            base = root.joinpath(*candidate)
            files += [p for p in (base.with_suffix(".py"), base / "__init__.py") if p.is_file()]
    return tuple(files)


@functools.cache
def _version() -> str:
    try:
        return version("livespt")
    except PackageNotFoundError:  # a source tree that was not installed
        return "unknown"
