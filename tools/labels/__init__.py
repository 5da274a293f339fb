"""Labels of users: classes of tracks for training, and uncoatings read from a second colour."""

__all__ = ["channel_tracks", "label", "labelled_tracks"]
