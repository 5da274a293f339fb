"""The state of an object between frames, entry by entry.

The state is all attributes of the object and of the objects among them, except those that a class
lists in `CONSTANTS`: what objects were made with and never change. So a new attribute is part of
the state unless somebody lists it there.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

import numpy as np

from livespt.stream.link.linker import Linker
from livespt.stream.types import Frame

NUMBERS = (bool, int, float, np.number, np.bool_, types.NoneType)
_CODE = (types.FunctionType, types.MethodType, types.BuiltinFunctionType, type, types.ModuleType)


class StateEntry(NamedTuple):
    """Where a part of the state, or a constant, is stored: `holder[key]`."""

    path: str
    owner: str  # path of the object it belongs to
    holder: Any  # an object's `__dict__`, a list or a dict
    key: Any
    is_constant: bool = False

    @property
    def value(self) -> Any:
        """What is stored there."""
        return self.holder[self.key]


def walk_state(thing: Any, path: str = "") -> Iterator[StateEntry]:
    """Yield every number, array and linker of an object, and the constants of its objects.

    The order is always the same. Frames are left out: no image is needed to continue.

    Raises
    ------
    TypeError
        An attribute is none of these.
    """
    names = getattr(type(thing), "CONSTANTS", ())
    for name in vars(thing):
        entry = StateEntry(f"{path}{name}", path, vars(thing), name, name in names)
        if entry.is_constant:
            yield entry
        else:
            yield from _within(entry)


def _within(entry: StateEntry) -> Iterator[StateEntry]:
    value = entry.value
    if isinstance(value, Linker):  # makes its own bytes
        inside = vars(value)
        yield from (
            StateEntry(f"{entry.path}.{n}", "", inside, n, is_constant=True)
            for n in value.CONSTANTS
        )
        yield entry
    elif isinstance(value, NUMBERS):
        yield entry
    elif isinstance(value, np.ndarray) and not value.dtype.hasobject:
        yield entry
    elif type(value) in (list, dict):
        for key in value if type(value) is dict else range(len(value)):
            yield from _within(StateEntry(f"{entry.path}.{key}", entry.owner, value, key))
    elif isinstance(value, Frame):
        return
    elif hasattr(value, "__dict__") and not isinstance(value, _CODE):
        yield from walk_state(value, f"{entry.path}.")
    else:
        raise TypeError(
            f"{entry.path} is a {type(value).__name__}, which no snapshot carries: keep an array "
            "or a number there, or name it in CONSTANTS if it never changes"
        )


def constants(found: Iterable[StateEntry]) -> dict[str, Any]:
    """What objects were made with, as far as it can be compared: numbers, texts, hashes."""
    pairs_of_each = (_flattened(entry.path, entry.value) for entry in found if entry.is_constant)
    return {path: value for pairs in pairs_of_each for path, value in pairs}


def _flattened(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, (str, *NUMBERS)):
        yield path, plain(value)
    elif hasattr(value, "sha256"):
        yield path, value.sha256
    elif isinstance(value, tuple | list):
        names = getattr(value, "_fields", range(len(value)))
        for name, item in zip(names, value, strict=True):
            yield from _flattened(f"{path}.{name}", item)
    elif is_dataclass(value):
        for field in fields(value):
            yield from _flattened(f"{path}.{field.name}", getattr(value, field.name))


def plain(value: Any) -> Any:
    """A number as JSON has it."""
    return value.item() if isinstance(value, np.generic) else value
