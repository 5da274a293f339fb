"""Runs of earlier formats, written by the versions that had them: read, checked, used as ever."""

from __future__ import annotations

import hashlib
import json
import subprocess
import tarfile
from dataclasses import replace
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import zarr

from build import FREE
from livespt.models.runtime.session import shipped
from livespt.models.runtime.superseded import SUPERSEDED
from livespt.stream.errors import InputError, SettingError
from livespt.stream.store.run import open_run
from livespt.stream.store.verify import verify
from livespt.stream.types import KINDS
from livespt.tools.cli import main
from livespt.tools.runs.compose import compose
from livespt.tools.runs.options import Facts, Options
from livespt.tools.runs.replay import replay
from livespt.tools.tables.export import export_run

DATA = Path(__file__).parents[1] / "data"
FORMATS = (1, 2, 3, 4)
SPOT_1 = {"sigma", "variance", "polarizability_um3"}
DRIFT = {"drift_y", "drift_x"}
FRAME_3 = {"level", "quality", *DRIFT}
NEWER = {  # columns that came after a format
    1: {"spots": SPOT_1, "states": {"p_task"}, "frames": {"degraded", *FRAME_3}},
    2: {"states": {"p_task"}, "frames": FRAME_3},
    3: {"frames": FRAME_3},
    4: {"frames": DRIFT},
}
RENAMED = {"odd": "quality"}
TABLES = ("spots", "states", "events", "frames", "status")
silent_replay = partial(replay, endpoint=FREE, say=lambda text: None)


