"""Recipes of networks that find particles: localizers, their students, holograms."""

__all__ = [
    "centre",
    "crops",
    "fit",
    "hologram",
    "hologram_measure",
    "localizer",
    "measure",
    "other_noise",
    "recipes",
    "student",
    "student_measure",
]
