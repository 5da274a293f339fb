"""Settings from TOML files and `key=value` arguments, checked against the options of a command."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Container, Iterable
from pathlib import Path
from typing import Any

from livespt.stream.errors import SettingError, nearest

ASSIGNMENT = re.compile(r"^([A-Za-z_][A-Za-z0-9_]*)=(.*)$", re.DOTALL)


def check(keys: Iterable[str], known: Iterable[str], where: str) -> None:
    """Raise SettingError for the first unknown key.

    Raises
    ------
    SettingError
        It names the key, its source and the most similar known key.
    """
    names = sorted(known)
    for key in keys:
        if key not in names:
            hint = nearest(key, names) or f": known are {', '.join(names)}"
            raise SettingError(f"unknown setting '{key}' in {where}{hint}")


def read_toml(
    path: Path, command: str, known: Iterable[str], others: Container[str] = ()
) -> dict[str, Any]:
    """Return the settings of `command` in a TOML file.

    They are in a table with the name of the command or, in a file for one command, at the top
    level. Tables of `others`, which are further commands, are ignored.

    Raises
    ------
    SettingError
        The file does not exist or is not TOML, or the command does not know a key.
    """
    try:
        with path.open("rb") as file:
            tables = tomllib.load(file)
    except OSError as error:
        raise SettingError(f"cannot read settings '{path}': {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingError(f"'{path}' is not TOML: {' '.join(str(error).split())}") from error
    table = tables.get(command)
    if not isinstance(table, dict):
        table = {key: value for key, value in tables.items() if key not in others}
    check(table, known, f"'{path}'")
    return table
