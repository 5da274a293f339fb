"""Options that several commands share: of an analysis, of keys, of durability."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from livespt.stream.host.atomic_files import DURABILITIES
from livespt.tools.cli.command import FINITE, PATH

KEY = click.option("--key", type=PATH, help="Your key file, for an endpoint that needs one.")
DURABILITY = click.option(
    "--durability",
    type=click.Choice(DURABILITIES),
    default="second",
    show_default=True,
    help="When what is stored is safe from a power cut.",
)
MOTION = click.Choice(["none", "brownian", "velocity", "auto"])


def analysis_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options of every command that analyzes frames."""
    decorators = [
        click.option("--localizer", type=PATH, help="Localizer (.onnx, or `crowd`). [fast]"),
        click.option("--segmenter", type=PATH, help="Motion model (.onnx). Default: shipped."),
        click.option("--uncoating", type=PATH, help="Uncoating model (.onnx). Default: shipped."),
        click.option("--classifier", type=PATH, help="A classifier of your own (.onnx). [none]"),
        click.option("--search-range", type=FINITE, help="Pixels a particle may move a frame. [5]"),
        click.option("--memory", type=int, help="Frames a particle may be missed. [3]"),
        click.option("--motion", type=MOTION, help="How the linker foresees motion. [none]"),
        click.option("--refine", type=int, help="Judge links anew after so many frames. [0]"),
        click.option(
            "--read-intensity/--no-read-intensity",
            default=None,
            help="Uncoating shows in the intensity: the label is lost with the coat. [no]",
        ),
        click.option("--lineage/--no-lineage", default=None, help="Tell merges and splits. [no]"),
        click.option(
            "--provider",
            type=click.Choice(["cpu", "cuda", "auto"]),
            default="cpu",
            show_default=True,
            help="Where the networks run.",
        ),
        click.option("--threads", type=int, default=1, show_default=True, help="Of the networks."),
    ]
    for option in reversed(decorators):
        function = option(function)
    return function


def options(values: dict[str, Any]) -> Any:
    """Take the options of an analysis out of the values of a command: `Options`."""
    from livespt.tools.runs.options import Options

    names = Options.__dataclass_fields__
    return Options(**{name: values.pop(name) for name in names})
