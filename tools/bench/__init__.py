"""Bench: what a frame costs, compared with another build, other programs and the floor."""

__all__ = [
    "bench",
    "floor",
    "holding",
    "inputs",
    "latency",
    "load",
    "others",
    "rows",
    "table",
    "turns",
    "worker",
]
