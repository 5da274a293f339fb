"""Figures of what was found against what is true; no files, no printing."""

__all__ = ["movie", "readings", "segmenter", "spots", "tracks", "uncoating"]
