"""Points become tracks: the linker, its motion model, delayed decisions, merges and splits."""

__all__ = [
    "assignment",
    "candidates",
    "corrections",
    "forecast",
    "frame_clock",
    "heap",
    "hindsight",
    "kalman",
    "lineage",
    "link_frame",
    "linker",
    "motion_model",
    "offline",
    "parameters",
    "population",
    "recent_points",
    "relinker",
    "slots",
    "tail_cost",
    "track_columns",
]
