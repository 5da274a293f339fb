"""Particles of a frame or a stack: peaks of networks' answers, fits, their precision."""

__all__ = [
    "absent",
    "gaussian_fit",
    "localizer",
    "lodestar_peaks",
    "neighbourhood",
    "overlap_fit",
    "radial_symmetry",
    "refinement",
    "stack_fit",
    "stack_localizer",
    "stack_model",
    "stack_search",
    "student_peaks",
]
