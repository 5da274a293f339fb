"""Tables of users in and out: link, analyze, segments, label, export."""

__all__ = [
    "analyze",
    "conventions",
    "doubts",
    "export",
    "export_columns",
    "export_lineage",
    "fingerprints",
    "foreign_files",
    "label",
    "labelled_tracks",
    "link",
    "out_file",
    "positions",
    "segments",
    "trackmate",
    "undrifted",
    "user_table",
]
