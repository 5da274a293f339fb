"""Control movies hold what their names say, and are analyzed as in a replay."""

from __future__ import annotations

from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from livespt.acquisition.recordings.movie import Stated
from livespt.stream.store.run import open_run
from livespt.stream.types import ABSTAIN, EVENT, KINDS, SPOT, STATE
from livespt.tools.evaluate import controls
from livespt.tools.evaluate.control_movies import CONTROLS, MARGIN_PX, Control, simulate
from livespt.tools.progress import Progress
from livespt.tools.runs.options import Options
from livespt.tools.runs.replay import replay

SMALL = (160, 160)


def paths(control: Control) -> NDArray[np.float64]:
    """Positions (particles, frames, 2) of all particles, which are there in every frame."""
    truth = control.movie.truth
    rows = truth[np.lexsort((truth["frame"], truth["particle"]))]
    n = int(rows["particle"].max()) + 1
    return np.stack([rows["y"], rows["x"]], axis=1).reshape(n, -1, 2)


@pytest.mark.parametrize("name", CONTROLS)
def test_nothing_uncoats_and_every_seed_is_another_movie(name: str) -> None:
    control, again = (simulate(name, 30, shape=SMALL) for _ in range(2))
    truth, image = control.movie.truth, control.movie.frame(29)
    assert not truth["uncoated"].any() and not len(control.movie.uncoatings)
    assert np.array_equal(truth, again.movie.truth)
    assert np.array_equal(image, again.movie.frame(29))
    assert not np.array_equal(image, simulate(name, 30, 1, SMALL).movie.frame(29))
    for axis in ("y", "x"):
        assert ((truth[axis] >= MARGIN_PX) & (truth[axis] <= 159 - MARGIN_PX)).all()
    assert len(control.changes) == 0 or name == "receptors"


def test_beads_are_brighter_and_keep_their_light() -> None:
    bead, receptor = (
        simulate(name, 50, shape=SMALL).movie.truth for name in ("beads", "receptors")
    )
    for truth in (bead, receptor):
        light = truth["photons"].reshape(50, -1)
        assert (light == light[0]).all()
    assert bead["photons"].min() > 1.5 * receptor["photons"].max()


def test_receptors_change_their_steps_where_it_is_said() -> None:
    control = simulate("receptors", 600, shape=(256, 256))
    at, changes = paths(control), control.changes
    square = (np.diff(at, axis=1) ** 2).sum(axis=2)  # of the step into frame 1, 2, ...
    ratio = []
    for particle in range(len(at)):
        mine = changes[changes[:, 0] == particle, 1]
        ends = [0, *(mine - 1), len(square[0])]
        means = [square[particle, a:b].mean() for a, b in pairwise(ends)]
        ratio += [max(m, n) / min(m, n) for m, n in pairwise(means)]
        assert (np.diff(mine) >= 30).all()
    # stretches of 30 steps or more: 3 to 10 within their error, 1 if nothing changed there
    assert len(ratio) == len(changes) > 100
    assert 4 < np.median(ratio) < 7 and np.quantile(ratio, 0.1) > 2


def test_a_field_without_particles_has_bodies_with_soft_and_sharp_edges() -> None:
    control = simulate("false spots", 20)
    assert len(control.movie.truth) == 0
    light = control.movie.background
    steep = np.abs(np.diff(light, axis=0))
    assert light.min() > 0 and light.max() > 3 * np.median(light)
    assert steep.max() > 40 and np.mean(steep > 5) > 0.01 and np.median(steep) < 2


def test_names_are_exchanged_where_a_slow_and_a_fast_particle_cross() -> None:
    slow, fast = np.split(paths(simulate("exchanged names", 300)), 2)
    gap = np.linalg.norm(slow - fast, axis=2)
    crossings = (gap < 1e-9).sum(axis=1)
    assert (crossings >= 1).all() and 2 <= crossings.mean() <= 6
    assert np.median(gap) > 4
    steps = [np.median(np.linalg.norm(np.diff(at, axis=1), axis=2)) for at in (slow, fast)]
    assert steps[1] > 2 * steps[0]


def test_merging_pairs_are_one_spot_for_some_frames_and_part() -> None:
    one, other = np.split(paths(simulate("merging spots", 300)), 2)
    together = np.linalg.norm(one - other, axis=2) < 1e-9
    assert 0.2 < together.mean() < 0.6
    for row in together[:, 1:-1]:
        edges = np.flatnonzero(np.diff(np.concatenate([[0], row, [0]])))
        stays = (edges[1::2] - edges[::2])[(edges[::2] > 0) & (edges[1::2] < len(row))]
        assert (stays >= 15).all() and (stays <= 60).all()
    step = np.linalg.norm(np.diff(one, axis=1), axis=2) ** 2
    alone = ~together[:, 1:] & ~together[:, :-1]
    assert step[together[:, 1:]].mean() < 0.7 * step[alone].mean()


