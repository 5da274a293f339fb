"""Recorded movies: one way to open each format, all as frames with axes and units."""

__all__ = [
    "bioio",
    "clock",
    "grid",
    "image_folder",
    "movie",
    "nd2",
    "ndtiff",
    "ome_zarr",
    "open_movie",
    "png",
    "summary",
    "tiff",
    "tiff_metadata",
    "units",
    "video",
]
