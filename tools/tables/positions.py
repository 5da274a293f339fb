"""Read the positions of tracks from tables of other programs."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.stream.errors import InputError


class Read(NamedTuple):
    """Concatenated tracks: track i is rows `offset[i]:offset[i + 1]`, sorted by frame."""

    offset: NDArray[np.int64]  # (n + 1,)
    frame: NDArray[np.int64]  # (total,)
    point: NDArray[np.float64]  # (total, 3) z, y, x in the unit of the file
    ndim: int


def read(path: Path) -> Read:
    """Read the tracks of a CSV (frame, particle or trajectory, y, x[, z]) or MTrackJ file (.mdf).

    Raises
    ------
    InputError
        The file does not exist, or is not such a table.
    """
    if not path.is_file():
        raise InputError(f"no such file: {path}")
    table = _mtrackj(path) if path.suffix == ".mdf" else _csv(path)
    table = table[table[:, 0] >= 0]  # without localizations that belong to no track
    if not len(table):
        raise InputError(f"{path} holds no tracks")
    table = table[np.lexsort((table[:, 1], table[:, 0]))]
    first = np.flatnonzero(np.diff(table[:, 0], prepend=-1))
    point = np.ascontiguousarray(table[:, 2:])
    ndim = 3 if np.ptp(point[:, 0]) > 0 else 2
    return Read(np.append(first, len(table)), table[:, 1].astype(np.int64), point, ndim)


def _csv(path: Path) -> NDArray[np.float64]:
    """Read a CSV as rows of track, frame, z, y, x."""
    import pandas as pd

    table = pd.read_csv(path, dtype=str)  # which numpy reads to the last bit
    name = "particle" if "particle" in table else "trajectory"
    missing = [one for one in (name, "frame", "y", "x") if one not in table]
    if missing:
        raise InputError(
            f"{path} has no column {', '.join(missing)}; it has {', '.join(map(str, table))}"
        )
    if "z" not in table:
        table["z"] = 0.0
    return table[[name, "frame", "z", "y", "x"]].to_numpy(np.float64)


def _mtrackj(path: Path) -> NDArray[np.float64]:
    """Read an MTrackJ file as such rows: lines `Track id` and `Point id x y z frame channel`."""
    rows = []
    track = -1
    for line in path.read_text(encoding="utf-8").splitlines():
        fields = line.split()
        if fields[:1] == ["Track"]:
            track += 1
        elif fields[:1] == ["Point"]:
            x, y, z, frame = (float(text) for text in fields[2:6])
            rows.append((track, frame, z, y, x))
    return np.array(rows, np.float64).reshape(-1, 5)
