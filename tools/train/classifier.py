"""Recipe of a user's classifier: from labelled tracks to an ONNX file, its card and a picture.

The steps in order are: settings, samples, training, card. The input is read by
labels/labelled_tracks.py, features come from tables/fingerprints.py, classifier_fit.py trains and
validates, and classifier_report.py draws the picture.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from livespt.models.fingerprint.classifier_graph import save
from livespt.models.fingerprint.fingerprint import Units
from livespt.models.runtime.card import write_card
from livespt.stream.errors import InputError, SettingError
from livespt.tools.labels import labelled_tracks
from livespt.tools.labels.labelled_tracks import Labelled
from livespt.tools.runs.compose import load_infer
from livespt.tools.runs.options import Options
from livespt.tools.tables.analyze import readings
from livespt.tools.tables.fingerprints import Described, describe
from livespt.tools.train import classifier_fit, model_files
from livespt.tools.train.classifier_fit import Learned, Samples

SHORTEST = 5  # least points, also of the motions that the segmenter was trained on
OVERLAP = 2  # windows that contain a point in training; more add no information


def train(
    tracks: Path,
    *,
    out: Path,
    pixel_size_um: float,
    frame_interval_s: float,
    z_step_um: float | None = None,
    labels: Path | None = None,
    label: str = "label",
    group: str | None = None,
    window: int = 0,
    min_points: int = SHORTEST,
    folds: int = 5,
    learner: str = "linear",
    positive: str | None = None,
    accuracy: float | None = None,
    segmenter: Path | None = None,
    seed: int = 1,
    columns: str | None = None,
    overwrite: bool = False,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Train a classifier on labelled tracks; write model, card and picture; return the metrics.

    Parameters
    ----------
    tracks, labels, label, group
        As in `read` of labelled_tracks.py.
    columns, say
        As `stated` and `say` there.
    window : int
        Points of a window; 0: whole tracks are classified.
    min_points : int
        Shorter tracks and windows are not used for training, and are later given the shares of the
        classes as probabilities.
    folds : int
        Folds of the cross-validation from which the metrics come.
    positive : str, optional
        Class whose probability is reported where there is room for one. Default: the last by name.
    accuracy : float, optional
        Accuracy to reach by leaving the least confident predictions undecided.

    Raises
    ------
    InputError
        A table cannot be used, there is only one class, or a class has too few tracks.
    SettingError
        A value is out of range.
    MissingError
        scikit-learn is not installed.
    """
    _check_options(out, overwrite, window, min_points, folds)
    scale = (z_step_um or pixel_size_um) / pixel_size_um
    labelled = labelled_tracks.read(
        tracks,
        labels=labels,
        label=label,
        group=group,
        z_scale=scale,
        pixel_size_um=pixel_size_um,
        stated=columns,
        say=say,
    )
    if not window:
        labelled_tracks.check_whole(tracks if labels is None else labels, labelled)
    infer = load_infer(Options(segmenter=segmenter))
    infer.pixel_size_um = pixel_size_um
    units = Units(labelled.ndim, pixel_size_um, frame_interval_s)
    states = readings(infer, window, labelled.frame, labelled.particle, labelled.point)
    described = describe(labelled.frame, labelled.particle, labelled.point, states, units, window)
    samples = samples_of(labelled, described, window, min_points)
    classifier_fit.check_samples(samples, folds)
    refuse_copies(labelled)
    names = samples.classes
    if positive is not None and positive not in names:
        raise SettingError(f"no class '{positive}': the labels are {', '.join(names)}")

    validated = classifier_fit.cross_validate(samples, folds, seed, learner)
    metrics = classifier_fit.figures(validated, samples)
    abstain_below = classifier_fit.threshold(metrics["curve"], accuracy)
    learned = classifier_fit.learn(samples, seed, learner)
    facts = {
        "classes": list(names),
        "positive": positive or names[-1],
        "window": window,
        "shortest": min_points,
        "prior": dict(zip(names, _shares(samples), strict=True)),
        "abstain_below": abstain_below,
        "segmenter": infer.segmenter.session.sha256,
        "lag": infer.lag,
        "units": units._replace(pixel_size_um=1.0)._asdict(),
        "training": labelled_tracks.facts(labelled)
        | {"samples": len(samples.label), "too_short": int((described.size < min_points).sum())}
        | {"group": group or "particle", "folds": folds, "wanted_accuracy": accuracy}
        | {"learner": learner, "kind": learned.kind, "strength": learned.strength}
        | {"temperature": learned.temperature},
        "provenance": _provenance(tracks, labels, label, folds),
    }
    write(out, learned, seed, metrics, facts)
    return {
        "out": str(out), "samples": len(samples.label), "abstain_below": abstain_below
    } | metrics  # fmt: skip


