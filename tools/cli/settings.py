"""Settings: TOML files and `key=value` words, checked against what a command knows."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Container, Iterable
from pathlib import Path
from typing import Any

from livespt.stream.errors import SettingError, nearest

ASSIGNMENT = re.compile(r"^([A-Za-z_][A-Za-z0-9_]*)=(.*)$", re.DOTALL)


def check(keys: Iterable[str], known: Iterable[str], where: str) -> None:
    """Refuse the first key that is not known.

    Raises
    ------
    SettingError
        Naming the key, where it was seen and the nearest known one.
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

    They stand in a table named as the command or, in a file for one command, at the top; tables of
    `others`, further commands, are passed over.

    Raises
    ------
    SettingError
        No such file, no TOML, or a key that the command does not know.
    """
    try:
        with path.open("rb") as file:
            tables = tomllib.load(file)
    except OSError as error:
        raise SettingError(f"cannot read settings '{path}': {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingError(f"'{path}' is no TOML file: {' '.join(str(error).split())}") from error
    table = tables.get(command)
    if not isinstance(table, dict):
        table = {key: value for key, value in tables.items() if key not in others}
    check(table, known, f"'{path}'")
    return table
