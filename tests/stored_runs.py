"""Stored runs of known content, and how they are compared with it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from build import make_frame, make_start, varied_update
from livespt.stream.store.run import RunReader, RunWriter
from livespt.stream.types import Stop

STOP = Stop("r", "complete")
TABLES = ("spots", "states", "events", "frames", "status")


def expected(numbers: list[int], table: str) -> NDArray[np.void]:
    parts: list[NDArray[np.void]] = [getattr(varied_update(n), table) for n in (0, *numbers)]
    return np.concatenate(parts)[len(parts[0]) :]


def check_tables(run: RunReader, analyzed: list[int]) -> None:
    """The tables hold exactly the updates of these frames, whole."""
    for table in ("spots", "states", "events"):
        assert np.array_equal(getattr(run, table), expected(analyzed, table)), table


def check_frames(run: RunReader) -> None:
    for i in range(run.n_frames):
        frame, true = run.frame(i), make_frame(int(run.log["number"][i]))
        assert np.array_equal(frame.image, true.image)
        assert frame[:5] == true[:5] and frame.clock == true.clock


def write(path: Path, n: int = 20, *, movie: bool = True, skip: tuple[int, ...] = ()) -> None:
    with_writer(RunWriter(path, make_start(), movie=movie), n, skip).close(STOP)


def with_writer(writer: RunWriter, n: int, skip: tuple[int, ...] = ()) -> RunWriter:
    for i in range(n):
        writer.add_frame(make_frame(i))
        if i not in skip:
            writer.commit(make_frame(i), varied_update(i))
    return writer


def hashes(run: Path, *tables: str) -> dict[str, str]:
    return {
        str(file.relative_to(run)): hashlib.sha256(file.read_bytes()).hexdigest()
        for table in tables
        for file in sorted((run / table).rglob("*"))
        if file.is_file()
    }
