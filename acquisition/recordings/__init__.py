"""Recorded movies: one way to open each format, all as frames with axes and units."""

__all__ = ["movie", "ndtiff", "ome_zarr", "open_movie", "tiff", "units"]
