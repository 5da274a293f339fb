"""Images of known truth, to learn from and to judge by: particles, frames, short movies."""

__all__ = ["backgrounds", "composed_frames", "particle_shapes", "spot_movies", "training_frames"]
