"""`livespt export`: the tracks of a run as a table or graph, in formats of other programs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from livespt.stream.errors import SettingError
from livespt.stream.link.corrections import corrected
from livespt.stream.store.run import open_run
from livespt.stream.types import ABSTAIN, CLOCKS, MOTIONS, SPOT, STATE, Start
from livespt.tools.tables.out_file import check_out, whole_file

if TYPE_CHECKING:
    import pandas as pd


KEYS = ["frame", "channel", "position", "track"]  # identify a spot, and its settled state
PROBABILITIES = [f"p_{motion}" for motion in MOTIONS]
FURTHER = ("sigma", "variance", "polarizability_um3")  # only where the localizer measured them
KNOWN = {*(SPOT.names or ()), *(STATE.names or ()), "particle", "time_s"}
NUMBERS = "iufb"  # kinds of columns that every format can hold
UNSURE = "unsure"  # `state` when no motion is likely enough


def export_run(run: Path | str, out: Path | str, *, overwrite: bool = False) -> dict[str, Any]:
    """Write one row (or node) for each stored spot of a run, in stored order, links corrected.

    Parameters
    ----------
    run : Path
        A run; if it is still being written, what is committed is exported.
    out : Path
        The extension decides the format: `.csv`, `.parquet`, `.xml` (TrackMate) or `.geff`.

    Returns
    -------
    dict
        spots, tracks, unsettled (spots whose state is not final yet; their cells are empty), out.

    Raises
    ------
    SettingError
        The extension is none of the four.
    InputError
        `run` is not a run.
    StoreError
        `out` exists (and `overwrite` is False) or cannot be written.
    """
    out = Path(out)
    write = WRITERS.get(out.suffix.lower())
    if write is None:
        raise SettingError(f"cannot export to '{out.name}': end it in {', '.join(WRITERS)}")
    check_out(out, overwrite=overwrite, folder=write is _write_geff)
    reader = open_run(run)
    spots, states = (corrected(rows, reader.events) for rows in (reader.spots, reader.states))
    table = spot_table(reader.start, spots, states, reader.frames)
    with whole_file(out, overwrite=overwrite, folder=write is _write_geff) as partial:
        write(partial, reader.start, table)
    return {
        "spots": len(table),
        "tracks": int(table["particle"].nunique()),
        "unsettled": int(table["lag"].isna().sum()),
        "out": str(out),
    }


def spot_table(
    start: Start,
    spots: NDArray[np.void],
    states: NDArray[np.void],
    frames: NDArray[np.void] | None = None,
) -> pd.DataFrame:
    """Spots with their settled states, one row for each spot, in the order of `spots`.

    The columns are `frame, particle, y, x` as in trackpy (and `z` of stacks; pixels), then
    `time_s`, where the frames have a clock, and measured quantities, then the settled state of the
    track in this frame, which is empty before it settles.
    Columns of spots or states that this version does not know follow those that it knows.

    Parameters
    ----------
    start : Start
    spots : (n,) SPOT
    states : (m,) STATE
        Provisional rows are ignored.
    frames : (k,) FRAME, optional
        Frames of the run, which have the times.
    """
    import pandas as pd

    axes = ["y", "x", "z"][: len(start.axes)]
    further = [*FURTHER, *_unknown(spots)]
    further = [name for name in further if not np.isnan(spots[name]).all()]
    measured = ["intensity", "background", "score", *(f"d{axis}" for axis in axes), *further]
    names = ["frame", "track", *axes, *measured, "channel", "position"]
    table = pd.DataFrame({name: spots[name] for name in names})
    if frames is not None and (frames["clock"] != CLOCKS.index("none")).any():
        timed = pd.DataFrame({name: frames[name] for name in (*KEYS[:3], "time_s")})
        times = table[KEYS[:3]].merge(timed.drop_duplicates(KEYS[:3]), on=KEYS[:3], how="left")
        table.insert(2 + len(axes), "time_s", times["time_s"].to_numpy())
    final = states[states["settled"] == 1]
    task = [] if np.isnan(final["p_task"]).all() else ["p_task"]
    names = [*KEYS, *PROBABILITIES, "state", "p_uncoated", *task, "lag", *_unknown(states)]
    settled = pd.DataFrame({name: final[name] for name in names})
    suffixes = "", "_of_state"  # columns of one name, of which neither is known here
    table = table.merge(settled, on=KEYS, how="left", validate="one_to_one", suffixes=suffixes)
    missing = table["state"].isna()
    motion = np.array([*MOTIONS, UNSURE])[table["state"].fillna(ABSTAIN).astype(int)]
    table["state"] = pd.Series(motion, dtype="str").mask(missing)
    table["lag"] = table["lag"].astype("Int32") if missing.any() else table["lag"].astype("int32")
    return table.rename(columns={"track": "particle"})


def _unknown(rows: NDArray[np.void]) -> list[str]:
    """Columns of numbers that another version stored, under names that mean nothing here."""
    names = [name for name in rows.dtype.names or () if name not in KNOWN]
    return [name for name in names if rows.dtype[name].kind in NUMBERS]


def consecutive(table: pd.DataFrame) -> NDArray[np.int64]:
    """Rows (n, 2) of the two ends of each link, sorted by particle, then frame."""
    frame, particle = table["frame"].to_numpy(), table["particle"].to_numpy()
    order = np.lexsort((frame, particle))
    links = np.stack([order[:-1], order[1:]], axis=1)
    kept: NDArray[np.int64] = links[particle[links[:, 0]] == particle[links[:, 1]]]
    return kept


def _write_csv(path: Path, start: Start, table: pd.DataFrame) -> None:
    table.to_csv(path, index=False)


def _write_parquet(path: Path, start: Start, table: pd.DataFrame) -> None:
    table.to_parquet(path, index=False)


def _write_trackmate(path: Path, start: Start, table: pd.DataFrame) -> None:
    from livespt.tools.tables.trackmate import write_trackmate

    write_trackmate(path, start, table, consecutive(table))


def _write_geff(path: Path, start: Start, table: pd.DataFrame) -> None:
    """Write GEFF: nodes in pixels and frames, with scales to micrometers and seconds if known."""
    from geff import GeffMetadata
    from geff.core_io import write_arrays

    time, pixel = start.frame_interval_s, start.pixel_size_um
    scales = {"z": start.z_step_um or pixel, "y": pixel, "x": pixel}
    axes: list[dict[str, Any]] = [{"name": "t", "type": "time", "unit": "frame"}]
    if time:
        axes[0] |= {"scale": time, "scaled_unit": "second"}
    for name in (name for name in scales if name in table):
        axes.append({"name": name, "type": "space", "unit": "pixel"})
        if scales[name]:
            axes[-1] |= {"scale": scales[name], "scaled_unit": "micrometer"}
    codes = {UNSURE: ABSTAIN} | {motion: code for code, motion in enumerate(MOTIONS)}
    whole = {"state": "int8", "lag": "int32"}
    props: dict[str, Any] = {}
    for name in table.columns:
        column = table[name]
        if name == "state":
            column = column.map(codes)
        missing = column.isna().to_numpy()
        if missing.any():
            column = column.fillna(0)
        numbers = column.to_numpy(whole.get(name))
        props["t" if name == "frame" else name] = {
            "values": numbers,
            "missing": missing if missing.any() else None,
        }
    metadata = GeffMetadata(
        directed=True,
        axes=axes,
        node_props_metadata={},
        edge_props_metadata={},
        track_node_props={"tracklet": "particle", "lineage": "particle"},
        extra={"livespt": {"run": start.run, "state": [*MOTIONS], "unsure": ABSTAIN}},
    )
    nodes = np.arange(len(table), dtype=np.uint64)
    write_arrays(path, nodes, props, consecutive(table).astype(np.uint64), {}, metadata)


WRITERS: dict[str, Callable[[Path, Start, pd.DataFrame], None]] = {
    ".csv": _write_csv,
    ".parquet": _write_parquet,
    ".xml": _write_trackmate,
    ".geff": _write_geff,
}
