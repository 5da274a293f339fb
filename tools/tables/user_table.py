"""Tables of users: read a CSV file, and write it unchanged with columns added.

The text of each row is kept exactly (numbers are not reformatted, quotes and line ends stay), so
the output of a command differs from the user's table only by the new columns.
"""

from __future__ import annotations

import codecs
import csv
import math
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.stream.errors import InputError, StoreError
from livespt.stream.host.atomic_files import store_error

WHOLE = ("frame", "particle")  # columns that hold integers
_EXACT = 2.0**53  # greatest integer up to which a float64 is exact


@dataclass(frozen=True)
class UserTable:
    """Content of a CSV file."""

    path: Path
    columns: tuple[str, ...]  # names of all columns of the file
    head: str  # text of the line of column names
    rows: list[str]  # text of each row, without its line end
    end: str  # line end of the file
    values: dict[str, NDArray[Any]]  # requested columns: WHOLE int64, texts str, others float64

    def __len__(self) -> int:
        return len(self.rows)


def read_table(
    path: Path | str,
    required: Sequence[str],
    *,
    optional: Sequence[str] = (),
    adds: Sequence[str] = (),
    texts: Sequence[str] = (),
) -> UserTable:
    """Read a CSV file with a line of column names.

    Parameters
    ----------
    path : Path
    required, optional : sequence of str
        Columns to read; optional ones may be missing.
    adds : sequence of str
        Columns that will be added: the file must not have them yet.
    texts : sequence of str
        Those of the columns that hold text: str arrays, without blanks at either end.

    Raises
    ------
    InputError
        The file is missing, empty or not a table, a value is not a finite number (or not an integer
        where one is needed), or a particle occurs twice in a frame.
    """
    path = Path(path)
    text = _text(path)
    records = _records(path, text)
    head, names = next(records, ("", []))
    columns = tuple(name.strip() for name in names)
    if not columns:
        raise InputError(f"{path} is empty; give a CSV with columns {', '.join(required)}")
    _check_columns(path, columns, required, adds)
    wanted = [name for name in (*required, *optional) if name in columns]
    columns_read = [columns.index(name) for name in wanted]
    rows: list[str] = []
    cells: list[list[str]] = []
    for row, values in records:
        if len(values) != len(columns):
            raise InputError(
                f"{path}: row {len(rows) + 1} has {len(values)} values for {len(columns)} columns; "
                "give each row a value for each column"
            )
        rows.append(row)
        cells.append([values[column] for column in columns_read])
    numbers = {
        name: (_texts if name in texts else _numbers)(path, name, [row[i] for row in cells])
        for i, name in enumerate(wanted)
    }
    if "particle" in numbers and "frame" in numbers:
        _check_particles(path, numbers["frame"], numbers["particle"])
    end = "\r\n" if text[: text.find("\n") + 1].endswith("\r\n") else "\n"
    return UserTable(path, columns, head, rows, end, numbers)


