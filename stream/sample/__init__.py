"""What a run shows of its sample: whether models fit it, whether it drifts, and what to do."""

__all__ = ["advice", "drift", "histogram", "known", "likeness", "sample", "shared_noise", "survey"]
