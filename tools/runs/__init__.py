"""How a run is made: options, composition, live, replay, resume, processes and their supervisor."""

__all__ = [
    "compose",
    "interrupt",
    "live",
    "options",
    "outputs",
    "overwrite",
    "provenance",
    "recorder",
    "replay",
    "resume",
    "supervisor",
    "workers",
]
