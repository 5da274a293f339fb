"""Reports on localizers: in frames, stacks and holograms, next to others and to bounds."""

__all__ = [
    "beads",
    "bulk_water",
    "field_scenes",
    "fields",
    "holograms",
    "localizer",
    "one_crop",
    "other_localizers",
    "report",
    "shapes",
    "speed",
    "stacks",
    "targets",
]
