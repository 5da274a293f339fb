"""From a user's labelled table to a model and its answers; every table that cannot be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from livespt.models.fingerprint.classifier import TrackClassifier
from livespt.models.runtime.card import read_card
from livespt.stream.errors import InputError, ModelError, SettingError
from livespt.tools.cli import main
from livespt.tools.tables.analyze import analyze_table
from livespt.tools.train.classifier import train

UNITS: dict[str, Any] = {"pixel_size_um": 0.1, "frame_interval_s": 0.5}
TRACKS, POINTS = 24, 26


def table(n: int = TRACKS, seed: int = 0) -> pd.DataFrame:
    """Random walks; those called "fast" take steps three times as long. Two tracks a cell."""
    rng = np.random.default_rng(seed)
    parts = []
    for i in range(n):
        step = rng.normal(size=(POINTS, 2)) * (3 if i % 4 < 2 else 1)
        y, x = np.cumsum(step, axis=0).T + 60
        name = "fast" if i % 4 < 2 else "slow"
        cell = f"cell {i // 2}"
        facts = {"frame": np.arange(POINTS), "particle": i, "y": y, "x": x}
        parts.append(pd.DataFrame(facts | {"label": name, "cell": cell}))
    return pd.concat(parts, ignore_index=True)


def written(folder: Path, made: pd.DataFrame, name: str = "tracks.csv") -> Path:
    made.to_csv(folder / name, index=False)
    return folder / name


def test_labels_in_a_model_out(tmp_path: Path) -> None:
    made = table()
    source = written(tmp_path, made)
    told = train(source, out=tmp_path / "speed.onnx", group="cell", **UNITS)
    assert told["accuracy"] > 0.9 and told["samples"] == TRACKS
    card = read_card(tmp_path / "speed.onnx")
    assert card["classes"] == ["fast", "slow"] and card["training"]["groups"] == TRACKS // 2
    assert card["metrics"]["curve"][0]["answered"] == 1
    assert (tmp_path / "speed.png").stat().st_size > 1000

    short = made[made.particle == 3].head(4).assign(particle=99)
    other = pd.concat([table(8, seed=5), short])
    model = {"classifier": tmp_path / "speed.onnx"}
    unseen = written(tmp_path, other, "new.csv")
    analyze_table(unseen, tmp_path / "out.csv", **UNITS, **model)
    out = pd.read_csv(tmp_path / "out.csv")
    assert list(out.columns[-3:]) == ["p_fast", "p_slow", "task"] and len(out) == len(other)
    assert np.allclose(out.p_fast + out.p_slow, 1, atol=1e-6)
    assert (out.groupby("particle").p_fast.nunique() == 1).all()
    long = out[out.particle < 99]
    assert (long.task == long.label).mean() > 0.9
    assert out[out.particle == 99].p_fast.tolist() == pytest.approx([0.5] * 4)  # too short to tell


def test_labels_of_their_own_make_the_same_model(tmp_path: Path) -> None:
    made = table()
    one = train(written(tmp_path, made), out=tmp_path / "a.onnx", **UNITS)
    labels = made.groupby("particle").label.first().reset_index().sample(frac=1, random_state=1)
    bare = written(tmp_path, made.drop(columns="label"), "bare.csv")
    two = train(
        bare, labels=written(tmp_path, labels, "labels.csv"), out=tmp_path / "b.onnx", **UNITS
    )
    assert one["accuracy"] == two["accuracy"]
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_windows_of_tracks_that_change(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    made = table()
    half = made.frame >= POINTS // 2  # the same tracks, called otherwise from here on
    made["label"] = np.where(half, "after", "before")
    made.loc[half, "y"] = made.loc[half, "y"] + rng.normal(0, 20, half.sum())
    source = written(tmp_path, made)
    with pytest.raises(InputError, match=r"particle 0 has labels 'after', 'before'; .*--window"):
        train(source, out=tmp_path / "w.onnx", **UNITS)
    told = train(source, out=tmp_path / "w.onnx", window=8, min_points=5, **UNITS)
    assert told["samples"] > 4 * TRACKS and told["accuracy"] > 0.8
    assert TrackClassifier(tmp_path / "w.onnx").window == 8
    analyze_table(source, tmp_path / "out.csv", classifier=tmp_path / "w.onnx", **UNITS)
    out = pd.read_csv(tmp_path / "out.csv")
    assert out.p_after[out.frame == 3].mean() < 0.2  # the window around it lies before
    late = out.p_after > 0.5  # and the change is dated rightly
    assert abs(out[late].groupby("particle").frame.min().median() - POINTS // 2) <= 2
    assert out.p_after[out.frame == POINTS - 1].mean() > 0.8 > 0.5 > out.p_after[6::POINTS].mean()


def test_still_tracks_are_learned_from_too(tmp_path: Path) -> None:
    made = table()
    still = made.label == "slow"
    made.loc[still, ["y", "x"]] = 7.0
    told = train(written(tmp_path, made), out=tmp_path / "still.onnx", **UNITS)
    assert told["accuracy"] == 1


def drop(made: pd.DataFrame, **columns: Any) -> pd.DataFrame:
    return made.assign(**columns)


def copied(made: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([made, made[made.particle == 4].assign(particle=500)])


BAD: dict[str, tuple[Any, dict[str, Any], str]] = {
    "no number": (lambda t: drop(t, y=t.y.where(t.index != 9)), {}, "row 10: y is ''"),
    "one class": (lambda t: drop(t, label="one"), {}, "all tracks are labelled 'one'"),
    "too few of a class": (
        lambda t: drop(t, label=np.where(t.particle < 3, "rare", "usual")),
        {},
        "class 'rare' has 3 groups",
    ),
    "no labels": (lambda t: drop(t, label=""), {}, "has no labels"),
    "no such column": (lambda t: t, {"label": "identity"}, "no column identity"),
    "a name no column takes": (lambda t: drop(t, label="a,b"), {}, "cannot name a column"),
    "a name that is taken": (lambda t: drop(t, label="normal"), {}, "cannot name a column"),
    "two labels": (
        lambda t: drop(t, label=t.label.where(t.index != 3, "slow")),
        {},
        "particle 0 has labels 'fast', 'slow'",
    ),
    "two groups": (
        lambda t: drop(t, cell=t.cell.where(t.index != 3, "other")),
        {"group": "cell"},
        "particle 0 has groups 'cell 0', 'other'",
    ),
    "no group": (
        lambda t: drop(t, cell=t.cell.where(t.particle != 1, "")),
        {"group": "cell"},
        "particle 1 has a label and no group",
    ),
    "a track twice": (copied, {}, "particles 4 and 500 have the same points"),
    "all too short": (lambda t: t[t.frame < 4], {}, "no labelled track has 5 points"),
    "no rows": (lambda t: t[:0], {}, "holds no tracks"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_tables_are_refused(name: str, tmp_path: Path) -> None:
    change, how, words = BAD[name]
    source = written(tmp_path, change(table()))
    with pytest.raises(InputError, match=words):
        train(source, out=tmp_path / "m.onnx", **UNITS, **how)
    assert not (tmp_path / "m.onnx").exists()


LABELS: dict[str, tuple[dict[str, Any], str]] = {
    "unknown tracks": ({"particle": [0, 1, 77, 78]}, "labels 2 tracks .* the first is particle 77"),
    "a track twice": ({"particle": [0, 1, 1, 2]}, "has 2 rows of particle 1"),
    "nothing said": ({"label": [""] * 4}, "has no labels"),
}


@pytest.mark.parametrize("name", LABELS)
def test_bad_tables_of_labels_are_refused(name: str, tmp_path: Path) -> None:
    changes, words = LABELS[name]
    facts = {"particle": [0, 1, 2, 3], "label": list("abab")} | changes
    labels = written(tmp_path, pd.DataFrame(facts), "labels.csv")
    source = written(tmp_path, table().drop(columns="label"))
    with pytest.raises(InputError, match=words):
        train(source, labels=labels, out=tmp_path / "m.onnx", **UNITS)


WISHES: dict[str, tuple[dict[str, Any], str]] = {
    "no such positive": ({"positive": "late"}, "no class 'late'"),
    "a window too short": ({"window": 3}, "window 3, min_points 5"),
    "one fold": ({"folds": 1}, "folds must be 2"),
    "labels that are places": ({"label": "frame"}, "name another"),
}


@pytest.mark.parametrize("name", WISHES)
def test_bad_wishes_are_refused(name: str, tmp_path: Path) -> None:
    how, words = WISHES[name]
    with pytest.raises(SettingError, match=words):
        train(written(tmp_path, table()), out=tmp_path / "m.onnx", **UNITS, **how)


def test_other_tracks_than_those_of_training_are_refused(tmp_path: Path) -> None:
    source = written(tmp_path, table())
    train(source, out=tmp_path / "m.onnx", **UNITS)
    model = {"classifier": tmp_path / "m.onnx"}
    out = tmp_path / "out.csv"
    with pytest.raises(ModelError, match=r"0\.5 s per frame, these tracks have 2 s"):
        analyze_table(source, out, pixel_size_um=0.1, frame_interval_s=2.0, **model)
    with pytest.raises(SettingError, match="leave out --lag and --offline"):
        analyze_table(source, out, lag=0, **UNITS, **model)
    named = written(tmp_path, table().assign(task=1), "named.csv")
    with pytest.raises(InputError, match="already has a column task"):
        analyze_table(named, out, **UNITS, **model)
    deep = written(tmp_path, table().assign(z=1.0), "deep.csv")
    with pytest.raises(ModelError, match="in 2 dimensions, these have 3"):
        analyze_table(deep, out, **UNITS, **model)


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, model = written(tmp_path, table()), tmp_path / "m.onnx"
    units = ["--pixel-size-um", "0.1", "--frame-interval-s", "0.5"]
    words = ["train", "classifier", "--tracks", str(source), "--out", str(model), *units]
    assert main.run([*words, "label=identity"]) != 0
    error = capsys.readouterr().err.splitlines()
    assert error[0].startswith("error: ") and "no column identity" in error[0] and len(error) <= 2
    assert main.run([*words, "folds=3"]) == 0
    assert "accuracy" in capsys.readouterr().out
    out = tmp_path / "out.csv"
    assert main.run(["analyze", str(source), str(out), *units, "--classifier", str(model)]) == 0
    assert out.read_text().splitlines()[0].endswith("p_fast,p_slow,task")
