"""Settings: one table, read by the command line, TOML files, replays, `Start` and the docs."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from livespt.stream.errors import SettingError
from livespt.stream.settings import (
    Rule,
    Settings,
    check,
    described,
    user_settings,
)

MORE = """
import sys
from dataclasses import dataclass
from livespt.stream import settings

@dataclass(frozen=True)
class More(settings.Settings):
    patience: int = settings.setting(
        7, "Frames to wait for nothing.", unit="frames", range=settings.Range(1, 99)
    )

settings.Settings = More
"""


def with_one_more(code: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `code` in a process whose table has one more line."""
    command = [sys.executable, "-c", MORE + code, *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


RUN = "from livespt.tools.cli.main import run; sys.exit(run(sys.argv[1:]))"


def test_one_line_in_the_table_is_an_option_everywhere(tmp_path: Path) -> None:
    for command in ("replay", "live", "demo"):
        text = " ".join(with_one_more(RUN, command, "--help").stdout.split())
        assert "--patience INTEGER Frames to wait for nothing. [default: 7 frames; 1 to 99]" in text
    docs = with_one_more("from livespt.tools.cli.settings_page import page; print(page())").stdout
    assert "| `patience` | 7 | - | - | frames | 1 to 99 | Frames to wait for nothing. |" in docs


def test_one_line_in_the_table_is_stored_and_replayed(tmp_path: Path) -> None:
    movie, first, second = tmp_path / "m.tif", tmp_path / "a.zarr", tmp_path / "b.zarr"
    tifffile.imwrite(movie, np.full((8, 32, 32), 100, np.uint16), metadata={"axes": "TYX"})
    (tmp_path / "s.toml").write_text("[replay]\npatience = 9\n")
    where = ("--endpoint", "tcp://127.0.0.1:0")
    done = with_one_more(
        RUN, "replay", str(movie), "--out", str(first), "--config", str(tmp_path / "s.toml"), *where
    )
    assert done.returncode == 0, done.stderr
    done = with_one_more(RUN, "replay", str(first), "--out", str(second), *where)
    assert done.returncode == 0, done.stderr
    for run in (first, second):
        start = json.loads((run / "zarr.json").read_text())["attributes"]["livespt"]["start"]
        assert start["settings"]["patience"] == 9
    done = with_one_more(RUN, "replay", str(movie), "--out", str(tmp_path / "c"), "patience=100")
    assert done.returncode == 2
    assert done.stderr == "error: patience is 100; it must lie in 1 to 99 frames\n"


def test_every_setting_says_what_it_does() -> None:
    names = [name for table in (Settings, Rule) for name, _, _ in described(table)]
    assert len(names) == len(set(names)) == len(asdict(Settings())) + len(asdict(Rule()))
    for table in (Settings, Rule):
        for name, about, default in described(table):
            assert about.help.endswith(".") and about.help[0].isupper(), name
            table(**{name: default})
    assert {name for name, _, _ in user_settings()} >= {"search_range", "memory", "motion"}


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("search_range", 0.0, "must lie in 0.001 to 1000 pixels"),
        ("search_range", float("nan"), "must be a number"),
        ("search_range", "5", "must be a number"),
        ("memory", 2.5, "must be a whole number"),
        ("memory", True, "must be a whole number"),
        ("memory", -1, "must lie in 0 to 999 frames"),
        ("lineage", 1, "must be of kind bool"),
        ("motion", "straight", "choose one of none, brownian, velocity, auto"),
        ("rule", {"hold": 2}, "must be of kind Rule"),
        ("pace", 1, "unknown setting 'pace'"),
    ],
)
def test_a_value_that_no_analysis_can_have_is_refused(name: str, value: Any, reason: str) -> None:
    with pytest.raises(SettingError, match=reason):
        check({name: value})
    if name != "pace":
        with pytest.raises(SettingError, match=reason):
            Settings(**{name: value})


def test_stored_settings_come_back_and_unknown_ones_are_left_out() -> None:
    settings = Settings(search_range=4, motion="auto", rule=Rule(0.9, 3, 4))
    stored = json.loads(json.dumps(asdict(settings)))
    assert Settings.stored(stored) == settings
    assert Settings.stored(stored | {"from the future": 1}) == settings
    del stored["lineage"], stored["rule"]["change_hold"]
    assert Settings.stored(stored) == Settings(4, motion="auto", rule=Rule(0.9, 3))
    with pytest.raises(SettingError, match="rule is 3"):
        Settings.stored({"rule": 3})


def test_a_weight_that_nothing_uses_is_refused() -> None:
    with pytest.raises(SettingError, match="choose a motion model"):
        Settings(intensity_weight=0.5)
    assert Settings(intensity_weight=0.5, motion="auto").intensity_weight == 0.5
