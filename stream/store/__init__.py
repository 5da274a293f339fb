"""A run on disk: journal, columns, movie, attributes, and their verification.

Three files keep account of frames, and each answers one question: `frame_log`, which frames of the
movie are stored; `frame_ledger`, which exposures were stored and which were analyzed, with their
rows of the table `frames`; `started_frames`, which ones an analyzer has started on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from livespt.stream.store.run import open_run

__all__ = [
    "attributes",
    "checksums",
    "column_writer",
    "columns",
    "frame_ledger",
    "frame_log",
    "journal",
    "journal_reader",
    "journal_records",
    "limits",
    "movie",
    "movie_reader",
    "ome_image",
    "open_run",
    "run",
    "run_columns",
    "shards",
    "started_frames",
    "table_writer",
    "verify",
]


def __getattr__(name: str) -> Any:
    """`open_run` from the room's door, loaded when it is wanted."""
    if name != "open_run":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from livespt.stream.store.run import open_run

    return open_run
