"""Tracks of known truth, to learn from and to judge by: motions, entries, crowds, errors."""

__all__ = [
    "behaviours",
    "crowds",
    "deepspt_tracks",
    "fractional_noise",
    "intensities",
    "physical_tracks",
    "rng",
    "series",
    "steps",
    "tracking_errors",
    "tracks",
    "two_colours",
    "virus_entry",
]
