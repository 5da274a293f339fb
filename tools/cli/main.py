"""The command line `livespt COMMAND`: its commands in sections, exit codes and the error line.

Every command takes `--help`, `--config FILE.toml`, `--json FILE` and `key=value` words, whose keys
are the option names with underscores. Results go to stdout, one error line and at most one hint to
stderr. Exit code: 0 done, 1 it could not be done, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from livespt.stream.errors import LiveSptError, SettingError
from livespt.stream.host.crash_log import crashes_to_stderr
from livespt.tools.cli import machine, runs, tables
from livespt.tools.cli.command import Group
from livespt.tools.cli.evaluate import evaluate
from livespt.tools.cli.label import label
from livespt.tools.cli.train import train


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="livespt")
def livespt() -> None:
    """Track particles while the microscope is still recording.

    `livespt COMMAND --help` lists the options of a command. An option may also be given as a word
    KEY=VALUE, with the name of the option and underscores: search_range=4.
    """


livespt.add_sections(
    {
        "Runs": runs.COMMANDS,
        "Tables": tables.COMMANDS,
        "Models": (train, evaluate, label),
        "This computer": machine.COMMANDS,
    }
)


def main() -> None:
    """Run the command line; report expected errors in one line, without a traceback."""
    crashes_to_stderr()
    sys.exit(run(sys.argv[1:]))


def run(words: Sequence[str]) -> int:
    """Run one command line; return its exit code."""
    try:
        livespt.main(args=list(words), prog_name="livespt", standalone_mode=False)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        _print_error(error.format_message(), _help_hint(error))
        return 2
    except SettingError as error:
        _print_error(str(error))
        return 2
    except (LiveSptError, OSError) as error:
        _print_error(str(error))
        return 1
    except (KeyboardInterrupt, click.Abort):
        _print_error("interrupted")
        return 130
    return 0


def _print_error(message: str, hint: str = "") -> None:
    click.echo(f"error: {' '.join(message.split())}", err=True)
    if hint:
        click.echo(f"hint: {hint}", err=True)


def _help_hint(error: click.ClickException) -> str:
    ctx = getattr(error, "ctx", None)
    return f"{ctx.command_path} --help" if ctx is not None else "livespt --help"
