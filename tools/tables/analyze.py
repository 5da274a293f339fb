"""`livespt analyze`: motion analysis of tracks in a table, point by point as live, or offline."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from livespt.models.fingerprint.classifier import TrackClassifier
from livespt.stream.errors import SettingError
from livespt.stream.states import States, state_rows
from livespt.stream.types import ABSTAIN, MOTIONS, STATE, joined
from livespt.tools.runs.compose import load_infer, load_whole
from livespt.tools.runs.options import Options
from livespt.tools.tables import doubts
from livespt.tools.tables.conventions import parse_columns
from livespt.tools.tables.export import UNSURE
from livespt.tools.tables.fingerprints import class_columns, describe, task_columns
from livespt.tools.tables.out_file import check_text_out
from livespt.tools.tables.track_times import interval_of_tracks
from livespt.tools.tables.user_table import read_table, write_table

if TYPE_CHECKING:
    from livespt.models.infer import Infer
    from livespt.models.motion.whole_tracks import WholeReader


AT_ONCE = 1024  # tracks in one batch
ADDED = (*(f"p_{name}" for name in MOTIONS), "state", "p_uncoated", "lag")


def analyze_table(
    src: Path | str,
    out: Path | str,
    *,
    pixel_size_um: float,
    frame_interval_s: float | None = None,
    z_step_um: float | None = None,
    lag: int | None = None,
    offline: bool = False,
    segmenter: Path | None = None,
    uncoating: Path | None = None,
    look_for_uncoating: bool = True,
    classifier: Path | None = None,
    read_intensity: bool = False,
    columns: str | None = None,
    overwrite: bool = False,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Add the motion state to every row of a CSV of tracks (frame, particle, y, x[, z]).

    Parameters
    ----------
    src, out : Path or str
        Input rows may have any order; the output has the same rows in this order, with the state
        columns added at the end.
    pixel_size_um : float
    frame_interval_s : float, optional
        Default: the median step of the column `time_s`, seconds.
    z_step_um : float, optional
        Unit of `z`; default: the pixel size.
    lag : int, optional
        Look-ahead in frames. Beyond the longest that the models were trained for, their longest
        answers, and a line of text says so; the column `lag` tells what each row used.
    offline : bool
        Use whole tracks, forwards and backwards.
    look_for_uncoating : bool
        Otherwise the uncoating network is not run, and `p_uncoated` is empty.
    classifier : Path, optional
        Classifier of a user: it adds `p_CLASS` for each class, and `task`. If it was trained on
        whole tracks, all rows of a track have the same values. Otherwise they are those of the
        window around the row, as far as it is known when the state of the row settles.
    columns : str, optional
        Columns of a table that no convention names: "frame=T,particle=ID,y=Y_um,x=X_um".
    say : callable
        Is called with a line of text about the table.
    read_intensity : bool
        Use the column `intensity` for uncoating, for labels that are lost with the coat.

    Raises
    ------
    InputError
        The table cannot be used.
    SettingError
        A value is out of range, both `lag` and `offline` are given, or neither an interval nor a
        column `time_s`.
    """
    src, out = Path(src), Path(out)
    for name, value in (
        ("pixel_size_um", pixel_size_um),
        ("frame_interval_s", 1.0 if frame_interval_s is None else frame_interval_s),
        ("z_step_um", 1.0 if z_step_um is None else z_step_um),
    ):
        if not 0 < value < 1e6:
            raise SettingError(f"{name} must be above 0, not {value}")
    if offline and lag is not None:
        raise SettingError("--lag and --offline exclude each other: offline uses the whole track")
    if lag is not None and lag < 0:
        raise SettingError(f"lag must be 0 or more frames, not {lag}")
    if classifier is not None and (offline or lag is not None):
        raise SettingError("--classifier needs settled states: leave out --lag and --offline")
    if read_intensity and not look_for_uncoating:
        raise SettingError("--read-intensity is for the uncoating model, which is off")
    check_text_out(out, overwrite=overwrite)
    task = TrackClassifier(classifier, provider="cpu") if classifier is not None else None
    adds = ADDED if task is None else (*ADDED, *task_columns(task))
    needed = ("frame", "particle", "y", "x", *(("intensity",) if read_intensity else ()))
    table = read_table(
        src,
        needed,
        optional=("z", "time_s"),
        adds=adds,
        stated=parse_columns(columns) if columns else None,
        pixel_size_um=pixel_size_um,
    )
    if table.said:
        say(table.said)
    if table.unit != "pixel" and z_step_um is not None:
        raise SettingError(f"z in {src} is in {table.unit}: leave out --z-step-um")
    interval = interval_of_tracks(table.values, frame_interval_s, say)
    if interval is None and len(table):
        raise SettingError(f"{src} has no times in time_s: give --frame-interval-s")
    interval = interval or 1.0  # of no rows, any will do
    intensity = table.values["intensity"] if read_intensity else None
    asked = {} if look_for_uncoating else {"uncoating": "off"}
    options = Options(segmenter=segmenter, uncoating=uncoating, settings=asked)
    scale = (z_step_um or pixel_size_um) / pixel_size_um
    z = table.values.get("z", np.zeros(len(table.values["y"])))
    points = np.stack([z * scale, table.values["y"], table.values["x"]], axis=1)
    frames, particles = table.values["frame"], table.values["particle"]
    told = [*doubts.of_scale(pixel_size_um, interval)]
    if table.unit == "pixel":
        told += doubts.of_unit(frames, particles, points, pixel_size_um)
    more: dict[str, NDArray[Any]] = {}
    if offline:
        networks = load_whole(options)
        if read_intensity and networks[1] is not None:
            networks[1].check_intensity()
        rows = frames, particles, points
        states = whole_tracks(*networks, *rows, pixel_size_um, intensity)
    else:
        infer = load_infer(options)
        if read_intensity and infer.uncoating is not None:
            infer.uncoating.check_intensity()
        ndim = 3 if "z" in table.values else 2
        infer.measure(pixel_size_um, interval, ndim)
        answering = lag_that_answers(infer, lag, say)
        reader, points_um = infer.segmenter, points * pixel_size_um
        told += doubts.of_tracks(particles, frames, points_um, reader.learned, reader.path.stem)
        states = point_by_point(infer, frames, particles, points, answering, intensity)
        if task is not None:
            units = task.units(pixel_size_um, interval, ndim)
            task.check_segmenter(infer.segmenter.session.sha256)
            known = readings(infer, task.window, frames, particles, points)
            described = describe(frames, particles, points, known, units, task.window, infer.lag)
            more = class_columns(task, described)
    write_table(out, table, state_columns(states) | more, overwrite=overwrite)
    for text in told:
        say(f"note: {text}")
    return {"rows": len(states), "tracks": len(np.unique(particles)), "out": str(out)}


