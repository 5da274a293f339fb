"""Tables of users in and out: link, analyze, segments, label, export."""

__all__ = [
    "analyze",
    "export",
    "fingerprints",
    "label",
    "labelled_tracks",
    "link",
    "positions",
    "segments",
    "trackmate",
    "user_table",
]
