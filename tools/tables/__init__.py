"""Tables of users in and out: link, analyze, segments, label, export."""

__all__ = [
    "analyze",
    "cell_values",
    "conventions",
    "doubts",
    "export",
    "export_columns",
    "export_lineage",
    "fingerprints",
    "foreign_files",
    "link",
    "link_lineage",
    "out_file",
    "positions",
    "segments",
    "track_times",
    "trackmate",
    "trackmate_elements",
    "undrifted",
    "user_table",
]