def lag_that_answers(infer: Infer, asked: int | None, say: Callable[[str], None]) -> int:
    """Look-ahead that the models have nearest to `asked`, and not beyond; None: of settled states.

    A difference is said in one line.
    """
    if asked is None or asked <= infer.farthest:
        return infer.lag if asked is None else asked
    say(
        f"lag {asked}: the models look at most {infer.farthest} frames ahead, so lag "
        f"{infer.farthest} answers (column lag)"
    )
    return infer.farthest


def state_columns(states: NDArray[np.void]) -> dict[str, NDArray[Any]]:
    """Columns of a table for STATE rows."""
    names = np.array([*MOTIONS, UNSURE])  # ABSTAIN is -1, the last entry
    assert ABSTAIN == -1
    columns: dict[str, NDArray[Any]] = {f"p_{name}": states[f"p_{name}"] for name in MOTIONS}
    return columns | {
        "state": names[states["state"]],
        "p_uncoated": states["p_uncoated"],
        "lag": states["lag"],
    }


def readings(
    infer: Infer,
    window: int,
    frames: NDArray[np.int64],
    particles: NDArray[np.int64],
    points: NDArray[np.float64],
) -> NDArray[np.void]:
    """States (STATE) for fingerprints, one for each row.

    For whole tracks these are settled states. For windows they are provisional states, because a
    live run has no others at that time.
    """
    return point_by_point(infer, frames, particles, points, lag=0 if window else None)


