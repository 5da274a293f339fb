"""Evaluate a localizer on a recording of spheres that diffuse in water, from the trackpy tutorial.

The result is the mean squared displacement of the spheres, with the linking and the selection of
the tutorial, compared with the published value.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.models.localize.localizer import Localizer
from livespt.models.runtime.card import add_metrics
from livespt.stream.errors import InputError, MissingError

UM_PER_PX, FRAMES_PER_S = 100 / 285, 24.0  # of the bulk_water recording
PUBLISHED = {"exponent": 1.08, "4D_um2_s": 1.60}


def evaluate_bulk_water(
    model_or_run: str | Path, movie: str | Path, *, write: bool = False
) -> dict[str, Any]:
    """Repeat the tutorial on `movie`, with the localizations of a run or of a model.

    The result is the exponent and 4D (um^2/s, at a lag of 1 s) of the ensemble mean squared
    displacement. Tracks are those of the run, or spots of the model linked with 5 px and memory 3.
    Tracks of 25 frames or more are used, and of these the spots within 3 px of the in-focus
    selection of trackpy. The drift is subtracted, and a line is fitted to the first 100 lags on
    logarithmic axes. trackpy is used for comparison only.
    """
    from livespt.acquisition.recordings.open_movie import open_movie

    trackpy = _trackpy()
    path = Path(model_or_run)
    frames = [np.asarray(frame.image) for frame in open_movie(movie)]
    if frames[0].dtype != np.uint8:
        raise InputError(f"{movie} holds {frames[0].dtype}: give the bulk_water movie, uint8")
    spots = _spots_of_run(path) if path.is_dir() else _spots_of_model(path, frames)
    if not len(spots):
        raise InputError(f"{path} has no spots in {movie}")
    metrics = walkthrough(trackpy, spots, frames) | {"published": PUBLISHED}
    if write and not path.is_dir():
        add_metrics(path, {"bulk_water": metrics})
    return metrics


def _spots_of_model(model: Path, frames: list[NDArray[Any]]) -> NDArray[np.void]:
    localizer = Localizer(model, provider="cpu")
    found = []
    for number, image in enumerate(frames):
        spots = localizer(image)
        spots["frame"] = number
        found.append(spots)
    return np.concatenate(found)


def _spots_of_run(path: Path) -> NDArray[np.void]:
    from livespt.stream.store.run import open_run

    return open_run(path).spots


def walkthrough(
    trackpy: Any, spots: NDArray[np.void], frames: list[NDArray[Any]]
) -> dict[str, Any]:
    """Result of the published analysis for `spots` (SPOT rows of all `frames`)."""
    import pandas

    trackpy.quiet()
    reference = _in_focus(trackpy, frames)
    ours = pandas.DataFrame({k: spots[k].astype(float) for k in ("y", "x")})
    ours["frame"] = spots["frame"].astype(int)
    recall = _near(reference, ours, 3.0).mean()
    if (spots["track"] >= 0).all():  # linked by a run
        ours["particle"] = spots["track"].astype(int)
    else:
        ours = trackpy.link(ours, 5, memory=3)
    kept = trackpy.filter_stubs(ours, 25).reset_index(drop=True)
    near = _near(kept, reference, 3.0)
    kept = kept[near].reset_index(drop=True)
    moved = trackpy.subtract_drift(kept.copy(), trackpy.compute_drift(kept))
    em = trackpy.emsd(moved, UM_PER_PX, FRAMES_PER_S)
    law = trackpy.utils.fit_powerlaw(em, plot=False)
    return {
        "exponent": round(float(law["n"].iloc[0]), 4),
        "4D_um2_s": round(float(law["A"].iloc[0]), 4),
        "tracks": int(kept["particle"].nunique()),
        "spots_per_frame": round(len(ours) / len(frames), 1),
        "recall_in_focus": round(float(recall), 4),
        "share_in_focus": round(float(near.mean()), 4),
    }


def _trackpy() -> Any:
    try:
        import trackpy
    except ImportError as error:
        raise MissingError("this evaluation needs trackpy: pip install trackpy") from error
    return trackpy


def _in_focus(trackpy: Any, frames: list[NDArray[Any]]) -> Any:
    """Localizations by trackpy of dark particles in focus, selected as in the tutorial."""
    dark = [255 - image for image in frames]
    with np.errstate(divide="ignore"):  # spots without mass are removed below
        found = trackpy.batch(dark, 11, minmass=20, processes=1)
    linked = trackpy.filter_stubs(trackpy.link(found, 5, memory=3), 25).reset_index(drop=True)
    good = (linked["mass"] > 50) & (linked["size"] < 2.6) & (linked["ecc"] < 0.3)
    return linked[good].reset_index(drop=True)


def _near(rows: Any, others: Any, radius: float) -> Any:
    """Which rows have one of `others` within `radius` pixels in the same frame."""
    import pandas

    near = pandas.Series(False, index=rows.index)
    groups = dict(list(others.groupby("frame")))
    for number, part in rows.groupby("frame"):
        if number in groups:
            there = groups[number]
            square = np.subtract.outer(part["y"].to_numpy(), there["y"].to_numpy()) ** 2
            square += np.subtract.outer(part["x"].to_numpy(), there["x"].to_numpy()) ** 2
            near.loc[part.index] = square.min(axis=1) <= radius**2
    return near
