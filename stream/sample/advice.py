"""Advice: what a person is told of a sample, each with what was seen and what to do."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from livespt.stream.sample.drift import Drift
from livespt.stream.sample.known import Known
from livespt.stream.sample.likeness import MEANING, Outlier
from livespt.stream.sample.survey import Survey

PIXEL_SIZES_UM = 0.01, 5.0  # of a pixel in the sample: from the finest sampling to low power
INTERVALS_S = 1e-4, 3600.0  # from the fastest cameras to a frame an hour
MIN_SPOTS = 100  # from which lifetimes are judged
MIN_MEASURED = 40  # spots, from which widths and steps are
FOREIGN = 1.5  # times outside the widths of a localizer: particles of another kind
LEAST_SIZED = 0.1  # share of spots with a width, below which they are no spots of light
FEWEST = 0.5  # spots a frame, below which hardly anything was found
FAR, NEAR = 0.5, 0.1  # median steps of the search range: above, below which it does not fit
MOST_NEIGHBOURS = 0.1  # others within the search range, above which a wide one exchanges tracks
SHORT_POINTS = 5  # of the shortest tracks that the motion networks learned from
TOLD_CORRELATION = 0.2  # of the noise of neighbours
TOLD_DRIFT_PX = 0.1  # a frame
DRIFT_FRAMES = 20  # with enough tracks, from which a drift is told
KINDS = (
    "units",
    "nothing",
    "short",
    "range",
    "width",
    "noise",
    "drift",
    "unlike",
)  # each is told once

Notice = tuple[str, str]  # kind and text


def of_units(known: Known) -> Iterator[Notice]:
    """Doubts about pixel size and interval."""
    size, step = known.pixel_size_um, known.frame_interval_s
    doubts = []
    if size is not None and not PIXEL_SIZES_UM[0] <= size <= PIXEL_SIZES_UM[1]:
        doubts.append(
            f"a pixel of {size:g} um, where microscopes have {_span(PIXEL_SIZES_UM)}: state it "
            "with --pixel-size-um"
        )
    if step is not None and not INTERVALS_S[0] <= step <= INTERVALS_S[1]:
        doubts.append(
            f"{step:g} s from frame to frame, where microscopes have {_span(INTERVALS_S)}: state "
            "it with --frame-interval-s"
        )
    if doubts:
        yield "units", f"{'; and '.join(doubts)}, or D and all else in um and s is off"


def of_spots(survey: Survey, known: Known) -> Iterator[Notice]:
    """Doubts about the spots themselves: none at all, or of another width."""
    train = "`livespt train localizer MOVIE --frame N --at Y,X --size"
    if survey.spots_a_frame < FEWEST:
        yield (
            "nothing",
            f"{survey.spots or 'no'} particles were found in {survey.frames} frames: is this the "
            f"right channel, and in focus? For particles that look otherwise: {train} S`",
        )
    if known.sigma_px is None or survey.sized < MIN_MEASURED:
        return
    width, made_for = survey.width.median(), _span(known.sigma_px)
    silent = (
        ". Until then no motion is named and no uncoating announced"
        if are_foreign(survey, known)
        else ""
    )
    if len(survey.width) < LEAST_SIZED * survey.sized:
        yield (
            "width",
            f"{known.localizer} was made for spots of sigma {made_for} px, and hardly any of these "
            "has such a shape: larger particles are broken up into several spots, others are off "
            f"their centre. Train one with {train} S`, S about four times their diameter{silent}",
        )
    elif not known.sigma_px[0] <= width <= known.sigma_px[1]:
        yield (
            "width",
            f"these spots are {width:.1f} px wide (sigma); {known.localizer} was made for "
            f"{made_for}, and breaks up or misses others: train one with {train} "
            f"{2 * math.ceil(4 * width) + 3}`{silent}",
        )


def are_foreign(survey: Survey, known: Known) -> bool:
    """Whether the spots are grossly unlike those of the localizer, and so are its tracks."""
    if known.sigma_px is None or survey.sized < MIN_MEASURED:
        return False
    low, high = known.sigma_px
    width = survey.width.median()
    return len(survey.width) < LEAST_SIZED * survey.sized or not (
        low / FOREIGN <= width <= high * FOREIGN
    )


def of_links(survey: Survey, lifetime: float, search_range: float, memory: int) -> Iterator[Notice]:
    """Doubts about the tracks: they do not last, or the search range does not fit the step."""
    if survey.spots < MIN_SPOTS:
        return
    if lifetime < SHORT_POINTS:
        yield (
            "short",
            f"{survey.spots_a_frame:.1f} spots a frame, half of them in tracks of at most "
            f"{lifetime:.0f} points: these spots do not last. Noise, or another kind of particle: "
            "train a localizer; if they do last: a wider --search-range than "
            f"{search_range:g} px or more --memory than {memory}",
        )
    step = survey.step.median()
    if len(survey.step) < MIN_MEASURED:
        return
    neighbours = survey.spots_a_frame * math.pi * search_range**2 / max(survey.pixels, 1)
    if step > FAR * search_range:
        yield (
            "range",
            f"the median step is {step:.2g} px, more than half of the search range of "
            f"{search_range:g} px: particles are lost or exchanged. Give a wider --search-range, "
            "or record faster",
        )
    elif step < NEAR * search_range and neighbours > MOST_NEIGHBOURS:
        yield (
            "range",
            f"the median step is {step:.2g} px, and the search range {search_range:g} px reaches "
            f"{neighbours:.1f} other spots: neighbours may be exchanged. --search-range "
            f"{max(5 * step, 1):.2g} is enough",
        )


def of_noise(correlation: float) -> Iterator[Notice]:
    """Noise that neighbouring pixels share, which looks like dim spots."""
    if correlation > TOLD_CORRELATION:
        yield (
            "noise",
            f"the noise of neighbouring pixels is correlated ({correlation:.2f}): was this movie "
            "registered, rescaled, denoised or compressed? Dim spots are harder to tell from such "
            "noise; analyze the movie as it was recorded",
        )


def of_drift(drift: Drift, mode: str) -> Iterator[Notice]:
    """A drift of the sample that is sure, and fast enough to matter."""
    if not drift.is_sure or drift.speed <= TOLD_DRIFT_PX or drift.frames < DRIFT_FRAMES:
        return
    done = (
        "it is taken off before motion is read, and in exports"
        if mode == "correct"
        else "slow motion looks directed. --drift correct takes it off, also in a replay"
    )
    y, x = drift.rate
    yield (
        "drift",
        f"the sample drifts, or flows, by {drift.speed:.2f} px a frame (y {y:+.2f}, x {x:+.2f}): "
        f"{done}",
    )


def of_tracks(outliers: Sequence[Outlier], known: Known) -> Iterator[Notice]:
    """Tracks unlike those that the motion networks learned from."""
    if not outliers:
        return
    seen = "; ".join(
        f"{MEANING[one.learned.feature]} {one.value:.3g}, learned {_span(one.learned[1:])}"
        for one in outliers
    )
    yield (
        "unlike",
        f"these tracks are unlike those that {known.segmenter} learned from ({seen}): no motion is "
        "named and no uncoating announced as long as this holds; the probabilities stay. Check "
        "pixel size, search range and localizer, or train on tracks like yours",
    )


def _span(ends: tuple[float, float]) -> str:
    low, high = ends
    return f"{low:.3g} or more" if math.isinf(high) else f"{low:.3g} to {high:.3g}"
