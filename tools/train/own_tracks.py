"""Tracks labelled by a user: read, split by groups, and drawn for training.

`train uncoating --runs` reads tables with frame, particle, y, x[, z][, intensity] and uncoated (0
or 1), as `label colocalization` writes them. Tracks that almost coincide belong to one group. A
group is used for training, for calibration or for evaluation, never for two of these.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.models.motion import colocalization, contacts
from livespt.models.simulate import tracking_errors
from livespt.models.simulate.tracks import Tracks
from livespt.stream.errors import InputError, SettingError
from livespt.tools.tables.user_table import read_table
from livespt.tools.train.track_networks import MakeTracks

MIN_POINTS = 10  # of a track
MIN_UNCOATING = 20  # tracks, and groups, that uncoat
SHARES = (0.6, 0.2, 0.2)  # shares of the groups for training, calibration and evaluation
OWN_SHARE = 0.5  # of a pool; simulated tracks keep what the network has learned
CROPPED_SHARE = 0.5  # of drawn tracks, of which only a part is used
MIN_PART_POINTS = 20
MAX_LOST_SHARE = 0.1  # of points that are removed, in half of the drawn tracks
KNOWN_INTENSITY = 0.5  # share of drawn tracks whose intensities are used, if they are known
NEEDED = ("frame", "particle", "y", "x", "uncoated")


class Own(NamedTuple):
    """Labelled tracks in three parts that share no group, and their description for the card."""

    learned: Tracks
    calibrating: Tracks
    judging: Tracks
    facts: dict[str, Any]


def read_own(
    files: Sequence[Path],
    pixel_size_um: float | None,
    *,
    frame_interval_s: float | None = None,
    z_step_um: float | None = None,
    seed: int = 1,
) -> Own:
    """Read the labelled tracks of all `files`, in um, and split them by groups.

    Raises
    ------
    InputError
        A table cannot be used, a label is not 0 or 1 or returns to 0, or too few tracks uncoat.
    SettingError
        The pixel size is missing.
    """
    if not pixel_size_um:
        raise SettingError("the pixel size of the tables is unknown: give --pixel-size-um")
    scale = np.array([z_step_um or pixel_size_um, pixel_size_um, pixel_size_um])
    read = [_read(path, scale) for path in files]
    for i, (tracks, _) in enumerate(read):
        for k, (others, _) in enumerate(read[:i]):
            if _shared(tracks, others):
                raise InputError(
                    f"{files[k]} and {files[i]} hold the same track, which would be used for both "
                    "training and evaluation: give each movie once"
                )
    sizes = [len(group) for _, group in read]
    tracks = tracking_errors.join([some for some, _ in read])
    begin = np.repeat(np.cumsum([0, *sizes[:-1]]), sizes)  # a group belongs to one file
    group = np.concatenate([of for _, of in read]) + begin
    kept = np.diff(tracks.offset) >= MIN_POINTS
    changes = kept & (tracks.uncoat >= 0)
    n_changes, n_groups = int(changes.sum()), len(np.unique(group[changes]))
    if n_groups < MIN_UNCOATING:
        raise InputError(
            f"{n_changes} of {len(kept)} tracks uncoat, of {n_groups} different particles: give "
            f"files with at least {MIN_UNCOATING}"
        )
    part = _split(group, changes, np.random.default_rng((seed, len(group))))
    learned, calibrating, judging = (
        select_tracks(tracks, np.flatnonzero(kept & (part == k))) for k in range(len(SHARES))
    )
    facts = {
        "files": len(files),
        "tracks": int(kept.sum()),
        "left_out_short": int((~kept).sum()),
        "groups": len(np.unique(group[kept])),
        "uncoat": n_changes,
        "points": int(np.diff(tracks.offset)[kept].sum()),
        **{
            name: {"tracks": len(some.uncoat), "uncoat": int((some.uncoat >= 0).sum())}
            for name, some in (
                ("learned", learned),
                ("calibrating", calibrating),
                ("judging", judging),
            )
        },
        "pixel_size_um": pixel_size_um,
        "frame_interval_s": frame_interval_s,
        "share_of_training": OWN_SHARE,
    }
    return Own(learned, calibrating, judging, facts)


def _shared(one: Tracks, two: Tracks) -> bool:
    """Whether any track occurs in both, point for point."""
    seen = [
        {
            some.point[a:b].tobytes()
            for a, b in itertools.pairwise(some.offset)
            if b - a >= MIN_POINTS
        }
        for some in (one, two)
    ]
    return bool(seen[0] & seen[1])


def _read(path: Path, scale: NDArray[np.float64]) -> tuple[Tracks, NDArray[np.int64]]:
    """Read the tracks of one table, and the group of each track."""
    if path.is_dir():
        raise InputError(f"{path} is not a table: label it first, livespt label colocalization")
    values = read_table(path, NEEDED, optional=("z", "intensity")).values
    flag = values["uncoated"]
    if not len(flag):
        raise InputError(f"{path} holds no points")
    wrong = np.flatnonzero((flag != 0) & (flag != 1))
    if len(wrong):
        row = int(wrong[0])
        raise InputError(f"{path}: row {row + 1}: uncoated is {flag[row]:g}; give 0 or 1")
    z = values.get("z", np.zeros(len(flag)))
    point = np.stack([z, values["y"], values["x"]], axis=1) * scale
    paths, order = contacts.paths(values["frame"], values["particle"], point)
    uncoated = flag[order] == 1
    back = np.flatnonzero(uncoated[:-1] & ~uncoated[1:] & (np.diff(paths.track) == 0))
    if len(back):
        i, name = int(back[0]), paths.name[paths.track[back[0]]]
        raise InputError(
            f"{path}: particle {name} is uncoated in frame {paths.frame[i]} and not in frame "
            f"{paths.frame[i + 1]}: uncoating cannot be reversed, correct the labels"
        )
    n = len(uncoated)
    unknown = np.full(n, np.nan)
    tracks = Tracks(
        paths.offset, paths.point, paths.frame, np.full(n, -1, np.int8), unknown, uncoated,
        np.full(len(paths.name), -1), unknown,
        values["intensity"][order] if "intensity" in values else None,
    )  # fmt: skip
    return _dated(tracks), colocalization.alike(paths)


def _dated(tracks: Tracks) -> Tracks:
    """Let frames begin at 0 in each track, and set `uncoat` from the labels.

    A track that is uncoated from its first point on has no uncoating frame.
    """
    count = np.diff(tracks.offset)
    first = tracks.offset[:-1]
    frame = tracks.frame - np.repeat(tracks.frame[first], count)
    coated = np.add.reduceat(~tracks.uncoated, first)
    at = np.minimum(first + coated, len(frame) - 1)
    changes = (coated > 0) & (coated < count)
    return tracks._replace(frame=frame, uncoat=np.where(changes, frame[at], -1))


def _split(
    group: NDArray[np.int64], changes: NDArray[np.bool_], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Part (n,) of each track, 0 to 2, by SHARES of the groups with uncoating and of the others."""
    part = np.zeros(len(group), np.int64)
    dated = np.unique(group[changes])
    for groups in (dated, np.setdiff1d(group, dated)):
        mixed = rng.permutation(groups)
        cuts = np.round(np.cumsum(SHARES) * len(mixed)).astype(np.int64)
        for k, some in enumerate(np.split(mixed, cuts[:-1])):
            part[np.isin(group, some)] = k
    return part


