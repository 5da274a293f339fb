"""Labels from a second colour: tables and runs in, rows that `analyze` and `train` read out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from livespt.acquisition.simulated import Scenario, virus_entry
from livespt.models.motion.colocalization import Limits, label
from livespt.models.simulate.two_colours import ChannelSpots, TwoColours, two_colours
from livespt.stream.errors import InputError, SettingError, StoreError
from livespt.tools.cli import main
from livespt.tools.labels.channel_tracks import ChannelTracks
from livespt.tools.labels.label import _paths, label_colocalization
from livespt.tools.tables.user_table import read_table

PIXEL_UM = 0.1


def write(path: Path, seen: ChannelSpots, z: bool = True) -> Path:
    place = {axis: seen.point[:, k] / PIXEL_UM for k, axis in enumerate("zyx")}
    columns = {"frame": seen.frame, "particle": seen.particle, **place}
    pd.DataFrame(columns).drop(columns=[] if z else ["z"]).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def scene() -> TwoColours:
    return two_colours(11, n=30)


@pytest.fixture(scope="module")
def tables(scene: TwoColours, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tables")
    return write(folder / "dlp.csv", scene.first), write(folder / "vp7.csv", scene.second)


def test_tables_become_labels(scene: TwoColours, tables: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "labels.csv"
    told = label_colocalization(tables[0], out, partners=tables[1], pixel_size_um=PIXEL_UM)
    assert told["particles"] == 30 and told["offset_um"] == pytest.approx(
        [0.2, -0.05, 0.1], abs=0.02
    )
    assert told["changes"] + told["controls"] + sum(told["left_out"].values()) == 30
    labels = read_table(out, ("frame", "particle", "y", "x", "uncoated"), optional=("z",))
    assert labels.columns == ("frame", "particle", "y", "x", "z", "uncoated")
    assert len(labels) == told["rows"] and told["changes"] > 10
    frame, particle, uncoated = (labels.values[k] for k in ("frame", "particle", "uncoated"))
    assert set(uncoated) == {0, 1} and not set(particle) & scene.alone
    changes = 0
    for name in np.unique(particle):
        mine = particle == name
        order = np.argsort(frame[mine])
        steps = np.diff(uncoated[mine][order])
        assert (steps >= 0).all(), "a coat does not come back"
        if steps.any():
            changes += 1
            when = frame[mine][order][np.argmax(steps) + 1]
            assert abs(when - scene.change[int(name)]) <= 10
    assert changes == told["changes"]
    # its rows, in its order, unchanged (as text: pandas 2 reads numbers to a bit before the last)
    source = pd.read_csv(tables[0], dtype=str).astype(float)
    kept = source[source["particle"].isin(particle)]
    for name in ("frame", "particle", "y", "x", "z"):
        assert np.array_equal(kept[name], labels.values[name])


def test_a_given_offset_is_used(tables: tuple[Path, Path], tmp_path: Path) -> None:
    told = [
        label_colocalization(
            tables[0],
            tmp_path / f"{k}.csv",
            partners=tables[1],
            pixel_size_um=PIXEL_UM,
            offset_um=o,
        )
        for k, o in enumerate([(0.2, -0.05, 0.1), (-0.05, 0.1)])
    ]
    assert told[0]["offset_um"] == [0.2, -0.05, 0.1] and told[0]["offset_pairs"] is None
    assert told[1]["offset_um"] == [0.0, -0.05, 0.1]
    assert told[1]["changes"] <= told[0]["changes"]


def test_a_run_of_two_colours_is_labelled_end_to_end(tmp_path: Path) -> None:
    """A movie of viruses whose second colour goes out: replayed, labelled, against the truth."""
    scenario = Scenario(
        seed=4, n_frames=160, shape=(160, 160), viruses=12, uncoating=9, visitors=0, late=0.0
    )
    movie = virus_entry(scenario)
    coated = virus_entry(scenario)
    coated.truth["photons"][coated.truth["uncoated"] == 1] = 0
    coated.truth["x"] += 1.5  # chromatic
    frames = np.stack([[movie.frame(i), coated.frame(i)] for i in range(scenario.n_frames)])
    path = tmp_path / "movie.ome.tif"
    tifffile.imwrite(path, frames, metadata={"axes": "TCYX"}, photometric="minisblack")
    run, out = tmp_path / "run.zarr", tmp_path / "labels.csv"
    scale = ["--pixel-size-um", "0.1", "--frame-interval-s", "0.05"]
    words = ["replay", str(path), "--out", str(run), *scale, "--no-movie"]
    assert main.run(words) == 0
    assert main.run(["label", "colocalization", str(run), "--out", str(out)]) == 0
    labels = pd.read_csv(out)
    truth = pd.DataFrame(movie.truth)
    changes = []
    for _, track in labels.groupby("particle"):
        if track["uncoated"].nunique() == 2:
            when = int(track.loc[track["uncoated"] == 1, "frame"].min())
            at = track[track["frame"] == when].iloc[0]
            there = truth[truth["frame"] == when]
            nearest = there.loc[np.hypot(there["y"] - at["y"], there["x"] - at["x"]).idxmin()]
            real = movie.uncoatings[movie.uncoatings["particle"] == nearest["particle"]]
            changes.append(when - int(real["frame"][0]))
    assert len(changes) >= 5 and np.max(np.abs(changes)) <= 4


def test_what_cannot_be_labelled_is_one_clear_error(
    tables: tuple[Path, Path], tmp_path: Path
) -> None:
    dlp, vp7 = tables
    out = tmp_path / "out.csv"
    with pytest.raises(SettingError, match="pixel size"):
        label_colocalization(dlp, out, partners=vp7)
    with pytest.raises(InputError, match="its partners"):
        label_colocalization(dlp, out, pixel_size_um=PIXEL_UM)
    with pytest.raises(InputError, match="none of 30 particles"):
        label_colocalization(dlp, out, partners=vp7, pixel_size_um=PIXEL_UM, offset_um=(9, 9, 9))
    empty = tmp_path / "empty.csv"
    empty.write_text("frame,particle,y,x\n")
    with pytest.raises(InputError, match="holds no points"):
        label_colocalization(dlp, out, partners=empty, pixel_size_um=PIXEL_UM)
    assert not out.exists()
    out.touch()
    with pytest.raises(StoreError, match="exists"):
        label_colocalization(dlp, out, partners=vp7, pixel_size_um=PIXEL_UM)


def test_the_command_refuses_bad_words(capsys: pytest.CaptureFixture[str]) -> None:
    base = ["label", "colocalization", "a.csv", "b.csv", "--out", "c.csv"]
    cases = {"offset_um=1": "Y,X", "contact_um=0": "contact", "contcat_um=1": "contact_um"}
    for word, expected in cases.items():
        assert main.run([*base, word]) == 2
        assert expected in capsys.readouterr().err


def test_nothing_meets_across_stage_positions(scene: TwoColours) -> None:
    """Partners at another position are none, wherever they are."""
    first, second = (
        ChannelTracks(some.frame, np.full(len(some.frame), position), some.particle, {}, some.point)
        for some, position in ((scene.first, 0), (scene.second, 1))
    )
    (a, _), (b, _) = _paths(first, second)
    assert not (label(a, b, Limits()).partner >= 0).any()
    (a, _), (b, _) = _paths(
        first, second._replace(position=first.position[:1].repeat(len(b.frame)))
    )
    assert (label(a, b, Limits(contact_um=0.75)).partner >= 0).any()
