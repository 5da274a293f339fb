"""How tracks move: features, followers, segmenter, uncoating, calibration, colocalization."""

__all__ = [
    "calibration",
    "colocalization",
    "contacts",
    "features",
    "follower",
    "intensity_features",
    "reader",
    "segmenter",
    "uncoating",
    "whole_tracks",
]
