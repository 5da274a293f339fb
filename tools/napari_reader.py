"""Reader of runs for napari: the image, and the tracks with what is known of their motion.

napari finds it by `napari.yaml` next to this file; napari and dask are imported nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from livespt.stream.link.corrections import corrected
from livespt.stream.store.run import RunReader, open_run
from livespt.stream.types import ABSTAIN, MOTIONS
from livespt.tools.tables.export import UNSURE, spot_table
from livespt.tools.tables.export_lineage import LONGEST, lineage

if TYPE_CHECKING:
    import pandas as pd

UNSETTLED, UNKNOWN = -2, -1  # features of points of which a state or a number is not known
Layer = tuple[Any, dict[str, Any], str]  # data, options and type, as napari takes them


def get_reader(path: str | list[str]) -> Callable[[str], list[Layer]] | None:
    """Return the function that reads a run; None if `path` is none."""
    if not isinstance(path, str) or not (Path(path) / "spots").is_dir():
        return None
    return read_run


def read_run(path: str) -> list[Layer]:
    """Return the layers of a run: for each channel and position the image, then the tracks.

    Coordinates are pixels with the scale of the run. Tracks that merge or split are cut there, and
    the graph of the layer joins the pieces.
    """
    run = open_run(path)
    spots, states = (corrected(rows, run.events) for rows in (run.spots, run.states))
    table = spot_table(run.start, spots, states, run.frames)
    links = lineage(run.spots, run.events, run.start.settings.get("memory", LONGEST)).links
    pixel = run.start.pixel_size_um or 1.0
    depth = (run.start.z_step_um or pixel) if "z" in table else None
    scale = [1.0, *([depth] if depth else []), pixel, pixel]
    frames = run.frames
    layers: list[Layer] = []
    for channel, position in sorted({*zip(frames["channel"], frames["position"], strict=True)}):
        name = f"{Path(path).stem} p{position} c{channel}"
        if run.has_movie:
            images = _images(run, int(channel), int(position))
            layers.append((images, {"name": name, "scale": scale}, "image"))
        mine = (table["channel"] == channel) & (table["position"] == position)
        rows = np.flatnonzero(mine.to_numpy())
        if len(rows):
            data, graph, order = tracks(table, rows, links)
            about = {"name": f"{name} tracks", "scale": scale, "graph": graph}
            layers.append((data, {**about, "features": features(table.iloc[order])}, "tracks"))
    return layers


def tracks(
    table: pd.DataFrame, rows: NDArray[np.int64], links: NDArray[np.int64]
) -> tuple[NDArray[np.float64], dict[int, list[int]], NDArray[np.int64]]:
    """Return the data of a layer of tracks.

    Parameters
    ----------
    table : DataFrame
        Result of `spot_table`.
    rows : (n,)
        Those of one image.
    links : (m, 2)
        Rows of the ends of each merge and split.

    Returns
    -------
    data : (n, 4) or (n, 5)
        Piece of a track, time point, [z,] y, x; sorted by piece, then time.
    graph : dict
        The pieces that each piece comes from.
    order : (n,)
        Row of the table of each.
    """
    frame, particle = table["frame"].to_numpy(), table["particle"].to_numpy()
    order = rows[np.lexsort((frame[rows], particle[rows]))]
    place = np.full(len(table), -1)
    place[order] = np.arange(len(order))
    ends = place[links[np.isin(links, rows).all(axis=1)]]
    first = np.diff(particle[order], prepend=-1) != 0
    new = first.copy()
    new[ends[:, 1]] = True
    after = ends[:, 0] + 1
    new[after[after < len(new)]] = True
    piece = np.cumsum(new) - 1
    graph: dict[int, list[int]] = {}
    for at in np.flatnonzero(new & ~first).tolist():
        graph.setdefault(int(piece[at]), []).append(int(piece[at - 1]))
    for a, b in ends.tolist():
        graph.setdefault(int(piece[b]), []).append(int(piece[a]))
    axes = [name for name in ("z", "y", "x") if name in table]
    columns = [piece, frame[order], *(table[name].to_numpy()[order] for name in axes)]
    return np.stack(columns, axis=1).astype(np.float64), graph, order


def features(table: pd.DataFrame) -> dict[str, NDArray[Any]]:
    """Return numbers that colour tracks: motion, probabilities, intensity, score and time.

    Motion is the code of the state, -1 (unsure) or -2 (not settled yet). What is not known is -1
    in the other columns, because one NaN would give all tracks of the layer the same colour;
    columns of which nothing is known are left out.

    Parameters
    ----------
    table : DataFrame
        Result of `spot_table`.
    """
    codes = {motion: code for code, motion in enumerate(MOTIONS)} | {UNSURE: ABSTAIN}
    state = table["state"].map(codes).fillna(UNSETTLED).to_numpy(np.int64)
    told: dict[str, NDArray[Any]] = {"motion": state, "particle": table["particle"].to_numpy()}
    probabilities = (*(f"p_{motion}" for motion in MOTIONS), "p_uncoated", "p_task")
    for name in (*probabilities, "intensity", "score", "time_s"):
        if name in table and table[name].notna().any():
            told[name] = table[name].fillna(UNKNOWN).to_numpy(np.float64)
    return told


def _images(run: RunReader, channel: int, position: int) -> Any:
    """Frames of one image by time point, read when they are shown."""
    dask: Any = import_module("dask")  # it comes with napari
    arrays: Any = import_module("dask.array")
    log = run.log
    mine = np.flatnonzero((log["channel"] == channel) & (log["position"] == position))
    at = {int(log["t"][i]): int(i) for i in mine}
    blank = np.zeros(run.start.shape, run.start.dtype)
    read = dask.delayed(lambda i: blank if i is None else run.frame(i).image, pure=False)
    shape, dtype = run.start.shape, np.dtype(run.start.dtype)
    last = max(at, default=-1) + 1
    return arrays.stack([arrays.from_delayed(read(at.get(t)), shape, dtype) for t in range(last)])
