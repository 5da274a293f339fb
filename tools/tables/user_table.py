"""Tables of users: read them, and write them unchanged with columns added.

The text of each row is kept exactly (numbers are not reformatted, quotes and line ends stay), so
the output of a command differs from the user's table only by the new columns.
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.stream.errors import InputError, SettingError
from livespt.tools.tables.cell_values import (
    is_number,
    numbers,
    numbers_or_nan,
    readable,
    texts_of,
    with_points,
)
from livespt.tools.tables.conventions import (
    PLAIN,
    PRECISION,
    UM,
    TableReading,
    reading,
    with_measured,
)
from livespt.tools.tables.foreign_files import kind_of, read_columns
from livespt.tools.tables.out_file import whole_file

SEPARATORS = (",", ";", "\t")
DIFFERS = 0.1  # by so much of it a pixel size differs from another


@dataclass(frozen=True)
class UserTable:
    """Content of a table of a user."""

    path: Path
    columns: tuple[str, ...]  # names of all columns of the file
    heads: list[str]  # text of the lines before the first row; the first has the column names
    rows: list[str]  # text of each row, without its line end
    end: str  # line end of the file
    separator: str
    values: dict[str, NDArray[Any]]  # requested columns: `WHOLE` int64, texts str, others float64
    said: str = ""  # what the table was taken for; empty: for one of our own
    unit: str = "pixel"  # of the positions in the file

    def __len__(self) -> int:
        return len(self.rows)


def read_table(
    path: Path | str,
    required: Sequence[str],
    *,
    optional: Sequence[str] = (),
    adds: Sequence[str] = (),
    texts: Sequence[str] = (),
    blanks: Sequence[str] = (),
    stated: Mapping[str, str] | None = None,
    pixel_size_um: float | None = None,
) -> UserTable:
    """Read a table of this program, or of another that conventions.py knows.

    Positions (`y, x, z`) become pixels with pixel centres at integers, and their precision (`dy,
    dx, dz`) pixels; the text of the rows stays.

    Parameters
    ----------
    path : Path
    required, optional : sequence of str
        Columns to read; optional ones may be missing.
    adds : sequence of str
        Columns that will be added: the file must not have them yet.
    texts : sequence of str
        Those of the columns that hold text: str arrays, without blanks at either end.
    blanks : sequence of str
        Those of the columns that may lack values: NaN.
    stated : mapping, optional
        Columns as the user states them: name here to name in the file.
    pixel_size_um : float, optional
        For positions that are not in pixels; some files know their own.

    Raises
    ------
    InputError
        The file is missing, empty or not a table, a value is not a finite number (or not an integer
        where one is needed), or a particle occurs twice in a frame.
    SettingError
        The positions are in um or nm, and the pixel size is not known; or a stated column is not
        there.
    """
    path = Path(path)
    kind = kind_of(path)
    if kind is not None:
        table, found, pixel_size_um = _foreign(path, kind, stated, pixel_size_um)
        cells = list(csv.reader(table.rows, delimiter=table.separator))
    else:
        table, cells, found = _of_text(path, required, stated)
    columns = table.columns
    names = {ours: theirs for ours, theirs in found.columns.items() if theirs in columns}
    _check_columns(path, columns, [name for name in required if name not in names], adds)
    for name in required:
        if (times := columns.count(names[name])) > 1:
            raise InputError(f"{path} has {times} columns named {names[name]}; keep one")
    values: dict[str, NDArray[Any]] = {}
    for name in (*required, *optional):
        if name in names:
            at = columns.index(names[name])
            column = [row[at] for row in cells]
            if table.separator != "," and name not in texts:
                column = with_points(path, name, column)
            if name in blanks:
                values[name] = numbers_or_nan(path, name, column)
                continue
            values[name] = (texts_of if name in texts else numbers)(path, name, column)
    _to_pixels(path, values, found, pixel_size_um)
    said = "; ".join(one for one in (found.said, _checked_precision(values)) if one)
    if "particle" in values and "frame" in values:
        _check_particles(path, values["frame"], values["particle"])
    return replace(table, values=values, said=said, unit=found.unit)


def _of_text(
    path: Path, required: Sequence[str], stated: Mapping[str, str] | None
) -> tuple[UserTable, list[list[str]], TableReading]:
    """Read a text table: its text, its cells, and how its columns are read."""
    text = _text(path)
    first = text.lstrip("\r\n").partition("\n")[0]
    separator = max(SEPARATORS, key=first.count)
    if separator not in first and " " in first.strip():
        separator = " "  # of btrack; names of columns elsewhere have blanks, too
    records = _records(path, text, separator)
    head, names = next(records, ("", []))
    columns = tuple(name.strip() for name in names)
    if not columns:
        raise InputError(f"{path} is empty; give a CSV with columns {', '.join(required)}")
    rows: list[str] = []
    cells: list[list[str]] = []
    for row, values in records:
        if len(values) != len(columns):
            raise InputError(
                f"{path}: row {len(rows) + 1} has {len(values)} values for {len(columns)} columns; "
                "give each row a value for each column"
            )
        rows.append(row)
        cells.append(values)
    found = reading(columns, stated)
    heads = 0
    if found.convention.heads > 1:  # lines of names and units, which some versions leave out
        at = columns.index(found.columns["frame"])
        while heads < found.convention.heads - 1 < len(cells) and not is_number(cells[heads][at]):
            heads += 1
        if heads == found.convention.heads - 1:
            found = reading(columns, stated, [readable(cell) for cell in cells[heads - 1]])
    end = "\r\n" if text[: text.find("\n") + 1].endswith("\r\n") else "\n"
    table = UserTable(path, columns, [head, *rows[:heads]], rows[heads:], end, separator, {})
    return table, cells[heads:], found


def _foreign(
    path: Path, kind: str, stated: Mapping[str, str] | None, pixel_size_um: float | None
) -> tuple[UserTable, TableReading, float | None]:
    """Read a table that is no text, and write it as one."""
    held = read_columns(path, kind)
    names = tuple(held.values)
    found = TableReading(held.named, PLAIN, held.unit, held.said)
    if stated or not held.named:
        found = reading(names, stated)
    else:
        columns = {name: name for name in names} | held.named
        found = with_measured(found._replace(columns=columns, units=held.units))
    texts = [_as_text(column) for column in held.values.values()]
    rows = []
    for row in zip(*texts, strict=True):
        quoted = ['"' + cell.replace('"', '""') + '"' if '"' in cell or "," in cell else cell
                  for cell in row]  # fmt: skip
        rows.append(",".join(quoted))
    table = UserTable(path, names, [",".join(names)], rows, "\n", ",", {})
    size = pixel_size_um or held.pixel_size_um
    if size and held.pixel_size_um and abs(size / held.pixel_size_um - 1) > DIFFERS:
        said = (
            f"{found.said}; pixel size {size:g} um is taken, the file says {held.pixel_size_um:g}"
        )
        found = found._replace(said=said)
    return table, found, size


def _to_pixels(
    path: Path, values: dict[str, NDArray[Any]], found: TableReading, pixel_size_um: float | None
) -> None:
    """Convert positions to pixels whose centres lie at integers, and precisions to pixels."""
    for name in ("z", "y", "x", *PRECISION):
        unit = found.units.get(name, found.unit)
        if name not in values:
            continue
        if unit != "pixel":
            if pixel_size_um is not None:
                values[name] = values[name] * (UM[unit] / pixel_size_um)
            elif name in PRECISION:  # needed by none: it is unknown
                del values[name]
            else:
                raise SettingError(
                    f"the positions in {path} are in {unit}, and this works in pixels: give "
                    "--pixel-size-um"
                )
        if name in ("y", "x"):
            values[name] = values[name] - found.convention.corner


def _checked_precision(values: dict[str, NDArray[Any]]) -> str:
    """Leave out columns that cannot be standard deviations, and say which."""
    wrong = [name for name in PRECISION if name in values and (values[name] < 0).any()]
    for name in wrong:
        del values[name]
    if not wrong:
        return ""
    return f"{', '.join(wrong)} below 0 in places: not taken for localization precision"


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


def _records(path: Path, text: str, separator: str) -> Iterator[tuple[str, list[str]]]:
    """Text (without line end) and cells of each row; blank lines are left out."""
    lines = text.split("\n")
    row_lines: list[str] = []  # lines of the current row, several if a quoted cell has line breaks

    def feed() -> Iterator[str]:
        for line in lines:
            row_lines.append(line)
            yield line + "\n"

    try:
        for cells in csv.reader(feed(), strict=True, delimiter=separator):
            row = "\n".join(row_lines).removesuffix("\r")
            row_lines.clear()
            if row.strip():
                yield row, cells
    except csv.Error as error:
        raise InputError(f"{path} is not a CSV table: {error}") from error


def _check_columns(
    path: Path, columns: Sequence[str], missing: Sequence[str], adds: Sequence[str]
) -> None:
    """Refuse a table without the columns `missing`, or with those that are to be added."""
    seen = readable(", ".join(columns))
    if missing:
        hint = "; separate columns by commas" if len(columns) == 1 else ""
        cure = "; name them with --columns" if len(columns) > 1 else ""
        raise InputError(f"{path} has no column {', '.join(missing)}; it has: {seen}{hint}{cure}")
    there = [name for name in adds if name in columns]
    if there:
        raise InputError(f"{path} already has a column {', '.join(there)}; rename or remove it")


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
    if table.separator != ",":
        texts = (
            [[text.replace(".", ",") for text in column] for column in texts]
            if (any("," in row for row in table.rows[:100]))
            else texts
        )
    with whole_file(out, overwrite=overwrite) as partial:
        with partial.open("w", encoding="latin-1", newline="") as file:
            for i, head in enumerate(table.heads):  # names again, and no unit in the last of many
                names = tuple(columns) if i < max(1, len(table.heads) - 1) else ("",) * len(columns)
                file.write(table.separator.join((head, *names)) + table.end)
            for row in zip(table.rows, *texts, strict=True):
                file.write(table.separator.join(row) + table.end)


def _as_text(column: NDArray[Any]) -> list[str]:
    texts: list[str] = column.astype(str).tolist()
    if column.dtype.kind == "f":
        return ["" if text == "nan" else text for text in texts]
    return texts
