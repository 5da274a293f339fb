"""Networks in torch, and how each is written as ONNX; loading other rooms does not load torch."""

__all__ = [
    "baselines",
    "hologram",
    "hologram_graph",
    "lodestar",
    "lodestar_graph",
    "motion",
    "motion_graph",
    "motion_weights",
    "negatives",
    "student",
    "student_graph",
]
