"""Options that several commands share: of an analysis, of keys, of durability."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from livespt.stream.host.atomic_files import DURABILITIES
from livespt.stream.settings import user_settings
from livespt.tools.cli.command import FINITE, PATH

TYPES: dict[type, Any] = {float: FINITE, int: click.INT}
KEY = click.option("--key", type=PATH, help="Your key file, for an endpoint that needs one.")
DURABILITY = click.option(
    "--durability",
    type=click.Choice(DURABILITIES),
    default="second",
    show_default=True,
    help="When what is stored is safe from a power cut.",
)


def analysis_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options of every command that analyzes frames."""
    decorators = [
        click.option("--localizer", type=PATH, help="Localizer (.onnx, or `crowd`). [fast]"),
        click.option("--segmenter", type=PATH, help="Motion model (.onnx). Default: shipped."),
        click.option("--uncoating", type=PATH, help="Uncoating model (.onnx). Default: shipped."),
        click.option("--classifier", type=PATH, help="A classifier of your own (.onnx). [none]"),
        *(setting_option(name) for name, _, _ in user_settings()),
        click.option(
            "--provider",
            type=click.Choice(["cpu", "cuda", "auto"]),
            default="cpu",
            show_default=True,
            help="Where the networks run.",
        ),
        click.option(
            "--threads",
            type=int,
            default=1,
            show_default=True,
            help="Threads of each network.",
        ),
    ]
    for option in reversed(decorators):
        function = option(function)
    return function


def setting_option(name: str, default: Any = None) -> Callable[..., Any]:
    """Make the option of one setting from the table of settings.

    Without a `default` of the command's own, an option that is not given is None: the setting of
    the replayed run, or the one of the table.
    """
    about, usual = {known: (about, usual) for known, about, usual in user_settings()}[name]
    shown = usual if default is None else default
    flag = "--" + name.replace("_", "-")
    if isinstance(usual, bool):
        word = f"--no-{flag[2:]}"
        text = f"{about.help} [{'yes' if shown else 'no'}]"
        return click.option(f"{flag}/{word}", default=default, help=text)
    kind: Any = click.Choice(about.choices) if about.choices else TYPES[type(usual)]
    values = "" if about.choices else f"; {about.range}"
    unit = f" {about.unit}" if about.unit else ""
    text = f"{about.help} [{shown:g}{unit}{values}]" if values else f"{about.help} [{shown}]"
    return click.option(flag, type=kind, default=default, help=text)


def options(values: dict[str, Any]) -> Any:
    """Take the options of an analysis out of the values of a command: `Options`."""
    from livespt.tools.runs.options import Options

    names = [name for name in Options.__dataclass_fields__ if name != "settings"]
    chosen = {name: values.pop(name) for name, _, _ in user_settings()}
    given = {name: value for name, value in chosen.items() if value is not None}
    return Options(settings=given, **{name: values.pop(name) for name in names if name in values})
