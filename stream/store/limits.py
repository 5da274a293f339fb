"""Limits: what a run may say of itself and what its folder may hold.

A run comes from elsewhere as easily as a movie does, and its sums only tell that it is as somebody
wrote it. So nothing in it leads out of it: names of tables and columns are plain words, its files
are files of its own, no links, pipes or devices. And no number in it makes this program allocate
more than a camera can record.
"""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from livespt.stream.errors import InputError
from livespt.stream.types import Start, Stop

FRAME_BYTES = 1 << 32  # of one frame
FIELD_BYTES = 4096  # of one value of a table
DEPTH = 3  # folders looked through when a run is opened: its arrays; chunks are looked at when read
TEXTS = ("run", "mode", "source", "axes", "dtype", "time_zero_utc", "source_run")
NUMBERS = ("pixel_size_um", "frame_interval_s", "z_step_um", "exposure_s")
OBJECTS = ("camera", "settings", "models", "software", "machine", "recording")


def check_files(run: Path, depth: int = DEPTH) -> None:
    """Raise InputError if anything in the upper folders of `run` is not a file or folder of it."""
    folders = [run]
    for _ in range(depth):
        found = [entry for folder in folders for entry in _entries(folder)]
        for entry in found:
            try:
                mode = entry.stat(follow_symlinks=False).st_mode
            except FileNotFoundError:  # its writer has removed it: a part of the journal that is
                continue  # in the columns now
            check_mode(Path(entry.path), mode)
            if entry.is_dir() and "." in entry.name:  # arrays and groups have plain names
                raise InputError(f"{entry.path} is a folder where a file belongs: copy it again")
        folders = [Path(entry.path) for entry in found if entry.is_dir() and entry.name != "c"]


def check_file(run: Path, path: Path) -> None:
    """Raise InputError unless `path`, and the folders to it from `run`, are the run's own.

    Raises
    ------
    FileNotFoundError
        It does not exist.
    """
    if stat.S_ISDIR(path.lstat().st_mode):
        raise InputError(f"{path} is a folder where a file belongs: copy the run again")
    for place in (path, *path.parents):
        if place == run:
            return
        check_mode(place, place.lstat().st_mode)


def check_mode(path: Path, mode: int) -> None:
    """Raise InputError if `mode` is not that of a file or a folder."""
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        kind = "a link" if stat.S_ISLNK(mode) else "no file"
        raise InputError(f"{path} is {kind}: a run has nothing but files of its own, copy it again")


def check_tables(tables: dict[str, np.dtype[Any]], needed: Iterable[str]) -> None:
    """Raise ValueError for tables that a run cannot have."""
    if missing := set(needed) - set(tables):
        raise ValueError(f"no table of {sorted(missing)}")
    for name, dtype in tables.items():
        for word in (name, *(dtype.names or ())):
            if not (word.isascii() and word.isidentifier()):
                raise ValueError(f"{word!r} is no name of a table or column")
        for field in dtype.names or ():
            if dtype[field].kind not in "iufbU" or dtype[field].itemsize > FIELD_BYTES:
                raise ValueError(f"no values of {dtype[field]} in {name}/{field}")


def check_start(start: Start) -> None:
    """Raise ValueError for a first word that none of ours says."""
    kinds: dict[type, tuple[str, ...]] = {str: TEXTS, dict: OBJECTS}
    for kind, names in kinds.items():
        for name in names:
            if not isinstance(getattr(start, name), kind):
                raise ValueError(f"{name} is no {kind.__name__}")
    for name in NUMBERS:
        value = getattr(start, name)
        if value is not None and not (_is_number(value) and 0 < value < 1e9):
            raise ValueError(f"{name} is {value!r:.40}")
    if np.dtype(start.dtype).newbyteorder("<").str not in ("|u1", "<u2", "<f4"):
        raise ValueError(f"frames of {start.dtype!r:.40}")
    if start.axes not in ("yx", "zyx") or len(start.shape) != len(start.axes):
        raise ValueError(f"frames ({start.axes!r:.40}) of shape {start.shape!r:.80}")
    if min(start.shape) < 1 or math.prod(start.shape) * 4 > FRAME_BYTES:
        raise ValueError(f"frames of shape {start.shape!r:.80}")
    for used in start.models.values():
        if not isinstance(used, dict) or not all(isinstance(word, str) for word in used.values()):
            raise ValueError("models that are not told in words")


def check_stop(stop: Stop) -> None:
    """Raise ValueError for a last word that none of ours says."""
    counts = ("recorded", "analyzed", "skipped", "lost", "spots", "states", "events")
    if not all(isinstance(getattr(stop, name), str) for name in ("run", "status", "reason")):
        raise ValueError("a last word without words")
    for name in counts:
        value = getattr(stop, name)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
            raise ValueError(f"{name} is {value!r:.40}")
    interval = stop.frame_interval_s
    if interval is not None and not (_is_number(interval) and 0 < interval < 1e9):
        raise ValueError(f"frame_interval_s is {interval!r:.40}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as found:
        return list(found)