def select_tracks(
    tracks: Tracks,
    which: NDArray[np.int64],
    start: NDArray[np.int64] | None = None,
    length: NDArray[np.int64] | None = None,
) -> Tracks:
    """Select the tracks `which` (n,), of each `length` points from `start` on (default: all)."""
    length = np.diff(tracks.offset)[which] if length is None else length
    first = tracks.offset[which] + (0 if start is None else start)
    offset = np.concatenate([[0], np.cumsum(length)]).astype(np.int64)
    rows = np.arange(offset[-1]) + np.repeat(first - offset[:-1], length)
    columns = tracking_errors.of_rows(tracks, rows)
    return _dated(Tracks(offset=offset, uncoat=np.full(len(which), -1), **columns))


def drawn(rng: np.random.Generator, tracks: Tracks, n: int) -> Tracks:
    """Draw `n` tracks with replacement; of some only a part, and of some without some points."""
    which = rng.integers(len(tracks.uncoat), size=n)
    count = np.diff(tracks.offset)[which]
    least = np.where(rng.random(n) < CROPPED_SHARE, np.minimum(count, MIN_PART_POINTS), count)
    length = least + (rng.random(n) * (count - least + 1)).astype(np.int64)
    start = (rng.random(n) * (count - length + 1)).astype(np.int64)
    parts = select_tracks(tracks, which, start, length)
    lost = np.where(rng.random(n) < 0.5, 0.0, rng.random(n) * MAX_LOST_SHARE)
    kept = rng.random(len(parts.frame)) >= np.repeat(lost, length)
    kept[parts.offset[:-1]] = True
    offset = np.concatenate([[0], np.cumsum(kept)])[parts.offset]
    rows = tracking_errors.of_rows(parts, kept)
    if parts.intensity is not None:
        known = np.repeat(rng.random(n) < KNOWN_INTENSITY, np.diff(offset))
        rows["intensity"] = np.where(known, rows["intensity"], np.nan)
    return _dated(parts._replace(offset=offset, **rows))


def mixed(own: Own, simulated: MakeTracks, held_out: int) -> MakeTracks:
    """Make pools of own and simulated tracks; from seed `held_out` on they are for calibration."""

    def tracks_of(seed: int, first: int, n: int) -> Tracks:
        rng = np.random.default_rng((seed, first, n))
        if seed >= held_out:
            return drawn(rng, own.calibrating, n)
        mine = round(n * OWN_SHARE)
        return tracking_errors.join(
            [simulated(seed, first, n - mine), drawn(rng, own.learned, mine)]
        )

    return tracks_of