def _check_options(out: Path, overwrite: bool, window: int, min_points: int, folds: int) -> None:
    model_files.check_out(out, overwrite)
    if window < 0 or (window and window < min_points) or min_points < 1:
        raise SettingError(
            f"window {window}, min_points {min_points}: the window must be 0 (whole tracks) or at "
            "least min_points, and min_points at least 1"
        )
    if folds < 2:
        raise SettingError(f"folds must be 2 or more, not {folds}")


def write(
    out: Path, learned: Learned, seed: int, metrics: dict[str, Any], facts: dict[str, Any]
) -> None:
    """Write the model, its card and its picture."""
    from livespt.tools.train.classifier_report import picture

    save(out, learned.scaling, learned.layers, learned.temperature)
    inputs = {
        "dtype": "float32",
        "axes": "track or window, feature",
        "features": "models/fingerprint/definitions.py, with readings of the segmenter",
        "pixels": "any size: features are in micrometres",
    }
    write_card(out, task="classifier", seed=seed, input=inputs, metrics=metrics, **facts)
    names, at = facts["classes"], facts["abstain_below"]
    picture(out.with_suffix(".png"), out.stem, metrics, names, at)


def _shares(samples: Samples) -> list[float]:
    """Share of each class."""
    count = np.bincount(samples.label, minlength=len(samples.classes))
    shares: list[float] = (count / count.sum()).tolist()
    return shares


def _provenance(tracks: Path, labels: Path | None, label: str, folds: int) -> dict[str, Any]:
    return {
        "recipe": "livespt train classifier",
        "tracks": tracks.name,
        "sha256_of_tracks": hashlib.sha256(tracks.read_bytes()).hexdigest(),
        "labels": labels.name if labels else f"column {label}",
        "judge": f"{folds}-fold cross-validation, classes stratified, groups whole",
        "software": {one: version(one) for one in ("livespt", "scikit-learn", "numpy")},
    }


def samples_of(labelled: Labelled, described: Described, window: int, shortest: int) -> Samples:
    """Samples for training: labelled tracks, or some of their windows.

    A window has the label of the point in its middle, which it describes.
    """
    middle = np.arange(len(described.row)) - np.minimum(window // 2, described.since - 1)
    named = labelled.label[described.row[middle] if window else described.row]
    use = (named != "") & (described.size >= shortest)
    if window:
        use &= (described.since - shortest) % max(window // OVERLAP, 1) == 0
    if not use.any():
        raise InputError(
            f"no labelled track has {shortest} points: label longer tracks, or lower --min-points"
        )
    names, label = np.unique(named[use], return_inverse=True)
    _, group = np.unique(labelled.group[described.row[use]], return_inverse=True)
    return Samples(described.features[use], label, group, tuple(names.tolist()))


def refuse_copies(labelled: Labelled) -> None:
    """Refuse the same track in two groups, because it could be in both training and validation.

    Raises
    ------
    InputError
        It names the two particles.
    """
    order = np.lexsort((labelled.frame, labelled.particle))
    first = np.flatnonzero(np.diff(labelled.particle[order], prepend=-1))
    seen: dict[bytes, int] = {}
    for rows in np.split(order, first[1:]):
        one = labelled.point[rows]
        if len(rows) < SHORTEST or not one.std(axis=0).any() or (labelled.label[rows] == "").all():
            continue  # tracks that do not move may be equal by chance
        row = seen.setdefault(one.tobytes(), int(rows[0]))
        if labelled.group[row] != labelled.group[rows[0]]:
            raise InputError(
                f"particles {labelled.particle[row]} and {labelled.particle[rows[0]]} have the "
                "same points but different groups, so both training and validation could contain "
                "it: remove one, or give both the same --group"
            )
