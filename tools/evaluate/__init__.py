"""Reports on linker, motion networks and the whole chain, next to others, bounds and controls."""

__all__ = [
    "baselines",
    "classifier",
    "classifier_report",
    "control_movies",
    "controls",
    "linker",
    "linker_checks",
    "other_linkers",
    "segmenter",
    "segmenter_report",
    "simulator_speed",
]
