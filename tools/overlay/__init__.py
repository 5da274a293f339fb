"""What a person sees of a run: scene, player, layers, renderers, window."""

__all__ = [
    "canvas",
    "drawing",
    "layers",
    "opengl",
    "panels",
    "picture",
    "player",
    "primitives",
    "scene",
    "sheet",
    "visuals",
    "watch",
    "window",
]
