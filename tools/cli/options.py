"""Options that several commands share: of an analysis, of publishing, of files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from livespt.stream.host.atomic_files import DURABILITIES
from livespt.stream.settings import ON_OFF, user_settings
from livespt.stream.wire.codec import ENDPOINT
from livespt.tools.cli.parameters import COUNT, FINITE, INTEGER, PATH, POSITIVE, option

KEY = option(
    "--key", type=PATH, help="Your key file (NAME.key), if the run is published with keys."
)
OVERWRITE_RUN = option(
    "--overwrite", is_flag=True, help="Replace a run of that name, once the new one is whole."
)
OVERWRITE = option("--overwrite", is_flag=True, help="Replace an existing output file.")
COLUMNS = option(
    "--columns",
    unset="by the names of the columns",
    help="Which column is what, for a table of another program: frame=T,particle=ID,y=Y_um,x=X_um. "
    "Names that end in _um or _nm tell the unit of positions, or unit=um does; else it is pixels.",
)
SEGMENTER = option(
    "--segmenter",
    type=PATH,
    unset="shipped",
    help="Network that predicts motion states (.onnx), made by `train segmenter`.",
)
_LOOK = {name: about for name, about, _ in user_settings()}["uncoating"]
UNCOATING = option(
    "--uncoating",
    type=PATH,
    metavar="on|off|MODEL.onnx",
    unset="on",
    help=f"{_LOOK.help} In place of on, name a model of your own.",
)
PROVIDER = option(
    "--provider",
    type=click.Choice(["cpu", "cuda", "auto"]),
    default="cpu",
    help="Where the networks run; auto uses CUDA if it works.",
)


def together(*decorators: Callable[..., Any]) -> Callable[..., Any]:
    """Make one decorator of several; the help shows their options in this order."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


def setting_option(name: str, default: Any = None) -> Callable[..., Any]:
    """Make the option of one setting from the table of settings.

    Without a `default` of the command's own, an option that is not given is None: the setting of
    the replayed run, or the one of the table.
    """
    about, usual = {known: (about, usual) for known, about, usual in user_settings()}[name]
    shown = usual if default is None else default
    flag = "--" + name.replace("_", "-")
    if isinstance(usual, bool):
        no = f"--no-{flag[2:]}"
        unset = flag if shown else no
        return option(f"{flag}/{no}", default=default, unset=unset, help=about.help)
    if about.choices:
        kind: Any = click.Choice(about.choices)
        return option(flag, type=kind, default=default, unset=shown, help=about.help)
    kind = INTEGER if isinstance(usual, int) else FINITE  # `check` refuses what is out of range
    unset = f"{shown:g} {about.unit}".rstrip()
    values = str(about.range)
    return option(flag, type=kind, default=default, unset=unset, values=values, help=about.help)


analysis_options = together(
    option(
        "--localizer",
        type=PATH,
        unset="fast",
        help="Localizer (.onnx), or the name of a shipped one: fast, crowd, spots.",
    ),
    SEGMENTER,
    UNCOATING,
    option(
        "--classifier",
        type=PATH,
        unset="none",
        help="Classifier (.onnx) that you made with `train classifier`.",
    ),
    *(setting_option(name) for name, _, _ in user_settings() if name != "uncoating"),
    PROVIDER,
    option("--threads", type=COUNT, default=1, help="Threads on which each network computes."),
)
movie_options = together(
    option(
        "--axes",
        unset="as named in the movie",
        help="Axes of the movie, slowest first, without those of length 1: tyx for a plain movie. "
        "Letters: t time, p position, c channel, z plane, y, x.",
    ),
    option(
        "--channel", unset="all", help="The only channel to analyze, by its name or its number."
    ),
    option(
        "--pixel-size-um",
        type=POSITIVE,
        unset="as stored in the movie",
        help="Size of a pixel, micrometres.",
    ),
    option(
        "--z-step-um",
        type=POSITIVE,
        unset="as stored in the movie",
        help="Distance between two planes of a stack, micrometres.",
    ),
    option(
        "--frame-interval-s",
        type=POSITIVE,
        unset="from the times in the movie",
        help="Time from one time point to the next, seconds; sets the times of all frames.",
    ),
    option(
        "--exposure-ms",
        type=POSITIVE,
        unset="as stored in the movie",
        help="Exposure time of a frame, milliseconds.",
    ),
)
publish_options = together(
    option(
        "--endpoint",
        default=ENDPOINT,
        help="Address at which the run is published; its next port answers requests.",
    ),
    option(
        "--keys",
        type=PATH,
        unset="none, for subscribers on this computer only",
        help="Folder of keys made by `livespt keys`; only subscribers with one of them are "
        "admitted.",
    ),
    option(
        "--durability",
        type=click.Choice(DURABILITIES),
        default="second",
        help="When stored data is safe from a power cut: after each frame, within a second, or at "
        "the end of the run.",
    ),
)


def options(values: dict[str, Any]) -> Any:
    """Take the options of an analysis out of the values of a command: `Options`."""
    from livespt.tools.runs.options import Options

    names = [name for name in Options.__dataclass_fields__ if name != "settings"]
    model, switch = uncoating_of(values)
    chosen = {name: values.pop(name, None) for name, _, _ in user_settings()}
    given = {name: value for name, value in chosen.items() if value is not None}
    named = {name: values.pop(name) for name in names if name in values}
    return Options(settings=given | switch, **(named | {"uncoating": model}))


def uncoating_of(values: dict[str, Any]) -> tuple[Path | None, dict[str, str]]:
    """Take `uncoating`, a switch or the file of a model, out of the values of a command.

    Returns the file, if one is named, and the setting, if it is given.
    """
    given: Path | None = values.pop("uncoating")
    if given is None:
        return None, {}
    switch = str(given)
    return (None, {"uncoating": switch}) if switch in ON_OFF else (given, {"uncoating": "on"})


def stated_of(values: dict[str, Any]) -> Any:
    """Take what a command states of a movie out of its values: `Stated`."""
    from livespt.acquisition.recordings.movie import Stated

    exposure = values.pop("exposure_ms")
    names = [name for name in Stated._fields if name != "exposure_s"]
    given = {name: values.pop(name) for name in names}
    return Stated(exposure_s=None if exposure is None else exposure / 1000, **given)
