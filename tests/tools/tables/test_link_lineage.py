"""Merges and splits of linked tables: by distance of equally bright spots, by light as live."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from livespt.stream.errors import InputError, SettingError, StoreError
from livespt.stream.link.offline import link_points
from livespt.tools.tables.link import link_table
from livespt.tools.tables.link_lineage import LinkedPoints, by_distance, by_light

FRAMES, EVENT = 40, 20
REACH = 3.0  # pixels
Edges = set[tuple[int, int]]


def pairs(kind: str, light: float = 100.0) -> pd.DataFrame:
    """Three pairs of equally bright particles that merge, split, cross or end far from others."""
    rows = []
    for k in range(3):
        y, x = 20.0 + 30 * k, 20.0
        for t in range(FRAMES):
            before, apart = t < EVENT, 0.6 * abs(t - EVENT + 0.5)
            if kind == "cross":  # and are resolved all the time, one px from each other at least
                two = [(y, x + 0.6 * (t - EVENT)), (y + 1.0, x - 0.6 * (t - EVENT))]
            elif kind == "end":
                two = [(y, x)] + [(y + 6.0, x)] * before
            elif before == (kind == "merged"):
                two = [(y, x - apart), (y, x + apart)]
            else:
                two = [(y, x)]
            rows += [(t, *at, light) for at in two]
    return pd.DataFrame(rows, columns=["frame", "y", "x", "intensity"]).sample(
        frac=1, random_state=1
    )


@pytest.mark.parametrize("memory", [0, 2])
@pytest.mark.parametrize(
    ("kind", "found"), [("merged", (3, 0)), ("split", (0, 3)), ("cross", (0, 0)), ("end", (0, 0))]
)
def test_equally_bright_spots_by_distance(
    kind: str, found: tuple[int, int], memory: int, tmp_path: Path
) -> None:
    src, out = tmp_path / "spots.csv", tmp_path / "tracks.csv"
    pairs(kind).to_csv(src, index=False)
    told = link_table(src, out, search_range=REACH, memory=memory, lineage="distance")
    assert (told["merged"], told["split"]) == found
    assert told["events"] == str(tmp_path / "tracks_lineage.csv")
    tracks, kin = pd.read_csv(out), pd.read_csv(told["events"])
    assert len(tracks) == len(pd.read_csv(src)) and len(kin) == sum(found)
    before, after = tracks.iloc[kin["row_before"]], tracks.iloc[kin["row_after"]]
    own, other = (before, after) if kind == "merged" else (after, before)
    assert (kin["frame"] == EVENT).all() and (kin["kind"] == kind).all()
    assert list(kin["particle"]) == list(own["particle"])
    assert list(kin["other"]) == list(other["particle"])
    assert (before["frame"].to_numpy() == EVENT - 1).all()
    assert (after["frame"].to_numpy() == EVENT).all()
    gap = np.hypot(*(after[["y", "x"]].to_numpy() - before[["y", "x"]].to_numpy()).T)
    assert kin["distance_px"].to_numpy() == pytest.approx(gap)


def test_by_light_needs_light_that_adds_up(tmp_path: Path) -> None:
    src, out = tmp_path / "spots.csv", tmp_path / "tracks.csv"
    for kind in ("merged", "split"):
        table = pairs(kind)
        table.to_csv(src, index=False)
        how: dict[str, Any] = {"search_range": REACH, "lineage": "light", "overwrite": True}
        told = link_table(src, out, **how)
        assert told["merged"] == told["split"] == 0, "two of 100 and one of 100"
        one = table["frame"] >= EVENT if kind == "merged" else table["frame"] < EVENT
        table.loc[one, "intensity"] *= 2
        table.to_csv(src, index=False)
        told = link_table(src, out, **how)
        assert told[kind] == 3 and told["merged"] + told["split"] == 3
        kin = pd.read_csv(told["events"])
        assert (kin["frame"] == EVENT).all() and kin["probability"].between(0.5, 1).all()
        at = pd.read_csv(out)["frame"].to_numpy()
        assert (at[kin["row_before"]] == EVENT - 1).all() and (at[kin["row_after"]] == EVENT).all()
    table.drop(columns="intensity").to_csv(src, index=False)
    with pytest.raises(InputError, match="no column intensity"):
        link_table(src, out, **how)


def test_refusals_leave_nothing(tmp_path: Path) -> None:
    src, out = tmp_path / "spots.csv", tmp_path / "tracks.csv"
    pairs("merged").to_csv(src, index=False)
    with pytest.raises(SettingError, match="choose one of off, light, distance"):
        link_table(src, out, lineage="near")
    with pytest.raises(SettingError, match="needs --lineage"):
        link_table(src, out, lineage_range=2.0)
    with pytest.raises(SettingError, match="above 0"):
        link_table(src, out, lineage="light", lineage_range=0.0)
    (tmp_path / "tracks_lineage.csv").write_text("mine")
    with pytest.raises(StoreError, match=r"tracks_lineage\.csv exists"):
        link_table(src, out, lineage="distance")
    assert not out.exists() and (tmp_path / "tracks_lineage.csv").read_text() == "mine"


def test_the_range_of_lineage_is_its_own(tmp_path: Path) -> None:
    src, out = tmp_path / "spots.csv", tmp_path / "tracks.csv"
    pairs("end").to_csv(src, index=False)
    for reach, found in ((5.9, 0), (6.1, 3)):
        how: dict[str, Any] = {"lineage": "distance", "lineage_range": reach, "overwrite": True}
        assert link_table(src, out, search_range=REACH, **how)["merged"] == found


def test_no_points_no_events() -> None:
    none = LinkedPoints(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 3)))
    assert len(by_distance(none, REACH, 0).kind) == len(by_light(none, np.zeros(0), 3, 0).kind) == 0


# Particles that wander, merge where they meet, and split at times, each as bright as any other.


def wanderers(seed: int, frames: int = 200, n: int = 40) -> tuple[NDArray[np.float64], Edges]:
    """Rows of frame, y, x, and the rows of each point and the next one of its particle."""
    rng = np.random.default_rng(seed)
    place, age = list(rng.uniform(0, 128, (n, 2))), [0] * n
    rows: list[tuple[float, ...]] = [(0.0, *at) for at in place]
    node, edges = list(range(n)), set()
    for t in range(1, frames):
        moved = [np.clip(at + rng.normal(0, 0.7, 2), 0, 128) for at in place]
        came: list[tuple[NDArray[np.float64], list[int], int]] = []
        free = set(range(len(moved)))
        for i in range(len(moved)):
            if i not in free:
                continue
            near = [j for j in sorted(free) if j > i and min(age[i], age[j]) >= 5
                    and np.hypot(*(moved[i] - moved[j])) < 1.5]  # fmt: skip
            free -= {i, *near[:1]}
            if near:
                came.append(((moved[i] + moved[near[0]]) / 2, [node[i], node[near[0]]], 0))
            elif age[i] >= 10 and rng.random() < 0.004:
                way = rng.normal(0, 1, 2)
                way *= 1.5 / np.hypot(*way)
                came += [(moved[i] + way, [node[i]], 0), (moved[i] - way, [node[i]], 0)]
            else:
                came.append((moved[i], [node[i]], age[i] + 1))
        place, age, node = [one[0] for one in came], [one[2] for one in came], []
        for at, parents, _ in came:
            edges |= {(one, len(rows)) for one in parents}
            node.append(len(rows))
            rows.append((t, *at))
    table = np.array(rows)
    table[:, 1:] += rng.normal(0, 0.1, (len(rows), 2))
    return table, edges


def branches(edges: Iterable[tuple[int, int]]) -> set[tuple[str, int, tuple[int, ...]]]:
    """Merges and splits: the row where ways meet or part, and the rows at the other ends."""
    to: dict[int, list[int]] = {}
    of: dict[int, list[int]] = {}
    for a, b in sorted(edges):
        to.setdefault(b, []).append(a)
        of.setdefault(a, []).append(b)
    merged = {("merged", b, tuple(ends)) for b, ends in to.items() if len(ends) > 1}
    return merged | {("split", a, tuple(ends)) for a, ends in of.items() if len(ends) > 1}


def steps(track: NDArray[np.int64], frame: NDArray[np.float64], row: NDArray[np.int64]) -> Edges:
    """Rows of each point of a track and the next one."""
    order = np.lexsort((frame, track))
    goes_on = np.diff(track[order]) == 0
    return set(
        zip(row[order[:-1]][goes_on].tolist(), row[order[1:]][goes_on].tolist(), strict=True)
    )


def ours(table: NDArray[np.float64]) -> Edges:
    frame = table[:, 0].astype(np.int64)
    track = link_points(frame, table[:, 1:], REACH)
    points = np.insert(table[:, 1:], 0, 0.0, axis=1)
    kin = by_distance(LinkedPoints(frame, track, points), REACH, 0)
    links = zip(kin.before.tolist(), kin.after.tolist(), strict=True)
    return steps(track, table[:, 0], np.arange(len(table))) | set(links)


def test_wanderers_of_one_brightness() -> None:
    """Nine of ten are found to the very points, and at most one in twenty is false."""
    table, edges = wanderers(2)
    found, truth = branches(ours(table)), branches(edges)
    assert len(truth) == 80
    assert len(found & truth) >= 0.9 * len(truth)
    assert len(found - truth) <= 0.05 * len(truth)


def test_no_worse_than_laptrack() -> None:
    laptrack = pytest.importorskip("laptrack")
    table, edges = wanderers(2)
    cut = REACH**2
    tracker = laptrack.LapTrack(cutoff=cut, gap_closing_cutoff=False, splitting_cutoff=cut,
                                merging_cutoff=cut)  # fmt: skip
    spots = pd.DataFrame(table, columns=["frame", "y", "x"]).assign(row=np.arange(len(table)))
    tracks, split, merged = tracker.predict_dataframe(
        spots.astype({"frame": int}), ["y", "x"], "frame", only_coordinate_cols=False
    )
    tracks = tracks.sort_values("row")
    row, track = tracks["row"].to_numpy(), tracks["track_id"].to_numpy()
    found = steps(track, table[row, 0], row)
    by = tracks.groupby("track_id")["row"]
    first, last = by.min(), by.max()
    for table_of in (split, merged):
        ids = zip(table_of["parent_track_id"], table_of["child_track_id"], strict=True)
        found |= {(int(last[a]), int(first[b])) for a, b in ids}
    truth, mine = branches(edges), branches(ours(table))
    assert len(mine & truth) >= len(branches(found) & truth)
    assert len(mine - truth) <= len(branches(found) - truth)
