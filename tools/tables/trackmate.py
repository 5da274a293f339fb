"""Write a table of spots as TrackMate XML, the file format of TrackMate (Fiji).

`AllSpots` holds the spots by frame, `AllTracks` the links by track, and `FilteredTracks` names the
visible tracks. Coordinates are physical if the pixel size is known, with pixel centres at integers,
as in TrackMate. `Settings` holds what the loader of TrackMate (`TmXmlReader`) requires.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from numpy.typing import NDArray

from livespt.stream.types import ABSTAIN, MOTIONS, Start

if TYPE_CHECKING:
    import pandas as pd


VERSION = "7.11.1"  # version of TrackMate with this format
NO_QUALITY = -1.0  # quality of a spot whose score is unknown
UNSETTLED = -2  # motion state of a spot that is not settled yet; -1 is unsure
RADIUS_PX = 2.5  # radius of the circles that TrackMate draws, because spots have no extent

# key, name, dimension, whether values are integers
SPOT_FEATURES = (
    ("QUALITY", "Quality", "QUALITY", False),
    ("POSITION_X", "X", "POSITION", False),
    ("POSITION_Y", "Y", "POSITION", False),
    ("POSITION_Z", "Z", "POSITION", False),
    ("POSITION_T", "T", "TIME", False),
    ("FRAME", "Frame", "NONE", True),
    ("RADIUS", "Radius", "LENGTH", False),
    ("VISIBILITY", "Visibility", "NONE", True),
    ("INTENSITY", "Intensity", "INTENSITY", False),
    ("BACKGROUND", "Background", "INTENSITY", False),
    ("CHANNEL", "Channel", "NONE", True),
    ("STAGE_POSITION", "Stage position", "NONE", True),
    *((f"P_{motion.upper()}", f"P({motion})", "NONE", False) for motion in MOTIONS),
    ("P_UNCOATED", "P(uncoated)", "NONE", False),
    ("MOTION_STATE", "Motion state", "NONE", True),
    ("STATE_LAG", "Look-ahead of the state", "NONE", True),
)
# those that not every run has: column, power of the pixel size (of z: of the step) in its unit
OPTIONAL = {
    ("TIME_S", "Time of the frame", "TIME", False): ("time_s", 0),
    ("PRECISION_X", "Precision of X", "LENGTH", False): ("dx", 1),
    ("PRECISION_Y", "Precision of Y", "LENGTH", False): ("dy", 1),
    ("PRECISION_Z", "Precision of Z", "LENGTH", False): ("dz", 1),
    ("SIGMA", "Sigma", "LENGTH", False): ("sigma", 1),
    ("VARIANCE", "Variance", "AREA", False): ("variance", 2),
    ("POLARIZABILITY_UM3", "Polarizability", "NONE", False): ("polarizability_um3", 0),
    ("P_TASK", "P(task)", "NONE", False): ("p_task", 0),
}
EDGE_FEATURES = (
    ("SPOT_SOURCE_ID", "Source spot ID", "NONE", True),
    ("SPOT_TARGET_ID", "Target spot ID", "NONE", True),
    ("LINK_COST", "Link cost", "COST", False),
)
TRACK_FEATURES = (
    ("TRACK_INDEX", "Track index", "NONE", True),
    ("TRACK_ID", "Track ID", "NONE", True),
    ("NUMBER_SPOTS", "Number of spots in track", "NONE", True),
)


def write_trackmate(
    path: Path,
    start: Start,
    table: pd.DataFrame,
    links: NDArray[np.int64],
    family: NDArray[np.int64] | None = None,
) -> None:
    """Write a TrackMate file.

    Parameters
    ----------
    path : Path
    start : Start
        Gives sizes and units: microns and seconds if known, otherwise pixels and frames.
    table : DataFrame
        Result of `spot_table`; the number of a row is the ID of the spot, `particle` that of the
        track.
    links : (n, 2) int
        Rows that are linked, those of merges and splits with them. As in TrackMate, spots without a
        link belong to no track.
    family : (rows,) int, optional
        Track of each row, as TrackMate counts tracks: with all that merge with it or split from it.
        By default `particle`.
    """
    pixel, interval = start.pixel_size_um or 1.0, start.frame_interval_s or 1.0
    depth = (start.z_step_um or pixel) if start.pixel_size_um else 1.0
    space = "micron" if start.pixel_size_um else "pixel"
    time = "sec" if start.frame_interval_s else "frame"
    points = np.zeros((len(table), 3))  # x, y, z
    for column, (axis, scale) in enumerate((("x", pixel), ("y", pixel), ("z", depth))):
        if axis in table:
            points[:, column] = table[axis].to_numpy(np.float64) * scale
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write('<?xml version="1.0" encoding="UTF-8"?>\n')
        file.write(f'<TrackMate version="{VERSION}">\n')
        file.write(f"<Log>Run {escape(start.run)}, exported by livespt.</Log>\n")
        file.write(f'<Model spatialunits="{space}" timeunits="{time}">\n')
        more = _optional(table, pixel, depth)
        file.writelines(_declarations(more))
        file.writelines(_spots(table, points, interval, RADIUS_PX * pixel, more))
        of = table["particle"].to_numpy() if family is None else family
        order = np.argsort(of[links[:, 0]], kind="stable")
        file.writelines(_tracks(of, points, links[order]))
        file.write("</Model>\n")
        file.writelines(_settings(start, table, (pixel, depth, interval)))
        file.write('<GUIState state="ConfigureViews" />\n</TrackMate>\n')


def _optional(
    table: pd.DataFrame, pixel: float, depth: float
) -> dict[tuple[str, str, str, bool], NDArray[np.float64]]:
    """Values (rows,) of the features in `OPTIONAL` that are known of a spot at least."""
    found = {}
    for feature, (column, power) in OPTIONAL.items():
        if column in table and table[column].notna().any():
            scale = depth if column == "dz" else pixel
            found[feature] = table[column].to_numpy(np.float64) * scale**power
    return found


def _declarations(more: Iterable[tuple[str, str, str, bool]]) -> list[str]:
    lines = ["<FeatureDeclarations>\n"]
    for tag, features in (
        ("SpotFeatures", (*SPOT_FEATURES, *more)),
        ("EdgeFeatures", EDGE_FEATURES),
        ("TrackFeatures", TRACK_FEATURES),
    ):
        lines.append(f"<{tag}>\n")
        for key, name, dimension, whole in features:
            lines.append(
                f'<Feature feature="{key}" name="{name}" shortname="{name}" '
                f'dimension="{dimension}" isint="{str(whole).lower()}" />\n'
            )
        lines.append(f"</{tag}>\n")
    return [*lines, "</FeatureDeclarations>\n"]


def _spots(
    table: pd.DataFrame,
    points: NDArray[np.float64],
    interval: float,
    radius: float,
    more: Mapping[tuple[str, str, str, bool], NDArray[np.float64]],
) -> list[str]:
    frame = table["frame"].to_numpy()
    codes = {motion: code for code, motion in enumerate(MOTIONS)}
    state = table["state"].map(lambda name: codes.get(name, ABSTAIN), na_action="ignore")
    columns = {
        "ID": np.arange(len(table)),
        "QUALITY": _quality(table),
        "POSITION_X": points[:, 0],
        "POSITION_Y": points[:, 1],
        "POSITION_Z": points[:, 2],
        "POSITION_T": frame * interval,  # as TrackMate has it: a reader refuses real times
        "FRAME": frame,
        "RADIUS": np.full(len(table), radius),
        "VISIBILITY": np.ones(len(table), int),
        "INTENSITY": table["intensity"],
        "BACKGROUND": table["background"],
        "CHANNEL": table["channel"],
        "STAGE_POSITION": table["position"],
        **{f"P_{motion.upper()}": table[f"p_{motion}"] for motion in MOTIONS},
        "P_UNCOATED": table["p_uncoated"],
        "MOTION_STATE": state.fillna(UNSETTLED).astype("Int8"),
        "STATE_LAG": table["lag"].fillna(-1),
        **{key: values for (key, *_), values in more.items()},
    }
    texts = [_attributes(key, values) for key, values in columns.items()]
    rows = [
        f'<Spot name="ID{i}"{"".join(row)} />\n' for i, row in enumerate(zip(*texts, strict=True))
    ]
    lines = [f'<AllSpots nspots="{len(rows)}">\n']
    order = np.argsort(frame, kind="stable")
    starts = np.flatnonzero(np.diff(frame[order], prepend=-1))
    for begin, some in zip(starts, np.split(order, starts[1:]), strict=False):
        lines.append(f'<SpotsInFrame frame="{frame[order[begin]]}">\n')
        lines += [rows[i] for i in some]
        lines.append("</SpotsInFrame>\n")
    return [*lines, "</AllSpots>\n"]


def _quality(table: pd.DataFrame) -> NDArray[np.float64]:
    score = table["score"].to_numpy(np.float64)
    return np.where(np.isfinite(score), score, NO_QUALITY)


def _attributes(key: str, values: Any) -> list[str]:
    """` KEY="value"` for each row; NaN if the value is unknown or infinite.

    Every spot has every feature: readers refuse one that lacks a declared feature.
    """
    import pandas as pd

    series = pd.Series(values)
    finite = np.isfinite(series.to_numpy(np.float64, na_value=np.nan))
    return [
        f' {key}="{value if known else "NaN"}"'
        for value, known in zip(series.tolist(), finite.tolist(), strict=True)
    ]


def _tracks(
    particle: NDArray[np.int64], points: NDArray[np.float64], links: NDArray[np.int64]
) -> list[str]:
    ids, first = np.unique(particle[links[:, 0]], return_index=True)
    cost = ((points[links[:, 1]] - points[links[:, 0]]) ** 2).sum(axis=1)
    edges = [
        f'<Edge SPOT_SOURCE_ID="{a}" SPOT_TARGET_ID="{b}" LINK_COST="{c}" />\n'
        for (a, b), c in zip(links.tolist(), cost.tolist(), strict=True)
    ]
    lines = ["<AllTracks>\n"]
    for index, (track, begin, end) in enumerate(
        zip(ids.tolist(), first, np.append(first, len(links))[1:], strict=True)
    ):
        lines.append(
            f'<Track name="Track_{track}" TRACK_INDEX="{index}" TRACK_ID="{track}" '
            f'NUMBER_SPOTS="{len(np.unique(links[begin:end]))}">\n'
        )
        lines += edges[begin:end]
        lines.append("</Track>\n")
    lines.append("</AllTracks>\n<FilteredTracks>\n")
    lines += [f'<TrackID TRACK_ID="{track}" />\n' for track in ids.tolist()]
    return [*lines, "</FilteredTracks>\n"]


def _settings(start: Start, table: pd.DataFrame, scales: tuple[float, float, float]) -> list[str]:
    """Settings that the loader requires: the geometry of the image, and no filters."""
    pixel, depth, interval = scales
    height, width = start.shape[-2:]
    slices = start.shape[0] if len(start.shape) == 3 else 1
    frames = int(table["frame"].max()) + 1 if len(table) else 0
    least = _quality(table).min(initial=0.0) - 1.0  # readers apply the filter: it keeps all spots
    return [
        "<Settings>\n",
        f'<ImageData filename={quoteattr(start.source)} folder="" width="{width}" '
        f'height="{height}" nslices="{slices}" nframes="{frames}" pixelwidth="{pixel}" '
        f'pixelheight="{pixel}" voxeldepth="{depth}" timeinterval="{interval}" />\n',
        f'<BasicSettings xstart="0" xend="{width - 1}" ystart="0" yend="{height - 1}" zstart="0" '
        f'zend="{slices - 1}" tstart="0" tend="{max(frames - 1, 0)}" />\n',
        f'<DetectorSettings DETECTOR_NAME="MANUAL_DETECTOR" RADIUS="{RADIUS_PX * pixel}" />\n',
        f'<InitialSpotFilter feature="QUALITY" value="{least}" isabove="true" />\n',
        "<SpotFilterCollection />\n",
        '<TrackerSettings TRACKER_NAME="MANUAL_TRACKER" />\n',
        "<TrackFilterCollection />\n",
        "<AnalyzerCollection><SpotAnalyzers /><EdgeAnalyzers /><TrackAnalyzers />"
        "</AnalyzerCollection>\n",
        "</Settings>\n",
    ]