def small_run() -> Any:
    """The script that made the runs, as a module: it knows what they show."""
    spec = spec_from_file_location("small_run", DATA / "small_run.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """The run of each format."""
    folder = tmp_path_factory.mktemp("formats")
    for number in FORMATS:
        with tarfile.open(DATA / f"format{number}.tar.xz") as archive:
            archive.extractall(folder / str(number), filter="data")
    return {number: folder / str(number) / "run.zarr" for number in FORMATS}


@pytest.mark.parametrize("number", FORMATS)
def test_every_stored_value_is_read(runs: dict[int, Path], number: int) -> None:
    run = open_run(runs[number])
    words = json.loads((runs[number] / "zarr.json").read_text())["attributes"]["livespt"]
    assert run.start.format == words["format"] == number
    assert run.stop is not None and run.stop.status == "complete"
    assert [len(getattr(run, name)) for name in TABLES[:4]] == [58, 116, 4, 24]
    for name in TABLES:
        rows = getattr(run, name)
        named = {field: RENAMED.get(field, field) for field, _ in words["tables"][name]}
        for field, called in named.items():
            stored = zarr.open_array(runs[number] / name / field, mode="r")[:]
            assert np.array_equal(rows[called], stored, equal_nan=stored.dtype.kind == "f"), field
        missing = set(rows.dtype.names) - set(named.values())
        assert missing == NEWER[number].get(name, set())
        for field in missing:
            counts = name == "frames" and field not in DRIFT
            expected = np.full(len(rows), 0.0 if counts else np.nan)
            assert np.array_equal(rows[field], expected, equal_nan=True), field
    assert run.frames["quality"].tolist() == [8 if number == 4 and i == 0 else 0 for i in range(24)]


@pytest.mark.parametrize("number", FORMATS)
def test_the_tables_tell_what_the_movie_shows(runs: dict[int, Path], number: int) -> None:
    run, made = open_run(runs[number]), small_run()
    for i, frame in enumerate(made.movie()):
        assert np.array_equal(run.frame(i).image, frame.image)
        assert run.frame(i)[:5] == frame[:5]
    frames = run.frames
    assert frames["lost"].tolist() == [2 if t == 11 else 0 for t in frames["frame"]]
    assert frames["frame"][frames["analyzed"] == 0].tolist() == list(made.SKIPPED)
    for t in frames["frame"][frames["analyzed"] == 1]:
        spots = run.spots[run.spots["frame"] == t]
        places = sorted(made.truth()[t])
        assert len(spots) == len(places)
        assert np.allclose(sorted(spots[["y", "x"]].tolist()), places, atol=0.3)
    events = [(KINDS[row["kind"]], int(row["frame"])) for row in run.events]
    assert events == [("born", 0)] * 3 + [("lost", 13)]
    settled = run.states[run.states["settled"] == 1]
    assert sorted(settled[["frame", "track"]].tolist()) == sorted(
        run.spots[["frame", "track"]].tolist()
    )


@pytest.mark.parametrize("number", FORMATS)
def test_every_byte_is_verified(
    runs: dict[int, Path], number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["verify", str(runs[number])]) == 0
    assert "faults  0" in capsys.readouterr().out
    chunk = runs[number] / "spots" / "x" / "c" / "0"
    data = chunk.read_bytes()
    chunk.write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
    try:
        assert [fault.where for fault in verify(runs[number])] != []
    finally:
        chunk.write_bytes(data)


@pytest.mark.parametrize("number", FORMATS)
def test_a_table_is_exported(runs: dict[int, Path], number: int, tmp_path: Path) -> None:
    told = export_run(runs[number], tmp_path / "a.csv")
    assert (told["spots"], told["tracks"], told["unsettled"]) == (58, 3, 0)
    table, spots = pd.read_csv(tmp_path / "a.csv"), open_run(runs[number]).spots
    assert table.columns[:4].tolist() == ["frame", "particle", "y", "x"]
    assert table["particle"].tolist() == spots["track"].tolist()
    assert np.allclose(table[["y", "x"]], spots[["y", "x"]].tolist(), rtol=1e-6)
    assert ("sigma" in table) == (number > 1)


@pytest.mark.parametrize("number", FORMATS)
def test_a_run_is_replayed_with_the_networks_of_today(
    runs: dict[int, Path], number: int, tmp_path: Path
) -> None:
    silent_replay(runs[number], tmp_path / "a.zarr", Options(models="shipped"))
    before, after = open_run(runs[number]), open_run(tmp_path / "a.zarr")
    for role, used in before.start.models.items():
        now, name = after.start.models[role], str(used["name"])
        today = hashlib.sha256(shipped(name).read_bytes()).hexdigest()
        assert (now["name"], now["sha256"]) == (name, today)
        assert now.get("replaces", today) == used["sha256"]
    assert "replaces" in after.start.models["uncoating"]
    kept = {key: before.start.settings[key] for key in ("lag", "abstain_below", "rule", "memory")}
    assert kept.items() <= after.start.settings.items()
    for name in ("frame", "track"):
        assert after.spots[name].tolist() == before.spots[name].tolist()
    for name in ("y", "x"):
        assert np.allclose(after.spots[name], before.spots[name], atol=0.05)
    assert after.events[["kind", "frame"]].tolist() == before.events[["kind", "frame"]].tolist()
    for name in ("number", "time_s", "analyzed", "lost"):
        assert after.frames[name].tolist() == before.frames[name].tolist()


@pytest.mark.parametrize(
    ("number", "role", "commit"),
    [
        (1, "segmenter", "2018ad1"),
        (2, "uncoating", "5890d14"),
        (3, "uncoating", "9fd82aa"),
        (4, "uncoating", "9fd82aa"),
        (4, "localizer", "22fc447"),
    ],
)
def test_a_superseded_network_is_named_with_the_release_that_holds_it(
    runs: dict[int, Path],
    number: int,
    role: str,
    commit: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["replay", str(runs[number]), "--out", str(tmp_path / "a.zarr")]
    words += [] if role == "localizer" else ["localizer=fast"]  # it was superseded as well
    assert main.run(words) == 1
    line = capsys.readouterr().err.splitlines()[0]
    sha256 = open_run(runs[number]).start.models[role]["sha256"][:12]
    assert all(word in line for word in (role, sha256, f"livespt 0.1.0 at commit {commit}"))
    assert f"--{role}" in line and "--models shipped" in line
    assert not (tmp_path / "a.zarr").exists()


def test_the_command_line_takes_the_networks_of_today_and_says_so(
    runs: dict[int, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["replay", str(runs[4]), "--out", str(tmp_path / "a.zarr"), "models=shipped"]
    assert main.run([*words, "endpoint=tcp://127.0.0.1:0"]) == 0
    used = open_run(tmp_path / "a.zarr").start.models["uncoating"]
    told = f"'uncoating' (sha256 {used['sha256'][:12]}) instead of {used['replaces'][:12]}"
    assert told in capsys.readouterr().out
    assert main.run([*words[:-1], "models=newest"]) == 2


def test_a_network_of_ones_own_is_not_replaced(runs: dict[int, Path]) -> None:
    """What no version shipped is another's, whatever its name: nothing of today's stands for it."""
    start = open_run(runs[4]).start
    own = {"name": "uncoating", "sha256": "0" * 64, "file": "nowhere/uncoating.onnx"}
    run = replace(start, models={**start.models, "uncoating": own})
    facts = Facts("movie", "yx", (48, 48), "<u2")
    with pytest.raises(InputError, match="which is not here: name its file with --uncoating"):
        compose(facts, Options(models="shipped"), "replay", run)
    with pytest.raises(SettingError, match="as-recorded or shipped"):
        compose(facts, Options(models="newest"), "replay", run)


def test_every_network_that_was_shipped_is_known() -> None:
    root = DATA.parents[1]
    command = ["git", "-C", str(root), "log", "--format=%h", "--", "models/*.onnx"]
    commits = subprocess.run(command, capture_output=True, text=True)
    if commits.returncode or not commits.stdout:
        pytest.skip("no history here")
    files: set[tuple[str, str]] = set()
    for commit in commits.stdout.split():
        tree = subprocess.run(
            ["git", "-C", str(root), "ls-tree", commit, "models/"],
            capture_output=True,
            text=True,
            check=True,
        )
        for line in tree.stdout.splitlines():
            _, _, blob, path = line.split()
            if path.endswith(".onnx") and not path.endswith("_whole.onnx"):
                files.add((blob, Path(path).stem))
    today = {path.read_bytes() for path in (root / "models").glob("*.onnx")}
    former = {}
    for blob, name in files:
        command = ["git", "-C", str(root), "cat-file", "blob", blob]
        data = subprocess.run(command, capture_output=True, check=True).stdout
        if data not in today:
            former[hashlib.sha256(data).hexdigest()] = name
    known = {key: value.name for key, value in SUPERSEDED.items()}
    assert former.items() <= known.items()  # of a shallow clone, less than all
    assert not known.keys() & {hashlib.sha256(data).hexdigest() for data in today}
