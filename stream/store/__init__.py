"""A run on disk: journal, columns, movie, attributes, and their verification.

Three files keep account of frames, and each answers one question: `frame_log`, which frames of the
movie are stored; `frame_ledger`, which exposures were stored and which were analyzed, with their
rows of the table `frames`; `started_frames`, which ones an analyzer has started on.
"""

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
    "last_word",
    "limits",
    "movie",
    "movie_reader",
    "ome_image",
    "run",
    "run_columns",
    "shards",
    "started_frames",
    "table_writer",
    "verify",
]
