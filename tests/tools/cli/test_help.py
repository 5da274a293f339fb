"""The help of the command line: every text can be read alone, and nothing is left out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from livespt.acquisition.recordings.open_movie import FORMATS
from livespt.stream.settings import user_settings
from livespt.tools.cli.command import Command, Group, first_sentence
from livespt.tools.cli.main import livespt, run
from livespt.tools.cli.parameters import Option

LINE = 64  # characters that fit beside the name of a command in 80 columns


def walked(group: Group, name: str) -> Iterator[tuple[str, click.Command]]:
    """Yield every command and group, by the words that call it."""
    for word, command in group.commands.items():
        yield f"{name} {word}", command
        if isinstance(command, Group):
            yield from walked(command, f"{name} {word}")


COMMANDS = dict(walked(livespt, "livespt"))
LEAVES = {name: command for name, command in COMMANDS.items() if isinstance(command, Command)}
OPTIONS = {
    f"{name} {one.opts[-1]}": (command, one)
    for name, command in LEAVES.items()
    for one in command.params
    if isinstance(one, click.Option)
}


def shown(name: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Return what `--help` prints, in one line."""
    assert run([*name.split()[1:], "--help"]) == 0
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_says_what_it_does_in_one_line(name: str) -> None:
    line = first_sentence(COMMANDS[name])
    assert line.endswith(".") and not line.endswith("...") and len(line) <= LINE
    assert line[0].isupper() and len(line.split()) >= 3


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_says_what_it_does(name: str) -> None:
    _, one = OPTIONS[name]
    text = one.help or ""
    assert isinstance(one, Option), f"{name} is not made by `option`, which shows its default"
    assert text[:1].isupper() and text.endswith(".") and len(text.split()) >= 3, name
    assert "efault" not in text, f"{name}: the default is shown by the option itself"


@pytest.mark.parametrize("name", LEAVES)
def test_defaults_and_ranges_are_shown_once_and_in_words(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = shown(name, capsys)
    assert "None" not in text and "<=" not in text and "RANGE" not in text
    context = click.Context(LEAVES[name])
    for one in LEAVES[name].params:
        record = one.get_help_record(context) if isinstance(one, Option) else None
        if record is None:
            continue
        value = one.get_default(context)
        given = isinstance(value, int | float | str | Path) and value is not False
        assert record[1].count("default: ") == bool(one.unset or given or one.secondary_opts)


@pytest.mark.parametrize("command", ["livespt live", "livespt replay", "livespt demo"])
def test_settings_are_shown_with_default_unit_and_range(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = shown(command, capsys)
    assert "[default: 5 pixels; 0.001 to 1000]" in text
    assert "[default: --no-lineage]" in text
    for _, about, _ in user_settings():
        assert about.help in text


FORMATS_READ = (
    "OME-TIFF, ImageJ or plain TIFF, NDTiff, OME-Zarr or a Zarr array, a livespt run, a folder of "
    "images (TIFF or PNG), a film, ND2, or whatever a bioio plugin reads (CZI, LIF, ...)"
)


NAMED = {  # each format that is opened, as the list has it
    "an NDTiff folder": "NDTiff",
    "a livespt run": "a livespt run",
    "OME-Zarr or a Zarr array": "OME-Zarr or a Zarr array",
    "a folder of numbered images": "a folder of images",
    "TIFF, OME-TIFF or an ImageJ stack": "OME-TIFF, ImageJ or plain TIFF",
    "ND2": "ND2",
    "a film": "a film",
    "what a plugin of bioio reads": "whatever a bioio plugin reads",
}


def test_help_readme_and_docs_name_the_same_formats(capsys: pytest.CaptureFixture[str]) -> None:
    root = Path(__file__).resolve().parents[3]
    for text in (
        shown("livespt replay", capsys),
        *(" ".join((root / name).read_text("utf-8").split())
          for name in ("README.md", "docs/recordings.md")),
    ):  # fmt: skip
        assert FORMATS_READ in text
    assert {one.name for one in FORMATS} == set(NAMED), "name a new format in help and docs, too"
    assert all(words in FORMATS_READ for words in NAMED.values())


def test_the_sections_list_every_command_once(capsys: pytest.CaptureFixture[str]) -> None:
    listed = [one.name for commands in livespt.sections.values() for one in commands]
    assert sorted(map(str, listed)) == sorted(livespt.commands)
    assert run(["--help"]) == 0
    out = capsys.readouterr().out
    for title, commands in livespt.sections.items():
        lines = out.split(f"\n{title}:\n")[1].split("\n\n")[0].splitlines()
        assert [line.split()[0] for line in lines] == [one.name for one in commands]


def test_a_group_lists_its_commands_once(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("train", "evaluate", "label"):
        assert run([name, "--help"]) == 0
        lines = capsys.readouterr().out.split("Commands:\n")[1].splitlines()
        group = livespt.commands[name]
        assert isinstance(group, Group)
        assert [line.split()[0] for line in lines] == list(group.commands)


VALUES = {
    "a word": ("train localizer m.tif --out a.onnx --size wide", "'wide' is not a whole number"),
    "a part": ("train localizer m.tif --out a.onnx --size 9.5", "'9.5' is not a whole number"),
    "too low": ("train localizer m.tif --out a.onnx --size 4", "give a whole number, 5 or more"),
    "not positive": ("live --pixel-size-um 0", "give a number, greater than 0"),
    "too high": ("live --port 70000", "give a whole number, 1 to 65535"),
    "no point": ("train hologram f.npy --out a.onnx --at 5", "'5' is not Y,X: give numbers, as in"),
    "no offset": ("label colocalization a.csv --out b.csv --offset-um 1,nan", "is not [Z,]Y,X"),
    "infinite": ("train hologram f.npy --out a.onnx --na inf", "'inf' is not a finite number"),
}


@pytest.mark.parametrize("name", VALUES)
def test_a_wrong_value_is_answered_with_what_is_allowed(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words, expected = VALUES[name]
    assert run(words.split()) == 2
    line = capsys.readouterr().err.splitlines()[0]
    assert expected in line and words.split()[-2] in line


RECIPES = {
    "resume without preset": ("localizer m.tif --size 9 --resume", "--preset"),
    "no size": ("localizer m.tif", "--size"),
    "preset of a movie": ("localizer m.tif --preset fast --fast", "simulated --fast"),
    "preset not fast": ("localizer simulated --preset fast", "simulated --fast"),
    "preset with a size": ("localizer simulated --preset fast --fast --size 9", "no particle"),
    "preset at a point": ("localizer simulated --preset fast --fast --at 1,2", "no particle"),
    "sizes without tables": ("uncoating --pixel-size-um 0.1", "--runs"),
    "tables without --runs": ("uncoating more.csv", "--runs"),
    "tables without pixel size": ("uncoating --runs labels.csv", "--pixel-size-um"),
}


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_says_what_it_lacks(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    words, expected = RECIPES[name]
    assert run(["train", *words.split(), "--out", "a.onnx"]) == 2
    assert expected in capsys.readouterr().err.splitlines()[0]
