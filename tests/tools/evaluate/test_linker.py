"""The linker's evaluation: the same scenes for all, fair comparisons, every figure written."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from livespt.models.simulate.crowds import DENSITIES, MOTION, scene
from livespt.stream.errors import SettingError
from livespt.tools.cli import main
from livespt.tools.evaluate import linker as evaluate_linker
from livespt.tools.evaluate.linker import FACTORS, cell, compared, evaluate, largest_step, summary


def test_a_cell_judges_perfect_links_first_and_ours_below_them() -> None:
    perfect, mine, refined = cell("receptors", 0, 0.05, seed=3, frames=40, judges=False)
    assert perfect["linker"] == "(perfect links)"
    assert perfect["switches"] == perfect["wrong_links"] == 0
    assert 0.9 < perfect["jsc_theta"] <= 1
    assert mine["linker"] == "livespt"
    assert 0.75 < mine["jsc_theta"] <= perfect["jsc_theta"]
    assert mine["alpha"] <= perfect["alpha"] + 1e-9
    assert refined["linker"] == "livespt_refine"
    assert mine["jsc_theta"] - 0.01 < refined["jsc_theta"] <= perfect["jsc_theta"]
    assert mine["particles"] == DENSITIES["receptors"][0]


def test_ranges_are_set_for_all_linkers_scenarios_and_densities() -> None:
    assert {"livespt", "livespt_refine", "trackpy", "laptrack", "btrack", "btrack_brownian"} == set(
        FACTORS
    )
    for factors in FACTORS.values():
        assert set(factors) == set(MOTION)
        assert all(len(levels) == 3 and min(levels) >= 1 for levels in factors.values())
    assert 4.5 < largest_step(scene("vesicles", 200, 1)) < 6.5  # 3.7 sigma of 1.53 px an axis


def row(linker: str, theta: float, switches: int, particles: int = 100) -> dict[str, Any]:
    where = {"scenario": "viruses", "particles": particles, "errors": 0.05, "linker": linker}
    return where | {"jsc_theta": theta, "alpha": 0.5, "beta": 0.5, "jsc": 0.5} | {
        "switches": switches
    }  # fmt: skip


ROWS = [
    row("(perfect links)", 1.0, 0),
    row("livespt", 0.8, 10),
    row("trackpy", 0.7, 10),
    row("laptrack", 0.9, 9),
    row("(perfect links)", 1.0, 0, 500),
    row("livespt", 0.7, 30, 500),
    row("trackpy", 0.6, 40, 500),
    row("laptrack", 0.5, 50, 500),
]


def test_what_is_worse_is_named() -> None:
    low, medium = compared(ROWS)
    assert (low["livespt"], low["trackpy"], low["laptrack"]) == (0.8, 0.7, 0.9)
    assert low["switches"] == "10/10/9"
    assert low["worse in"] == "jsc_theta (laptrack), switches (laptrack)"
    assert medium["worse in"] is None


def test_means_tell_how_far_ours_is_ahead() -> None:
    by = {line["linker"]: line for line in summary(ROWS)}
    assert by["livespt"]["jsc_theta"] == 0.75
    assert by["trackpy"]["ahead_points"] == 10.0
    assert by["laptrack"]["ahead_points"] == 5.0
    assert by["laptrack"]["switches"] == 59


def test_the_command_prints_and_writes_every_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(DENSITIES, "vesicles", (20, 40, 60))
    monkeypatch.setattr(evaluate_linker.checks, "TIMED", ((50, 200.0),))
    words = ("--no-judges", "--scenario", "vesicles", "--frames", "12", "--length", "2200")
    folder = tmp_path / "report"
    assert main.run(("evaluate", "linker", *words, "--report", str(folder))) == 0
    printed = capsys.readouterr().out
    for part in ("quality", "mean", "speed", "subnets", "long run", "restart", "bad input"):
        assert part in printed
    kept = json.loads((folder / "linker.json").read_text())
    with (folder / "linker.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(kept["cells"]) == 3 * 2 * 3  # densities, errors, perfect and ours
    assert rows[1]["linker"] == "livespt"
    assert len(kept["quality"]) == 6


def test_an_unknown_scenario_is_refused() -> None:
    with pytest.raises(SettingError, match="vesicles"):
        evaluate(scenarios=("cells",))
