"""Tracks of a user with labels, from which a classifier is trained."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.stream.errors import InputError, SettingError
from livespt.stream.types import MOTIONS
from livespt.tools.tables.conventions import parse_columns
from livespt.tools.tables.export import UNSURE
from livespt.tools.tables.user_table import UserTable, read_table

Ints = NDArray[np.int64]
Words = NDArray[np.str_]
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
TAKEN_NAMES = (*MOTIONS, "uncoated", "attm", "ctrw", "fbm", "lw", "sbm", "active", UNSURE)
RESERVED = ("frame", "particle", "y", "x", "z")


class Labelled(NamedTuple):
    """Rows of tracks; a row without a label has an empty text."""

    frame: Ints  # (rows,)
    particle: Ints  # (rows,)
    point: NDArray[np.float64]  # (rows, 3) z, y, x in pixels
    ndim: int
    label: Words  # (rows,)
    group: Words  # (rows,) tracks of one group are never in both training and validation


def read(
    tracks: Path,
    *,
    labels: Path | None = None,
    label: str = "label",
    group: str | None = None,
    z_scale: float = 1.0,
    pixel_size_um: float | None = None,
    stated: str | None = None,
    say: Callable[[str], None] = print,
) -> Labelled:
    """Read a table of tracks with its labels, which are in a column or in a table of their own.

    Parameters
    ----------
    tracks : Path
        CSV: frame, particle, y, x[, z], and a column of labels unless `labels` is given.
    labels : Path, optional
        CSV: particle, label[, group], one row for each track.
    label, group : str
        Names of the columns. Without `group`, each track is a group of its own.
    z_scale : float
        Unit of `z` in pixels.
    pixel_size_um : float, optional
        For positions that are not in pixels.
    stated : str, optional
        Columns of a table that no convention names: "frame=T,particle=ID,y=Y_um,x=X_um".
    say : callable
        Is called with a line of text about the table.

    Raises
    ------
    InputError
        A table cannot be used, a labelled track does not exist, or a track has two groups.
    SettingError
        A column name has another meaning.
    """
    for name in (label, *([group] if group else [])):
        if name in RESERVED:
            raise SettingError(f"column '{name}' belongs to the tracks: name another for labels")
    columns = [label, *([group] if group else [])]
    own = () if labels else tuple(columns)
    table = read_table(
        tracks,
        ("frame", "particle", "y", "x", *own),
        optional=("z",),
        texts=own,
        stated=parse_columns(stated) if stated else None,
        pixel_size_um=pixel_size_um,
    )
    if table.said:
        say(table.said)
    value = table.values
    if not len(table):
        raise InputError(f"{tracks} holds no tracks; give rows of frame, particle, y, x")
    z = value.get("z", np.zeros(len(table))) * z_scale
    point = np.stack([z, value["y"], value["x"]], axis=1)
    particle = value["particle"]
    if labels is not None:
        other = read_table(labels, ("particle", *columns), texts=columns)
        at = _rows_of(other, tracks, particle)
        labels_and_groups = [
            np.where(at >= 0, np.append(other.values[name], "")[at], "") for name in columns
        ]
    else:
        labels_and_groups = [value[name] for name in columns]
    _check_names(tracks if labels is None else labels, np.unique(labels_and_groups[0]))
    of = labels_and_groups[1] if group else particle.astype(np.str_)
    if group:
        lost = (labels_and_groups[0] != "") & (of == "")
        if lost.any():
            one = particle[np.argmax(lost)]
            raise InputError(f"{tracks}: particle {one} has a label and no group; give it one")
        _check_one(tracks, particle, of, "group", "a track belongs to one")
    return Labelled(
        value["frame"], particle, point, 3 if "z" in value else 2, labels_and_groups[0], of
    )


def _rows_of(labels: UserTable, tracks: Path, particle: Ints) -> Ints:
    """Row of `labels` for each particle (rows,); -1 if it has none."""
    known, count = np.unique(labels.values["particle"], return_counts=True)
    if (count > 1).any():
        raise InputError(
            f"{labels.path} has {count.max()} rows of particle {known[np.argmax(count)]}; give "
            "each track one label"
        )
    unknown = np.setdiff1d(known, particle)
    if len(unknown):
        raise InputError(
            f"{labels.path} labels {len(unknown)} tracks that {tracks} does not have, the first "
            f"is particle {unknown[0]}; give the labels that belong to these tracks"
        )
    row = np.argsort(labels.values["particle"], kind="stable")
    at = np.minimum(np.searchsorted(known, particle), max(len(known) - 1, 0))
    if not len(known):
        return np.full(len(particle), -1)
    return np.where(known[at] == particle, row[at], -1)


def _check_names(path: Path, names: Words) -> None:
    for name in names.tolist():
        if name and (not NAME.fullmatch(name) or name in TAKEN_NAMES):
            raise InputError(
                f"{path}: label '{name}' cannot name a column p_{name}: use letters, digits and "
                f"_ . + -, and none of {', '.join(TAKEN_NAMES)}"
            )
    if not any(names.tolist()):
        raise InputError(f"{path} has no labels: its column of labels is empty")


def _check_one(path: Path, particle: Ints, label: Words, what: str, hint: str) -> None:
    """Refuse a particle with two different labels or groups."""
    pairs = np.unique(np.stack([particle.astype(np.str_), label], axis=1), axis=0)
    some, count = np.unique(pairs[:, 0], return_counts=True)
    if (count > 1).any():
        one = some[np.argmax(count > 1)]
        seen = ", ".join(f"'{text}'" for text in pairs[pairs[:, 0] == one, 1][:3])
        raise InputError(f"{path}: particle {one} has {what}s {seen}; {hint}")


def check_whole(path: Path, labelled: Labelled) -> None:
    """Refuse a track with two labels if whole tracks are classified."""
    _check_one(
        path,
        labelled.particle,
        labelled.label,
        "label",
        "give a track one, or --window for parts of it",
    )


def facts(labelled: Labelled) -> dict[str, Any]:
    """Numbers of tracks, labels and groups, for the card."""
    named = labelled.label != ""
    return {
        "rows": len(labelled.frame),
        "tracks": len(np.unique(labelled.particle)),
        "tracks_labelled": len(np.unique(labelled.particle[named])),
        "groups": len(np.unique(labelled.group[named])),
    }
