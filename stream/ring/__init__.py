"""The newest frames in shared memory: one writer, readers that lose none or skip to the newest."""

__all__ = ["layout", "reader", "writer"]
