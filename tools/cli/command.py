"""What all commands share: `key=value` words, settings in a TOML file, help in sections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from livespt.stream.errors import SettingError, nearest
from livespt.tools.cli.parameters import PATH, Option
from livespt.tools.cli.settings import ASSIGNMENT, read_toml


class Command(click.Command):
    """A command that also takes `key=value` words, a TOML file and `--json`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        config = Option(
            ["--config"],
            type=PATH,
            is_eager=True,
            expose_value=False,
            callback=_read_config,
            help="TOML file with options of this command; what is given on the command line "
            "overrides it.",
        )
        as_json = Option(
            ["--json", "json_file"],
            type=PATH,
            expose_value=False,
            callback=_keep_json,
            help="Also write the printed result to this file, as JSON.",
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
    """Commands, listed in sections, with a suggestion for a misspelt one."""

    command_class = Command

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"no_args_is_help": False, **kwargs})
        self.sections: dict[str, Sequence[click.Command]] = {}

    def add_sections(self, sections: Mapping[str, Sequence[click.Command]]) -> None:
        """Add commands, which the help lists under the titles given."""
        self.sections |= sections
        for commands in sections.values():
            for command in commands:
                self.add_command(command)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the first sentence of each command's help, section by section."""
        width = max(map(len, self.commands))
        for title, commands in (self.sections or {"Commands": [*self.commands.values()]}).items():
            rows = [(f"{one.name:<{width}}", first_sentence(one)) for one in commands]
            with formatter.section(title):
                formatter.write_dl(rows)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command or suggest the nearest."""
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            raise click.UsageError(f"no command '{args[0]}'{nearest(args[0], self.commands)}", ctx)
        return super().resolve_command(ctx, args)


def first_sentence(command: click.Command) -> str:
    """Return what the list of commands says about one."""
    return command.get_short_help_str(limit=1000)


def _option_words(key: str, option: click.Option, value: str) -> list[str]:
    if not option.is_flag:
        return [max(option.opts, key=len), value]
    truth = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if value.lower() not in truth:
        raise SettingError(f"{key} must be true or false, not '{value}'")
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
        raise click.BadParameter(f"'{path}' must be a file in an existing folder", ctx, param)
    ctx.meta["livespt.json"] = path
