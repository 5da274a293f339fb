"""Micro-Manager in its forms: connections, cameras, the hook that takes frames, event files."""

__all__ = ["connect", "events", "hook", "microscope", "movie_camera"]
