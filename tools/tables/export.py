"""`livespt export`: the tracks of a run as a table or graph, in formats of other programs."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from livespt.stream.errors import SettingError, StoreError
from livespt.stream.link.corrections import corrected
from livespt.stream.store.run import open_run
from livespt.stream.types import ABSTAIN, CLOCKS, MOTIONS, SPOT, STATE, Start
from livespt.tools.tables.export_columns import PROGRAMS, cut_at_gaps, facts, renamed
from livespt.tools.tables.export_lineage import LONGEST, families, lineage
from livespt.tools.tables.out_file import check_out, whole_file
from livespt.tools.tables.undrifted import undrifted

if TYPE_CHECKING:
    import pandas as pd


KEYS = ["frame", "channel", "position", "track"]  # identify a spot, and its settled state
PROBABILITIES = [f"p_{motion}" for motion in MOTIONS]
FURTHER = ("sigma", "variance", "polarizability_um3")  # only where the localizer measured them
KNOWN = {*(SPOT.names or ()), *(STATE.names or ()), "particle", "time_s"}
NUMBERS = "iufb"  # kinds of columns that every format can hold
UNSURE = "unsure"  # `state` when no motion is likely enough


def export_run(
    run: Path | str,
    out: Path | str,
    *,
    program: str | None = None,
    cut_gaps: bool = False,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write one row (or node) for each stored spot of a run, in stored order, links corrected.

    Parameters
    ----------
    run : Path
        A run; if it is still being written, what is committed is exported.
    out : Path
        The extension decides the format: `.csv`, `.parquet`, `.xml` (TrackMate) or `.geff`. Units
        and meanings of the columns are in the file; those of a CSV in `out.json` beside it. Of a
        run with several channels or positions, TrackMate gets a file for each.
    program : str, optional
        Name the columns of a table as one of `PROGRAMS` does.
    cut_gaps : bool
        Cut tracks where a frame is missing, for programs that take rows as consecutive frames.
        Of merges and splits, those from one frame to the next stay.
    overwrite : bool
        Replace files of the same kind, all of them once the new ones are whole.

    Returns
    -------
    dict
        spots, tracks, unsettled (spots whose state is not final yet; their cells are empty), out;
        of a graph also lineage (merges and splits in it) and undone (those that do not agree with
        links as they were corrected later, and are left out).

    Raises
    ------
    SettingError
        The extension is none of the four, or a graph is to have the columns of a program.
    InputError
        `run` is not a run.
    StoreError
        `out` exists (and `overwrite` is False) or cannot be written.
    """
    out = Path(out)
    kind = out.suffix.lower()
    if kind not in WRITERS:
        raise SettingError(f"cannot export to '{out.name}': end it in {', '.join(WRITERS)}")
    if program is not None and kind not in TABLES:
        raise SettingError(f"--for names the columns of {' and '.join(TABLES)}, not of {kind}")
    check_out(out, overwrite=overwrite, folder=kind == ".geff")
    reader = open_run(run)
    spots, states = (corrected(rows, reader.events) for rows in (reader.spots, reader.states))
    spots = undrifted(reader.start, spots, reader.frames)
    table = spot_table(reader.start, spots, states, reader.frames)
    start = reader.start
    if reader.stop is not None and reader.stop.frame_interval_s:
        start = replace(start, frame_interval_s=reader.stop.frame_interval_s)
    told: dict[str, Any] = {}
    kin = np.zeros((0, 2), np.int64)
    if kind not in TABLES:
        kin, undone = lineage(reader.spots, reader.events, start.settings.get("memory", LONGEST))
        if cut_gaps:
            kin = kin[np.diff(table["frame"].to_numpy()[kin], axis=1)[:, 0] == 1]
        told = {"lineage": len(kin), "undone": undone}
    if cut_gaps:
        table = cut_at_gaps(table)
    files = _files(out, table, kin) if kind == ".xml" else {out: (table, kin)}
    _write_all(files, start, kind, program, overwrite=overwrite)
    return {
        "spots": len(table),
        "tracks": int(table["particle"].nunique()),
        "unsettled": int(table["lag"].isna().sum()),
        **told,
        "out": ", ".join(map(str, files)),
    }


def _write_all(
    files: dict[Path, tuple[pd.DataFrame, NDArray[np.int64]]],
    start: Start,
    kind: str,
    program: str | None,
    *,
    overwrite: bool,
) -> None:
    """Write files, and what stands beside them: if one cannot be written, there is none."""
    folder = kind == ".geff"
    beside = {path: path.with_name(f"{path.name}.json") for path in files if kind == ".csv"}
    for path in (*files, *beside.values()):
        check_out(path, overwrite=overwrite, folder=folder)
    for path in beside.values():
        _check_beside(path)
    with ExitStack() as stack:  # at its end the files get their names
        for path, (table, kin) in files.items():
            partial = stack.enter_context(whole_file(path, overwrite=overwrite, folder=folder))
            WRITERS[kind](partial, start, table, kin, program)
            if path in beside:
                partial = stack.enter_context(whole_file(beside[path], overwrite=overwrite))
                about = json.dumps(_facts(start, table, program), indent=1)
                partial.write_text(about + "\n", encoding="utf-8")


