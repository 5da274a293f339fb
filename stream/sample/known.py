"""Known: what is known of a run before its first frame, by which its sample is judged."""

from __future__ import annotations

from typing import NamedTuple


class LearnedRange(NamedTuple):
    """Range of one feature of tracks in the training of a network: 0.5 % lie below, 0.5 % above."""

    feature: str  # one of `likeness.FEATURES`, or "points"
    low: float
    high: float


class Known(NamedTuple):
    """Facts of the models' cards and of the frames; None or empty: not known, and not judged by."""

    localizer: str = ""  # its name
    sigma_px: tuple[float, float] | None = None  # widths of the spots it was made for, pixels
    segmenter: str = ""
    learned: tuple[LearnedRange, ...] = ()  # of the tracks that the segmenter learned from
    pixel_size_um: float | None = None
    frame_interval_s: float | None = None


NOTHING_KNOWN = Known()
