"""The command line: usage, settings, and one clear line for whatever cannot be used."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from livespt.tools.cli import main


def refuse(capsys: pytest.CaptureFixture[str], code: int, *words: str) -> str:
    """Run a command that must fail; return its one error line."""
    assert main.run(words) == code
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert lines[0].startswith("error: ")
    assert len(lines) <= 2 and all(line.startswith("hint: ") for line in lines[1:])
    assert "Traceback" not in out + err
    return lines[0]


USAGE = {
    "no command": ((), "Missing command"),
    "unknown command": (("relpay",), "did you mean 'replay'"),
    "unknown option": (("replay", "a.tif", "--oot", "b"), "--out"),
    "missing argument": (("replay",), "MOVIE"),
    "unknown setting": (("replay", "a.tif", "--out", "b", "search_rnge=3"), "'search_range'"),
    "bad value": (("replay", "a.tif", "out=b", "search_range=far"), "far"),
    "not finite": (("replay", "a.tif", "out=b", "search_range=nan"), "nan"),
    "negative seed": (("evaluate", "segmenter", "--seed", "-1"), "-1"),
    "json in no folder": (("doctor", "--json", "no/such/folder.json"), "folder.json"),
    "two microscopes": (("live", "--demo-camera", "--mm-dir", "m", "--mm-config", "c"), "--mm-dir"),
    "bad flag": (("replay", "a.tif", "out=b", "no_movie=maybe"), "maybe"),
    "value out of range": (("replay", "a.tif", "out=b", "search_range=-1"), "-1"),
    "bad point": (("train", "localizer", "a.tif", "frame=0", "at=5", "size=11", "out=m"), "Y,X"),
    "unknown kind": (("listen", "--kind", "uncoting"), "uncoating"),
    "unknown extension": (("export", "run.zarr", "out.doc"), ".csv"),
}


@pytest.mark.parametrize("name", USAGE)
def test_wrong_usage_is_one_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    words, expected = USAGE[name]
    assert expected in refuse(capsys, 2, *words)


def test_settings_come_from_toml_and_words_win(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spots, config = tmp_path / "spots.csv", tmp_path / "settings.toml"
    spots.write_text("frame,y,x\n0,1,1\n1,1,7\n")
    config.write_text("[link]\nsearch_range = 10\n")
    for extra, tracks in (([], 1), (["search_range=2"], 2)):
        out = tmp_path / f"{tracks}.csv"
        words = ["link", str(spots), str(out), "--config", str(config), *extra]
        assert main.run(words) == 0
        particles = {line.split(",")[-1] for line in out.read_text().splitlines()[1:]}
        assert len(particles) == tracks
    capsys.readouterr()
    config.write_text("serch_range = 10\n")
    line = refuse(capsys, 2, "link", str(spots), "x.csv", "--config", str(config))
    assert "'serch_range'" in line and "'search_range'" in line


TOML = {
    "a list": "search_range = [1, 2]",
    "a date": "search_range = 1979-05-27",
    "true for a number": "search_range = true",
    "text for a number": 'memory = "2"',
    "no whole number": "memory = 2.5",
    "not finite": "search_range = nan",
    "a number for a path": "localizer = 3",
    "a number for a flag": "no_movie = 3",
    "an unknown table": "[nosuch]\nmemory = 3",
    "a table for a value": "memory = {a = 1}",
    "no TOML": "memory = ",
}


@pytest.mark.parametrize("name", TOML)
def test_a_settings_file_that_cannot_be_used(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "settings.toml"
    config.write_text(TOML[name] + "\n")
    refuse(capsys, 2, "replay", "movie.tif", "--out", "run.zarr", "--config", str(config))


def test_json_holds_what_was_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spots = tmp_path / "spots.csv"
    spots.write_text("frame,y,x\n0,1,1\n")
    words = ["link", str(spots), str(tmp_path / "out.csv"), "--json", str(tmp_path / "r.json")]
    assert main.run(words) == 0
    result = json.loads((tmp_path / "r.json").read_text())
    for key, value in result.items():
        assert key in capsys.readouterr().out or value is not None


def movies(folder: Path) -> dict[str, Path]:
    """Movies that cannot be analyzed."""
    paths = {name: folder / f"{name}.tif" for name in ("axes", "dtype", "small", "text", "empty")}
    tifffile.imwrite(paths["axes"], np.zeros((2, 32, 32, 3), np.uint8), photometric="rgb")
    tifffile.imwrite(paths["dtype"], np.zeros((2, 32, 32), np.complex64))
    tifffile.imwrite(paths["small"], np.zeros((2, 3, 3), np.uint16))
    paths["text"].write_text("no movie")
    paths["empty"].write_bytes(b"")
    return paths


@pytest.mark.parametrize("name", ["axes", "dtype", "small", "text", "empty", "absent"])
def test_a_movie_that_cannot_be_used_leaves_nothing(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    movie = movies(tmp_path).get(name, tmp_path / "absent.tif")
    out = tmp_path / "run.zarr"
    assert movie.name in refuse(capsys, 1, "replay", str(movie), "--out", str(out))
    assert not out.exists()


def test_a_model_that_cannot_be_used_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    movie, model, out = tmp_path / "m.tif", tmp_path / "bad.onnx", tmp_path / "run.zarr"
    tifffile.imwrite(movie, np.zeros((2, 64, 64), np.uint16))
    model.write_bytes(b"not a model")
    words = ("replay", str(movie), "--out", str(out), "--localizer", str(model))
    assert "bad" in refuse(capsys, 1, *words)
    assert not out.exists()


def test_micro_manager_that_does_not_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run.zarr"
    there = ("--out", str(out), "--endpoint", "tcp://127.0.0.1:0")
    line = refuse(capsys, 1, "live", "--port", "9", *there)
    assert "Micro-Manager" in line
    assert not out.exists()
