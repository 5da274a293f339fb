"""Forty features of a track, and classifiers of a user's own labels that read them."""

__all__ = [
    "behaviour_shares",
    "classifier",
    "classifier_graph",
    "cloud_shape",
    "columns",
    "definitions",
    "displacements",
    "fingerprint",
    "kernel",
    "live_classifier",
    "step_hmm",
]