def point_by_point(
    infer: Infer,
    frames: NDArray[np.int64],
    particles: NDArray[np.int64],
    points: NDArray[np.float64],
    lag: int | None = None,
    intensity: NDArray[np.float64] | None = None,
) -> NDArray[np.void]:
    """Settled states (STATE) of tracks, one for each row, as in a live run.

    Tracks are independent, so all of a batch are processed as if they started at the same time.
    This makes batches large even if the tracks are far apart in time. `lag` is at most that of
    `lag_that_answers`; default: that of settled states.
    """
    states = np.zeros(len(frames), STATE)
    tracks, slot = np.unique(particles, return_inverse=True)
    first = np.full(len(tracks), np.iinfo(np.int64).max)
    last = np.full(len(tracks), np.iinfo(np.int64).min)
    np.minimum.at(first, slot, frames)
    np.maximum.at(last, slot, frames)
    age = frames - first[slot]
    lag = infer.lag if lag is None else lag
    for begin in range(0, len(tracks), AT_ONCE):
        mine = np.flatnonzero((slot >= begin) & (slot < begin + AT_ONCE))
        order = mine[np.lexsort((slot[mine], age[mine]))]
        reader = States(infer(), lag=lag, abstain_below=infer.abstain_below)
        settled = []
        cuts = np.flatnonzero(np.diff(age[order])) + 1
        for rows in np.split(order, cuts):
            now = int(age[rows[0]])
            settled.append(reader.settle_overdue(now).rows)
            slots = (slot[rows] - begin).astype(np.int32)
            seen = None if intensity is None else intensity[rows]
            settled.append(reader.step(now, slots, slot[rows], points[rows], seen)[1].rows)
        settled.append(reader.finish(int(age[order[-1]])).rows)
        made = joined(STATE, settled)
        states[order] = made[np.lexsort((made["track"], made["frame"]))]
    states["track"] = particles
    states["frame"] = frames
    states["made"] = np.minimum(frames + lag, last[slot])  # frame of the last point that was used
    return states


def whole_tracks(
    segmenter: WholeReader,
    uncoating: WholeReader | None,
    frames: NDArray[np.int64],
    particles: NDArray[np.int64],
    points: NDArray[np.float64],
    pixel_size_um: float,
    intensity: NDArray[np.float64] | None = None,
) -> NDArray[np.void]:
    """States (STATE) of tracks, one for each row, each predicted from the whole track.

    Without a network for uncoating (None), `p_uncoated` is NaN.
    """
    order = np.lexsort((frames, particles))
    _, first, count = np.unique(particles[order], return_index=True, return_counts=True)
    offset = np.concatenate([first, [len(order)]])
    tracks = offset, frames[order], points[order], pixel_size_um
    seen = None if intensity is None else intensity[order]
    uncoated = (
        np.full((len(order), 1), np.nan, np.float32)
        if uncoating is None
        else uncoating(*tracks, seen)
    )
    readings = np.concatenate([segmenter(*tracks), uncoated], axis=1)
    states = np.zeros(len(frames), STATE)
    states[order] = state_rows(readings, segmenter.abstain_below)
    states["made"][order] = np.repeat(frames[order[offset[1:] - 1]], count)
    states["lag"] = states["made"] - frames
    states["frame"], states["track"], states["settled"] = frames, particles, 1
    return states
