"""Recorded movies: one way to open each format, all as frames with axes and units."""

__all__ = [
    "clock",
    "grid",
    "image_folder",
    "movie",
    "ndtiff",
    "ome_zarr",
    "open_movie",
    "summary",
    "tiff",
    "tiff_metadata",
    "units",
    "video",
]
