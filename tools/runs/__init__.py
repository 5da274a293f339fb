"""How a run is made: options, composition, live, replay, resume, processes and their supervisor."""

__all__ = ["compose", "live", "recorder", "replay", "resume", "supervisor", "workers"]
