"""Panels of the overlay's sheet, one file each."""

__all__ = ["events", "inspector", "legend", "status"]
