"""Checksums: what every file of a closed run was, so that `verify` can tell whether it still is.

They stand in the attributes of the run: of each array the CRC-32 of its `zarr.json` and of its
chunk files in order, of each other file its own, and one of these attributes themselves. The shards
of the movie are not among them: its log holds a CRC of every frame, and its place.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from livespt.stream.store.frame_log import COMMIT_LOG


def file_sum(path: Path) -> int:
    """CRC-32 of a file's bytes."""
    return zlib.crc32(path.read_bytes())


def packed(sums: Sequence[int]) -> str:
    """A few characters a sum: a long run has many chunks."""
    return base64.b64encode(np.asarray(sums, "<u4").tobytes()).decode("ascii")


def unpacked(text: str) -> list[int]:
    """Undo `packed`."""
    return [int(value) for value in np.frombuffer(base64.b64decode(text, validate=True), "<u4")]


def own(document: dict[str, Any]) -> int:
    """CRC-32 of the root's `zarr.json`, but for the place where it stands."""
    words = document["attributes"]["livespt"]
    kind = document.get("zarr_format"), document.get("node_type")
    text = json.dumps([kind, {key: words[key] for key in words if key != "crc"}], sort_keys=True)
    return zlib.crc32(text.encode())


def of_run(run: Path, chunks: dict[str, list[int]], *, movie: bool) -> dict[str, str]:
    """Sums of a run that is whole but for its last word.

    Parameters
    ----------
    chunks
        Of every column, "table/field": the sums of its chunk files, in order.
    movie
        There is one, and it has ended: nothing of it will change.
    """
    sums = {
        name: packed([file_sum(run / name / "zarr.json"), *parts]) for name, parts in chunks.items()
    }
    groups = sorted({name.split("/")[0] for name in chunks})
    for name in (*groups, *(["movie", "movie/0"] if movie else [])):
        sums[name] = packed([file_sum(run / name / "zarr.json")])
    if movie:
        sums[COMMIT_LOG] = packed([file_sum(run / COMMIT_LOG)])
    return sums
