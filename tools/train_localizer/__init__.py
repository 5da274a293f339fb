"""Recipes of networks that find particles: localizers, their students, holograms."""

__all__ = [
    "centre",
    "crops",
    "fit",
    "hologram",
    "hologram_measure",
    "localizer",
    "measure",
    "student",
    "student_measure",
]
