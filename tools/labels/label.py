"""`livespt label colocalization`: labels from a second colour, for `train uncoating`.

A particle is labelled as uncoated from the frame in which its partner in the other channel has left
it (models/motion/colocalization.py). Particles that keep their partner are controls. Particles that
never had a partner are left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.models.motion.colocalization import (
    CHANGES,
    COARSE_LIMITS,
    CONTROL,
    OUTCOMES,
    Limits,
    chromatic_offset,
    label,
)
from livespt.models.motion.contacts import Paths, paths
from livespt.stream.errors import InputError, SettingError
from livespt.tools.labels.channel_tracks import (
    KEPT_COLUMNS,
    ChannelTracks,
    of_run,
    of_table,
)
from livespt.tools.tables.out_file import check_out, whole_file


def label_colocalization(
    source: Path,
    out: Path,
    *,
    partners: Path | None = None,
    particle_channel: int = 0,
    label_channel: int = 1,
    pixel_size_um: float | None = None,
    z_step_um: float | None = None,
    offset_um: tuple[float, ...] | None = None,
    limits: Limits | None = None,
    coarse_limits: Limits = COARSE_LIMITS,
    track_frames: int = 20,
    end_frames: int = 2,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write the particles that have a partner, each point labelled `uncoated` 0 or 1.

    Parameters
    ----------
    source : Path
        A run with both channels, or a table of the particles (.csv: frame, particle, y, x[, z]).
    out : Path
        `.csv`: frame, particle, y, x[, z][, intensity] as in the source, and uncoated.
    partners : Path, optional
        Table of the other channel, if `source` is a table.
    particle_channel, label_channel : int
        Channels of a run.
    pixel_size_um, z_step_um : float, optional
        Override those of a run. A table needs the pixel size; without a z step, its `z` is in
        units of a pixel.
    offset_um : (y, x) or (z, y, x), optional
        Offset to add to the positions of the partners. Default: estimated from the data.
    limits, coarse_limits : Limits
        Criteria for moving together, and those used while the offset is unknown.
    track_frames, end_frames : int
        As in `label` of colocalization.py.

    Returns
    -------
    dict
        particles, partners, offset_um, offset_pairs (number of pairs it was estimated from; None if
        it was given), changes, controls, left_out (number for each reason), rows, out.

    Raises
    ------
    InputError
        The source cannot be used, or no particle has a partner.
    SettingError
        The channel does not exist, or the pixel size is unknown.
    """
    check_out(out, overwrite=overwrite)
    if partners is None:
        if source.is_file():
            raise InputError(f"{source} is a table: name the table of its partners as well")
        mine, theirs = of_run(source, (particle_channel, label_channel), pixel_size_um, z_step_um)
    else:
        mine, theirs = (of_table(path, pixel_size_um, z_step_um) for path in (source, partners))
    (a, order), (b, _) = _paths(mine, theirs)
    offset, pairs = _offset(offset_um), None
    if offset is not None and offset[0] and "z" not in mine.columns:
        raise SettingError(f"offset_um {offset_um}: the tracks of {source} have no z, give y,x")
    if offset is None:
        offset, pairs = chromatic_offset(a, b, coarse_limits)
    found = label(
        a,
        b._replace(point=b.point + offset),
        limits or Limits(),
        track_frames=track_frames,
        end_frames=end_frames,
    )
    count = np.bincount(found.outcome, minlength=len(OUTCOMES)).tolist()
    counts = dict(zip(OUTCOMES, count, strict=True))
    if not counts["changes"] + counts["control"]:
        raise InputError(
            f"none of {len(a.name)} particles in {source} keeps a partner near it: "
            f"{_reasons(counts)}; check channels, pixel size and limits"
        )
    start = np.where(found.change >= 0, found.change, a.offset[1:])
    kept, uncoated = np.zeros(len(order), bool), np.zeros(len(order), np.int64)
    kept[order] = np.isin(found.outcome, (CONTROL, CHANGES))[a.track]
    uncoated[order] = np.arange(len(order)) >= start[a.track]
    _write(out, mine, uncoated, kept, overwrite)
    return {
        "particles": len(a.name),
        "partners": len(b.name),
        "offset_um": [round(float(x), 4) for x in offset],
        "offset_pairs": pairs,
        "changes": counts.pop("changes"),
        "controls": counts.pop("control"),
        "left_out": counts,
        "rows": int(kept.sum()),
        "out": str(out),
    }


def _paths(*both: ChannelTracks) -> list[tuple[Paths, NDArray[np.int64]]]:
    """Both channels as paths; frames are shifted so that stage positions do not overlap in time."""
    span = 2 * (1 + int(np.ptp(np.concatenate([some.frame for some in both]))))
    return [paths(some.frame + some.position * span, some.particle, some.point) for some in both]


def _reasons(counts: dict[str, int]) -> str:
    return ", ".join(f"{n} {name}" for name, n in counts.items() if n)


def _offset(given: tuple[float, ...] | None) -> NDArray[np.float64] | None:
    if given is None:
        return None
    if len(given) not in (2, 3):
        raise SettingError(f"offset_um {given}: give y,x or z,y,x")
    return np.array([0.0, *given][-3:])


def _write(
    out: Path, mine: ChannelTracks, uncoated: NDArray[Any], row: NDArray[np.bool_], overwrite: bool
) -> None:
    """Write the labelled rows as a table, in the order of the source."""
    import pandas as pd

    columns = {"frame": mine.frame, "particle": mine.particle}
    columns |= {name: mine.columns[name] for name in KEPT_COLUMNS if name in mine.columns}
    table = pd.DataFrame(columns | {"uncoated": uncoated})
    with whole_file(out, overwrite=overwrite) as partial:
        table[row].to_csv(partial, index=False)
