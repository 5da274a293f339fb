"""Evaluate a localizer on stuck beads: apparent movement compared with the reported precision.

Beads that are stuck to the glass do not move, except for a common drift. Without the drift, their
steps from frame to frame divided by sqrt(2) are the localization error per axis. trackpy localizes
the same beads in the same frames; only beads that both find in all frames count.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.models.localize.localizer import Localizer
from livespt.stream.errors import InputError
from livespt.tools.evaluate_localizer.localizer import localize
from livespt.tools.evaluate_localizer.other_localizers import find_trackpy, skipped
from livespt.tools.score.spots import Floats, pair

STEP_PX = 3.0  # greatest apparent step of a stuck bead in a frame, including drift
MIN_BEADS = 5  # needed to distinguish drift and error
QUARTERS = 4  # groups of beads, by their reported precision


class Beads(NamedTuple):
    """Results of one localizer for n beads in t frames, without drift."""

    points: Floats  # (t, n, 2) positions, pixels
    stated: Floats  # (t, n, 2) reported precision; NaN: none


def evaluate(
    movie: str | Path,
    model: str | Path,
    *,
    diameter: int = 7,
    provider: str = "cpu",
    report: Path | None = None,
) -> dict[str, Any]:
    """Scatter of stuck beads and the reported precision, pixels per axis.

    Parameters
    ----------
    movie : recording of stuck beads, two frames or more.
    model : path of the `.onnx` file.
    diameter : diameter for trackpy in pixels, an odd number.
    report : folder for `beads.png`.

    Raises
    ------
    InputError : there are fewer than two frames, or too few beads that are found in all of them.
    """
    from livespt.acquisition.recordings.open_movie import open_movie

    images = [np.asarray(frame.image) for frame in open_movie(movie)]
    if len(images) < 2:
        raise InputError(f"{movie} has {len(images)} frame: give a movie with two or more")
    localizer = Localizer(model, provider=provider)
    found = {localizer.session.name: [localize(localizer, image) for image in images]}
    if "trackpy" not in skipped():
        most = 3 * max(len(rows) for rows in found[localizer.session.name])
        found["trackpy"] = [
            find_trackpy(diameter, diameter + 1, image, 0.0, most)[:, :4] for image in images
        ]
    beads = same_beads(found)
    figures: dict[str, Any] = {
        "frames": len(images),
        "beads": beads[localizer.session.name].points.shape[1],
        "spots_per_frame": round(
            float(np.mean([len(r) for r in found[localizer.session.name]])), 1
        ),
        "localizers": [{"localizer": name} | scatter(seen) for name, seen in beads.items()],
        "quarters": quarters(beads),
        "judges_skipped": [name for name in skipped() if name == "trackpy"],
    }
    if report is not None:
        report.mkdir(parents=True, exist_ok=True)
        _draw(report / "beads.png", images[0], beads)
    return figures


def same_beads(found: dict[str, list[Floats]]) -> dict[str, Beads]:
    """Beads that all localizers find in all frames, from rows y, x, dy, dx of each frame."""
    chains = {name: _chains(frames) for name, frames in found.items()}
    first, *others = ((frames[0], chains[name]) for name, frames in found.items())
    kept, partner = np.arange(first[1].shape[1]), []
    for rows, chain in others:
        mine, theirs = pair(first[0][first[1][0]], rows[chain[0]])
        both = np.full(first[1].shape[1], -1)
        both[mine] = theirs
        kept = kept[both[kept] >= 0]
        partner.append(both)
    if len(kept) < MIN_BEADS:
        raise InputError(
            f"{len(kept)} beads are found in all frames: at least {MIN_BEADS} are needed"
        )
    orders = [kept, *(both[kept] for both in partner)]
    beads = {}
    for (name, frames), order in zip(found.items(), orders, strict=True):
        at = chains[name][:, order]
        rows = np.stack([frame[row] for frame, row in zip(frames, at, strict=True)])
        moved = rows[..., :2] - rows[:1, :, :2]
        drift = np.median(moved, axis=1, keepdims=True)
        beads[name] = Beads(rows[..., :2] - drift, rows[..., 2:4])
    return beads


def _chains(frames: list[Floats]) -> NDArray[np.int64]:
    """Rows (t, n) of the same beads in every frame."""
    chain = np.arange(len(frames[0]))[None]
    for before, after in pairwise(frames):
        i, j = pair(before[chain[-1]], after, STEP_PX)
        chain = np.vstack([chain[:, i], j])
    return chain


def scatter(beads: Beads) -> dict[str, float | None]:
    """Root mean square of the steps / sqrt(2) per axis, a robust estimate, and reported precision.

    `claimed` is the root mean square of the reported precision divided by that of the scatter.
    """
    error = _steps(beads)
    stated = beads.stated[np.isfinite(beads.stated)]
    real = np.sqrt(np.mean(error**2))
    claim = np.sqrt(np.mean(stated**2)) if stated.size else None
    return {
        "scatter_y_px": round(float(np.sqrt(np.mean(error[..., 0] ** 2))), 4),
        "scatter_x_px": round(float(np.sqrt(np.mean(error[..., 1] ** 2))), 4),
        "robust_px": round(float(np.median(np.abs(error)) / 0.6745), 4),
        "stated_px": None if claim is None else round(float(claim), 4),
        "stated_median_px": None if claim is None else round(float(np.median(stated)), 4),
        "claimed": None if claim is None else round(float(claim / real), 3),
    }


def quarters(beads: dict[str, Beads]) -> list[dict[str, Any]]:
    """Scatter of the beads in quarters, by the precision that the first localizer reports."""
    own = next(iter(beads.values()))
    if not np.isfinite(own.stated).any(axis=(0, 2)).all():
        return []
    precision = np.sqrt(np.nanmean(own.stated**2, axis=(0, 2)))
    parts = np.array_split(np.argsort(precision), QUARTERS)
    return [
        {"beads": len(part), "stated_px": round(float(np.sqrt(np.mean(precision[part] ** 2))), 4)}
        | {
            f"{name}_px": round(float(np.sqrt(np.mean(_steps(seen)[:, part] ** 2))), 4)
            for name, seen in beads.items()
        }
        for part in parts
    ]


def _steps(beads: Beads) -> Floats:
    """Steps (t - 1, n, 2) divided by sqrt(2)."""
    return np.asarray(np.diff(beads.points, axis=0) / np.sqrt(2))


def _draw(path: Path, image: NDArray[Any], beads: dict[str, Beads]) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 5.5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    low, high = np.quantile(image, [0.02, 0.998])
    shown = np.clip((image.astype(np.float32) - low) / max(high - low, 1), 0, 1)
    left.imshow(shown, cmap="gray", interpolation="nearest")
    own = next(iter(beads.values()))
    left.scatter(*own.points[0].T[::-1], 40, edgecolor="tab:green", facecolor="none")
    left.set_title(f"{own.points.shape[1]} beads found by all in all frames")
    for name, seen in beads.items():
        stated = np.sqrt(np.mean(seen.stated**2, axis=(0, 2)))
        real = np.sqrt(np.mean(_steps(seen) ** 2, axis=(0, 2)))
        right.scatter(stated, real, 12, label=name)
    ends = np.array([0.005, 0.5])
    right.plot(ends, ends, "k--", label="true")
    right.set_xscale("log")
    right.set_yscale("log")
    right.set_xlabel("stated precision of a bead, px")
    right.set_ylabel("its steps / sqrt(2), px")
    right.legend()
    figure.savefig(path)
