"""The file or folder that a command writes: refused before any work, and whole or not there."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from livespt.stream.errors import StoreError
from livespt.stream.host.atomic_files import store_error

NO_TEXT = (".parquet", ".xml", ".geff", ".h5", ".hdf5", ".zarr", ".mdf", ".xlsx")


def check_out(out: Path, *, overwrite: bool = False, folder: bool = False) -> None:
    """Refuse a file (or folder) that cannot be written, before any work is done.

    Raises
    ------
    StoreError
        `out` exists (and `overwrite` is False), is a folder in place of a file or the reverse, or
        its parent folder does not exist.
    """
    if out.exists() and out.is_dir() != folder:
        raise StoreError(f"{out} is a {'file' if folder else 'folder'}; choose another name")
    if out.exists() and not (folder or out.is_file()):
        raise StoreError(f"{out} is not a regular file; choose another name")
    if out.is_dir() and not _is_geff(out):
        raise StoreError(f"{out} is a folder with other content; choose another name")
    if out.exists() and not overwrite:
        raise StoreError(f"{out} exists; choose another name or add --overwrite")
    if not out.parent.is_dir():
        raise StoreError(f"no folder {out.parent}; make it or choose another name")


def check_text_out(out: Path, *, overwrite: bool = False) -> None:
    """Refuse as `check_out` does, and names that other programs take for files that are no text.

    Raises
    ------
    StoreError
        As for `check_out`, or the name ends as those files do.
    """
    if out.suffix.lower() in NO_TEXT:
        raise StoreError(f"{out} would be a text table: end its name in .csv, not in {out.suffix}")
    check_out(out, overwrite=overwrite)


def _is_geff(folder: Path) -> bool:
    """Whether a folder is a graph in GEFF, by the attributes of its Zarr group (format 2 or 3)."""
    for name in (".zattrs", "zarr.json"):
        try:
            held = json.loads((folder / name).read_bytes())
        except (OSError, ValueError):
            continue
        if "geff" in (held.get("attributes", held) if isinstance(held, dict) else ()):
            return True
    return False


@contextmanager
def whole_file(out: Path, *, overwrite: bool = False, folder: bool = False) -> Iterator[Path]:
    """Yield a path to write to; it is renamed to `out` on success, and removed on failure.

    Raises
    ------
    StoreError
        As for `check_out`, or writing failed.
    """
    check_out(out, overwrite=overwrite, folder=folder)
    partial = out.with_name(f"{out.name}.{os.getpid()}.partial")
    try:
        yield partial
        if folder and out.exists():  # a folder is not replaced in one step: the old one steps aside
            old = out.with_name(f"{out.name}.{os.getpid()}.old")
            out.rename(old)
            partial.rename(out)
            shutil.rmtree(old)
        else:
            partial.replace(out)
    except OSError as error:
        raise store_error(f"writing {out}", error) from error
    finally:
        if folder:
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)
