"""Commands: what every one of them shares: `key=value` words, TOML, `--json`, printing."""

from __future__ import annotations

import io
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from livespt.stream.errors import SettingError, nearest
from livespt.tools.cli.settings import ASSIGNMENT, read_toml

PATH = click.Path(path_type=Path)


class Finite(click.FloatRange):
    """A number that is neither NaN nor infinite."""

    name = "number"

    def _describe_range(self) -> str:
        """Return nothing where there is no range: click would print `x<=None`."""
        return "" if self.min is None and self.max is None else super()._describe_range()

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse what is no finite number in the range."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number", param, ctx)
        return number


FINITE = Finite()
POSITIVE = Finite(min=0, min_open=True)
SEED = click.IntRange(min=0)


class Command(click.Command):
    """A command that also takes `key=value` words, a TOML file and `--json`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        config = click.Option(
            ["--config"],
            type=PATH,
            is_eager=True,
            expose_value=False,
            callback=_read_config,
            help="Settings in a TOML file; words on the command line win.",
        )
        as_json = click.Option(
            ["--json", "json_file"],
            type=PATH,
            expose_value=False,
            callback=_keep_json,
            help="Also write what is printed as JSON.",
        )
        self.params += [config, as_json]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Turn `key=value` words into options first."""
        return super().parse_args(ctx, self._assigned(args))

    def settings(self) -> dict[str, click.Option]:
        """Options by the name they have in `key=value` and TOML."""
        skip = ("config", "json_file", "help")
        options = (p for p in self.params if isinstance(p, click.Option) and p.name not in skip)
        return {max(o.opts, key=len).lstrip("-").replace("-", "_"): o for o in options}

    def _assigned(self, args: list[str]) -> list[str]:
        known = self.settings()
        takes_value = {
            opt
            for p in self.params
            if isinstance(p, click.Option) and not p.is_flag
            for opt in p.opts
        }
        words: list[str] = []
        for i, word in enumerate(args):
            match = ASSIGNMENT.match(word)
            if match is None or (i and args[i - 1] in takes_value):
                words.append(word)
                continue
            key, value = match.groups()
            if key in known:
                words += _option_words(key, known[key], value)
            elif Path(word).exists():
                words.append(word)
            else:
                raise SettingError(f"unknown setting '{key}'{nearest(key, known)}")
        return words


class Group(click.Group):
    """Commands, with a suggestion for a misspelt one."""

    command_class = Command

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"no_args_is_help": False, **kwargs})

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command or suggest the nearest."""
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            raise click.UsageError(f"no command '{args[0]}'{nearest(args[0], self.commands)}", ctx)
        return super().resolve_command(ctx, args)


def _option_words(key: str, option: click.Option, value: str) -> list[str]:
    if not option.is_flag:
        return [max(option.opts, key=len), value]
    truth = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if value.lower() not in truth:
        raise SettingError(f"{key} is true or false, not '{value}'")
    wanted = truth[value.lower()]
    if option.secondary_opts:
        return [option.opts[0] if wanted else option.secondary_opts[0]]
    return [option.opts[0]] if wanted else []


def _read_config(ctx: click.Context, _: click.Parameter, path: Path | None) -> None:
    if path is not None and isinstance(ctx.command, Command):
        known = ctx.command.settings()
        root = ctx.find_root().command
        others = root.commands if isinstance(root, click.Group) else ()
        values = read_toml(path, ctx.info_name or "", known, others)
        ctx.default_map = {
            str(known[key].name): _typed(key, value, known[key], path)
            for key, value in values.items()
        }


def _typed(key: str, value: Any, option: click.Option, path: Path) -> Any:
    """A TOML value as the command line would have given it."""
    if option.is_flag:
        fits = isinstance(value, bool)
    elif option.multiple:
        fits = isinstance(value, list) and all(isinstance(item, str) for item in value)
    else:
        text = isinstance(option.type, click.Path | click.Choice | click.types.StringParamType)
        fits = isinstance(value, str) if text else type(value) in (int, float)
    if not fits:
        raise SettingError(f"setting '{key}' in '{path}' cannot be {value!r}")
    return value if option.is_flag or option.multiple else str(value)


def _keep_json(ctx: click.Context, param: click.Parameter, path: Path | None) -> None:
    if path is not None and (path.is_dir() or not path.parent.is_dir()):
        raise click.BadParameter(f"'{path}' is no file in an existing folder", ctx, param)
    ctx.meta["livespt.json"] = path


class RecordedOutput(io.StringIO):
    """Standard output that keeps its lines where `--json` wants them."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._wanted = click.get_current_context().meta.get("livespt.json") is not None

    def write(self, text: str) -> int:
        """Print, and keep."""
        if self._wanted and text.strip():
            self.lines.append(text)
        return sys.stdout.write(text)

    def flush(self) -> None:
        """Pass on what was printed."""
        sys.stdout.flush()


def report(result: Any, lines: Sequence[str] | None = None) -> None:
    """Print a result, and write it where `--json` says."""
    for line in lines if lines is not None else _lines(result):
        click.echo(line)
    path = click.get_current_context().meta.get("livespt.json")
    if path is not None:
        path.write_text(json.dumps(_plain(result), indent=2, allow_nan=False) + "\n")


def _lines(result: Any, indent: str = "") -> list[str]:
    lines = []
    width = max(map(len, result), default=0) + 2
    for key, value in result.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}", *_lines(value, indent + "  ")]
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            lines += [f"{indent}{key}", *_table(value, indent + "  ")]
        else:
            lines.append(f"{indent}{key:<{width}}{_shown(value)}".rstrip())
    return lines


def _table(rows: list[dict[str, Any]], indent: str) -> list[str]:
    """Rows of equal keys as aligned columns."""
    cells = [list(rows[0])] + [[_shown(row.get(key)) for key in rows[0]] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    return [
        indent + "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _plain(value: Any) -> Any:
    """JSON without NaN, which no standard reader takes."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
