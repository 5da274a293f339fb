"""The tables of a run as columns: one group a table, one 1-D Zarr array a field.

The attributes of each group describe its columns (descriptions.py).

Rows are written in whole chunks only, at multiples of the chunk length, and the last, shorter chunk
when the run is closed. So the chunk files depend on the rows alone, never on when they were
written, and no chunk is written twice.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec, ZstdCodec

from livespt.stream.descriptions import described
from livespt.stream.errors import InputError
from livespt.stream.store.checksums import file_sum
from livespt.stream.store.limits import check_file
from livespt.stream.types import EVENT, FRAME, SPOT, STATE

CHUNK_ROWS = 32768
MOST_ROWS = 1 << 24  # of a chunk
# what zarr and numpy raise on columns that are damaged
DAMAGE = (
    OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, ArithmeticError,
    RuntimeError, MemoryError,
)  # fmt: skip

# Operational notices: disk full, a restart, frames not recorded. Numbered on their own.
STATUS = np.dtype([("seq", "<i8"), ("kind", "<U16"), ("frame", "<i8"), ("text", "<U240")])

TABLES: dict[str, np.dtype[Any]] = {
    "spots": SPOT,
    "states": STATE,
    "events": EVENT,
    "frames": FRAME,
    "status": STATUS,
}


def create_tables(run: Path, chunk_rows: int = CHUNK_ROWS) -> None:
    """Create the empty groups and columns of every table in the folder `run`."""
    templates: dict[str, Path] = {}  # creating an array takes 4 ms, copying its zarr.json 0.1
    for table, dtype in TABLES.items():
        zarr.create_group(run / table, attributes={"columns": described(table)})
        for field in dtype.names or ():
            folder, kind = run / table / field, dtype[field].str
            if kind in templates:
                folder.mkdir()
                shutil.copyfile(templates[kind] / "zarr.json", folder / "zarr.json")
                continue
            text = dtype[field].kind == "U"
            zarr.create_array(
                folder,
                shape=(0,),
                chunks=(chunk_rows,),
                dtype="string" if text else dtype[field],
                compressors=(ZstdCodec(level=1), Crc32cCodec()),
                fill_value="" if text else 0,
                config={"write_empty_chunks": True},
            )
            templates[kind] = folder


def read_fills(folder: Path) -> dict[str, float | str]:
    """The fill of each column of the table in `folder` that has one, as the run itself states.

    Raises
    ------
    InputError
        The table does not describe its columns.
    """
    try:
        check_file(folder, folder / "zarr.json")
        columns = json.loads((folder / "zarr.json").read_text("utf-8"))["attributes"]["columns"]
        given = {name: column["fill"] for name, column in columns.items() if "fill" in column}
        if not all(isinstance(fill, int | float | str | None) for fill in given.values()):
            raise TypeError("a fill that is no number")
    except DAMAGE as error:
        raise InputError(f"{folder} does not describe its columns: the run is damaged") from error
    return {name: math.nan if fill is None else fill for name, fill in given.items()}


def read_rows(folder: Path, dtype: np.dtype[Any], start: int, stop: int | None) -> NDArray[Any]:
    """Rows `start` to `stop` (None: to the end) of the table in `folder`.

    Returns
    -------
    ndarray of `dtype`, shape (stop - start,)

    Raises
    ------
    InputError
        A column is missing, shorter than that, or damaged.
    """
    rows = None
    for field in dtype.names or ():
        try:
            array = zarr.open_array(folder / field, mode="r")
            if array.ndim != 1 or not 0 < array.chunks[0] <= MOST_ROWS:
                raise ValueError(f"it has shape {array.shape} in chunks of {array.chunks}")
            end = array.shape[0] if stop is None else stop
            _check_chunks(folder / field, start, end, array.chunks[0])
            column = np.asarray(array[start:end]) if end > start else np.empty(0, dtype[field])
        except DAMAGE as error:
            line = " ".join(str(error).split())[:300] or type(error).__name__
            raise InputError(f"column {folder / field} cannot be read: {line}") from error
        if rows is None:
            rows = np.empty(max(end - start, 0), dtype)
        if column.shape != rows.shape:
            raise InputError(
                f"column {folder / field} has {start + len(column)} rows where the other columns "
                f"have {start + len(rows)}: the run is damaged"
            )
        rows[field] = column.astype(dtype[field])
    return np.empty(0, dtype) if rows is None else rows


def _check_chunks(folder: Path, start: int, stop: int, length: int) -> None:
    """Raise FileNotFoundError for a missing chunk: Zarr would return zeros in its place."""
    for k in range(start // length, -(-stop // length)):
        try:
            check_file(folder, folder / "c" / str(k))
        except FileNotFoundError:
            raise FileNotFoundError(f"chunk c/{k} is missing") from None


def is_whole(chunk: Path) -> bool:
    """Whether a chunk file ends with the CRC-32C of what is before it, as its codec wrote it."""
    data = chunk.read_bytes()
    return bool(google_crc32c.value(data[:-4]).to_bytes(4, "little") == data[-4:])


class TableColumns:
    """The rows of one table that are not in its columns yet, and the way they get there.

    Attributes
    ----------
    flushed : int
        Rows in columns.
    """

    def __init__(self, folder: Path, dtype: np.dtype[Any], chunk_rows: int) -> None:
        self._folder = folder
        self._dtype = dtype
        self._chunk = chunk_rows
        self._parts: list[NDArray[Any]] = []
        self._arrays: dict[str, zarr.Array[Any]] = {}
        self._waiting = 0
        self._sums: dict[Path, int] = {}  # of the chunk files written here
        self.flushed = 0

    def __len__(self) -> int:
        return self.flushed + self._waiting

    def reopen(self, flushed: int, parts: list[NDArray[Any]]) -> list[Path]:
        """Go on where a writer that died left off: rows in columns, and those that were not yet.

        Returns the files and folders of the columns, which nobody may have synced.
        """
        self.flushed = flushed
        for rows in parts:
            self.add(rows)
        found: list[Path] = []
        for field in self._dtype.names or ():
            folder = self._folder / field
            for partial in (*folder.glob("*.partial"), *folder.glob("c/*.partial")):
                partial.unlink()
            chunks = [folder / "c" / str(k) for k in range(flushed // self._chunk)]
            found += [chunk for chunk in chunks if chunk.exists()]
            found += [folder / "c"] * bool(chunks) + [folder / "zarr.json", folder]
        return found

    def rows(self, start: int) -> NDArray[Any]:
        """The rows from `start` on, whether in columns or not."""
        waiting = self.waiting()[max(0, start - self.flushed) :]
        if start >= self.flushed:
            return waiting
        held = read_rows(self._folder, self._dtype, start, self.flushed)
        return np.concatenate([held, waiting])

    def add(self, rows: NDArray[Any]) -> None:
        """Hold these rows, (n,) of the table's dtype."""
        if len(rows):
            self._parts.append(rows)
            self._waiting += len(rows)

    def waiting(self) -> NDArray[Any]:
        """The rows not in columns."""
        if len(self._parts) != 1:
            self._parts = [np.concatenate(self._parts or [np.empty(0, self._dtype)])]
        return self._parts[0]

    def jobs(self, *, all_rows: bool = False) -> list[Callable[[], list[Path]]]:
        """Functions that write the waiting rows: whole chunks, or all of them when a run closes.

        Each writes one column and returns the files and folders it wrote; the last also counts the
        rows as flushed. Rows may be added between the calls.
        """
        n = self._waiting if all_rows else self._waiting // self._chunk * self._chunk
        if n == 0:
            return []
        block = self.waiting()[:n]
        names = self._dtype.names or ()

        def write(field: str) -> list[Path]:
            written = self._write(field, block[field])
            if field == names[-1]:
                self.flushed += n
                self._parts, self._waiting = [self.waiting()[n:]], self._waiting - n
            return written

        return [lambda field=field: write(field) for field in names]  # type: ignore[misc]

    def sums(self) -> dict[str, list[int]]:
        """Of every field: the sums of its chunk files, in order, once all rows are in columns."""
        count = -(-self.flushed // self._chunk)
        return {
            field: [self._sum(self._folder / field / "c" / str(k)) for k in range(count)]
            for field in self._dtype.names or ()
        }

    def _sum(self, chunk: Path) -> int:
        """Sum of a chunk file; where one of a writer that died is damaged, one that never fits."""
        if chunk in self._sums:
            return self._sums[chunk]
        return file_sum(chunk) ^ (0 if is_whole(chunk) else 0xFFFFFFFF)

    def _write(self, field: str, values: NDArray[Any]) -> list[Path]:
        folder = self._folder / field
        if field not in self._arrays:
            # an array opened again forgets the option, and would leave out chunks of zeros
            array = zarr.open_array(folder, mode="r+")
            self._arrays[field] = array.with_config({"write_empty_chunks": True})
        array, stop = self._arrays[field], self.flushed + len(values)
        array.resize((stop,))
        array[self.flushed : stop] = values
        first, last = self.flushed // self._chunk, (stop - 1) // self._chunk
        chunks = [folder / "c" / str(k) for k in range(first, last + 1)]
        self._sums |= {chunk: file_sum(chunk) for chunk in chunks}
        return [*chunks, folder / "c", folder / "zarr.json", folder]
