"""The page docs/settings.md: who chooses each setting, and the value that the commands use.

`python -m livespt.tools.cli.settings_page > docs/settings.md` writes the page; a test compares the
two. Names, units, ranges and meanings come from `stream/settings.py`, defaults from the options of
the commands, and values that nobody types from the shipped models, as a run takes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import click

from livespt.stream.settings import About, Rule, Settings, Table, described
from livespt.tools.cli.main import livespt
from livespt.tools.cli.parameters import Option

COMMAND = "python -m livespt.tools.cli.settings_page > docs/settings.md"
CHOOSERS = {
    "models": "cards of the segmenter and of the uncoating model, which must agree",
    "segmenter": "card of the segmenter",
    "uncoating": "card of the uncoating model",
    "movie": "movie: its z step in units of its pixel size; 1 if it states none",
    "program": "nobody: the same in every new run",
}
NONE = "-"
BEGIN = """\
# Settings of an analysis

A setting is a value that the analysis of frames or tables needs, such as the greatest distance of a
link. You choose the settings of the first table below. The models or the movie choose those of the
second.

A run stores all of them in its `Start`. A replay of the run uses the stored values, except for
those that you give again; a replay that names another segmenter or uncoating model takes what the
cards choose from the cards.

## Settings that you choose

They are options of the commands in the head of the table, with these defaults; "-" means that the
command has no such option.

"""
USE = """
They are given as options (`--search-range 4`), as words (`search_range=4`), or in a TOML file
(`--config settings.toml`) with a table for each command:

```toml
[replay]
search_range = 4
memory = 2
```

`link` closes no gaps unless you give `memory`, as trackpy does. Further options of a command, such
as the models it uses, are listed by its `--help`.

## Settings that you do not choose

The card of a model is the JSON file beside it (`models/segmenter.json`, `models/uncoating.json`).
The column "value" is that of a run with the shipped models and frames `(y, x)`. No option changes
these settings, except where the table names one.

"""
END = f"""
## How this page is made

`{COMMAND}` writes it from `stream/settings.py`, the
options of the commands and the shipped models. A test compares the two.
"""


def page() -> str:
    """Return the page in Markdown."""
    entries = list(_entries())
    chosen = [entry for entry in entries if entry[1].chosen_by == "user"]
    others = [entry for entry in entries if entry[1].chosen_by != "user"]
    return BEGIN + _of_user(chosen) + USE + _of_others(others) + END


def _entries() -> Iterator[tuple[str, About, Any]]:
    """Yield name, description and default of every setting; those of the rule begin with `rule.`"""
    for prefix, table in (("", Settings), ("rule.", Rule)):
        for name, about, default in described(table):
            if not isinstance(default, Table):
                yield prefix + name, about, default


def _of_user(entries: list[tuple[str, About, Any]]) -> str:
    """Return the table of settings that are options, a column for commands with equal defaults."""
    columns: dict[tuple[str, ...], list[str]] = {}
    for command, options in _offers().items():
        column = tuple(
            _shown(default if options[name] is None else options[name]) if name in options else NONE
            for name, _, default in entries
        )
        if set(column) != {NONE}:
            columns.setdefault(column, []).append(command)
    heads = [", ".join(f"`{name}`" for name in commands) for commands in columns.values()]
    rows = [
        (f"`{name}`", *cells, about.unit, _values(about, default), about.help)
        for (name, about, default), *cells in zip(entries, *columns, strict=True)
    ]
    return _table(("setting", *heads, "unit", "values", "meaning"), rows)


def _of_others(entries: list[tuple[str, About, Any]]) -> str:
    """Return the table of settings that models, movie or program choose, with their values."""
    from livespt.tools.runs.compose import load_infer, settings_of
    from livespt.tools.runs.options import Facts, Options

    options = Options()
    used = settings_of(options, Facts("", "yx", (64, 64), "uint16"), load_infer(options))
    rows = []
    for name, about, default in entries:
        value: Any = used
        for part in name.split("."):
            value = getattr(value, part)
        offer = [f"`{one} --{name}`" for one, options_ in _offers().items() if name in options_]
        who = CHOOSERS[about.chosen_by] + "".join(f"; for a table: {one}" for one in offer)
        shown = _shown(value)
        rows.append((f"`{name}`", who, shown, about.unit, _values(about, default), about.help))
    return _table(("setting", "chosen by", "value", "unit", "values", "meaning"), rows)


def _offers() -> dict[str, dict[str, Any]]:
    """Return the options of each command by name, with their defaults (None: that of the table)."""
    return {
        name: {
            str(one.name): one.get_default(click.Context(command))
            for one in command.params
            if isinstance(one, Option)
        }
        for name, command in livespt.commands.items()
        if not isinstance(command, click.Group)
    }


def _values(about: About, default: Any) -> str:
    return "true, false" if isinstance(default, bool) else about.values


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else f"{value}"


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [heads, ("---",) * len(heads), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


if __name__ == "__main__":
    print(page(), end="")