def test_immobile_particles_stay_and_bleach() -> None:
    control = simulate("immobile", 300)
    assert paths(control).std(axis=1) == pytest.approx(0.05, rel=0.2)
    light = control.movie.truth["photons"].reshape(300, -1)
    left = light[-1] / light[0]
    assert (np.diff(light, axis=0) < 0).all() and left.min() > 0.5 and left.max() < 0.96


def test_a_control_is_analyzed_as_a_replay_analyzes_its_file(tmp_path: Path) -> None:
    movie, _ = simulate("exchanged names", 30, shape=SMALL)
    with Progress("analyzing") as passed:
        made = controls.analyzed(movie, "names", 30, passed)
        short = controls.analyzed(movie, "names", 20, passed)
    assert passed.done == 50 and (made.frames, short.frames) == (30, 20)
    path = tmp_path / "names.tif"
    images = np.stack([frame.image for frame in islice(movie, 30)])
    tifffile.imwrite(path, images, photometric="minisblack", metadata={"axes": "TYX"}, imagej=True)
    stated = Stated(pixel_size_um=movie.pixel_size_um, frame_interval_s=movie.frame_interval_s)
    free = "tcp://127.0.0.1:0"
    replay(path, tmp_path / "run.zarr", Options(), stated, endpoint=free, say=str)
    run = open_run(tmp_path / "run.zarr")
    assert len(made.spots) > 100 and made.spots.tobytes() == run.spots.tobytes()
    settled = run.states[run.states["settled"] > 0]
    assert made.states.tobytes() == settled.tobytes() and len(settled) == len(made.spots)
    assert made.events.tobytes() == run.events.tobytes()


def test_false_events_are_counted_by_kind() -> None:
    states, events = np.zeros(4, STATE), np.zeros(3, EVENT)
    states["state"] = 0, ABSTAIN, ABSTAIN, 1
    events["seq"], events["amends"] = np.arange(3), -1
    events["kind"] = [KINDS.index(kind) for kind in ("born", "uncoating", "changepoint")]
    movie, nothing = simulate("beads", 20, shape=SMALL)
    made = controls.ChainRows(20, np.zeros(4, SPOT), states, events)
    expected = {"frames": 20, "track_frames": 4, "uncoatings": 1, "changepoints": 1}
    for truth in (movie.truth, movie.truth[:0]):
        found = controls.false_events(truth, nothing, made)
        assert found == expected | {"abstentions": 2}


def test_changepoints_at_changes_of_d_are_not_false() -> None:
    movie, changes = simulate("receptors", 200, shape=SMALL)
    at = {(int(row["particle"]), int(row["frame"])): row for row in movie.truth}
    events = np.zeros(len(changes), EVENT)
    events["kind"], events["amends"] = KINDS.index("changepoint"), -1
    for event, (particle, frame) in zip(events, changes.tolist(), strict=True):
        event["frame"], event["y"], event["x"] = frame, *at[particle, frame][["y", "x"]].item()
    made = controls.ChainRows(200, np.zeros(0, SPOT), np.zeros(0, STATE), events)
    found = controls.false_events(movie.truth, changes, made)
    assert len(changes) > 10 and found["changepoints"] == 0
    nothing = np.empty((0, 2), np.int64)
    assert controls.false_events(movie.truth, nothing, made)["changepoints"] == len(changes)


def test_the_report_has_a_row_for_each_control_and_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = controls.evaluate(frames=40, data=tmp_path, shape=SMALL)
    rows = {row["control"]: row for row in figures["controls"]}
    assert list(rows) == [*CONTROLS, "all simulated", "all"]
    assert figures["skipped"] == ["bulk_water"]
    for key in ("frames", "track_frames", "uncoatings", "changepoints"):
        total = sum(rows[name][key] for name in CONTROLS)
        assert rows["all simulated"][key] == rows["all"][key] == total
    beads = rows["beads"]
    assert beads["frames"] == 40 and beads["track_frames"] > 300
    assert beads["changepoints_per_1e5"] == pytest.approx(
        1e5 * beads["changepoints"] / beads["track_frames"], abs=1e-4
    )
    assert 0 <= beads["abstained"] < 0.5
    changes = figures["D_changes"]
    assert changes["true"] == len(simulate("receptors", 40, shape=SMALL).changes)
    assert changes["found"] <= changes["true"] and changes["by_chance"] <= changes["true"]
    entry = figures["virus_entry"]
    assert entry["found"] + entry["missed"] == entry["true"] > 50 and entry["found"] > 10


def test_a_recording_in_the_folder_is_a_control_too(tmp_path: Path) -> None:
    path = tmp_path / controls.WATER
    path.parent.mkdir()
    movie, _ = simulate("beads", 25, shape=SMALL)
    images = np.stack([frame.image for frame in movie])
    tifffile.imwrite(path, images, photometric="minisblack", metadata={"axes": "TYX"}, ome=True)
    figures = controls.evaluate(frames=20, data=tmp_path, shape=(96, 96))
    rows = {row["control"]: row for row in figures["controls"]}
    assert rows["bulk_water"]["frames"] == 20 and rows["bulk_water"]["track_frames"] > 150
    assert figures["skipped"] == []
    assert rows["all"]["frames"] == rows["all simulated"]["frames"] + 20 == 140
