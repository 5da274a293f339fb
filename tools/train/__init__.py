"""Recipes of networks and classifiers that read tracks, and the loop that recipes share."""

__all__ = [
    "classifier",
    "classifier_fit",
    "classifier_report",
    "loop",
    "model_files",
    "own_tracks",
    "segmenter",
    "step_hmm",
    "track_batches",
    "track_networks",
    "track_ranges",
    "uncoating",
]
