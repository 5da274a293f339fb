"""How light forms images: spots, stacks, holograms, propagation, and the bounds they set."""

__all__ = ["holograms", "propagation", "spots", "stacks"]
