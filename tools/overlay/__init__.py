"""What a person sees of a run: scene, player, layers, renderers, window."""

__all__ = [
    "canvas",
    "layers",
    "opengl",
    "picture",
    "player",
    "scene",
    "sheet",
    "visuals",
    "watch",
    "window",
]
