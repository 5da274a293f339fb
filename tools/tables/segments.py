"""`livespt segments`: stretches of constant motion of every track, from its states."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.stream.compiled import njit
from livespt.stream.errors import InputError, SettingError
from livespt.stream.link.corrections import corrected
from livespt.stream.types import MOTIONS
from livespt.tools.tables.conventions import parse_columns
from livespt.tools.tables.out_file import check_text_out, whole_file
from livespt.tools.tables.track_times import interval_of_tracks
from livespt.tools.tables.user_table import read_table

PROBABILITIES = tuple(f"p_{motion}" for motion in MOTIONS)
PAUSE_STEPS = 5.0  # a step longer than so many median ones is a pause
NEEDED = ("frame", "particle", "y", "x", *PROBABILITIES)


def segment_table(
    src: Path | str,
    out: Path | str,
    *,
    min_points: int = 5,
    pixel_size_um: float | None = None,
    frame_interval_s: float | None = None,
    columns: str | None = None,
    overwrite: bool = False,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Write one row for each stretch of constant motion of the tracks in `src`.

    Parameters
    ----------
    src : Path or str
        A run, or a table from `analyze` or `export` (.csv: frame, particle, y, x[, z], p_...).
    out : Path or str
        `.csv` with the columns of `segments`.
    min_points : int
        A shorter stretch is merged with the neighbour whose motion is more probable in it.
    pixel_size_um, frame_interval_s : float, optional
        They rule over what a run knows itself, and the interval over times (`time_s`). Where
        nothing is known, lengths are in pixels and times in frames.
    columns : str, optional
        Columns of a table that no convention names: "frame=T,particle=ID,y=Y_um,x=X_um".
    say : callable
        Is called with a line of text about the table, and where times differ from the interval.

    Raises
    ------
    InputError
        `src` is not a run, or the table lacks a column.
    SettingError
        A value is out of range.
    """
    import pandas as pd

    src, out = Path(src), Path(out)
    if min_points < 1:
        raise SettingError(f"min_points must be 1 or more, not {min_points}")
    check_text_out(out, overwrite=overwrite)
    if src.is_dir():
        values, z_step_um, pixel, interval = _of_run(src)
        pixel_size_um = pixel_size_um or pixel
        z_scale = z_step_um / pixel_size_um if z_step_um and pixel_size_um else 1.0
    else:
        table = read_table(
            src,
            NEEDED,
            optional=("z", "time_s"),
            stated=parse_columns(columns) if columns else None,
            pixel_size_um=pixel_size_um,
        )
        if table.said:
            say(table.said)
        values, z_scale, interval = table.values, 1.0, None
    interval_of_tracks(values, frame_interval_s, say)
    z = values.get("z", np.zeros(len(values["y"]))) * z_scale
    point = np.stack([z, values["y"], values["x"]], axis=1)
    probability = np.stack([values[name] for name in PROBABILITIES], axis=1)
    found = segments(
        values["particle"],
        values["frame"],
        point,
        probability,
        min_points=min_points,
        pixel_size_um=pixel_size_um,
        frame_interval_s=frame_interval_s or interval,
        time_s=values.get("time_s") if frame_interval_s is None else None,
    )
    with whole_file(out, overwrite=overwrite) as partial:
        pd.DataFrame(found).to_csv(partial, index=False)
    count = {motion: int(np.sum(found["state"] == motion)) for motion in MOTIONS}
    return {"segments": len(found["state"]), **count, "out": str(out)}


def _of_run(src: Path) -> tuple[dict[str, Any], float | None, float | None, float | None]:
    """Settled points of a run, its z step, pixel size and frame interval."""
    from livespt.stream.store.run import open_run
    from livespt.tools.tables.export import spot_table
    from livespt.tools.tables.undrifted import undrifted

    reader = open_run(src)
    start, stop = reader.start, reader.stop
    spots, states = (corrected(rows, reader.events) for rows in (reader.spots, reader.states))
    spots = undrifted(start, spots, reader.frames)
    table = spot_table(start, spots, states, reader.frames)
    table = table[table["lag"].notna()]
    names = [name for name in (*NEEDED, "z", "time_s") if name in table]
    columns = {name: table[name].to_numpy() for name in names}
    interval = (stop and stop.frame_interval_s) or start.frame_interval_s
    return columns, start.z_step_um, start.pixel_size_um, interval