def _text(path: Path) -> str:
    """Text of the file with one character per byte, so that non-ASCII bytes are kept unchanged."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"no such file: {path}") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    if b"\0" in data:
        raise InputError(f"{path} is not a CSV table: it holds zero bytes; save it as plain CSV")
    return data.removeprefix(codecs.BOM_UTF8).decode("latin-1")


def _readable(text: str) -> str:
    """Decode text of `_text` properly, for messages."""
    return text.encode("latin-1").decode("utf-8", "replace")


def _records(path: Path, text: str) -> Iterator[tuple[str, list[str]]]:
    """Text (without line end) and cells of each row; blank lines are left out."""
    lines = text.split("\n")
    row_lines: list[str] = []  # lines of the current row, several if a quoted cell has line breaks

    def feed() -> Iterator[str]:
        for line in lines:
            row_lines.append(line)
            yield line + "\n"

    try:
        for cells in csv.reader(feed(), strict=True):
            row = "\n".join(row_lines).removesuffix("\r")
            row_lines.clear()
            if row.strip():
                yield row, cells
    except csv.Error as error:
        raise InputError(f"{path} is not a CSV table: {error}") from error


def _check_columns(
    path: Path, columns: Sequence[str], required: Sequence[str], adds: Sequence[str]
) -> None:
    seen = _readable(", ".join(columns))
    missing = [name for name in required if name not in columns]
    if missing:
        hint = "; separate columns by commas" if len(columns) == 1 else ""
        raise InputError(f"{path} has no column {', '.join(missing)}; it has: {seen}{hint}")
    for name in required:
        if columns.count(name) > 1:
            raise InputError(f"{path} has {columns.count(name)} columns named {name}; keep one")
    there = [name for name in adds if name in columns]
    if there:
        raise InputError(f"{path} already has a column {', '.join(there)}; rename or remove it")


def _numbers(path: Path, name: str, texts: list[str]) -> NDArray[Any]:
    """Numbers of one column, all finite; int64 for the columns in WHOLE."""
    try:
        numbers = np.array([float(text) for text in texts], np.float64)
        good = np.isfinite(numbers)
    except ValueError:
        good = np.array([_is_number(text) for text in texts])
        numbers = np.zeros(len(texts))
    kind = "number"
    if name in WHOLE and good.all():
        good, kind = (numbers == np.round(numbers)) & (abs(numbers) < _EXACT), "whole number"
    if not good.all():
        row = int(np.argmin(good))
        shown = _readable(texts[row])
        raise InputError(
            f"{path}: row {row + 1}: {name} is '{shown}'; give a {kind} or drop the row"
        )
    return numbers.astype(np.int64) if name in WHOLE else numbers


def _texts(_path: Path, _name: str, texts: list[str]) -> NDArray[Any]:
    """Texts of one column."""
    return np.array([_readable(text).strip() for text in texts], np.str_)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _check_particles(path: Path, frames: NDArray[np.int64], particles: NDArray[np.int64]) -> None:
    """Raise InputError if a particle occurs twice in a frame, or an id is negative."""
    if len(frames) and particles.min() < 0:
        row = int(np.argmin(particles))
        raise InputError(
            f"{path}: row {row + 1}: particle is {particles[row]}; ids start at 0: "
            "drop rows without a track"
        )
    order = np.lexsort((frames, particles))
    same = (np.diff(frames[order]) == 0) & (np.diff(particles[order]) == 0)
    if same.any():
        first, second = order[np.argmax(same) : np.argmax(same) + 2]
        raise InputError(
            f"{path}: rows {first + 1} and {second + 1} both put particle {particles[first]} in "
            f"frame {frames[first]}; a particle can occur once in a frame"
        )


def write_table(
    out: Path | str,
    table: UserTable,
    columns: Mapping[str, NDArray[Any]],
    *,
    overwrite: bool = False,
) -> None:
    """Write `table` with `columns` added at the end, in one step, so that no partial file is left.

    Numbers have the fewest digits from which the same value of their type is read again; NaN is an
    empty cell.

    Raises
    ------
    InputError
        The table already has one of the columns.
    StoreError
        The file exists (and `overwrite` is False) or cannot be written.
    """
    out = Path(out)
    _check_columns(table.path, table.columns, (), tuple(columns))
    texts = [_as_text(column) for column in columns.values()]
    with whole_file(out, overwrite=overwrite) as partial:
        with partial.open("w", encoding="latin-1", newline="") as file:
            file.write(",".join((table.head, *columns)) + table.end)
            for row in zip(table.rows, *texts, strict=True):
                file.write(",".join(row) + table.end)


def _as_text(column: NDArray[Any]) -> list[str]:
    texts: list[str] = column.astype(str).tolist()
    if column.dtype.kind == "f":
        return ["" if text == "nan" else text for text in texts]
    return texts


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
    if out.is_dir() and not ((out / ".zgroup").exists() or (out / "zarr.json").exists()):
        raise StoreError(f"{out} is a folder with other content; choose another name")
    if out.exists() and not overwrite:
        raise StoreError(f"{out} exists; choose another name or add --overwrite")
    if not out.parent.is_dir():
        raise StoreError(f"no folder {out.parent}; make it or choose another name")


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
        if folder and out.exists():  # a folder cannot be replaced in one step
            shutil.rmtree(out)
        partial.replace(out)
    except OSError as error:
        raise store_error(f"writing {out}", error) from error
    finally:
        if folder:
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)
