"""Reports on linker, segmenter, uncoating and classifiers, next to others and to bounds."""

__all__ = [
    "baselines",
    "classifier",
    "classifier_report",
    "linker",
    "linker_checks",
    "other_linkers",
    "segmenter",
    "segmenter_report",
    "simulator_speed",
]