def _check_beside(path: Path) -> None:
    """Refuse to take the place of a file beside a table that no export wrote."""
    if not path.exists():
        return
    try:
        ours = {"run", "scale", "columns"} <= set(json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        ours = False
    if not ours:
        raise StoreError(f"{path} is not of an export; move it away or choose another name")


def _files(
    out: Path, table: pd.DataFrame, kin: NDArray[np.int64]
) -> dict[Path, tuple[pd.DataFrame, NDArray[np.int64]]]:
    """Files for the lanes of a run: a file of TrackMate belongs to one image."""
    lane = table[["position", "channel"]].to_numpy()
    lanes = np.unique(lane, axis=0)
    if len(lanes) < 2:
        return {out: (table, kin)}
    found = {}
    for position, channel in lanes.tolist():
        rows = np.flatnonzero((lane == [position, channel]).all(axis=1))
        number = np.full(len(table), -1)
        number[rows] = np.arange(len(rows))
        links = number[kin]
        name = f"{out.stem}_p{position}_c{channel}{out.suffix}"
        part = table.iloc[rows].reset_index(drop=True)
        found[out.with_name(name)] = part, links[(links >= 0).all(axis=1)]
    return found


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


def _facts(start: Start, table: pd.DataFrame, program: str | None) -> dict[str, Any]:
    """Scale and columns of a file, by the names that it has."""
    told = facts(start, table)
    names = PROGRAMS[program] if program else {}
    told["columns"] = {names.get(name, name): about for name, about in told["columns"].items()}
    return told


def _write_csv(
    path: Path, start: Start, table: pd.DataFrame, kin: NDArray[np.int64], program: str | None
) -> None:
    (renamed(table, program) if program else table).to_csv(path, index=False)


def _write_parquet(
    path: Path, start: Start, table: pd.DataFrame, kin: NDArray[np.int64], program: str | None
) -> None:
    import pyarrow
    from pyarrow import parquet

    told = _facts(start, table, program)
    held = pyarrow.Table.from_pandas(
        renamed(table, program) if program else table, preserve_index=False
    )
    fields = [
        field.with_metadata({**(field.metadata or {}), **told["columns"].get(field.name, {})})
        for field in held.schema
    ]
    about = {**(held.schema.metadata or {}), b"livespt": json.dumps(told).encode()}
    parquet.write_table(held.cast(pyarrow.schema(fields, about)), path)


def _write_trackmate(
    path: Path, start: Start, table: pd.DataFrame, kin: NDArray[np.int64], program: str | None
) -> None:
    from livespt.tools.tables.trackmate import write_trackmate

    links = np.concatenate([consecutive(table), kin])
    write_trackmate(path, start, table, links, families(table["particle"].to_numpy(), kin))


def _write_geff(
    path: Path, start: Start, table: pd.DataFrame, kin: NDArray[np.int64], program: str | None
) -> None:
    """Write GEFF: nodes in pixels and frames, with scales to micrometers and seconds if known."""
    from geff import GeffMetadata
    from geff.core_io import write_arrays
    from geff_spec import DisplayHint, PropMetadata

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
    told = facts(start, table)["columns"]
    table = table.assign(lineage=families(table["particle"].to_numpy(), kin))
    props: dict[str, Any] = {}
    about: dict[str, PropMetadata] = {}
    for name in table.columns:
        column = table[name]
        if name == "state":
            column = column.map(codes)
        missing = column.isna().to_numpy()
        if missing.any():
            column = column.fillna(0)
        numbers = column.to_numpy(whole.get(name))
        named = "t" if name == "frame" else str(name)
        props[named] = {"values": numbers, "missing": missing if missing.any() else None}
        if name in told:
            about[named] = PropMetadata(
                identifier=named,
                dtype=str(numbers.dtype),
                unit=told[name]["unit"] or None,
                description=told[name]["meaning"],
            )
    # a track that another joins or leaves is no tracklet, which is a line without branches
    tracks = {"tracklet": "particle"} if not len(kin) else {}
    metadata = GeffMetadata(
        directed=True,
        axes=axes,
        node_props_metadata=about,
        edge_props_metadata={},
        track_node_props={**tracks, "lineage": "lineage"},
        # without it, some readers take y for x
        display_hints=DisplayHint(
            display_horizontal="x",
            display_vertical="y",
            display_depth="z" if "z" in table else None,
            display_time="t",
        ),
        extra={"livespt": {"run": start.run, "state": [*MOTIONS], "unsure": ABSTAIN}},
    )
    nodes = np.arange(len(table), dtype=np.uint64)
    links = np.concatenate([consecutive(table), kin]).astype(np.uint64)
    write_arrays(path, nodes, props, links, {}, metadata)


WRITERS: dict[str, Callable[..., None]] = {
    ".csv": _write_csv,
    ".parquet": _write_parquet,
    ".xml": _write_trackmate,
    ".geff": _write_geff,
}
TABLES = (".csv", ".parquet")
