"""Object state: what hangs on an object and lives between frames, place by place.

All attributes of an object are its memory, and those of the objects among them, but for what its
class names in `GIVEN`: what objects were made with and never change. So an attribute that is added
is remembered unless somebody says that it need not be.
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
    """Where something stands that is remembered, or was given: `holder[key]`."""

    path: str
    owner: str  # path of the object it belongs to
    holder: Any  # an object's `__dict__`, a list or a dict
    key: Any
    given: bool = False

    @property
    def value(self) -> Any:
        """What stands there."""
        return self.holder[self.key]


def places(thing: Any, path: str = "") -> Iterator[StateEntry]:
    """Every number, array and linker that hangs on an object; and what its objects were given.

    Always in the same order. Frames are left out: what goes on needs no image.

    Raises
    ------
    TypeError
        Something hangs on it that is none of these.
    """
    given = getattr(type(thing), "GIVEN", ())
    for name in vars(thing):
        place = StateEntry(f"{path}{name}", path, vars(thing), name, name in given)
        if place.given:
            yield place
        else:
            yield from _within(place)


def _within(place: StateEntry) -> Iterator[StateEntry]:
    value = place.value
    if isinstance(value, Linker):  # makes its own bytes
        inside = vars(value)
        yield from (StateEntry(f"{place.path}.{n}", "", inside, n, given=True) for n in value.GIVEN)
        yield place
    elif isinstance(value, NUMBERS):
        yield place
    elif isinstance(value, np.ndarray) and not value.dtype.hasobject:
        yield place
    elif type(value) in (list, dict):
        for key in value if type(value) is dict else range(len(value)):
            yield from _within(StateEntry(f"{place.path}.{key}", place.owner, value, key))
    elif isinstance(value, Frame):
        return
    elif hasattr(value, "__dict__") and not isinstance(value, _CODE):
        yield from places(value, f"{place.path}.")
    else:
        raise TypeError(
            f"{place.path} is a {type(value).__name__}, which no snapshot carries: keep an array "
            "or a number there, or name it in GIVEN if it never changes"
        )


def given(found: Iterable[StateEntry]) -> dict[str, Any]:
    """What objects were made with, as far as it can be compared: numbers, texts, hashes."""
    pairs_of_each = (_flattened(place.path, place.value) for place in found if place.given)
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
