"""docs/settings.md: who chooses each setting, and the values that ordinary commands use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from livespt.stream.settings import Rule, Settings, described
from livespt.tools.cli.settings_page import COMMAND, page

ROOT = Path(__file__).resolve().parents[3]


def rows(text: str, title: str) -> dict[str, list[str]]:
    """Return the cells of the table under a title, by the setting in the first of them."""
    part = text.split(f"## {title}\n")[1].split("\n## ")[0]
    lines = [line.strip("| ").split(" | ") for line in part.splitlines() if line.startswith("|")]
    return {cells[0].strip("`"): cells[1:] for cells in lines}


def card(model: str) -> dict[str, Any]:
    text = (ROOT / "models" / f"{model}.json").read_text("utf-8")
    return dict(json.loads(text))


def test_the_page_in_the_docs_is_the_one_that_the_code_writes() -> None:
    assert (ROOT / "docs" / "settings.md").read_text("utf-8") == page(), COMMAND


def test_a_default_is_that_of_the_command() -> None:
    table = rows(page(), "Settings that you choose")
    assert table["setting"][:3] == ["`demo`, `live`, `replay`", "`link`", "`analyze`"]
    assert table["search_range"][:3] == ["5", "5", "-"]
    assert table["memory"][:3] == ["3", "0", "-"]  # `link` closes no gaps unless told
    assert table["lineage"][:3] == ["false", "off", "-"]
    assert table["read_intensity"][:3] == ["false", "-", "false"]


def test_what_a_model_chooses_is_the_value_of_its_card() -> None:
    table = rows(page(), "Settings that you do not choose")
    assert table["lag"][1] == str(card("segmenter")["lag"]) == str(card("uncoating")["lag"])
    assert "`analyze --lag`" in table["lag"][0]
    assert table["abstain_below"][1] == str(card("segmenter")["abstain_below"])
    for name in ("threshold", "hold"):
        assert table[f"rule.{name}"][1] == str(card("uncoating")["decision"][name])
    assert table["rule.change_hold"][1] == str(Rule().change_hold)


@pytest.mark.parametrize("prefix", ["", "rule."])
def test_every_setting_is_on_the_page_once(prefix: str) -> None:
    known = {"": Settings, "rule.": Rule}[prefix]
    text = page()
    for name, about, _ in described(known):
        if prefix + name != "rule":
            title = "Settings that you choose"
            if about.chosen_by != "user":
                title = "Settings that you do not choose"
            assert prefix + name in rows(text, title)
            assert text.count(f"| `{prefix}{name}` |") == 1