def segments(
    particle: NDArray[np.int64],
    frame: NDArray[np.int64],
    point: NDArray[np.float64],
    probability: NDArray[Any],
    *,
    min_points: int = 5,
    pixel_size_um: float | None = None,
    frame_interval_s: float | None = None,
    time_s: NDArray[np.float64] | None = None,
) -> dict[str, NDArray[Any]]:
    """Stretches of constant motion, sorted by particle and time.

    Parameters
    ----------
    particle, frame : (n,)
        Rows in any order.
    point : (n, 3)
        z, y, x in pixels; z = 0 in two dimensions.
    probability : (n, 4)
        Probabilities of the motions, in the order of `types.MOTIONS`.
    min_points, pixel_size_um, frame_interval_s
        As in `segment_table`.
    time_s : (n,), optional
        Seconds of each row, which rule over the interval.

    Returns
    -------
    dict of (m,)
        `particle, segment` (from 0 in its track), `state, start, end` (frames), `points`,
        `confidence` (mean probability of the state), `duration_s`, `path_um`, `net_um` (distance
        from first to last point), `step_um` (mean per frame), and `D_um2_s`. D is the
        covariance-based estimate of Vestergaard et al. 2014 (Phys. Rev. E 89:022726, eq. 14), which
        is free of the localization error, with the mean of the real times between its points. It is
        meaningful for normal motion only, and empty for a segment with fewer than three points in
        consecutive frames. Steps over a pause are left out of it. Without pixel size, or without
        times and interval, the names end in `_px`, `_frames` and `_px2_frame`.

    Raises
    ------
    InputError
        A probability is not a number.
    """
    if not np.isfinite(probability).all():
        row = int(np.flatnonzero(~np.isfinite(probability).all(axis=1))[0])
        raise InputError(f"row {row + 1} has no probabilities: analyze the tracks first")
    order = np.lexsort((frame, particle))
    if time_s is not None:
        time, is_timed = np.asarray(time_s, np.float64)[order], True
    else:
        time = np.asarray(frame[order] * (frame_interval_s or 1.0), np.float64)
        is_timed = frame_interval_s is not None
    particle, frame, point = particle[order], frame[order], point[order].astype(np.float64)
    probability = probability[order].astype(np.float64)
    track = np.flatnonzero(np.diff(particle, prepend=particle[:1] - 1)) if len(particle) else order
    state = _smoothed(np.append(track, len(particle)), probability, min_points)
    new = np.ones(len(particle), bool)
    new[1:] = (np.diff(state) != 0) | (np.diff(particle) != 0)
    start = np.flatnonzero(new)
    end = np.append(start, len(particle))[1:]
    ndim = 3 if (point[:, 0] != point[:1, 0]).any() else 2
    path, net, diffusion = _measured(
        start, end, frame.astype(np.float64), time, _longest(particle, frame, time), point, ndim
    )
    sure = np.zeros(0)
    if len(start):
        sure = np.add.reduceat(probability[np.arange(len(state)), state], start)
    first = np.searchsorted(particle[start], particle[start])
    pixel = pixel_size_um or 1.0
    length, unit = ("um" if pixel_size_um else "px"), ("s" if is_timed else "frames")
    frames = frame[end - 1] - frame[start]
    duration = time[end - 1] - time[start] if is_timed else frames
    rate = f"D_{length}2_{'s' if is_timed else 'frame'}"
    return {
        "particle": particle[start],
        "segment": np.arange(len(start)) - first,
        "state": np.array(MOTIONS)[state[start]],
        "start": frame[start],
        "end": frame[end - 1],
        "points": end - start,
        "confidence": sure / np.maximum(end - start, 1),
        f"duration_{unit}": duration,
        f"path_{length}": path * pixel,
        f"net_{length}": net * pixel,
        f"step_{length}": path * pixel / np.maximum(frames, 1),
        rate: diffusion * pixel**2,
    }


def _longest(
    particle: NDArray[np.int64], frame: NDArray[np.int64], time: NDArray[np.float64]
) -> float:
    """Longest time between consecutive frames of a track that is no pause."""
    follows = (np.diff(particle) == 0) & (np.diff(frame) == 1)
    steps = np.diff(time)[follows]
    return PAUSE_STEPS * float(np.median(steps)) if len(steps) else np.inf


@njit()
def _smoothed(
    track: NDArray[np.int64], probability: NDArray[np.float64], least: int
) -> NDArray[np.int64]:
    """Most probable state (n,) of every row, without stretches of fewer than `least` points.

    The shortest stretch is merged first, with the neighbour whose state is more probable in it.
    This is repeated until no short stretch is left.
    """
    n = len(probability)
    state = np.empty(n, np.int64)
    for i in range(n):
        state[i] = probability[i].argmax()
    for k in range(len(track) - 1):
        low, high = track[k], track[k + 1]
        while True:
            best, at, to = least, -1, -1
            begin = low
            for i in range(low, high):
                if i + 1 < high and state[i + 1] == state[i]:
                    continue
                if i + 1 - begin < best and i + 1 - begin < high - low:
                    best, at, to = i + 1 - begin, begin, i + 1
                begin = i + 1
            if at < 0:
                break
            before = after = -1.0
            if at > low:
                before = probability[at:to, state[at - 1]].sum()
            if to < high:
                after = probability[at:to, state[to]].sum()
            state[at:to] = state[at - 1] if before >= after else state[to]
    return state


@njit()
def _measured(
    start: NDArray[np.int64],
    end: NDArray[np.int64],
    frame: NDArray[np.float64],
    time: NDArray[np.float64],
    longest: float,
    point: NDArray[np.float64],
    ndim: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Path and net displacement (pixels) and D (pixels^2 per unit of time) of the rows start:end.

    A step over more than one frame, or longer than `longest`, is left out of D.
    """
    path = np.zeros(len(start))
    net = np.zeros(len(start))
    diffusion = np.full(len(start), np.nan)
    for k in range(len(start)):
        square = product = passed = 0.0
        steps = pairs = 0
        before = False  # whether the step before counts
        for i in range(start[k] + 1, end[k]):
            step = point[i] - point[i - 1]
            path[k] += np.sqrt((step**2).sum())
            counts = frame[i] - frame[i - 1] == 1 and time[i] - time[i - 1] <= longest
            if counts:
                square += (step**2).sum()
                passed += time[i] - time[i - 1]
                steps += 1
                if before:
                    product += (step * (point[i - 1] - point[i - 2])).sum()
                    pairs += 1
            before = counts
        net[k] = np.sqrt(((point[end[k] - 1] - point[start[k]]) ** 2).sum())
        if pairs and passed > 0:
            diffusion[k] = (square / steps / 2 + product / pairs) / ndim / (passed / steps)
    return path, net, diffusion
