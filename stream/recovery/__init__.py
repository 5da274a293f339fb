"""An analyzer's state: its snapshot, checkpoints, and the re-analysis of a run that was cut."""

__all__ = ["checkpoints", "object_state", "reanalysis", "snapshot"]
