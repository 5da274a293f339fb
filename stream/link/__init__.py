"""Points become tracks: the linker, its motion model, delayed decisions, merges and splits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from livespt.stream.link.corrections import corrected

__all__ = [
    "assignment",
    "candidates",
    "corrected",
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


def __getattr__(name: str) -> Any:
    """`corrected` from the room's door, loaded when it is wanted."""
    if name != "corrected":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from livespt.stream.link.corrections import corrected

    return corrected
